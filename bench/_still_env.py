"""An environment without physics, so that a program of the wrapper holds little but the wrapper."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from brax.envs.base import Env, State

from cmg_jax.commands import _sampler, ramp
from cmg_jax.envs import ReferenceSource, empty_reference, make_wrap_env_fn
from cmg_jax.envs._wrapper import ReferenceMotionWrapper
from cmg_jax.generators._base import Generator
from cmg_jax.model._model import CMGModel

LOOKAHEAD = (1, 5)


class StillEnv(Env):
    """obs: the joint positions of the reference; reward: their distance from the action."""

    def __init__(self, num_joints: int):
        self._num_joints = num_joints

    def reset(self, rng: jax.Array) -> State:
        reference = empty_reference(num_joints=self._num_joints, lookahead=len(LOOKAHEAD))
        x, zero = jax.random.uniform(rng, (self._num_joints,)), jnp.zeros(())
        return State({"x": x}, x, zero, zero, {}, {"reference": reference})  # pyright: ignore[reportArgumentType]

    def step(self, state: State, action: jax.Array) -> State:
        distance = jnp.square(state.info["reference"].joint_pos - action).sum()
        x = state.pipeline_state["x"] + action  # pyright: ignore
        state = dataclasses.replace(state, pipeline_state={"x": x}, obs=x)  # pyright: ignore[reportArgumentType]
        return dataclasses.replace(state, reward=-distance, done=(distance > 1e3).astype(jnp.float32))

    def write_reference(self, obs: jax.Array, reference: Any) -> jax.Array:
        return obs.at[:].set(reference.joint_pos)

    @property
    def observation_size(self) -> int:
        return self._num_joints

    @property
    def action_size(self) -> int:
        return self._num_joints

    @property
    def backend(self) -> str:
        return "none"


def wrapped(model: CMGModel, generator: Generator[Any]) -> ReferenceMotionWrapper:
    trained = _sampler.trained_range(model)
    source = ReferenceSource(
        model, generator, lambda key, n: _sampler.uniform(key, trained, n), ramp(), lookahead=LOOKAHEAD
    )
    return make_wrap_env_fn(source)(StillEnv(model.config.robot.num_joints))
