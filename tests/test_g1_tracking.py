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
from cmg_jax.rl import G1Tracking, _g1_model, _terms, default_config
from cmg_jax.robot import G1, G1_23_JOINTS, G1_29_JOINTS, RootState, indices
from cmg_jax.robot._root import rotation_of

pytestmark = pytest.mark.usefixtures("allow_mixed_dtypes")


def test_an_episode_ends_far_from_the_height_and_the_lean_of_the_reference():
    env = G1Tracking(config_overrides={"floating": True})
    for height, pitch, reference_height, reference_pitch, fallen in (
        (0.75, 0.0, 0.8, 0.1, False),
        (0.5, 0.0, 0.55, 0.0, False),
        (0.5, 0.0, 0.85, 0.0, True),
        (0.44, 0.0, 0.46, 0.0, True),
        (0.8, 1.1, 0.8, 0.9, True),
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


def seen(**changes) -> Any:
    """What a reward depends on, of a robot that stands still as its reference does."""
    upright = jnp.array([1.0, 0, 0, 0])
    root = RootState(jnp.array([0.0, 0, 0.8]), upright, jnp.zeros(3), jnp.zeros(3))
    reference = empty_reference(num_joints=2)._replace(root=root)
    widths = default_config().widths
    numbers = dict.fromkeys(("joint_pos", "joint_vel", "standing", "torque", "action", "last_action"), jnp.zeros(2))
    still = _terms.Seen(
        reference=reference,
        all_joint_pos=jnp.zeros(2),
        limits=jnp.array([[-1.0, 1.0], [0.0, 2.0]]),
        torque_limits=jnp.array([10.0, 1.0]),
        key_bodies=None,
        root=root,
        contacts=jnp.array([True, True]),
        air_time=jnp.zeros(2),
        widths=widths,
        **numbers,
    )
    return still._replace(**changes)


def moving(command, **changes):
    """The same under a command, with changes of the root."""
    still = seen()
    reference = still.reference._replace(command=jnp.array(command))
    return still._replace(reference=reference, root=still.root._replace(**changes))


def test_tracking_rewards_and_penalties():
    np.testing.assert_allclose(_terms.tracking_reward(jnp.array([0.3, -0.3]), 0.3), np.exp(-1), rtol=1e-6)
    for name, changes, expected in (
        ("joint_pos", {}, 1.0),
        ("limits", {"all_joint_pos": jnp.array([0.97, 0.0])}, 0.02 + 0.05),
        ("action_rate", {"action": jnp.array([1.0, 0.0])}, 0.5),
        ("effort", {"torque": jnp.array([5.0, 0.0])}, 0.125),
        ("pose", {"joint_pos": jnp.array([-0.1, 0.3])}, 0.1),
        ("contacts", {"contacts": jnp.array([True, False])}, 0.5),
    ):
        terms = _terms.reward_terms(seen(**changes), (name,))
        np.testing.assert_allclose(terms[name], expected, rtol=1e-5, err_msg=name)
    fixed = _terms.reward_terms(seen(root=None), _terms.ROOT_TERMS)
    assert set(fixed) == set(_terms.ROOT_TERMS)
    assert not any(fixed.values())


def test_a_task_without_reference_rewards_obedience_and_steps():
    quarter = rotation_of(jnp.float32(np.pi / 2), jnp.zeros(2))
    forward = {"rotation": quarter, "linear_velocity": jnp.array([0.0, 0.5, 0.0])}  # along its own heading
    for name, state, expected in (
        ("command_velocity", moving([0.5, 0.0, 0.0], **forward), 1.0),
        ("command_velocity", moving([0.0, 0.0, 0.0], **forward), np.exp(-1)),
        ("command_yaw_rate", moving([0.0, 0.0, 0.5]), np.exp(-1)),
        ("lean", moving([0.0, 0.0, 0.0], rotation=rotation_of(jnp.float32(1.0), jnp.array([0.6, 0.0]))), 0.36),
        ("feet_air_time", moving([0.5, 0.0, 0.0])._replace(air_time=jnp.array([0.3, 0.0])), 0.1),
        ("feet_air_time", moving([0.5, 0.0, 0.0])._replace(air_time=jnp.array([0.1, 0.9])), -0.1 + 0.3),
        ("feet_air_time", moving([0.0, 0.0, 0.05])._replace(air_time=jnp.array([0.3, 0.3])), 0.0),
        ("stand_still", moving([0.0, 0.0, 0.0])._replace(joint_pos=jnp.array([0.1, -0.2])), 0.3),
        ("stand_still", moving([0.5, 0.0, 0.0])._replace(joint_pos=jnp.array([0.1, -0.2])), 0.0),
    ):
        np.testing.assert_allclose(_terms.reward_terms(state, (name,))[name], expected, atol=1e-5, err_msg=name)


def test_impossible_settings_are_refused():
    for overrides, words in (
        ({"rewards.joy": 1.0}, "joy"),
        ({"action_scale": "much"}, "no such setting"),
        ({"sim_dt": 0.003}, "not a multiple of sim_dt"),
        ({"engine": "bullet"}, "engine 'bullet' is not one of mjx, mujoco"),
    ):
        with pytest.raises(InputError, match=words) as error:
            G1Tracking(config_overrides=overrides)
        assert "\n" not in str(error.value)
