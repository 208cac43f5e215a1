"""Streaming and realtime: a ring of frames that is refilled as frames are served.

The two differ only in when they refill: streaming makes one frame a step, realtime half a buffer
whenever fewer than half are left. Either way all rows share one clock, so the refill is decided once
for the batch.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from cmg_jax._errors import InputError
from cmg_jax.generators import _base, _motion_bank, _ring
from cmg_jax.generators._base import Generator, MotionFrame
from cmg_jax.generators._rows import draw_rows, update_if, update_rows
from cmg_jax.model._model import CMGModel


class RollingState(NamedTuple):
    """The ring of frames of `streaming` and `realtime`, and its clock, the same for all rows."""

    frames: Float[Array, "N B D"]  # normalized
    command: Float[Array, "B C"]  # physical
    clock: Int[Array, ""]  # absolute index of the frame last served
    end: Int[Array, ""]  # absolute index of the last frame known


def streaming(
    lookahead_frames: int = 20, *, dtype: DTypeLike = "float32", from_bank: bool = False
) -> Generator[RollingState]:
    """One new frame a step. The next L frames are always known, and no step takes longer than another.

    A reset or a change of command makes the L frames of its rows again: L network calls in sequence on
    those rows.

    With `from_bank`, `init` and `reset` without `motion` take a frame of one of the motions of `model.bank`, the
    command that it was made under and its next L frames, and never run the network. The motion is
    chosen as `cmg_jax.replay` chooses it: the one with the nearest command, or where `command` is None one drawn
    from the range. The state's `command` is the one that it was made under.

    Args:
      lookahead_frames: L, 0 or more, and the horizon. The state holds B x (L+1) x D numbers.
      dtype: of the stored frames: float32, bfloat16 or float16.
      from_bank: start from motions of the model's bank, which must have more than L frames.

    Raises:
      InputError: a negative L or an unknown dtype. `init` and `reset` raise it for a bank of shorter motions.

    Examples:
      >>> command = jnp.tile(jnp.array([0.8, 0.0, 0.0]), (4, 1))  # [B, C]
      >>> generator = cmg_jax.streaming(lookahead_frames=5)
      >>> state = generator.init(model, jax.random.key(0), command)
      >>> state, frame = generator.step(model, state)
      >>> frame.joint_pos.shape
      (4, 29)
      >>> generator.lookahead(model, state, (1, 5)).joint_pos.shape
      (4, 2, 29)
    """
    if lookahead_frames < 0:
        raise InputError(f"lookahead_frames {lookahead_frames} is negative")
    return _rolling(lookahead_frames + 1, refill=1, least=lookahead_frames, dtype=dtype, from_bank=from_bank)


def realtime(
    buffer_frames: int = 100, *, dtype: DTypeLike = "float32", from_bank: bool = False
) -> Generator[RollingState]:
    """A buffer of K frames. Whenever fewer than half of them are left, one step makes another half.

    A reset or a change of command makes the remaining frames of its rows again: K/2 to K network calls
    in sequence on those rows. K/2 frames of look-ahead are always known: the horizon.

    Args:
      buffer_frames: K, 2 or more. The state holds B x K x D numbers.
      dtype: of the stored frames: float32, bfloat16 or float16.
      from_bank: start from motions of the model's bank, as in `streaming`; they must have K frames or more.

    Raises:
      InputError: fewer than 2 frames or an unknown dtype. `init` and `reset` raise it for a bank of shorter motions.

    Examples:
      >>> command = jnp.tile(jnp.array([0.8, 0.0, 0.0]), (4, 1))  # [B, C]
      >>> generator = cmg_jax.realtime(buffer_frames=8)
      >>> state = generator.init(model, jax.random.key(0), command)
      >>> state, frame = generator.step(model, state)
      >>> generator.horizon
      4
    """
    if buffer_frames < 2:
        raise InputError(f"buffer_frames {buffer_frames} is less than 2")
    half = buffer_frames // 2
    return _rolling(buffer_frames, refill=half, least=half, dtype=dtype, from_bank=from_bank)


def _rolling(slots: int, *, refill: int, least: int, dtype: DTypeLike, from_bank: bool) -> Generator[RollingState]:
    store_dtype = _ring.check_store_dtype(dtype)

    def init(
        model: CMGModel, key: jax.Array, command: jax.Array | None, motion: jax.Array | None, num_envs: int
    ) -> RollingState:
        clock, end = jnp.int32(0), jnp.int32(slots - 1)
        if from_bank and motion is None:
            frames = jnp.zeros((slots, num_envs, model.config.motion_dim), store_dtype)
            zero = jnp.zeros((num_envs, model.config.command_dim), jnp.float32)
            state = RollingState(frames, zero, clock, end)
            return take_from_bank(model, state, jnp.ones(num_envs, bool), key, command)
        key, command = _motion_bank.passed_or_drawn(model, key, command, num_envs)
        motion = _base.first_frames(model, key, num_envs) if motion is None else motion
        frames = _ring.create(model, slots, motion, 0, store_dtype)
        return RollingState(_ring.extend(model, frames, command, clock, slots - 1), command, clock, end)

    def step(model: CMGModel, state: RollingState) -> tuple[RollingState, MotionFrame]:
        state = state._replace(clock=state.clock + 1)

        def fill(state: RollingState) -> RollingState:
            frames = _ring.extend(model, state.frames, state.command, state.end, refill)
            return state._replace(frames=frames, end=state.end + refill)

        # With a refill of one frame, at every step.
        state = fill(state) if refill == 1 else update_if(state.end - state.clock < least, fill, state)
        return state, _base.to_frame(model, _ring.read(state.frames, state.clock))

    def reset(
        model: CMGModel,
        state: RollingState,
        done: jax.Array,
        key: jax.Array,
        command: jax.Array | None,
        motion: jax.Array | None,
    ) -> RollingState:
        if from_bank and motion is None:
            return take_from_bank(model, state, done, key, command)
        key, command = _motion_bank.passed_or_drawn(model, key, command, len(done))
        motion = _base.first_frames(model, key, len(done)) if motion is None else motion
        frames = _ring.write_rows(model, state.frames, state.clock, done, motion)
        return replan(model, state._replace(frames=frames), done, command)

    def take_from_bank(
        model: CMGModel, state: RollingState, mask: jax.Array, key: jax.Array, command: jax.Array | None
    ) -> RollingState:
        """Fill the rows where `mask` with frames of a motion, from a random one on, without a network call."""
        num_envs, bank = len(mask), _motion_bank.bank_of(model, slots)
        motion_key, frame_key = jax.random.split(key)
        chosen = _motion_bank.choose(model, bank, mask, motion_key, command, jnp.zeros(num_envs, jnp.int32))
        room = bank.frames.shape[0] - slots + 1
        first = draw_rows(lambda key, shape: jax.random.randint(key, shape, 0, room, jnp.int32), frame_key, num_envs)
        # Of each slot's frame from the one last served.
        offset = (jnp.arange(slots, dtype=jnp.int32) - state.clock) % slots

        def update(frames: jax.Array, rows: jax.Array) -> jax.Array:
            motion, frame = (array.at[rows].get(mode="clip") for array in (chosen, first))
            taken = bank.frames.at[frame[None] + offset[:, None], motion[None]].get(mode="clip")
            return frames.at[:, rows].set(taken.astype(frames.dtype), mode="drop")

        frames = update_rows(mask, state.frames, update)
        return state._replace(frames=frames, command=jnp.where(mask[:, None], bank.command[chosen], state.command))

    def set_command(
        model: CMGModel, state: RollingState, command: jax.Array, changed: jax.Array | None
    ) -> RollingState:
        return replan(model, state, _base.changed_rows(state.command, command, changed), command)

    def replan(model: CMGModel, state: RollingState, mask: jax.Array, command: jax.Array) -> RollingState:
        command = jnp.where(mask[:, None], command, state.command)
        index = jnp.broadcast_to(state.clock, mask.shape)
        frames = _ring.replan(model, state.frames, command, mask, index, known_ahead(state))
        return state._replace(frames=frames, command=command)

    def known_ahead(state: RollingState) -> jax.Array | int:
        """Frames to replan: all that are known, or on an accelerator as many as the ring holds, since a number that is
        not known when compiling is read by the host at every turn of a loop. Frames beyond `end` are never read."""
        if refill == 1:
            return least
        ahead = state.end - state.clock
        return lax.platform_dependent(ahead, cpu=lambda ahead: ahead, default=lambda _: jnp.int32(slots - 1))

    def lookahead(model: CMGModel, state: RollingState, offsets: jax.Array | np.ndarray) -> MotionFrame:
        return _base.to_frame(model, state.frames[(state.clock + offsets) % slots].swapaxes(0, 1))

    return _base.checked(init=init, step=step, reset=reset, set_command=set_command, lookahead=lookahead, horizon=least)
