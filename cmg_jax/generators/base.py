"""The contract that every generator keeps, and what all of them check and return.

Generators are batch-native: they decide once per batch whether the network runs. Under `vmap` that
decision would become a select in which both sides run, so call them on the whole batch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from cmg_jax import normalization
from cmg_jax.errors import InputError
from cmg_jax.generators.rows import draw_rows
from cmg_jax.model import CMGModel

State = Any
"""A generator's state: a pytree of arrays whose structure, shapes and dtypes never change."""


class MotionFrame(NamedTuple):
    """Reference motion, physical. `lookahead` puts an axis of offsets before the joints."""

    joint_pos: jax.Array  # [B, J] rad
    joint_vel: jax.Array  # [B, J] rad/s


class Generator(NamedTuple):
    """Pure functions around one state. All arrays have the batch axis B first.

    The key of `init` and `reset` is consumed: split it before you use it again.
    """

    init: Callable[..., State]
    """init(model, key, command, motion=None) -> state

    command: [B, C] physical. motion: first frames [B, D] physical; by default drawn by `key` from the
    model's pool, or standing where the model has none."""

    step: Callable[[CMGModel, State], tuple[State, MotionFrame]]
    """step(model, state) -> state, the next frame."""

    reset: Callable[..., State]
    """reset(model, state, done, key, command, motion=None) -> state

    Rows where `done` [B] start anew, as in `init`; the others are untouched, their commands too."""

    set_command: Callable[..., State]
    """set_command(model, state, command, changed=None) -> state

    Rows where `changed` [B] (by default those whose command differs) go on under `command` [B, C] from
    the frame last served: their next frame is the network on that frame and the new command."""

    lookahead: Callable[..., MotionFrame]
    """lookahead(model, state, offsets) -> frames with leaves [B, len(offsets), J]

    Offset 0 is the frame last served, offset 1 the one that the next step serves. Past the last frame
    known the rule of the mode holds."""

    resume: Callable[..., State]
    """resume(model, key, command, motion) -> state

    As `init`, but as though `motion` [B, D] had just been served: the next step serves what follows it.
    For `switch`."""


def at_time(generator: Generator, model: CMGModel, state: State, seconds: Any) -> MotionFrame:
    """Reference between frames, for a control step that is no multiple of the motion's.

    Linear between the two frames around each time; past the end, the rule of `lookahead`.

    Args:
      generator: the generator that made `state`.
      model: the model.
      state: the generator's state.
      seconds: times [n] after the frame last served, not negative.

    Returns:
      Frames with leaves [B, n, J].
    """
    position = jnp.atleast_1d(jnp.asarray(seconds, jnp.float32)) * model.config.fps
    # A time meant to be frame 3 may come as 2.9999998.
    position = jnp.where(jnp.abs(position - jnp.round(position)) < 1e-4, jnp.round(position), position)
    before = jnp.floor(position).astype(jnp.int32)
    weight = (position - before.astype(jnp.float32))[None, :, None]
    frames = [generator.lookahead(model, state, before + offset) for offset in (0, 1)]
    return jax.tree.map(lambda first, second: first * (1 - weight) + second * weight, *frames)


def switch(generator: Generator, to: Generator, model: CMGModel, state: State, key: jax.Array) -> State:
    """From one mode to another: the state of `to` that goes on from the frame last served by `generator`.

    Every row keeps the command in force. Where none was served yet, that frame is the first one.

    Args:
      generator: the generator that made `state`.
      to: the generator to go on with.
      model: the model.
      state: the state of `generator`.
      key: consumed.
    """
    served = generator.lookahead(model, state, (0,))
    return to.resume(model, key, state.command, jnp.concatenate(served, axis=-1)[:, 0])


def to_frame(model: CMGModel, motion_normalized: jax.Array) -> MotionFrame:
    """The physical frame of normalized motion [..., D] of any float dtype."""
    motion = normalization.denormalize_motion(model.stats, motion_normalized.astype(jnp.float32))
    return MotionFrame(*jnp.split(motion, 2, axis=-1))


def first_frames(model: CMGModel, key: jax.Array, batch: int, motion: jax.Array | None) -> jax.Array:
    """First frames [B, D], physical: the given ones, else drawn from the pool, else standing.

    Raises:
      InputError: given frames of another shape, or not finite (outside jit, where that can be seen).
    """
    if motion is not None:
        return check_array("motion", motion, (batch, model.config.motion_dim))
    if model.initial_motion is not None:
        pool = model.initial_motion
        return pool[draw_rows(lambda key, shape: jax.random.randint(key, shape, 0, len(pool)), key, batch)]
    return jnp.broadcast_to(standing_frame(model), (batch, model.config.motion_dim))


def standing_frame(model: CMGModel) -> jax.Array:
    """Standing still, [D]; for a robot whose MJCF is not known, the mean of the training data."""
    robot = model.config.robot
    if not robot.has_mjcf:
        return model.stats.motion_mean
    return jnp.concatenate([jnp.asarray(robot.standing_joint_pos), jnp.zeros(robot.num_joints)])


def batch_size(command: Any, batch: int | None) -> int:
    """B, of an `init` whose commands may be left to a draw.

    Raises:
      InputError: neither commands nor B are given.
    """
    if command is not None:
        return np.shape(command)[0] if np.ndim(command) else 0
    if batch is None:
        raise InputError("give the commands, or `batch` for drawn ones")
    return batch


def check_command(model: CMGModel, command: Any, batch: int | None = None) -> jax.Array:
    """command [B, C] in float32, or an InputError that says what is wrong with it."""
    if command is None:
        raise InputError("give the commands; only a bank can draw them")
    rows = batch if batch is not None else (np.shape(command)[0] if np.ndim(command) == 2 else -1)
    return check_array("command", command, (rows, model.config.command_dim))


def check_array(name: str, value: Any, shape: tuple[int, ...]) -> jax.Array:
    """A float32 copy of `value` if it has `shape` and, outside jit, only finite numbers.

    A copy, because it may become part of a state, and a state may be donated.

    Raises:
      InputError: it has not.
    """
    if np.shape(value) != shape:
        wanted = ", ".join("B" if size < 0 else str(size) for size in shape)
        raise InputError(f"{name} has shape {np.shape(value)}; it must be [{wanted}]")
    array = jnp.array(value, jnp.float32)
    if not isinstance(array, Tracer) and not bool(jnp.isfinite(array).all()):
        row = int(jnp.argmin(jnp.isfinite(array).all(axis=-1)))
        raise InputError(f"{name} is not finite in row {row}")
    return array


def check_mask(name: str, mask: Any, batch: int) -> jax.Array:
    """A boolean mask [B]; 0 and 1 as floats (Brax's `done`) are taken as well."""
    if np.shape(mask) != (batch,):
        raise InputError(f"{name} has shape {np.shape(mask)}; it must be [{batch}]")
    return jnp.asarray(mask).astype(bool)


def changed_rows(old: jax.Array, new: jax.Array, changed: Any) -> jax.Array:
    """Rows [B] whose command is to change: the given ones, else those where it differs."""
    if changed is None:
        return (old != new).any(axis=-1)
    return check_mask("changed", changed, len(old))
