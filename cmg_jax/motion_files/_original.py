"""NPZ under the keys of the original motion files, with the command and the root beside them."""

from pathlib import Path

import numpy as np

from cmg_jax._files import atomic_path
from cmg_jax.motion_files._motion import Motion
from cmg_jax.robot._bodies import Progress, body_poses


def write(path: Path, motion: Motion, *, bodies: bool, progress: Progress) -> None:
    """dof_positions, dof_velocities, dof_names, fps, commands, root_pos, root_quat_wxyz, and with `bodies`
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
        batch_shape = motion.joint_pos.shape[:-1]
        arrays["body_names"] = np.array(motion.robot.body_names)
        arrays["body_positions"] = poses.position.reshape(*batch_shape, -1, 3)
        arrays["body_rotations"] = poses.rotation.reshape(*batch_shape, -1, 4)
    with atomic_path(path) as partial:
        np.savez(partial, **arrays)
