"""Pregenerated: whole trajectories at reset, read by index; no network call in between."""

from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from cmg_jax.errors import InputError
from cmg_jax.generators import base, ring
from cmg_jax.generators.base import Generator, MotionFrame
from cmg_jax.model import CMGModel

OnEnd = Literal["loop", "hold", "extend"]


class PregeneratedState(NamedTuple):
    frames: jax.Array  # [T+1, B, D] normalized
    command: jax.Array  # [B, C] physical
    start: jax.Array  # [B] int32, absolute index of each row's frame 0
    clock: jax.Array  # [] int32, absolute index of the frame last served


def pregenerated(num_frames: int = 500, *, on_end: OnEnd = "loop", dtype: Any = "float32") -> Generator:
    """Trajectories of T frames made at reset, under one command each; a step is a read.

    The first step serves the first frame itself, the next ones the T frames after it. Then, by `on_end`,
    the row begins again at its first frame ("loop", as the PyTorch original does), repeats its last
    frame ("hold"), or has T further frames made from its last one ("extend"). `lookahead` follows the
    same rule, but knows nothing past the end with "extend" and repeats the last frame.

    A reset makes its rows' trajectories anew, in place, and so does a change of command, from the frame
    last served on: T network calls in sequence. Where commands change often, choose another mode.

    Args:
      num_frames: T, 1 or more. The state holds B x (T+1) x D numbers.
      on_end: "loop", "hold" or "extend".
      dtype: of the stored frames: float32, bfloat16 or float16.

    Raises:
      InputError: another number, rule or dtype.
    """
    if num_frames < 1:
        raise InputError(f"num_frames {num_frames} is less than 1")
    if on_end not in get_args(OnEnd):
        raise InputError(f"on_end {on_end!r} is not one of {', '.join(get_args(OnEnd))}")
    store_dtype = ring.check_store_dtype(dtype)

    def init(model: CMGModel, key: jax.Array, command: Any, motion: Any = None) -> PregeneratedState:
        command = base.check_command(model, command)
        batch = len(command)
        motion = base.first_frames(model, key, batch, motion)
        frames = ring.create(model, num_frames + 1, motion, 0, store_dtype)
        frames = ring.extend(model, frames, command, jnp.int32(0), num_frames)
        return PregeneratedState(frames, command, jnp.zeros(batch, jnp.int32), jnp.int32(-1))

    def step(model: CMGModel, state: PregeneratedState) -> tuple[PregeneratedState, MotionFrame]:
        if on_end == "extend":
            at_end = state.clock >= state.start + num_frames
            state = replan(model, state, at_end, state.command)
        state = state._replace(clock=state.clock + 1)
        if on_end == "hold":
            index = jnp.minimum(state.clock, state.start + num_frames)
            return state, base.to_frame(model, ring.read_rows(state.frames, index[None])[:, 0])
        return state, base.to_frame(model, ring.read(state.frames, state.clock))

    def reset(
        model: CMGModel, state: PregeneratedState, done: Any, key: jax.Array, command: Any, motion: Any = None
    ) -> PregeneratedState:
        batch = len(state.command)
        done, command = base.check_mask("done", done, batch), base.check_command(model, command, batch)
        motion = base.first_frames(model, key, batch, motion)
        frames = ring.write_rows(model, state.frames, state.clock + 1, done, motion)
        start = jnp.where(done, state.clock + 1, state.start)
        return replan(model, state._replace(frames=frames, start=start), done, command)

    def set_command(model: CMGModel, state: PregeneratedState, command: Any, changed: Any = None) -> PregeneratedState:
        command = base.check_command(model, command, len(state.command))
        mask = base.changed_rows(state.command, command, changed)
        if on_end == "hold":  # a row that holds goes on from the frame it holds
            held = ring.read_rows(state.frames, jnp.minimum(state.clock, state.start + num_frames)[None])[:, 0]
            kept = ring.read(state.frames, state.clock)
            past = mask & (state.clock > state.start + num_frames)
            state = state._replace(frames=ring.write(state.frames, state.clock, jnp.where(past[:, None], held, kept)))
        return replan(model, state, mask, command)

    def replan(model: CMGModel, state: PregeneratedState, mask: jax.Array, command: jax.Array) -> PregeneratedState:
        """New trajectories from the frame last served, or from the first frame where none was."""
        command = jnp.where(mask[:, None], command, state.command)
        start = jnp.where(mask, jnp.maximum(state.clock, state.start), state.start)
        frames = ring.replan(model, state.frames, command, mask, start, num_frames)
        return state._replace(frames=frames, command=command, start=start)

    def lookahead(model: CMGModel, state: PregeneratedState, offsets: Any) -> MotionFrame:
        index = jnp.maximum(state.clock + ring.offsets_column(offsets), state.start[None])
        if on_end != "loop":
            index = jnp.minimum(index, state.start[None] + num_frames)
        return base.to_frame(model, ring.read_rows(state.frames, index))

    def resume(model: CMGModel, key: jax.Array, command: Any, motion: Any) -> PregeneratedState:
        return init(model, key, command, motion)._replace(clock=jnp.int32(0))

    return Generator(init, step, reset, set_command, lookahead, resume)
