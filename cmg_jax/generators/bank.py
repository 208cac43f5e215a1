"""Bank: a pool of motions made once and shared by all environments; the rollout never runs the network."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax import normalization
from cmg_jax.errors import InputError
from cmg_jax.generators import base, ring
from cmg_jax.generators.base import Generator, MotionFrame
from cmg_jax.model import CMGModel

Sampler = Callable[[jax.Array, int], jax.Array]
"""(key, number) -> commands [number, C]."""


class MotionBank(NamedTuple):
    """M motions of F frames, each under one command."""

    frames: jax.Array  # [F, M, D] normalized
    command: jax.Array  # [M, C] physical


class BankState(NamedTuple):
    bank: MotionBank
    command_low: jax.Array  # [C] resets draw motions whose command lies between these two;
    command_high: jax.Array  # [C] replace them with `_replace` at any time (curriculum)
    motion_index: jax.Array  # [B] int32
    frame_index: jax.Array  # [B] int32, of the frame last served
    command: jax.Array  # [B, C] physical: the command that each row's motion was made under


def build_bank(
    model: CMGModel,
    key: jax.Array,
    num_motions: int,
    num_frames: int,
    sampler: Sampler,
    *,
    chunk: int = 512,
    dtype: Any = "float32",
    progress: Callable[[int], Any] = lambda _: None,
) -> MotionBank:
    """Make a pool of motions. A host loop over chunks: call it outside `jit`, once.

    Args:
      model: the model.
      key: draws first frames and commands; consumed.
      num_motions: M.
      num_frames: F, frames of each motion, the first frame not counted.
      sampler: draws M commands.
      chunk: motions made together.
      dtype: of the stored frames: float32, bfloat16 or float16.
      progress: called with the number of motions just finished.

    Raises:
      InputError: a number below 1, another dtype, or commands that are not [M, C] and finite.
    """
    if min(num_motions, num_frames, chunk) < 1:
        raise InputError(f"num_motions {num_motions}, num_frames {num_frames}, chunk {chunk}: all must be at least 1")
    store_dtype = ring.check_store_dtype(dtype)
    command_key, frame_key = jax.random.split(key)
    command_shape = (num_motions, model.config.command_dim)
    command = base.check_array("the sampler's command", sampler(command_key, num_motions), command_shape)
    motion = base.first_frames(model, frame_key, num_motions, None)

    @jax.jit
    def make(model: CMGModel, motion: jax.Array, command: jax.Array) -> jax.Array:
        frames = ring.create(model, num_frames + 1, motion, 0, store_dtype)
        return ring.extend(model, frames, command, jnp.int32(0), num_frames)[1:]

    chunk = min(chunk, num_motions)
    out = np.empty((num_frames, num_motions, model.config.motion_dim), store_dtype)
    for row in range(0, num_motions, chunk):
        first = min(row, num_motions - chunk)  # the last chunk begins early: every chunk has the compiled shape
        rows = slice(first, first + chunk)
        out[:, rows] = make(model, motion[rows], command[rows])
        progress(min(chunk, num_motions - row))
    return MotionBank(jnp.asarray(out), command)


def bank(motions: MotionBank, *, lookahead_frames: int = 0) -> Generator:
    """A generator that reads motions of `build_bank`.

    A row plays one motion from a random frame on, at least `lookahead_frames` before its end, and begins
    it again when it gets there: motions are fixed, so there the reference jumps. `command` may be None
    in `init` and `reset`: then a motion is drawn whose command lies within the state's range; otherwise
    the row takes the motion whose command is nearest (in units of the trained range). `set_command`
    jumps to the nearest motion too; the state's `command` is always the one that the motion obeys.
    `motion` cannot be given. Past the end of a motion, `lookahead` repeats its last frame.

    Args:
      motions: the pool. It becomes part of the state, so that a jitted rollout takes it as an argument.
      lookahead_frames: room that a row keeps before the end of its motion.

    Raises:
      InputError: no room is left.
    """
    num_frames = motions.frames.shape[0]
    last_start = num_frames - 1 - lookahead_frames
    if lookahead_frames < 0 or last_start < 0:
        raise InputError(f"lookahead_frames {lookahead_frames} leaves no frame of the motions' {num_frames}")

    def init(
        model: CMGModel, key: jax.Array, command: Any, motion: Any = None, *, batch: int | None = None
    ) -> BankState:
        if command is None and batch is None:
            raise InputError("give the commands, or `batch` for drawn ones")
        size = len(command) if command is not None else batch
        zero = jnp.zeros(size, jnp.int32)
        low, high = motions.command.min(axis=0), motions.command.max(axis=0)
        state = BankState(motions, low, high, zero, zero, jnp.zeros((size, model.config.command_dim)))
        return reset(model, state, jnp.ones(size, bool), key, command, motion)

    def step(model: CMGModel, state: BankState) -> tuple[BankState, MotionFrame]:
        following = state.frame_index + 1
        state = state._replace(frame_index=jnp.where(following > last_start, 0, following))
        return state, base.to_frame(model, state.bank.frames[state.frame_index, state.motion_index])

    def reset(
        model: CMGModel, state: BankState, done: Any, key: jax.Array, command: Any, motion: Any = None
    ) -> BankState:
        if motion is not None:
            raise InputError("a bank's motions are fixed; motion cannot be given")
        batch = len(state.motion_index)
        done = base.check_mask("done", done, batch)
        motion_key, frame_key = jax.random.split(key)
        if command is None:
            chosen = _draw(state, motion_key, batch)
        else:
            chosen = nearest_motion(model, state.bank, base.check_command(model, command, batch))
        # One before a frame drawn: the step serves the frame behind the index.
        start = jax.random.randint(frame_key, (batch,), -1, last_start)
        return _play(state, done, chosen, start)

    def set_command(model: CMGModel, state: BankState, command: Any, changed: Any = None) -> BankState:
        command = base.check_command(model, command, len(state.command))
        mask = base.changed_rows(state.command, command, changed)
        return _play(state, mask, nearest_motion(model, state.bank, command), state.frame_index)

    def lookahead(model: CMGModel, state: BankState, offsets: Any) -> MotionFrame:
        index = jnp.clip(state.frame_index[:, None] + ring.offsets_column(offsets)[None, :, 0], 0, num_frames - 1)
        return base.to_frame(model, state.bank.frames[index, state.motion_index[:, None]])

    return Generator(init, step, reset, set_command, lookahead)


def nearest_motion(model: CMGModel, motions: MotionBank, command: jax.Array) -> jax.Array:
    """The motion [B] whose command is nearest to each of `command` [B, C], in units of the trained range."""
    wanted, available = (normalization.normalize_command(model.stats, c) for c in (command, motions.command))
    return jnp.argmin(jnp.square(wanted[:, None] - available[None]).sum(-1), axis=-1).astype(jnp.int32)


def _draw(state: BankState, key: jax.Array, batch: int) -> jax.Array:
    """Motions [B] whose command lies within the state's range; any, where none does."""
    inside = (state.bank.command >= state.command_low[None]) & (state.bank.command <= state.command_high[None])
    allowed = inside.all(axis=-1)
    count = jnp.cumsum(allowed | ~allowed.any())
    return jnp.searchsorted(count, jax.random.randint(key, (batch,), 1, count[-1] + 1)).astype(jnp.int32)


def _play(state: BankState, mask: jax.Array, motion: jax.Array, frame: jax.Array) -> BankState:
    motion_index = jnp.where(mask, motion, state.motion_index)
    frame_index = jnp.where(mask, frame, state.frame_index)
    return state._replace(motion_index=motion_index, frame_index=frame_index, command=state.bank.command[motion_index])
