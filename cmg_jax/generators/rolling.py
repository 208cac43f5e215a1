"""Streaming and realtime: a ring of frames that is refilled as it is served.

The two differ only in when they refill: streaming makes one frame a step, realtime half a buffer
whenever fewer than half are left. Either way all rows share one clock, so the refill is decided once
for the batch.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from cmg_jax.errors import InputError
from cmg_jax.generators import base, motion_bank, ring
from cmg_jax.generators.base import Generator, MotionFrame
from cmg_jax.generators.motion_bank import MotionBank
from cmg_jax.generators.rows import draw_rows
from cmg_jax.model import CMGModel


class RollingState(NamedTuple):
    frames: jax.Array  # [N, B, D] normalized
    command: jax.Array  # [B, C] physical
    clock: jax.Array  # [] int32, absolute index of the frame last served
    end: jax.Array  # [] int32, absolute index of the last frame known
    bank: MotionBank | None  # that resets draw from


def streaming(lookahead_frames: int = 20, *, dtype: Any = "float32", bank: MotionBank | None = None) -> Generator:
    """One new frame a step, always the next L frames known, no bursts.

    A reset or a change of command makes the L frames of its rows anew: L network calls in sequence on
    those rows. The first step serves the frame *after* the first frame. Past offset L, `lookahead`
    repeats the last frame known.

    With a `bank`, `init` and `reset` without `motion` take a frame of one of its motions, the command
    that it was made under and its next L frames, and never run the network. Which motion, `command`
    decides as it does for `cmg_jax.bank`: the one with the nearest command, or where `command` is None
    one drawn from the range (then `init` needs `batch`). The state's `command` says what it became.

    Args:
      lookahead_frames: L, 0 or more. The state holds B x (L+1) x D numbers.
      dtype: of the stored frames: float32, bfloat16 or float16.
      bank: motions of more than L frames, from `build_bank`. The state holds a copy.

    Raises:
      InputError: a negative L, another dtype, or a bank of shorter motions.
    """
    if lookahead_frames < 0:
        raise InputError(f"lookahead_frames {lookahead_frames} is negative")
    return _rolling(lookahead_frames + 1, refill=1, least=lookahead_frames, dtype=dtype, bank=bank)


def realtime(buffer_frames: int = 100, *, dtype: Any = "float32", bank: MotionBank | None = None) -> Generator:
    """A buffer of K frames, half of which are made in one go whenever fewer than half are left.

    A reset or a change of command makes the frames that its rows have left anew, K/2 to K network calls
    in sequence on those rows. The first step serves the frame *after* the first frame. K/2 frames of
    look-ahead are always known; past the last frame known, `lookahead` repeats it.

    Args:
      buffer_frames: K, 2 or more. The state holds B x K x D numbers.
      dtype: of the stored frames: float32, bfloat16 or float16.
      bank: motions of K frames or more that `init` and `reset` draw from, as in `streaming`.

    Raises:
      InputError: fewer than 2 frames, another dtype, or a bank of shorter motions.
    """
    if buffer_frames < 2:
        raise InputError(f"buffer_frames {buffer_frames} is less than 2")
    return _rolling(buffer_frames, refill=buffer_frames // 2, least=buffer_frames // 2, dtype=dtype, bank=bank)


def _rolling(slots: int, *, refill: int, least: int, dtype: Any, bank: MotionBank | None) -> Generator:
    store_dtype = ring.check_store_dtype(dtype)
    if bank is not None:
        motion_bank.check_room(bank, slots)

    def init(
        model: CMGModel, key: jax.Array, command: Any, motion: Any = None, *, batch: int | None = None
    ) -> RollingState:
        own_bank = None if bank is None else motion_bank.own_copy(bank)
        clock, end = jnp.int32(0), jnp.int32(slots - 1)
        if own_bank is not None and motion is None:
            size = base.batch_size(command, batch)
            frames = jnp.zeros((slots, size, model.config.motion_dim), store_dtype)
            state = RollingState(frames, jnp.zeros((size, model.config.command_dim)), clock, end, own_bank)
            return take_from_bank(model, state, own_bank, jnp.ones(size, bool), key, command)
        command = base.check_command(model, command)
        motion = base.first_frames(model, key, len(command), motion)
        frames = ring.create(model, slots, motion, 0, store_dtype)
        return RollingState(ring.extend(model, frames, command, clock, slots - 1), command, clock, end, own_bank)

    def step(model: CMGModel, state: RollingState) -> tuple[RollingState, MotionFrame]:
        state = state._replace(clock=state.clock + 1)

        def fill(state: RollingState) -> RollingState:
            frames = ring.extend(model, state.frames, state.command, state.end, refill)
            return state._replace(frames=frames, end=state.end + refill)

        if refill == 1:
            state = fill(state)  # at every step
        else:
            state = lax.cond(state.end - state.clock < least, fill, lambda state: state, state)
        return state, base.to_frame(model, ring.read(state.frames, state.clock))

    def reset(
        model: CMGModel, state: RollingState, done: Any, key: jax.Array, command: Any, motion: Any = None
    ) -> RollingState:
        batch = len(state.command)
        done = base.check_mask("done", done, batch)
        if state.bank is not None and motion is None:
            return take_from_bank(model, state, state.bank, done, key, command)
        command = base.check_command(model, command, batch)
        motion = base.first_frames(model, key, batch, motion)
        frames = ring.write_rows(model, state.frames, state.clock, done, motion)
        return replan(model, state._replace(frames=frames), done, command)

    def take_from_bank(
        model: CMGModel, state: RollingState, motions: MotionBank, mask: jax.Array, key: jax.Array, command: Any
    ) -> RollingState:
        """All slots of the rows where `mask`, from a random frame of a motion on; no network call."""
        batch = len(state.command)
        motion_key, frame_key = jax.random.split(key)
        chosen = motion_bank.choose(model, motions, motion_key, command, batch)
        room = motions.frames.shape[0] - slots + 1
        first = draw_rows(lambda key, shape: jax.random.randint(key, shape, 0, room), frame_key, batch)

        def source(rows: jax.Array) -> ring.NextFrame:
            motion, frame = (array.at[rows].get(mode="clip") for array in (chosen, first))
            return lambda offset, _: motions.frames[frame + offset, motion]

        index = jnp.broadcast_to(state.clock - 1, (batch,))
        frames = ring.write_behind(state.frames, mask, index, slots, source)
        return state._replace(frames=frames, command=jnp.where(mask[:, None], motions.command[chosen], state.command))

    def set_command(model: CMGModel, state: RollingState, command: Any, changed: Any = None) -> RollingState:
        command = base.check_command(model, command, len(state.command))
        return replan(model, state, base.changed_rows(state.command, command, changed), command)

    def replan(model: CMGModel, state: RollingState, mask: jax.Array, command: jax.Array) -> RollingState:
        command = jnp.where(mask[:, None], command, state.command)
        index = jnp.broadcast_to(state.clock, mask.shape)
        frames = ring.replan(model, state.frames, command, mask, index, state.end - state.clock)
        return state._replace(frames=frames, command=command)

    def lookahead(model: CMGModel, state: RollingState, offsets: Any) -> MotionFrame:
        index = jnp.minimum(state.clock + ring.offsets_column(offsets)[:, 0], state.end)
        return base.to_frame(model, state.frames[index % slots].swapaxes(0, 1))

    # The first frame counts as served already.
    return Generator(init, step, reset, set_command, lookahead, resume=init)
