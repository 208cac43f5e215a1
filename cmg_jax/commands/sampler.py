"""Draw velocity commands: pure functions of a key and a range.

A range is a pytree of two arrays, so it may change (a curriculum) without compiling anything again.
The figures of `DEFAULT_RANGE`, `PRESETS`, `STAGES` and `curriculum` are those of the PyTorch original.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax.errors import InputError


class CommandRange(NamedTuple):
    """Lowest and highest command: vx, vy [m/s], yaw rate [rad/s]."""

    low: Any  # [C]
    high: Any  # [C]


def _range(vx: tuple[float, float], vy: tuple[float, float], yaw: tuple[float, float]) -> CommandRange:
    return CommandRange(*np.array([vx, vy, yaw], np.float32).T)


NONE = (0.0, 0.0)
DEFAULT_RANGE = _range((-1.5, 3.0), (-0.8, 0.8), (-0.8, 0.8))

PRESETS: dict[str, CommandRange] = {
    "forward": _range((0.5, 2.5), NONE, NONE),
    "backward": _range((-1.3, -0.3), NONE, NONE),
    "turn_left": _range(NONE, NONE, (0.2, 0.7)),
    "turn_right": _range(NONE, NONE, (-0.7, -0.2)),
    "strafe_left": _range((0.0, 0.5), (0.3, 0.8), NONE),
    "strafe_right": _range((0.0, 0.5), (-0.8, -0.3), NONE),
    "forward_turn": _range((0.5, 2.0), NONE, (-0.4, 0.4)),
    "mixed": DEFAULT_RANGE,
}

STAGES: dict[str, CommandRange] = {
    "basic": _range((0.3, 2.0), NONE, NONE),
    "turn": _range((0.3, 2.0), NONE, (-0.5, 0.5)),
    "strafe": _range((0.0, 2.0), (-0.5, 0.5), (-0.5, 0.5)),
    "mixed": _range((-1.0, 3.0), (-0.8, 0.8), (-0.8, 0.8)),
}
"""Ranges for four stages of training, one after the other."""


def curriculum(command_range: CommandRange, difficulty: Any) -> CommandRange:
    """The range at a difficulty from 0 to 1: vx times 0.5 + 0.5 d, vy times d, yaw times 0.3 + 0.7 d."""
    easiest = jnp.array([0.5, 0.0, 0.3])
    scale = easiest + (1 - easiest) * jnp.asarray(difficulty, jnp.float32)
    return CommandRange(jnp.asarray(command_range.low) * scale, jnp.asarray(command_range.high) * scale)


def forward_only(command_range: CommandRange) -> CommandRange:
    """The same range without walking backward, sideways or turning."""
    forward = jnp.array([1.0, 0.0, 0.0])
    low, high = jnp.asarray(command_range.low) * forward, jnp.asarray(command_range.high) * forward
    return CommandRange(jnp.maximum(low, 0.0), jnp.maximum(high, 0.0))


def uniform(key: jax.Array, command_range: CommandRange, batch: int) -> jax.Array:
    """Commands [B, C], evenly spread over the range."""
    low, high = (jnp.asarray(edge)[None] for edge in command_range)
    return low + (high - low) * jax.random.uniform(key, (batch, low.shape[-1]))


def normal(key: jax.Array, command_range: CommandRange, batch: int, *, mean: Any = None, std: Any = None) -> jax.Array:
    """Commands [B, C] around `mean` (the middle of the range) with `std` (a quarter of its width); not bounded."""
    mean, std = _moments(command_range, mean, std)
    return mean[None] + std[None] * jax.random.normal(key, (batch, mean.shape[-1]))


def truncated_normal(
    key: jax.Array, command_range: CommandRange, batch: int, *, mean: Any = None, std: Any = None
) -> jax.Array:
    """Like `normal`, but inside the range: truncated, where the original piles up clipped draws on its edges."""
    mean, std = _moments(command_range, mean, std)
    low, high = (jnp.asarray(edge) for edge in command_range)
    # An empty width has no distribution, only its one value.
    width = jnp.where(std > 0, std, 1.0)
    draw = jax.random.truncated_normal(
        key, ((low - mean) / width)[None], ((high - mean) / width)[None], (batch, mean.shape[-1])
    )
    return jnp.clip(mean[None] + std[None] * draw, low[None], high[None])


def _moments(command_range: CommandRange, mean: Any, std: Any) -> tuple[jax.Array, jax.Array]:
    low, high = (jnp.asarray(edge) for edge in command_range)
    mean = (low + high) / 2 if mean is None else jnp.asarray(mean, jnp.float32)
    return mean, (high - low) / 4 if std is None else jnp.asarray(std, jnp.float32)


def sequence(
    key: jax.Array, command_range: CommandRange, batch: int, frames: int, change_interval: int = 50
) -> jax.Array:
    """Commands [B, T, C] that go in straight lines from one draw to the next, `change_interval` frames each.

    Raises:
      InputError: fewer than one frame in all or in an interval.
    """
    if frames < 1 or change_interval < 1:
        raise InputError(f"frames {frames} and change_interval {change_interval} must be at least 1")
    draws = frames // change_interval + 2
    points = jax.vmap(lambda key: uniform(key, command_range, batch))(jax.random.split(key, draws))
    time = jnp.arange(frames)
    before = time // change_interval
    weight = ((time % change_interval).astype(jnp.float32) / change_interval)[:, None, None]
    return (points[before] * (1 - weight) + points[before + 1] * weight).swapaxes(0, 1)


def with_standing(key: jax.Array, command: jax.Array, fraction: Any) -> jax.Array:
    """`command` [B, C] with about `fraction` of its rows standing still."""
    standing = jax.random.uniform(key, (command.shape[0], 1)) < fraction
    return jnp.where(standing, 0.0, command)


def with_minimum_speed(command: jax.Array, speed: Any) -> jax.Array:
    """`command` [B, 3] with vx and vy set to zero in rows slower than `speed` [m/s], which hardly move anyway."""
    slow = jnp.linalg.norm(command[:, :2], axis=-1, keepdims=True) < speed
    return jnp.where(slow & (jnp.arange(command.shape[-1]) < 2)[None], 0.0, command)


class HeldCommand(NamedTuple):
    """Commands that are held for a while and then drawn anew, each row at its own time."""

    command: jax.Array  # [B, C]
    remaining: jax.Array  # [B] int32, steps until the next draw


def hold(key: jax.Array, command: jax.Array, interval: tuple[int, int]) -> HeldCommand:
    """Hold `command` [B, C] for a number of steps drawn from `interval`, both ends included."""
    return HeldCommand(command, _intervals(key, command.shape[0], interval))


def next_held(
    key: jax.Array, held: HeldCommand, command: jax.Array, interval: tuple[int, int], done: Any = False
) -> tuple[HeldCommand, jax.Array]:
    """One step: rows whose time is over, or that are `done` [B], take their row of `command` [B, C].

    Returns:
      the new state and the rows that changed, [B] bool: what `Generator.set_command` takes.
    """
    changed = (held.remaining <= 1) | jnp.asarray(done).astype(bool)
    remaining = jnp.where(changed, _intervals(key, len(changed), interval), held.remaining - 1)
    return HeldCommand(jnp.where(changed[:, None], command, held.command), remaining), changed


def _intervals(key: jax.Array, batch: int, interval: tuple[int, int]) -> jax.Array:
    shortest, longest = interval
    if not 1 <= shortest <= longest:
        raise InputError(f"interval {interval}: at least 1 step, the shorter one first")
    return jax.random.randint(key, (batch,), shortest, longest + 1)
