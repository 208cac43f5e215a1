"""For the tests of the wrapper: a wrapped environment and a rollout of it."""

import functools

import jax
import numpy as np

import cmg_jax
from cmg_jax import commands
from cmg_jax.envs import ReferenceSource, make_wrap_env_fn
from tests.tiny_envs import OFFSETS

BATCH, STEPS, HOLD, RAMP, EPISODE = 11, 300, 7, 3, 40
RANGE = commands.CommandRange(np.array([-1.0, -0.5, -2.0], np.float32), np.array([1.5, 0.5, 2.0], np.float32))
KEYS = jax.random.split(jax.random.PRNGKey(5), BATCH)


def draw(key, num_envs):
    return commands.uniform(key, RANGE, num_envs)


def wrapped(env, model, generator=None, *, hold=HOLD, lookahead=OFFSETS, **options):
    names = ("episode_length", "action_repeat", "randomization_fn")
    outer = {name: options.pop(name) for name in names if name in options}
    generator = generator or cmg_jax.streaming(3)
    full_reset = options.pop("full_reset", False)
    source = ReferenceSource(
        model, generator, draw, commands.ramp(RAMP), hold_interval=(hold, hold), lookahead=lookahead, **options
    )
    return make_wrap_env_fn(source, full_reset=full_reset)(env, **{"episode_length": EPISODE, **outer})


def summary(state):
    return {"obs": state.obs, "reward": state.reward, "done": state.done} | {
        name: state.info[name] for name in ("reference", "steps", "count", "arrived")
    }


@functools.partial(jax.jit, static_argnums=0)
def unroll(env, state, actions):
    def step(state, action):
        state = env.step(state, action)
        return state, summary(state)

    return jax.lax.scan(step, state, actions)


def actions_of(seed, steps=STEPS, batch=BATCH):
    """Small actions; episodes end at random, once in all rows together, and for a while in none."""
    rng = np.random.default_rng(seed)
    actions = rng.normal(size=(steps, batch, 3)).astype(np.float32) * 0.1
    actions[..., 2] = np.where(rng.random((steps, batch)) < 0.06, 1.0, -1.0)
    actions[steps // 2, :, 2] = 1.0
    actions[steps // 2 + 5 : steps // 2 + 5 + 2 * EPISODE, :, 2] = -1.0
    return actions
