"""Motion under commands from standing: of a model's network, or, without one, of its library by motion matching."""

from typing import Any

import jax
import jax.numpy as jnp

from cmg_jax import _rollout
from cmg_jax.generators import matching
from cmg_jax.generators._base import standing_frame
from cmg_jax.model._model import CMGModel
from cmg_jax.robot import join_frame

State = Any
"""What the next frame follows from: the last frame [B, D], or the state of `cmg_jax.matching`."""

MATCHING = matching(start="standing")


def begin(model: CMGModel, num_envs: int) -> tuple[State, jax.Array]:
    """Robots that stand: their state and their frames [B, D]."""
    if model.params:
        frames = jnp.broadcast_to(standing_frame(model), (num_envs, model.config.motion_dim))
        return frames, frames
    assert model.library is not None
    standing = model.library.frames[model.library.standing_index]
    state = MATCHING.init(model, jax.random.key(0), jnp.zeros((num_envs, 3), jnp.float32))
    return state, jnp.broadcast_to(standing, (num_envs, len(standing)))


def play(model: CMGModel, state: State, commands: jax.Array) -> tuple[State, jax.Array]:
    """The next frames [B, T, D] under commands [B, T, 3], and the state after them."""
    if model.params:
        frames = _rollout.generate(model, state, commands)[:, 1:]
        return frames[:, -1], frames

    def step(state: State, command: jax.Array) -> tuple[State, jax.Array]:
        state, frame = MATCHING.step(model, MATCHING.set_command(model, state, command))
        return state, join_frame(frame)

    state, frames = jax.lax.scan(step, state, commands.swapaxes(0, 1))
    return state, frames.swapaxes(0, 1)
