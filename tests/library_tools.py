"""A small library of synthetic motion: stands, starts with the right foot, walks at several speeds, and stops."""

import dataclasses
from functools import cache
from pathlib import Path

import numpy as np

import cmg_jax
from cmg_jax import motion_files
from cmg_jax.data import RIGHT, Dataset
from cmg_jax.robot import G1, Robot, _odometry, root_channel
from cmg_jax.robot._foot_quality import foot_figures
from cmg_jax.robot._g1 import G1_29_JOINTS

FPS = 50.0
SPEEDS = (0.2, 0.3, 0.45)
"""rad of hip swing, of one clip each."""


def clip(swing: float, frames: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Frames [T, 64] that stand for 1.2 s, walk and stand again, and the commands [T, 3] that they obey."""
    time = np.arange(frames) / FPS
    end = frames / FPS
    amount = np.clip(np.minimum(time - 1.2, end - 2.2 - time) / 0.2, 0.0, 1.0)
    phase = 2 * np.pi * 1.2 * np.maximum(time - 1.2, 0.0) - np.pi / 2
    joint_pos = np.tile(G1.standing_joint_pos, (frames, 1)).astype(np.float64)
    for side, sign in (("right", 1), ("left", -1)):
        forward = sign * np.sin(phase)
        lift = np.maximum(sign * np.cos(phase), 0.0)
        for joint, values in (
            ("hip_pitch", -swing * forward - 0.5 * lift),
            ("knee", 0.9 * lift),
            ("ankle_pitch", swing * forward - 0.4 * lift),
        ):
            joint_pos[:, G1_29_JOINTS.index(f"{side}_{joint}_joint")] += amount * values
    root_pos, root_quat = (
        np.asarray(a, np.float64) for a in _odometry.root_from_feet(joint_pos.astype(np.float32), G1, FPS)
    )
    floor = foot_figures(joint_pos, root_pos, root_quat, G1, FPS).floating
    channel = root_channel(root_pos - np.array([0, 0, floor]), root_quat, FPS)
    joint_vel = np.gradient(joint_pos, 1 / FPS, axis=0)
    motion = np.concatenate([joint_pos, joint_vel, *map(np.asarray, channel)], axis=-1).astype(np.float32)
    walking = amount == 1
    command = np.zeros((frames, 3), np.float32)
    command[walking, 0] = motion[walking, 61].mean()
    return motion, command


@cache
def recordings() -> Dataset:
    """Three clips of 6 s."""
    clips = [clip(swing) for swing in SPEEDS]
    first_foot = np.zeros((len(clips), 300), np.int8)
    first_foot[:, 60] = RIGHT
    return Dataset(
        np.concatenate([motion for motion, _ in clips]),
        np.concatenate([command for _, command in clips]),
        np.repeat(np.arange(len(clips)), 300).astype(np.int32),
        first_foot.reshape(-1),
        tuple(f"clip {swing}" for swing in SPEEDS),
        G1,
        FPS,
    )


@cache
def small_library() -> cmg_jax.MotionLibrary:
    return cmg_jax.build_library(recordings())


def write_recordings(folder: Path) -> list[Path]:
    """The clips as CSV files, which do not state their rate of 50 frames per second."""
    config, paths = cmg_jax.model_of_library(small_library()).config, []
    for swing in SPEEDS:
        frames, command = clip(swing)
        frames[:, 59] = 0.02 * np.sin(np.arange(len(frames)) / 10)  # a root that is upright in all frames is none
        paths.append(folder / f"walk {swing}.csv")
        motion_files.write(paths[-1], motion_files.of_trajectory(config, frames, command[1:]))
    return paths


def library_of(robot: Robot) -> cmg_jax.MotionLibrary:
    """The same for a robot with some of the joints of the G1; the others stay at rest."""
    made = recordings()
    index = [G1_29_JOINTS.index(name) for name in robot.joint_names]
    motion = np.concatenate([made.motion[:, index], made.motion[:, 29:58][:, index], made.motion[:, 58:]], axis=-1)
    return cmg_jax.build_library(dataclasses.replace(made, motion=motion, robot=robot))
