# pyright: reportAttributeAccessIssue=false
"""Rollouts of the tracking environment under the wrapper, with a fixed base and with a floating one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("brax")

import cmg_jax
from cmg_jax import commands
from cmg_jax.envs import ReferenceSource, make_wrap_env_fn
from cmg_jax.rl import G1Tracking, domain_randomize
from cmg_jax.robot import G1
from cmg_jax.robot._rotation import rotate

# Physics of the whole robot takes a minute to compile.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("allow_mixed_dtypes")]
BATCH, STEPS = 3, 12
RANGE = commands.CommandRange(np.array([0.3, -0.2, -0.5], np.float32), np.array([0.9, 0.2, 0.5], np.float32))


def tracking(model, env):
    model = dataclasses.replace(model, initial_motion=None)
    generator = cmg_jax.streaming(max(env.wrapping["lookahead"]))
    source = ReferenceSource(
        model, generator, lambda key, n: commands.uniform(key, RANGE, n), hold_interval=(5, 9), **env.wrapping
    )
    return make_wrap_env_fn(source)


@pytest.fixture(scope="module")
def rollout(policy_model):
    """Randomized robots with a fixed base, some actions, and one row whose simulation diverges."""
    env = G1Tracking()
    keys = jax.random.split(jax.random.PRNGKey(2), BATCH)
    wrapped = tracking(policy_model, env)(env, 100, randomization_fn=lambda model: domain_randomize(model, keys))
    actions = 0.1 * np.random.default_rng(0).normal(size=(STEPS, BATCH, 29)).astype(np.float32)
    actions[STEPS - 1, 1] = np.nan

    def play(keys, actions):
        state = wrapped.reset(keys)

        def step(state, action):
            state = wrapped.step(state, action)
            info = {"reference": state.info["reference"]}
            return state, (state.obs, state.reward, state.done, state.metrics, state.data.qpos, info["reference"])

        return state.obs, jax.lax.scan(step, state, actions)[1]

    return env, actions, jax.tree.map(np.asarray, jax.jit(play)(keys, actions))


def test_the_observation_of_the_policy(rollout):
    env, actions, (first, (obs, _, done, _, qpos, reference)) = rollout
    standing = G1.standing_joint_pos
    alive = done == 0
    np.testing.assert_allclose(obs[..., :29][alive], (qpos - standing)[alive], atol=1e-5)
    np.testing.assert_allclose(obs[..., 58:87][alive], actions[alive], atol=1e-6)
    ahead = reference.ahead.joint_pos - standing
    expected = [reference.joint_pos - standing, reference.joint_vel * 0.1, ahead.reshape(*ahead.shape[:2], -1)]
    np.testing.assert_allclose(obs[..., 87:], np.concatenate([*expected, reference.command], -1), atol=1e-5)
    np.testing.assert_array_equal(first[:, 58:87], 0)
    assert first.shape[-1] == obs.shape[-1] == env.observation_size


def test_the_robot_follows_and_is_rewarded_for_it(rollout):
    env, _, (_, (_, reward, done, metrics, _, _)) = rollout
    alive = done == 0
    assert (metrics["joint_error"][alive] < 0.25).all()
    terms = [value for name, value in metrics.items() if name.startswith("reward/")]
    np.testing.assert_allclose(reward, np.sum(terms, axis=0) * env.dt, rtol=1e-4)
    assert (metrics["reward/joint_pos"][alive] > 0).all()
    assert (metrics["reward/key_bodies"][alive] > 0).all()
    assert len(np.unique(metrics["reward/effort"][0])) == BATCH, "no robot differs from another"


def test_a_simulation_that_diverges_is_reset(rollout):
    env, _, (first, (obs, reward, done, metrics, qpos, _)) = rollout
    np.testing.assert_array_equal(done[-1], [0, 1, 0])
    assert all(np.isfinite(array).all() for array in (obs, reward, qpos, *metrics.values()))
    np.testing.assert_allclose(obs[-1, 1, :87], first[1, :87], atol=1e-6)
    np.testing.assert_allclose(reward[-1, 1], env._config.rewards.termination * env.dt, rtol=1e-5)


def test_the_floating_variant_keeps_its_structure_under_scan(policy_model):
    env = G1Tracking(config_overrides={"floating": True, "lookahead": (2,), "rewards.key_bodies": 0.0})
    wrapped = tracking(policy_model, env)(env, 100)
    state = jax.eval_shape(wrapped.reset, jax.ShapeDtypeStruct((4, 2), jnp.uint32))
    after = jax.eval_shape(wrapped.step, state, jax.ShapeDtypeStruct((4, 29), jnp.float32))
    assert jax.tree.structure(after) == jax.tree.structure(state)
    jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype) or pytest.fail(f"{a} {b}"), after, state)
    assert state.info["reference"].bodies is None


@pytest.fixture(scope="module")
def floating(root_model):
    """A floating base and a model with a root; every episode ends after three steps."""
    env = G1Tracking(config_overrides={"floating": True, "lookahead": (2,), "reset_noise": 0.0})
    source = ReferenceSource(
        root_model, cmg_jax.streaming(2), lambda key, n: commands.uniform(key, RANGE, n), **env.wrapping
    )
    wrapped = make_wrap_env_fn(source)(env, 3)
    actions = 0.05 * np.random.default_rng(0).normal(size=(5, BATCH, 29)).astype(np.float32)

    def seen(state):
        bodies = (
            jax.vmap(env._physics.body_positions)(state.data),
            state.info["reference"].bodies_in_world.poses.position,
        )
        rewards = state.reward, state.done, state.metrics
        return state.obs, state.data.qpos, state.data.qvel, bodies, state.info["reference"], rewards

    def play(keys, actions):
        def step(state, action):
            state = wrapped.step(state, action)
            return state, seen(state)

        state = wrapped.reset(keys)
        return seen(state), jax.lax.scan(step, state, actions)[1]

    return env, jax.tree.map(np.asarray, jax.jit(play)(jax.random.split(jax.random.PRNGKey(2), BATCH), actions))


def test_a_floating_base_begins_where_its_reference_is_and_as_fast(floating):
    _, (first, steps) = floating
    *_, (_, done, _) = steps
    np.testing.assert_array_equal(done[2], 1)
    for obs, qpos, qvel, (found, expected), reference, _ in (first, jax.tree.map(lambda leaf: leaf[2], steps)):
        root = reference.root
        np.testing.assert_allclose(qpos, np.concatenate([*root[:2], reference.joint_pos], axis=-1), atol=1e-6)
        np.testing.assert_allclose(qvel[:, :3], root.linear_velocity, atol=1e-6)
        np.testing.assert_allclose(qvel[:, 6:], reference.joint_vel, atol=1e-6)
        turning = rotate(jnp.asarray(qpos[:, 3:7]), jnp.asarray(qvel[:, 3:6]))
        np.testing.assert_allclose(turning, root.angular_velocity, atol=1e-4)
        assert np.abs(qvel[:, 3:6]).max() > 0.05
        np.testing.assert_allclose(found, expected, atol=1e-4)
        np.testing.assert_allclose(np.linalg.norm(obs[:, :3], axis=-1), np.linalg.norm(qvel[:, :3], axis=-1), atol=1e-6)
        np.testing.assert_allclose(obs[:, 2], qvel[:, 2], atol=1e-6)
        np.testing.assert_allclose(obs[:, 3:6], qvel[:, 3:6], atol=1e-6)
        np.testing.assert_allclose(obs[:, -9:-8], root.position[:, 2:], atol=1e-6)
    assert np.ptp(steps[1][2, :, 2]) > 1e-3, "all begin at the same height"


def test_a_floating_base_stays_finite_and_is_rewarded_for_its_root(floating):
    env, (_, steps) = floating
    _, qpos, _, _, reference, (reward, done, metrics) = steps
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(steps))
    alive = done == 0
    error = (qpos[..., 2] - reference.root.position[..., 2])[alive]
    weight, width = env._config.rewards.root_height, env._config.widths.root_height
    np.testing.assert_allclose(
        metrics["reward/root_height"][alive], weight * np.exp(-np.square(error / width)), rtol=1e-3
    )
    for name in ("tilt", "linear_velocity", "angular_velocity", "key_bodies"):
        assert (metrics[f"reward/{name}"][alive] > 0).all()
        assert np.ptp(metrics[f"reward/{name}"]) > 0
    shares = metrics["reward/contacts"] / env._config.rewards.contacts
    assert np.isin(shares.round(5), (0.0, 0.5, 1.0)).all()
    terms = [value for name, value in metrics.items() if name.startswith("reward/")]
    np.testing.assert_allclose(reward, np.sum(terms, axis=0) * env.dt, rtol=1e-4)
