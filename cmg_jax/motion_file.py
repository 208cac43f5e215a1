"""Motion on disk: NPZ under the keys of the original motion files, or LAFAN1-style CSV."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from cmg_jax.errors import InputError
from cmg_jax.files import atomic_path
from cmg_jax.robot import g1

SUFFIXES = (".npz", ".csv")


class Motion(NamedTuple):
    """A recorded motion; leading axes are environments, none for a single one."""

    fps: float
    joint_names: tuple[str, ...]
    joint_pos: np.ndarray  # [..., T+1, J] rad
    joint_vel: np.ndarray  # [..., T+1, J] rad/s
    commands: np.ndarray  # [..., T, 3]: frame t+1 follows frame t under commands[t]
    root_pos: np.ndarray  # [..., T+1, 3] m
    root_quat: np.ndarray  # [..., T+1, 4] wxyz

    def qpos(self) -> np.ndarray:
        """MuJoCo positions [N, 36] of all frames, environment after environment."""
        flat = (array.reshape(-1, array.shape[-1]) for array in (self.joint_pos, self.root_pos, self.root_quat))
        joint_pos, root_pos, root_quat = flat
        return g1.qpos(joint_pos, self.joint_names, root_pos, root_quat)


def write(path: Path, motion: Motion, bodies: g1.BodyPoses | None = None) -> None:
    """Write `motion` to `path`, in the format of its suffix.

    `.npz`: dof_positions, dof_velocities, dof_names, fps, commands, root_pos, root_quat_wxyz, and with
    `bodies` body_positions, body_rotations (wxyz) and body_names.
    `.csv`: no header, 36 columns: root x y z [m], root quaternion x y z w, 29 joints [rad].

    Raises:
      InputError: an unknown suffix, or a CSV of several environments.
    """
    if path.suffix == ".npz":
        _write_npz(path, motion, bodies)
    elif path.suffix == ".csv":
        if motion.joint_pos.ndim != 2:
            raise InputError(f"{path}: a CSV holds one environment; write several to .npz")
        positions = motion.qpos()
        positions[:, 3:7] = positions[:, [4, 5, 6, 3]]
        with atomic_path(path) as partial:
            np.savetxt(partial, positions, fmt="%.7g", delimiter=",")
    else:
        raise InputError(f"{path}: unknown format {path.suffix!r}; motion is written as {' or '.join(SUFFIXES)}")


def _write_npz(path: Path, motion: Motion, bodies: g1.BodyPoses | None) -> None:
    arrays = {
        "fps": np.array([motion.fps], np.float32),
        "dof_names": np.array(motion.joint_names),
        "dof_positions": motion.joint_pos,
        "dof_velocities": motion.joint_vel,
        "commands": motion.commands,
        "root_pos": motion.root_pos,
        "root_quat_wxyz": motion.root_quat,
    }
    if bodies is not None:
        batch_shape = motion.joint_pos.shape[:-1]
        arrays["body_names"] = np.array(g1.body_names())
        arrays["body_positions"] = bodies.position.reshape(*batch_shape, -1, 3)
        arrays["body_rotations"] = bodies.rotation.reshape(*batch_shape, -1, 4)
    with atomic_path(path) as partial:
        np.savez(partial, **arrays)
