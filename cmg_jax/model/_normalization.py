"""Conversion between physical units and those of the network."""

from typing import NamedTuple

import jax
from jaxtyping import Array, Float


class MotionStats(NamedTuple):
    """Statistics of the training data. Units: rad and rad/s for motion; m/s, m/s, rad/s for commands."""

    motion_mean: Float[Array, "D"]
    motion_std: Float[Array, "D"]
    command_min: Float[Array, "C"]
    command_max: Float[Array, "C"]
    command_region: Float[Array, "K C"] | None = None
    """The largest |vy| and |yaw rate| at ascending vx, of models whose training knew it; see `CommandRange`."""


def _expand(stat: jax.Array, like: jax.Array) -> jax.Array:
    return stat.reshape((1,) * (like.ndim - 1) + stat.shape)


def normalize_motion(stats: MotionStats, motion: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
    """(motion - mean) / std."""
    return (motion - _expand(stats.motion_mean, motion)) / _expand(stats.motion_std, motion)


def denormalize_motion(stats: MotionStats, motion_normalized: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
    """Inverse of `normalize_motion`."""
    mean, std = _expand(stats.motion_mean, motion_normalized), _expand(stats.motion_std, motion_normalized)
    return motion_normalized * std + mean


def normalize_command(stats: MotionStats, command: Float[Array, "*batch C"]) -> Float[Array, "*batch C"]:
    """Commands with the trained range mapped to [-1, 1]. Commands outside the range are not clipped."""
    low, high = _expand(stats.command_min, command), _expand(stats.command_max, command)
    return (command - low) / (high - low) * 2 - 1


def denormalize_command(stats: MotionStats, command_normalized: Float[Array, "*batch C"]) -> Float[Array, "*batch C"]:
    """Inverse of `normalize_command`."""
    low, high = _expand(stats.command_min, command_normalized), _expand(stats.command_max, command_normalized)
    return (command_normalized + 1) / 2 * (high - low) + low
