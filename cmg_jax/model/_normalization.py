"""Conversion between physical units and those of the network."""

from typing import NamedTuple

import jax


class MotionStats(NamedTuple):
    """Statistics of the training data. Units: rad and rad/s for motion; m/s, m/s, rad/s for commands."""

    motion_mean: jax.Array  # [D]
    motion_std: jax.Array  # [D]
    command_min: jax.Array  # [C]
    command_max: jax.Array  # [C]


def _expand(stat: jax.Array, like: jax.Array) -> jax.Array:
    return stat.reshape((1,) * (like.ndim - 1) + stat.shape)


def normalize_motion(stats: MotionStats, motion: jax.Array) -> jax.Array:
    """(motion - mean) / std, for motion [..., D]."""
    return (motion - _expand(stats.motion_mean, motion)) / _expand(stats.motion_std, motion)


def denormalize_motion(stats: MotionStats, motion_normalized: jax.Array) -> jax.Array:
    """Inverse of `normalize_motion`, for motion_normalized [..., D]."""
    mean, std = _expand(stats.motion_mean, motion_normalized), _expand(stats.motion_std, motion_normalized)
    return motion_normalized * std + mean


def normalize_command(stats: MotionStats, command: jax.Array) -> jax.Array:
    """Commands [..., C], with the trained range mapped to [-1, 1]. Commands outside the range are not clipped."""
    low, high = _expand(stats.command_min, command), _expand(stats.command_max, command)
    return (command - low) / (high - low) * 2 - 1


def denormalize_command(stats: MotionStats, command_normalized: jax.Array) -> jax.Array:
    """Inverse of `normalize_command`, for command_normalized [..., C]."""
    low, high = _expand(stats.command_min, command_normalized), _expand(stats.command_max, command_normalized)
    return (command_normalized + 1) / 2 * (high - low) + low
