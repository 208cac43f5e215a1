# pyright: reportAttributeAccessIssue=false
"""The tracking environment on its own and under the wrapper."""

import dataclasses

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

pytest.importorskip("brax")

import cmg_jax
from cmg_jax import InputError, commands
from cmg_jax.envs import ReferenceSource, empty_reference, make_wrap_env_fn
from cmg_jax.rl import G1Tracking, _g1_model, _rewards, domain_randomize
from cmg_jax.robot import G1, G1_23_JOINTS, G1_29_JOINTS, indices

pytestmark = pytest.mark.usefixtures("allow_mixed_dtypes")
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
def rollout(bundled):
    """Randomized robots with a fixed base, some actions, and one row whose simulation diverges."""
    env = G1Tracking()
    keys = jax.random.split(jax.random.PRNGKey(2), BATCH)
    wrapped = tracking(bundled, env)(env, 100, randomization_fn=lambda model: domain_randomize(model, keys))
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
    np.testing.assert_array_equal(obs[-1, 1, :87], first[1, :87])
    np.testing.assert_allclose(reward[-1, 1], env._config.rewards.termination * env.dt, rtol=1e-5)


def test_the_floating_variant_keeps_its_structure_under_scan(bundled):
    env = G1Tracking(config_overrides={"floating": True, "lookahead": (2,), "rewards.key_bodies": 0.0})
    wrapped = tracking(bundled, env)(env, 100)
    state = jax.eval_shape(wrapped.reset, jax.ShapeDtypeStruct((4, 2), jnp.uint32))
    after = jax.eval_shape(wrapped.step, state, jax.ShapeDtypeStruct((4, 29), jnp.float32))
    assert jax.tree.structure(after) == jax.tree.structure(state)
    jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype) or pytest.fail(f"{a} {b}"), after, state)
    assert state.info["reference"].bodies is None


def test_an_observation_that_a_wrapper_changed_changes_no_reward():
    env = G1Tracking(config_overrides={"rewards.key_bodies": 0.0})
    first = jax.jit(env.reset)(jax.random.PRNGKey(3))
    actions = 0.1 * np.random.default_rng(5).normal(size=(2, 29)).astype(np.float32)
    step, weight = jax.jit(env.step), env._config.rewards.action_rate
    state = step(first, actions[0])
    noisy = state.replace(obs=state.obs + 1.0)
    for found, last in (
        (state, np.zeros(29)),
        (step(noisy, actions[1]), actions[0]),
        # As auto-reset begins an episode: the first data, and the info as it is.
        (step(noisy.replace(data=first.data), actions[1]), np.zeros(29)),
    ):
        action = actions[0] if found is state else actions[1]
        expected = weight * np.mean(np.square(action - last))
        np.testing.assert_allclose(found.metrics["reward/action_rate"], expected, rtol=1e-5)


def test_targets():
    reference = empty_reference(num_joints=23)._replace(joint_pos=jnp.full(23, 0.1))
    env = G1Tracking(joint_names=G1_23_JOINTS)
    target = np.asarray(env.target(reference, jnp.full(23, 0.4)))
    at = indices(G1_23_JOINTS, G1_29_JOINTS)
    low, high = G1.joint_limits.T
    np.testing.assert_allclose(target[at], np.clip(0.1 + 0.4, low, high)[at], atol=1e-6)
    rest = np.setdiff1d(np.arange(29), at)
    np.testing.assert_allclose(target[rest], G1.standing_joint_pos[rest], atol=1e-6)
    bare = G1Tracking(config_overrides={"residual": False}, joint_names=G1_23_JOINTS)
    standing = G1.standing_joint_pos
    np.testing.assert_allclose(bare.target(reference, jnp.zeros(23)), standing, atol=1e-6)


def test_the_floating_g1_stands_on_its_eight_soles():
    robot = _g1_model.build(floating=True, sim_dt=0.005)
    data = mujoco.MjData(robot)
    data.qpos[:] = G1.mj_model.key("stand").qpos
    data.ctrl[:] = data.qpos[7:]
    for _ in range(60):
        mujoco.mj_step(robot, data)
    assert data.ncon == 8
    assert 0.7 < data.qpos[2] < 0.8
    assert (np.abs(data.qfrc_actuator[6:]) <= G1.mj_model.jnt_actfrcrange[1:, 1] + 1e-6).all()


def test_tracking_rewards_and_penalties():
    np.testing.assert_allclose(_rewards.tracking_reward(jnp.array([0.3, -0.3]), 0.3), np.exp(-1), rtol=1e-6)
    assert _rewards.tracking_reward(jnp.zeros(4), 0.1) == 1
    limits = jnp.array([[-1.0, 1.0], [0.0, 2.0]])
    np.testing.assert_allclose(_rewards.beyond_limits(jnp.array([0.97, 0.0]), limits), 0.02 + 0.05, rtol=1e-5)
    np.testing.assert_allclose(_rewards.action_rate(jnp.array([1.0, 0.0]), jnp.zeros(2)), 0.5)
    np.testing.assert_allclose(_rewards.effort(jnp.array([5.0, 0.0]), jnp.array([10.0, 1.0])), 0.125)


def test_impossible_settings_are_refused():
    for overrides, words in (
        ({"rewards.joy": 1.0}, "joy"),
        ({"action_scale": "much"}, "no such setting"),
        ({"sim_dt": 0.003}, "not a multiple of sim_dt"),
    ):
        with pytest.raises(InputError, match=words) as error:
            G1Tracking(config_overrides=overrides)
        assert "\n" not in str(error.value)
