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
    """(motion - mean) / std.

    Examples:
      >>> from cmg_jax.model import normalize_motion
      >>> normalized = normalize_motion(model.stats, cmg_jax.standing_frame(model))
      >>> normalized.shape
      (64,)
    """
    return (motion - _expand(stats.motion_mean, motion)) / _expand(stats.motion_std, motion)


def denormalize_motion(stats: MotionStats, motion_normalized: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
    """Inverse of `normalize_motion`.

    Examples:
      >>> from cmg_jax.model import denormalize_motion, normalize_motion
      >>> frame = cmg_jax.standing_frame(model)
      >>> again = denormalize_motion(model.stats, normalize_motion(model.stats, frame))
      >>> bool(jnp.allclose(again, frame, atol=1e-5))
      True
    """
    mean, std = _expand(stats.motion_mean, motion_normalized), _expand(stats.motion_std, motion_normalized)
    return motion_normalized * std + mean


def normalize_command(stats: MotionStats, command: Float[Array, "*batch C"]) -> Float[Array, "*batch C"]:
    """Commands with the trained range mapped to [-1, 1]. Commands outside the range are not clipped.

    Examples:
      >>> from cmg_jax.model import normalize_command
      >>> normalize_command(model.stats, jnp.asarray(model.stats.command_max))
      Array([1., 1., 1.], dtype=float32)
    """
    low, high = _expand(stats.command_min, command), _expand(stats.command_max, command)
    return (command - low) / (high - low) * 2 - 1


def denormalize_command(stats: MotionStats, command_normalized: Float[Array, "*batch C"]) -> Float[Array, "*batch C"]:
    """Inverse of `normalize_command`.

    Examples:
      >>> from cmg_jax.model import denormalize_command
      >>> fastest = denormalize_command(model.stats, jnp.array([1.0, 0.0, 0.0]))
      >>> bool(jnp.allclose(fastest[0], model.stats.command_max[0]))
      True
    """
    low, high = _expand(stats.command_min, command_normalized), _expand(stats.command_max, command_normalized)
    return (command_normalized + 1) / 2 * (high - low) + low
