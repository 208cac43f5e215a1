"""How far sideways and how fast in turning a model was trained at each forward speed.

A range of commands is a box, but motion is not: nobody runs sideways at 3 m/s. A region limits |vy| and |yaw rate| by
straight lines between knots of vx.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

KNOT_DISTANCE = 0.25
"""m/s; largest distance between knots."""

FEWEST = 25
"""Frames near a knot from which its limits are taken; other knots get theirs from their neighbours."""

QUANTILE = 0.98
"""Of |vy| and |yaw rate| near a knot, which is its limit: the last few frames are those of stumbles."""


def region_of(command: np.ndarray) -> np.ndarray:
    """The region [K, 3] of the commands [N, 3] of a data set: vx and the largest |vy| [m/s], |yaw rate| [rad/s]."""
    vx, across = command[:, 0], np.abs(command[:, 1:])
    count = max(int(np.ceil((vx.max() - vx.min()) / KNOT_DISTANCE)), 1) + 1
    knots = np.linspace(vx.min(), vx.max(), count)
    nearest = np.abs(vx[:, None] - knots).argmin(axis=1)
    known = [knot for knot in range(count) if (nearest == knot).sum() >= FEWEST]
    if not known:  # few frames: one limit for all speeds
        return np.column_stack([knots, np.tile(across.max(axis=0), (count, 1))]).astype(np.float32)
    limits = np.array([np.quantile(across[nearest == knot], QUANTILE, axis=0) for knot in known])
    filled = [np.interp(knots, knots[known], limit) for limit in limits.T]
    return np.column_stack([knots, *filled]).astype(np.float32)


def common_region(regions: Sequence[Any]) -> np.ndarray | None:
    """The region of the commands that lie in all of `regions`; None if there are none."""
    if not regions:
        return None
    vx = np.unique(np.concatenate([np.asarray(region)[:, 0] for region in regions]))
    limits = np.min([np.asarray(limits_at(region, jnp.asarray(vx))) for region in regions], axis=0)
    return np.column_stack([vx, limits])


def limits_at(region: Any, vx: Float[Array, "*batch"]) -> Float[Array, "*batch 2"]:
    """The largest |vy| [m/s] and |yaw rate| [rad/s] of `region` [K, 3] at forward speeds."""
    region = jnp.asarray(region, jnp.float32)
    return jnp.stack([jnp.interp(vx, region[:, 0], region[:, column]) for column in (1, 2)], axis=-1)


def clip_to_region(region: Any, command: ArrayLike) -> jax.Array:
    """Commands [..., 3] with vy and yaw rate moved to the nearest ones of `region`, which may be None."""
    command = jnp.asarray(command, jnp.float32)
    if region is None:
        return command
    limit = limits_at(region, command[..., 0])
    return jnp.concatenate([command[..., :1], jnp.clip(command[..., 1:], -limit, limit)], axis=-1)
