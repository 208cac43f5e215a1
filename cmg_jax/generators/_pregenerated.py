"""Pregenerated: a reset makes whole trajectories, and steps read them by index without a network call."""

import math
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from cmg_jax._errors import InputError
from cmg_jax.generators import _base, _motion_bank, _ring
from cmg_jax.generators._base import Generator, MotionFrame
from cmg_jax.model._model import CMGModel

OnEnd = Literal["loop", "hold", "extend"]


class PregeneratedState(NamedTuple):
    """Trajectories and the clock that reads them, the same for all rows."""

    frames: Float[Array, "T+1 B D"]  # normalized
    command: Float[Array, "B C"]  # physical
    start: Int[Array, "B"]  # absolute index of the first of each row's T+1 frames
    clock: Int[Array, ""]  # absolute index of the frame last served


def pregenerated(
    num_frames: int = 500,
    *,
    on_end: OnEnd = "loop",
    lookahead_frames: int = 0,
    serve_first: bool = False,
    dtype: DTypeLike = "float32",
) -> Generator[PregeneratedState]:
    """Trajectories of T frames that a reset makes, under one command each; a step only reads.

    Steps serve the T frames that follow the first frame. After them, `on_end` decides: the row begins again at its
    first frame ("loop"), repeats its last frame ("hold"), or further frames are made from its last one ("extend").
    `lookahead` follows the same rule: with "loop" and "hold" it knows every frame to come.

    A reset generates the trajectories of its rows in place, and so does a change of command, from the frame last
    served on: T network calls in sequence. Where commands change often, choose another mode.

    Args:
      num_frames: T, 1 or more. The state holds B x (T+1) x D numbers.
      on_end: "loop", "hold" or "extend".
      lookahead_frames: with "extend", frames ahead that are always known, and the horizon: fewer than T.
      serve_first: the first step after a start serves the first frame itself, as the PyTorch original does.
      dtype: of the stored frames: float32, bfloat16 or float16.

    Raises:
      InputError: a number out of range, an unknown rule or an unknown dtype.

    Examples:
      >>> command = jnp.tile(jnp.array([0.8, 0.0, 0.0]), (4, 1))  # [B, C]
      >>> generator = cmg_jax.pregenerated(num_frames=8, on_end="hold")
      >>> state = generator.init(model, jax.random.key(0), command)  # runs the network for all frames
      >>> state, frame = generator.step(model, state)  # only reads
      >>> frame.joint_vel.shape
      (4, 29)
    """
    if num_frames < 1:
        raise InputError(f"num_frames {num_frames} is less than 1")
    if on_end not in get_args(OnEnd):
        raise InputError(f"on_end {on_end!r} is not one of {', '.join(get_args(OnEnd))}")
    if not 0 <= lookahead_frames < num_frames:
        raise InputError(f"lookahead_frames {lookahead_frames} is not from 0 to {num_frames - 1}, less than num_frames")
    if lookahead_frames and on_end != "extend":
        raise InputError(f'lookahead_frames {lookahead_frames} is for "extend"; with {on_end!r} all frames are known')
    store_dtype = _ring.check_store_dtype(dtype)
    until_first = int(serve_first)

    def init(
        model: CMGModel, key: jax.Array, command: jax.Array | None, motion: jax.Array | None, num_envs: int
    ) -> PregeneratedState:
        key, command = _motion_bank.passed_or_drawn(model, key, command, num_envs)
        motion = _base.first_frames(model, key, num_envs) if motion is None else motion
        frames = _ring.create(model, num_frames + 1, motion, 0, store_dtype)
        frames = _ring.extend(model, frames, command, jnp.int32(0), num_frames)
        return PregeneratedState(frames, command, jnp.zeros(num_envs, jnp.int32), jnp.int32(-until_first))

    def step(model: CMGModel, state: PregeneratedState) -> tuple[PregeneratedState, MotionFrame]:
        if on_end == "extend":
            state = extend(model, state)
        state = state._replace(clock=state.clock + 1)
        if on_end == "hold":
            index = jnp.minimum(state.clock, state.start + num_frames)
            return state, _base.to_frame(model, _ring.read_rows(state.frames, index[None])[:, 0])
        return state, _base.to_frame(model, _ring.read(state.frames, state.clock))

    def extend(model: CMGModel, state: PregeneratedState) -> PregeneratedState:
        """Overwrite served frames with further ones, in rows where the next step would leave too few."""
        end = state.start + num_frames
        at_end = state.clock + lookahead_frames >= end
        made = num_frames - lookahead_frames
        frames = _ring.replan(model, state.frames, state.command, at_end, end, made)
        return state._replace(frames=frames, start=jnp.where(at_end, state.start + made, state.start))

    def reset(
        model: CMGModel,
        state: PregeneratedState,
        done: jax.Array,
        key: jax.Array,
        command: jax.Array | None,
        motion: jax.Array | None,
    ) -> PregeneratedState:
        num_envs, first = len(done), state.clock + until_first
        key, command = _motion_bank.passed_or_drawn(model, key, command, num_envs)
        motion = _base.first_frames(model, key, num_envs) if motion is None else motion
        frames = _ring.write_rows(model, state.frames, first, done, motion)
        return replan(model, state._replace(frames=frames, start=jnp.where(done, first, state.start)), done, command)

    def set_command(
        model: CMGModel, state: PregeneratedState, command: jax.Array, changed: jax.Array | None
    ) -> PregeneratedState:
        mask = _base.changed_rows(state.command, command, changed)
        if on_end == "hold":  # a row that repeats its last frame continues from that frame
            held = _ring.read_rows(state.frames, jnp.minimum(state.clock, state.start + num_frames)[None])[:, 0]
            kept = _ring.read(state.frames, state.clock)
            past = mask & (state.clock > state.start + num_frames)
            state = state._replace(frames=_ring.write(state.frames, state.clock, jnp.where(past[:, None], held, kept)))
        return replan(model, state, mask, command)

    def replan(model: CMGModel, state: PregeneratedState, mask: jax.Array, command: jax.Array) -> PregeneratedState:
        """New trajectories from the frame last served, or from a first frame that waits to be served."""
        command = jnp.where(mask[:, None], command, state.command)
        start = jnp.where(mask, jnp.maximum(state.clock, state.start), state.start)
        frames = _ring.replan(model, state.frames, command, mask, start, num_frames)
        return state._replace(frames=frames, command=command, start=start)

    def lookahead(model: CMGModel, state: PregeneratedState, offsets: jax.Array | np.ndarray) -> MotionFrame:
        index = jnp.maximum(state.clock + offsets[:, None], state.start[None])
        if on_end == "hold":
            index = jnp.minimum(index, state.start[None] + num_frames)
        return _base.to_frame(model, _ring.read_rows(state.frames, index))

    return _base.checked(
        init=init,
        step=step,
        reset=reset,
        set_command=set_command,
        lookahead=lookahead,
        horizon=lookahead_frames if on_end == "extend" else math.inf,
    )
