"""CSV as LAFAN1 was retargeted to the G1: no header, a frame a line, at a rate that the file does not say."""

from pathlib import Path

import numpy as np

from cmg_jax._files import atomic_path
from cmg_jax.motion_files._motion import Motion
from cmg_jax.robot._bodies import Progress


def write(path: Path, motion: Motion, *, bodies: bool, progress: Progress) -> None:
    """Root x y z [m], root quaternion x y z w, the joints [rad]: for the G1 36 columns, 30 without its wrists."""
    rows = np.concatenate([motion.root_pos, motion.root_quat[:, [1, 2, 3, 0]], motion.joint_pos], axis=-1)
    with atomic_path(path) as partial:
        np.savetxt(partial, rows, fmt="%.7g", delimiter=",")
