"""Legs turned at the hips about the vertical: the gait stays what it is and leads to another side."""

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cmg_jax.robot import _feet, _rotation
from cmg_jax.robot._robot import Robot

FLAT_AXES = 1e-3
"""Square of the volume that the axes of a hip span, in which they all but lie in a plane and turn nothing."""


class _Hips(NamedTuple):
    """The three joints of each leg that are nearest to the root; those that are missing have no axis."""

    joints: np.ndarray  # [2, 3] index of the motion's joint, -1 for none
    zero: np.ndarray  # [2, 3] rad, of a joint at rest
    rotation: np.ndarray  # [2, 3, 3, 3], of a link in the one before with its joint at rest
    axis: np.ndarray  # [2, 3, 3]


def turn_legs(
    joint_pos: Float[Array, "*batch J"], gravity: Float[Array, "*batch 2"], angle: Float[Array, "*batch"], robot: Robot
) -> Float[Array, "*batch J"]:
    """What to add to joint positions [rad] so that both legs turn about vertical axes through their hips.

    By the midpoint rule along the angle: the soles of the G1 in a stride, turned by 0.2 rad, are within about 3 mm.
    Legs without three joints of different axes at the hip are not turned.

    Args:
      joint_pos: rad.
      gravity: x and y of the unit vector down in the root frame.
      angle: rad, counter-clockwise seen from above.
      robot: with known feet.
    """
    hips = _hips(robot)
    down = jnp.sqrt(jnp.maximum(1 - jnp.square(gravity).sum(axis=-1, keepdims=True), 0.0))
    up = jnp.concatenate([-gravity, down], axis=-1)
    at = jnp.where(hips.joints < 0, 0.0, joint_pos[..., hips.joints])
    whole = jnp.broadcast_to(angle[..., None, None], at.shape)
    change = whole * _rates(at + whole / 2 * _rates(at, up, hips), up, hips)
    change = jnp.where(hips.joints < 0, 0.0, change)
    return jnp.zeros_like(joint_pos).at[..., hips.joints].add(change)


def _rates(angle: jax.Array, up: jax.Array, hips: _Hips) -> jax.Array:
    """Rates of the joints [..., 2, 3] that turn the rest of the leg at 1 rad/s about `up` [..., 3]."""
    axes = []
    with jax.numpy_rank_promotion("allow"):  # poses of any rank meet constants of links
        angle = angle - jnp.asarray(hips.zero, jnp.float32)
        rotation = jnp.eye(3, dtype=jnp.float32)
        for joint in range(3):
            rotation = _rotation.matrix_product(rotation, jnp.asarray(hips.rotation[:, joint], jnp.float32))
            axes.append(_rotation.apply_matrix(rotation, jnp.asarray(hips.axis[:, joint], jnp.float32)))
            rotation = _rotation.matrix_product(rotation, _rotation.about_axis(hips.axis[:, joint], angle[..., joint]))
        pairs = [jnp.cross(axes[(joint + 1) % 3], axes[(joint + 2) % 3]) for joint in range(3)]
        volume = (axes[0] * pairs[0]).sum(axis=-1)
        share = volume / (jnp.square(volume) + FLAT_AXES)
        return jnp.stack([(pair * up[..., None, :]).sum(axis=-1) * share for pair in pairs], axis=-1)


@lru_cache(maxsize=32)
def _hips(robot: Robot) -> _Hips:
    legs = _feet._legs(robot)
    joints, zero = np.full((2, 3), -1, np.int32), np.zeros((2, 3))
    rotation, axis = np.tile(np.eye(3), (2, 3, 1, 1)), np.zeros((2, 3, 3))
    for side in range(2):
        found, turned = 0, np.eye(3)
        for link, joint in enumerate(legs.joints[side]):
            turned = turned @ legs.rotation[side, link]
            if joint >= 0 and found < 3:
                joints[side, found], zero[side, found] = joint, legs.zero[side, link]
                rotation[side, found], axis[side, found] = turned, legs.axis[side, link]
                found, turned = found + 1, np.eye(3)
    return _Hips(joints, zero, rotation, axis)
