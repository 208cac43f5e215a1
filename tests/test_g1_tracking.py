# pyright: reportAttributeAccessIssue=false
"""The tracking environment on its own. test_g1_rollouts.py has it under the wrapper."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

pytest.importorskip("brax")

from cmg_jax import InputError
from cmg_jax.envs import empty_reference
from cmg_jax.rl import G1Tracking, _g1_model, _rewards
from cmg_jax.robot import G1, G1_23_JOINTS, G1_29_JOINTS, indices
from cmg_jax.robot._root import rotation_of

pytestmark = pytest.mark.usefixtures("allow_mixed_dtypes")


def test_an_episode_ends_far_from_the_height_and_the_lean_of_the_reference():
    env = G1Tracking(config_overrides={"floating": True})
    for height, pitch, reference_height, reference_pitch, fallen in (
        (0.75, 0.0, 0.8, 0.1, False),
        (0.4, 0.0, 0.45, 0.0, False),
        (0.4, 0.0, 0.8, 0.0, True),
        (0.8, 0.9, 0.8, 0.5, False),
        (0.8, 0.9, 0.8, -0.5, True),
    ):
        rotation = [
            rotation_of(jnp.float32(yaw), jnp.array([np.sin(p), 0.0])) for yaw, p in ((2, pitch), (-1, reference_pitch))
        ]
        root = empty_reference().root._replace(position=jnp.array([5.0, 3, reference_height]), rotation=rotation[1])
        data: Any = SimpleNamespace(qpos=jnp.concatenate([jnp.array([0, 0, height]), rotation[0], jnp.zeros(29)]))
        assert bool(env._fallen(data, empty_reference()._replace(root=root))) == fallen


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
