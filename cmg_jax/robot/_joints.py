"""Joints by name, and their reflection. A joint is found by its name, never by its position."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax.robot._robot import Robot


def indices(names: Sequence[str], within: Sequence[str]) -> np.ndarray:
    """The position of each of `names` in `within`, [len(names)] integers.

    `values[..., indices(G1_23_JOINTS, G1_29_JOINTS)]` takes 29 joints to 23.

    Raises:
      ValueError: names that are not in `within`; the message lists them.
    """
    position = {name: index for index, name in enumerate(within)}
    if missing := [name for name in names if name not in position]:
        raise ValueError(f"no joint {', '.join(missing)} among these {len(within)}")
    return np.array([position[name] for name in names], dtype=np.int32)


def mirror_joints(values: jax.Array, robot: Robot) -> jax.Array:
    """Reflect joint positions or velocities [..., J]."""
    source, sign = robot.mirror
    return values[..., source] * jnp.asarray(sign).reshape((1,) * (values.ndim - 1) + (-1,))


def mirror_command(command: jax.Array) -> jax.Array:
    """Reflect commands [..., 3]: vx stays, vy and the yaw rate change sign."""
    return command * jnp.array([1.0, -1.0, -1.0], command.dtype).reshape((1,) * (command.ndim - 1) + (3,))
