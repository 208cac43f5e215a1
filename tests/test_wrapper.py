"""The wrapper against a plain simulation of its contract, in every kind of environment and every mode of auto-reset."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("brax")

from brax.envs.wrappers.training import EvalWrapper
from brax.training.agents.ppo import networks
from brax.training.agents.ppo import train as ppo

import cmg_jax
from cmg_jax.envs import ReferenceSource, make_wrap_env_fn
from tests.tiny_envs import OFFSETS, TinyBrax, TinyMjx, randomized
from tests.wrapper_tools import (
    BATCH,
    EPISODE,
    KEYS,
    RAMP,
    Row,
    actions_of,
    draw,
    simulate,
    summary,
    unroll,
    wrapped,
)

pytestmark = pytest.mark.usefixtures("allow_mixed_dtypes")


@pytest.fixture(scope="module", params=["brax", "playground", "playground full_reset"])
def rollout(request, tiny_model):
    """300 steps in each kind of environment and each mode of auto-reset."""
    env = TinyBrax() if request.param == "brax" else TinyMjx()
    env = wrapped(env, tiny_model, full_reset="full" in request.param)
    state = jax.jit(env.reset)(KEYS)
    actions = actions_of(1)
    return request.param, env, summary(state), actions, unroll(env, state, actions)[1]


def test_300_steps_are_those_of_a_plain_simulation(rollout, tiny_model):
    mode, _, first, actions, seen = rollout
    kinds = {1: 0, BATCH: 0, 0: 0}
    for done, first_x, x in simulate(tiny_model, first, actions, seen):
        kinds[int(done.sum())] = kinds.get(int(done.sum()), 0) + 1
        if "full" in mode:
            assert ((x[done] >= 10) & (x[done] < 11)).all()
            assert (x[done] != first_x[done]).all()
        else:
            np.testing.assert_array_equal(x[done], first_x[done])
    assert min(kinds[count] for count in (0, 1, BATCH)) > 0, "the pattern of episodes must cover every case"


def test_the_first_observation_is_that_of_the_first_episode(rollout, tiny_model):
    _, _, first, _, _ = rollout
    mean = np.asarray(tiny_model.stats.motion_mean)
    np.testing.assert_allclose(first["obs"][:, 2:5], np.tile(mean[:3], (BATCH, 1)), atol=1e-5)
    np.testing.assert_array_equal(first["obs"][:, -3:], first["reference"].command)
    assert len(np.unique(first["reference"].command, axis=0)) == BATCH


def test_info_is_kept_under_the_default_auto_reset_and_reset_under_full_reset(rollout):
    mode, _, _, actions, seen = rollout
    if "full" in mode:
        np.testing.assert_array_equal(seen["count"][seen["done"] == 1], 0)
    else:
        np.testing.assert_array_equal(seen["count"][-1], len(actions))


def test_our_state_never_enters_the_environment(rollout):
    mode, _, _, _, _ = rollout
    seen = (TinyBrax if mode == "brax" else TinyMjx).seen
    assert "reference" in seen
    assert "reference_state" not in seen


def test_an_action_repeated_lasts_as_many_frames(tiny_model):
    env = wrapped(TinyMjx(), tiny_model, action_repeat=2)
    state = jax.jit(env.reset)(KEYS)
    actions = actions_of(2, steps=24)
    actions[..., 2] = -1.0
    _, seen = unroll(env, state, actions)
    for _ in simulate(tiny_model, summary(state), actions, seen, repeat=2):
        pass


def test_under_on_tick_the_reference_has_the_command_that_the_frames_obey(tiny_model):
    env = wrapped(TinyMjx(), tiny_model, cmg_jax.on_tick(cmg_jax.streaming(3), 5))
    state = jax.jit(env.reset)(KEYS)
    actions = actions_of(3, steps=60)
    _, seen = unroll(env, state, actions)
    for _ in simulate(tiny_model, summary(state), actions, seen, tick=5):
        pass
    reference = seen["reference"]
    waits = (np.asarray(reference.command) != np.asarray(reference.smoothed)).any(axis=-1)
    assert 0.2 < waits.mean() < 0.9, "too few or too many commands wait for a tick"


def test_a_tick_within_a_control_step_moves_the_root_by_the_command_of_each_frame(tiny_model):
    env = wrapped(TinyMjx(), tiny_model, cmg_jax.on_tick(cmg_jax.streaming(3), 4), action_repeat=3)
    state = jax.jit(env.reset)(KEYS)
    actions = actions_of(2, steps=12)
    actions[..., 2] = -1.0
    _, seen = unroll(env, state, actions)
    for _ in simulate(tiny_model, summary(state), actions, seen, repeat=3, tick=4):
        pass


def test_with_a_bank_the_reference_has_the_command_of_the_motion_that_plays(tiny_model):
    motions = cmg_jax.build_bank(tiny_model, jax.random.key(4), 40, 30, draw)
    made, frames = np.asarray(motions.command), np.asarray(motions.frames)
    frames = frames * np.asarray(tiny_model.stats.motion_std) + np.asarray(tiny_model.stats.motion_mean)
    width = np.asarray(tiny_model.stats.command_max) - np.asarray(tiny_model.stats.command_min)

    def nearest(command):
        return made[np.square((command - made) / width).sum(axis=-1).argmin()]

    generator = cmg_jax.replay(lookahead_frames=max(OFFSETS))
    env = wrapped(TinyMjx(), tiny_model.replace(bank=motions), generator)
    state = jax.jit(env.reset)(KEYS)
    actions = actions_of(3, steps=60)
    actions[..., 2] = np.where(np.arange(60)[:, None] % 13 == np.arange(BATCH), 1.0, -1.0)
    _, seen = unroll(env, state, actions)
    rows = [Row(tiny_model, command) for command in np.asarray(state.info["reference"].command)]
    jumps = 0
    for now in range(len(actions)):
        reference = jax.tree.map(lambda leaf, now=now: np.asarray(leaf[now]), seen["reference"])
        for index, row in enumerate(rows):
            row.step_root(row.active)
            row.steps += 1
            if actions[now, index, 2] > 0 or row.steps >= EPISODE:
                row.begin(reference.requested[index])
                assert (nearest(row.requested) == row.requested).all(), "the motion's own command"
            else:
                np.testing.assert_allclose(seen["arrived"][now, index], row.active)
                before = row.smoothed
                row.step_command(reference.requested[index])
                if (row.smoothed != before).any():
                    active = nearest(row.smoothed)
                    jumps, row.active = jumps + (active != row.active).any(), active
            np.testing.assert_array_equal(reference.command[index], row.active)
            np.testing.assert_allclose(reference.smoothed[index], row.smoothed, atol=1e-6)
            np.testing.assert_allclose(reference.root.position[index, :2], (row.x, row.y), atol=1e-4)
            motion = frames[:, (made == row.active).all(axis=-1).argmax()]
            frame = np.concatenate([reference.joint_pos[index], reference.joint_vel[index]])
            assert np.abs(motion - frame).max(axis=-1).min() < 1e-4, "a frame of another motion"
            speed = np.linalg.norm(row.active[:2])
            np.testing.assert_allclose(np.linalg.norm(reference.root.linear_velocity[index]), speed, atol=2e-3)
    assert jumps > 30


def test_a_command_set_in_an_episode_acts_from_the_next_step(tiny_model):
    env = wrapped(TinyMjx(), tiny_model, hold=1000)
    state = jax.jit(env.reset)(KEYS)
    quiet = np.full((1, BATCH, 3), -1.0, np.float32)
    state, _ = unroll(env, state, quiet)
    before = state.info["reference"]
    state = env.set_command(state, jnp.tile(jnp.array([1.0, -0.25, 0.5]), (BATCH, 1)))
    follow = jax.jit(cmg_jax.apply)
    frame = np.concatenate([before.joint_pos, before.joint_vel], axis=-1)
    command = np.asarray(before.command)
    for now in range(1, 6):
        state, seen = unroll(env, state, quiet)
        seen = jax.tree.map(lambda leaf: leaf[0], seen)
        # First the frame that look-ahead had returned, then frames towards the new command.
        frame = np.asarray(follow(tiny_model, frame, command))
        np.testing.assert_allclose(seen["obs"][:, 2:5], frame[:, :3], atol=1e-4)
        command = before.command + (np.array([1.0, -0.25, 0.5]) - before.command) * min(now / RAMP, 1)
        np.testing.assert_allclose(seen["obs"][:, -3:], command, atol=1e-6)
        np.testing.assert_allclose(seen["obs"][:, 5:8], follow(tiny_model, frame, command)[:, :3], atol=1e-4)


@pytest.mark.slow
def test_devices_each_play_their_rows_as_one_device_would(tiny_model):
    env = wrapped(TinyMjx(), tiny_model, full_reset=True)
    keys = jax.random.split(jax.random.PRNGKey(8), (2, 4))
    actions = np.stack([actions_of(seed, steps=20, batch=4) for seed in (3, 4)])

    def play(keys, actions):
        return unroll(env, env.reset(keys), actions)[1]

    together = jax.pmap(play, axis_name="i", devices=jax.devices()[:2])(keys, actions)
    alone = jax.jit(play)
    for device in range(2):
        expected = alone(keys[device], actions[device])
        jax.tree.map(
            lambda a, b, device=device: np.testing.assert_allclose(a[device], b, atol=1e-4), together, expected
        )
    commands = np.asarray(together["reference"].requested)
    assert (commands[0] != commands[1]).all(), "two devices draw the same commands"


def test_evaluation_and_domain_randomization_wrap_the_wrapper(tiny_model):
    for env in (TinyBrax(), TinyMjx()):
        fn = functools.partial(randomized, rng=jax.random.split(jax.random.PRNGKey(1), BATCH))
        env = EvalWrapper(wrapped(env, tiny_model, randomization_fn=fn))
        state = jax.jit(env.reset)(KEYS)
        quiet = np.full((12, BATCH, 3), -1.0, np.float32)
        last, seen = unroll(env, state, quiet)
        moved = np.asarray(seen["obs"][-1, :, 0] - state.obs[:, 0])
        np.testing.assert_allclose(moved, -12 * np.asarray(fn(None)[0]["gain"]), atol=1e-4)
        np.testing.assert_allclose(
            last.info["eval_metrics"].episode_metrics["reward"], seen["reward"].sum(axis=0), rtol=1e-4
        )
        assert jax.tree.structure(last) == jax.tree.structure(state)


@pytest.mark.slow
def test_ppo_trains_with_the_wrapper(tiny_model):
    """With two devices, resets between evaluations, action repeat and randomized domains, PPO learns to survive."""
    rewards = []
    source = ReferenceSource(tiny_model, cmg_jax.streaming(3), draw, hold_interval=(2, 5), lookahead=OFFSETS)
    _, params, _ = ppo.train(
        TinyBrax(),
        num_timesteps=8000,
        learning_rate=3e-3,
        wrap_env_fn=make_wrap_env_fn(source),
        randomization_fn=randomized,
        max_devices_per_host=2,
        num_envs=64,
        episode_length=6,
        action_repeat=2,
        unroll_length=4,
        batch_size=64,
        num_minibatches=2,
        num_updates_per_batch=4,
        num_resets_per_eval=1,
        num_evals=2,
        num_eval_envs=64,
        normalize_observations=False,
        network_factory=functools.partial(
            networks.make_ppo_networks, policy_hidden_layer_sizes=(4,), value_hidden_layer_sizes=(4,)
        ),
        progress_fn=lambda step, metrics: rewards.append(metrics["eval/episode_reward"]),
    )
    assert len(rewards) == 2
    assert rewards[1] > 1.3 * rewards[0] > 0, "an action that ends the episode at half of the steps was not unlearned"
    assert all(np.isfinite(np.asarray(leaf, float)).all() for leaf in jax.tree.leaves(params))
