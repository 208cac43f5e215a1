"""Synthetic motion for the tests of data and training: legs that swing at the commanded speed."""

import numpy as np

from cmg_jax.data._dataset import RIGHT, Dataset
from cmg_jax.motion_files import Clip
from cmg_jax.robot import G1, _odometry, _rotation
from cmg_jax.robot._foot_quality import foot_figures
from cmg_jax.robot._g1 import G1_29_JOINTS

FPS = 50.0


def walking(clips: int, frames: int) -> Dataset:
    """Clips that stand for 0.4 s and then swing the legs, each at a different speed."""
    standing = G1.standing_joint_pos
    time = np.arange(frames) / FPS - 0.4
    motion, command = [], []
    for clip in range(clips):
        speed = 0.6 + 0.3 * clip
        swing = np.where(time > 0, np.sin(2 * np.pi * 1.5 * time), 0.0) * 0.4 * speed
        joint_pos = np.tile(standing, (frames, 1))
        for joint, sign, scale in (("hip_pitch", -1, 1.0), ("knee", 1, 0.5)):
            for side, phase in (("right", 1), ("left", -1)):
                joint_pos[:, G1_29_JOINTS.index(f"{side}_{joint}_joint")] += sign * phase * scale * swing
        motion.append(np.concatenate([joint_pos, np.gradient(joint_pos, 1 / FPS, axis=0)], axis=-1))
        moving = (time > 0)[:, None]
        command.append(np.where(moving, [[speed, 0.1 * (clip - 1), 0.2 * (1 - clip)]], 0.0))
    first_foot = np.zeros((clips, frames), np.int8)
    first_foot[:, np.flatnonzero(time > 0)[0]] = RIGHT
    return Dataset(
        np.concatenate(motion).astype(np.float32),
        np.concatenate(command).astype(np.float32),
        np.repeat(np.arange(clips), frames).astype(np.int32),
        first_foot.reshape(-1),
        tuple(f"clip {clip}" for clip in range(clips)),
        G1,
        FPS,
    )


def strides(frames: int = 150, hertz: float = 1.5, fps: float = FPS) -> Clip:
    """A robot that walks on an arc without sliding, with elbows and shoulders bent unlike any other joint."""
    time = np.arange(frames) / fps
    joint_pos = np.tile(G1.standing_joint_pos, (frames, 1)).astype(np.float64)
    swing = 0.4 * np.sin(2 * np.pi * hertz * time)
    for side, phase in (("right", 1), ("left", -1)):
        for joint, scale in (("hip_pitch", -1.0), ("knee", 0.5), ("shoulder_pitch", 0.6), ("hip_yaw", 0.05)):
            joint_pos[:, G1_29_JOINTS.index(f"{side}_{joint}_joint")] += phase * scale * swing
        joint_pos[:, G1_29_JOINTS.index(f"{side}_knee_joint")] += 0.4
        joint_pos[:, G1_29_JOINTS.index(f"{side}_elbow_joint")] = 1.3 + 0.2 * phase * swing
    root_pos, root_quat = _odometry.root_from_feet(joint_pos, G1, fps)
    return Clip("walk", fps, G1, joint_pos, None, root_pos.astype(float), root_quat.astype(float))


def recorded(frames: int = 150, fps: float = FPS) -> Clip:
    """`strides` with the root of a body: it leans forward, sways and turns with each stride, bobs with each step."""
    clip = strides(frames, fps=fps)
    stride = 2 * np.pi * 1.5 * np.arange(frames) / fps
    lean = np.stack([0.04 * np.sin(stride), 0.06 + 0.02 * np.cos(2 * stride)], axis=-1) / 2  # roll, pitch
    zero = np.zeros(frames)
    lean = np.stack([np.sqrt(1 - np.square(lean).sum(axis=-1)), lean[:, 0], lean[:, 1], zero], axis=-1)
    yaw = 0.1 * np.sin(stride) / 2
    turn = np.stack([np.cos(yaw), zero, zero, np.sin(yaw)], axis=-1)
    bob = np.stack([zero, 0.02 * np.sin(stride), 0.008 * np.cos(2 * stride)], axis=-1)
    root_quat = _rotation.multiply(clip.root_quat, _rotation.multiply(turn, lean))
    clip = clip._replace(root_pos=clip.root_pos + bob, root_quat=root_quat)
    floor = foot_figures(clip.joint_pos, clip.root_pos, clip.root_quat, G1, fps).floating
    return clip._replace(root_pos=clip.root_pos - np.array([0, 0, floor]))
