"""NPZ of the PyTorch original and of Isaac Lab's AMP tasks, read only: the root is one of the bodies."""

import numpy as np

from cmg_jax.motion_files._columns import by_keys, joints, root_body
from cmg_jax.motion_files._format import Columns, Content, Format
from cmg_jax.motion_files._names import BODY_NAMES


def read(content: Content) -> Columns:
    """Some files hold velocities of the bodies instead of positions: the root's path is then their integral."""
    if content.format.body_pos in content.arrays:
        return by_keys(content)
    joint_pos, joint_vel = joints(content)
    body_quat = content.array(content.format.body_quat, 3)
    root, note = root_body(content.names(BODY_NAMES, "body"), None, body_quat)
    velocity = content.array("body_linear_velocities", 3)[:, root]
    return Columns(joint_pos, joint_vel, np.cumsum(velocity, axis=0) / content.fps(), body_quat[:, root], note)


ORIGINAL = Format(
    "NPZ of the original",
    ("dof_positions",),
    joint_vel=("dof_velocities",),
    body_pos="body_positions",
    body_quat="body_rotations",
    read=read,
)
