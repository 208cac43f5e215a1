"""Joints by name, and their reflection. A joint is found by its name, never by its position."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from cmg_jax.robot._robot import Robot


def indices(names: Sequence[str], within: Sequence[str]) -> np.ndarray:
    """The position of each of `names` in `within`, [len(names)] integers.

    `values[..., indices(G1_23_JOINTS, G1_29_JOINTS)]` takes 29 joints to 23.

    Raises:
      ValueError: names that are not in `within`; the message lists them.

    Examples:
      >>> from cmg_jax.robot import G1_23_JOINTS, G1_29_JOINTS, indices
      >>> joint_pos = np.zeros((100, 29))
      >>> joint_pos[..., indices(G1_23_JOINTS, G1_29_JOINTS)].shape
      (100, 23)
    """
    position = {name: index for index, name in enumerate(within)}
    if missing := [name for name in names if name not in position]:
        raise ValueError(f"no joint {', '.join(missing)} among these {len(within)}")
    return np.array([position[name] for name in names], dtype=np.int32)


def mirror_joints(values: Float[ArrayLike, "*batch J"], robot: Robot) -> Float[Array, "*batch J"]:
    """Reflect joint positions or velocities.

    Examples:
      >>> from cmg_jax import robot
      >>> left = np.zeros(29, np.float32)
      >>> left[robot.G1.joint_names.index("left_knee_joint")] = 1.0
      >>> mirrored = robot.mirror_joints(left, robot.G1)
      >>> robot.G1.joint_names[int(mirrored.argmax())]
      'right_knee_joint'
    """
    values = jnp.asarray(values)
    source, sign = robot.mirror
    return values[..., source] * jnp.asarray(sign).reshape((1,) * (values.ndim - 1) + (-1,))


def mirror_command(command: Float[ArrayLike, "*batch 3"]) -> Float[Array, "*batch 3"]:
    """Reflect commands: vx stays, vy and the yaw rate change sign.

    Examples:
      >>> from cmg_jax import robot
      >>> robot.mirror_command(np.array([0.8, 0.1, 0.5], np.float32))
      Array([ 0.8, -0.1, -0.5], dtype=float32)
    """
    command = jnp.asarray(command)
    return command * jnp.array([1.0, -1.0, -1.0], command.dtype).reshape((1,) * (command.ndim - 1) + (3,))
