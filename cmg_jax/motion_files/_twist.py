"""PKL as TWIST and TWIST2 read motions: a pickled dictionary of NumPy arrays, quaternions xyzw."""

from pathlib import Path

import numpy as np

from cmg_jax._files import atomic_path
from cmg_jax.motion_files._format import Format, Writer
from cmg_jax.motion_files._motion import Motion
from cmg_jax.pickles import dumps
from cmg_jax.robot import G1
from cmg_jax.robot._bodies import Progress, body_poses, link_positions, qpos

LINKS = (
    *("pelvis", "left_hip_pitch_link", "left_hip_roll_link", "left_hip_yaw_link", "left_knee_link"),
    *("left_ankle_pitch_link", "left_ankle_roll_link", "left_toe_link", "pelvis_contour_link"),
    *("right_hip_pitch_link", "right_hip_roll_link", "right_hip_yaw_link", "right_knee_link"),
    *("right_ankle_pitch_link", "right_ankle_roll_link", "right_toe_link"),
    *("waist_yaw_link", "waist_roll_link", "torso_link", "head_link", "head_mocap", "imu_in_torso"),
    *("left_shoulder_pitch_link", "left_shoulder_roll_link", "left_shoulder_yaw_link", "left_elbow_link"),
    *("left_wrist_roll_link", "left_wrist_pitch_link", "left_wrist_yaw_link", "left_rubber_hand"),
    *("right_shoulder_pitch_link", "right_shoulder_roll_link", "right_shoulder_yaw_link", "right_elbow_link"),
    *("right_wrist_roll_link", "right_wrist_pitch_link", "right_wrist_yaw_link", "right_rubber_hand"),
)
"""The links of its robot, in the order of its files."""


def write(path: Path, motion: Motion, *, bodies: bool, progress: Progress) -> None:
    """Write fps, root_pos, root_rot (xyzw), dof_pos, local_body_pos [T, 38, 3] in the pelvis' frame, link_body_list."""
    content = {
        "fps": np.float64(motion.fps),
        "root_pos": motion.root_pos.astype(np.float64),
        "root_rot": motion.root_quat[:, [1, 2, 3, 0]].astype(np.float64),
        "dof_pos": motion.joint_pos.astype(np.float64),
        "local_body_pos": local_body_pos(motion, progress),
        "link_body_list": list(LINKS),
    }
    with atomic_path(path) as partial:
        partial.write_bytes(dumps(content))


def local_body_pos(motion: Motion, progress: Progress = lambda _: None) -> np.ndarray:
    """Positions of `LINKS` in the frame of the pelvis, [T, 38, 3] m float32."""
    poses = body_poses(motion.robot, qpos(motion.robot, motion.joint_pos), progress)
    return link_positions(motion.robot, poses, LINKS).astype(np.float32)


TWIST = Format(
    "TWIST-style (TWIST, GMR)",
    ("dof_pos",),
    ("root_pos",),
    ("root_rot",),
    "xyzw",
    ("dof_vel",),
    "local_body_pos",
    local=True,
    writers={"twist": Writer(".pkl", write, robot=G1)},
)
