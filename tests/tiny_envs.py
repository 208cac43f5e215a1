"""Environments of Brax and of Playground without physics, all of whose numbers a test can predict."""
# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false
# pyright: reportAttributeAccessIssue=false, reportAssignmentType=false

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
from brax.envs.base import Env
from brax.envs.base import State as BraxState
from mujoco_playground import MjxEnv
from mujoco_playground import State as MjxState

from cmg_jax.envs import empty_reference

JOINTS = 3
OFFSETS = (1, 3)


class _Tiny:
    """x moves by the action's first two numbers times a gain; a third number above 0 ends the episode.

    obs: x [2], joint_pos [J], the joint positions to come [2 x J], the command [3]; J is 3 unless it is changed.
    reward: the sum of the reference's joint positions. info["count"]: steps, which auto-reset may keep.
    info["arrived"]: the command of the reference in the last step.
    """

    gain: Any
    joints = JOINTS
    contacts = False
    """Whether the feet of the model's robot are known."""
    seen: tuple[str, ...] = ()
    """Keys of the info in the last step."""

    def first(self, rng: jax.Array) -> tuple[Any, ...]:
        x = jax.random.uniform(rng, (2,), minval=10.0, maxval=11.0)
        info = {"reference": empty_reference(num_joints=self.joints, lookahead=len(OFFSETS), contacts=self.contacts)}
        info |= {"count": jnp.zeros(()), "arrived": jnp.zeros(3, jnp.float32)}
        return {"x": x}, self.observe(x), info

    def move(self, data: Any, info: dict[str, Any], action: jax.Array) -> tuple[Any, ...]:
        type(self).seen = tuple(info)
        x = data["x"] + self.gain * action[:2]
        info["count"], info["arrived"] = info["count"] + 1, info["reference"].command
        reward = info["reference"].joint_pos.sum()
        return {"x": x}, self.observe(x), reward.astype(float), (action[2] > 0).astype(float)

    def observe(self, x: jax.Array) -> jax.Array:
        return jnp.concatenate([x, jnp.full(self.joints * (1 + len(OFFSETS)) + 3, -99.0)])

    def write_reference(self, obs: jax.Array, reference: Any) -> jax.Array:
        part = [reference.joint_pos, reference.ahead.joint_pos.reshape(-1), reference.command]
        return obs.at[2:].set(jnp.concatenate(part))

    @property
    def action_size(self) -> int:
        return 3


class BeginsOnReference:
    """A mixin: the hook moves x by the planar velocity of the reference, and keeps its root and its frame."""

    contacts = True

    def first(self, rng):
        data, obs, info = super().first(rng)  # pyright: ignore
        data |= {"joints": jnp.zeros(2 * self.joints), "root": jnp.zeros(13), "feet": jnp.zeros(2, bool)}
        return data, obs, info

    def move(self, data, info, action):
        moved, *rest = super().move(data, info, action)  # pyright: ignore
        return data | moved, *rest

    def begin_on_reference(self, state, reference):
        begun = {
            "x": self._data(state)["x"] + reference.root.linear_velocity[:2],
            "joints": jnp.concatenate([reference.joint_pos, reference.joint_vel]),
            "root": jnp.concatenate(reference.root),
            "feet": reference.contacts,
        }
        changes = {self.data_name: begun, "obs": self.observe(begun["x"])}  # pyright: ignore
        return state.replace(**changes)

    def _data(self, state):
        return getattr(state, self.data_name)  # pyright: ignore


class TinyBrax(_Tiny, Env):
    backend = "none"
    data_name = "pipeline_state"

    def __init__(self):
        self.sys = {"gain": jnp.ones(())}

    @property
    def observation_size(self):
        return 2 + self.joints * (1 + len(OFFSETS)) + 3

    @property
    def gain(self):
        return self.sys["gain"]

    def reset(self, rng):
        data, obs, info = self.first(rng)
        return BraxState(data, obs, jnp.zeros(()), jnp.zeros(()), {"x": data["x"][0]}, info)

    def step(self, state, action):
        data, obs, reward, done = self.move(state.pipeline_state, state.info, action)
        metrics = state.metrics | {"x": data["x"][0]}
        return state.replace(pipeline_state=data, obs=obs, reward=reward, done=done, metrics=metrics)


class TinyMjx(_Tiny, MjxEnv):
    data_name = "data"

    def __init__(self, dt: float = 0.02):
        self._ctrl_dt = self._sim_dt = dt
        self._mjx_model = {"gain": jnp.ones(())}

    @property
    def gain(self):
        return self._mjx_model["gain"]

    def reset(self, rng):
        data, obs, info = self.first(rng)
        return MjxState(data, obs, jnp.zeros(()), jnp.zeros(()), {"x": data["x"][0]}, info)

    def step(self, state, action):
        data, obs, reward, done = self.move(state.data, state.info, action)
        metrics = state.metrics | {"x": data["x"][0]}
        return state.replace(data=data, obs=obs, reward=reward, done=done, metrics=metrics)

    @property
    def xml_path(self):
        return ""

    @property
    def mj_model(self):
        return SimpleNamespace()

    @property
    def mjx_model(self):
        return self._mjx_model


class BeginsBrax(BeginsOnReference, TinyBrax):
    pass


class BeginsMjx(BeginsOnReference, TinyMjx):
    pass


def randomized(model: Any, rng: jax.Array) -> tuple[Any, Any]:
    """A randomization function: a different gain for every row."""
    gain = jax.vmap(lambda key: jax.random.uniform(key, minval=0.5, maxval=2.0))(rng)
    return {"gain": gain}, {"gain": 0}
