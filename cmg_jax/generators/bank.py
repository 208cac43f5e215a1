"""Bank: every row plays motions of a shared pool; the rollout never runs the network."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from cmg_jax import normalization
from cmg_jax.errors import InputError
from cmg_jax.generators import base, motion_bank, ring
from cmg_jax.generators.base import Generator, MotionFrame
from cmg_jax.generators.motion_bank import MotionBank
from cmg_jax.generators.rows import draw_rows
from cmg_jax.model import CMGModel


class BankState(NamedTuple):
    bank: MotionBank
    motion_index: jax.Array  # [B] int32
    frame_index: jax.Array  # [B] int32, of the frame last served
    command: jax.Array  # [B, C] physical: the command that each row's motion was made under


def bank(motions: MotionBank, *, lookahead_frames: int = 0) -> Generator:
    """A generator that reads motions of `build_bank`.

    A row plays one motion from a random frame on, at least `lookahead_frames` before its end, and begins
    it again when it gets there: motions are fixed, so there the reference jumps. `command` may be None
    in `init` and `reset`: then a motion is drawn whose command lies within the bank's range; otherwise
    the row takes the motion whose command is nearest (in units of the trained range). `set_command`
    jumps to the nearest motion too; the state's `command` is always the one that the motion obeys.
    `motion` cannot be given. `lookahead` goes on through the motion where the row will begin again, and
    repeats its last frame past its end. `resume` goes on from the frame of the nearest motion that is
    most like the given one.

    Args:
      motions: the pool. The state holds a copy, so that a jitted rollout takes it as an argument.
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
        size = base.batch_size(command, batch)
        zero = jnp.zeros(size, jnp.int32)
        state = BankState(motion_bank.own_copy(motions), zero, zero, jnp.zeros((size, model.config.command_dim)))
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
        chosen = motion_bank.choose(model, state.bank, motion_key, command, batch)
        # One before a frame drawn: the step serves the frame behind the index.
        start = draw_rows(lambda key, shape: jax.random.randint(key, shape, -1, last_start), frame_key, batch)
        return _play(state, done, chosen, start)

    def set_command(model: CMGModel, state: BankState, command: Any, changed: Any = None) -> BankState:
        command = base.check_command(model, command, len(state.command))
        mask = base.changed_rows(state.command, command, changed)
        chosen = jax.lax.cond(
            mask.any(),
            lambda: motion_bank.nearest_motion(model, state.bank, command),
            lambda: state.motion_index,
        )
        # Of motions that are equally near, the one that plays.
        same = (state.bank.command[chosen] == state.command).all(axis=-1)
        return _play(state, mask & ~same, chosen, state.frame_index)

    def lookahead(model: CMGModel, state: BankState, offsets: Any) -> MotionFrame:
        index = jnp.clip(state.frame_index[:, None] + ring.offsets_column(offsets)[None, :, 0], 0, num_frames - 1)
        return base.to_frame(model, state.bank.frames[index, state.motion_index[:, None]])

    def resume(model: CMGModel, key: jax.Array, command: Any, motion: Any) -> BankState:
        state = init(model, key, base.check_command(model, command))
        frame = normalization.normalize_motion(model.stats, base.first_frames(model, key, len(state.command), motion))
        frame_index = motion_bank.nearest_frame(state.bank, state.motion_index, frame, max(last_start, 1))
        return state._replace(frame_index=frame_index)

    return Generator(init, step, reset, set_command, lookahead, resume)


def _play(state: BankState, mask: jax.Array, motion: jax.Array, frame: jax.Array) -> BankState:
    motion_index = jnp.where(mask, motion, state.motion_index)
    frame_index = jnp.where(mask, frame, state.frame_index)
    return state._replace(motion_index=motion_index, frame_index=frame_index, command=state.bank.command[motion_index])
