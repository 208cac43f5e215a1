"""Motion under commands: of a model's network, or, without one, of its library by motion matching."""

from typing import Any

import jax
import jax.numpy as jnp

from cmg_jax import _rollout
from cmg_jax.generators import matching
from cmg_jax.generators._base import first_frames, standing_frame
from cmg_jax.model._model import CMGModel
from cmg_jax.robot import join_frame

State = Any
"""What the next frame follows from: the last frame [B, D], or the state of `cmg_jax.matching`."""

STANDING, ANYWHERE = matching(start="standing"), matching()


def begin(model: CMGModel, num_envs: int, key: jax.Array | None = None) -> tuple[State, jax.Array]:
    """Robots that stand, or with a key begin at random frames of the model: their state and their frames [B, D]."""
    if model.params:
        frames = standing_frame(model) if key is None else first_frames(model, key, num_envs)
        frames = jnp.broadcast_to(frames, (num_envs, model.config.motion_dim))
        return frames, frames
    generator = STANDING if key is None else ANYWHERE
    zero = jnp.zeros((num_envs, 3), jnp.float32)
    state = generator.init(model, jax.random.key(0) if key is None else key, zero)
    return state, join_frame(generator.lookahead(model, state, (0,)))[:, 0]


def play(model: CMGModel, state: State, commands: jax.Array) -> tuple[State, jax.Array]:
    """The next frames [B, T, D] under commands [B, T, 3], and the state after them."""
    if model.params:
        frames = _rollout.generate(model, state, commands)[:, 1:]
        return frames[:, -1], frames

    def step(state: State, command: jax.Array) -> tuple[State, jax.Array]:
        state, frame = STANDING.step(model, STANDING.set_command(model, state, command))
        return state, join_frame(frame)

    state, frames = jax.lax.scan(step, state, commands.swapaxes(0, 1))
    return state, frames.swapaxes(0, 1)


def trajectory(model: CMGModel, state: State, first: jax.Array, commands: jax.Array) -> jax.Array:
    """What `begin` gives and the frames after it, [B, T+1, D], under commands [B, T, 3]."""
    if model.params:
        return _rollout.generate(model, first, commands)
    return jnp.concatenate([first[:, None], play(model, state, commands)[1]], axis=1)
