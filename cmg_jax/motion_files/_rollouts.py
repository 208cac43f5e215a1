"""NPZ of rollouts, the format of our own files: the original's keys, with the command and the root beside them."""

from pathlib import Path

import numpy as np

from cmg_jax._files import atomic_path
from cmg_jax.motion_files._clips import MotionFileError
from cmg_jax.motion_files._columns import by_keys
from cmg_jax.motion_files._format import Columns, Content, Format, Writer
from cmg_jax.motion_files._motion import Motion
from cmg_jax.robot._bodies import Progress, body_poses


def read(content: Content) -> Columns:
    """One episode [T, J] or several [N, T, J], with the command of each frame if the file has it."""
    key = content.key(content.format.joint_pos) or ""
    dims = np.ndim(content.arrays[key])
    if dims not in (2, 3):
        raise MotionFileError(f"{key} has {dims} axes; 2 or 3 are expected")
    found = by_keys(content, dims)
    return found._replace(command=_command(content, found.joint_pos.shape))


def _command(content: Content, shape: tuple[int, ...]) -> np.ndarray | None:
    key = content.key(("command", "commands"))
    if key is None:
        return None
    command = content.array(key, 3 if np.ndim(content.arrays[key]) == 3 else 2)
    command = command.reshape(-1, *command.shape[-2:])
    if command.shape[1] == shape[-2] - 1:  # ours: T commands lead to T+1 frames
        command = np.concatenate([command, command[:, -1:]], axis=1)
    if len(command) != (shape[0] if len(shape) == 3 else 1) or command.shape[-1] != 3:
        raise MotionFileError(f"{key} has shape {content.arrays[key].shape}, the joints {shape}")
    return command if len(shape) == 3 else command[0]


def write(path: Path, motion: Motion, *, bodies: bool, progress: Progress) -> None:
    """Write dof_positions, dof_velocities, dof_names, fps, commands, root_pos and root_quat_wxyz; with `bodies` also
    body_positions, body_rotations (wxyz) and body_names. Leading axes are environments."""
    arrays = {
        "fps": np.array([motion.fps], np.float32),
        "dof_names": np.array(motion.joint_names),
        "dof_positions": motion.joint_pos,
        "dof_velocities": motion.joint_vel,
        "commands": motion.commands,
        "root_pos": motion.root_pos,
        "root_quat_wxyz": motion.root_quat,
    }
    if bodies:
        poses = body_poses(motion.robot, motion.qpos(), progress)
        leading = motion.joint_pos.shape[:-1]
        arrays["body_names"] = np.array(motion.robot.body_names)
        arrays["body_positions"] = poses.position.reshape(*leading, -1, 3)
        arrays["body_rotations"] = poses.rotation.reshape(*leading, -1, 4)
    with atomic_path(path) as partial:
        np.savez(partial, **arrays)


ROLLOUTS = Format(
    "rollouts NPZ",
    ("joint_pos", "dof_positions"),
    ("root_pos",),
    ("root_quat_wxyz",),
    joint_vel=("joint_vel", "dof_velocities"),
    body_pos="body_positions",
    body_quat="body_rotations",
    read=read,
    writers={"npz": Writer(".npz", write, environments=True)},
)
