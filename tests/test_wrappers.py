"""Generators around generators: commands on a tick, mirrored rows, guards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cmg_jax
from cmg_jax import InputError
from cmg_jax.robot import _frame, _joints
from tests.generator_tools import BATCH, commands, first, flat, jitted

KEY = jax.random.key(0)
ROWS = jnp.arange(BATCH)


def test_on_a_tick_commands_act_together(model):
    plain, ticked = jitted(cmg_jax.streaming(3)), jitted(cmg_jax.on_tick(cmg_jax.streaming(3), num_frames=4))
    expected = plain.init(model, KEY, commands(1), first(2))
    state = ticked.init(model, KEY, commands(1), first(2))
    wanted = commands(1)
    for now in range(13):
        changed = now % 5 == ROWS % 5
        wanted = jnp.where(jnp.expand_dims(changed, 1), commands(now + 10), wanted)
        state = ticked.set_command(model, state, commands(now + 10), changed)
        np.testing.assert_array_equal(state.requested, wanted)
        if now % 4 == 0:
            expected = plain.set_command(model, expected, wanted)
        expected, frame = plain.step(model, expected)
        state, served = ticked.step(model, state)
        np.testing.assert_array_equal(flat(served), flat(frame))
        np.testing.assert_array_equal(state.command, expected.command)


def test_a_reset_drops_the_command_that_waits(model):
    generator = jitted(cmg_jax.on_tick(cmg_jax.streaming(3), num_frames=3))
    state, _ = generator.step(model, generator.init(model, KEY, commands(1)))
    state = generator.set_command(model, state, commands(2))
    state = generator.reset(model, state, ROWS < 4, KEY, commands(3))
    for _ in range(3):
        state, _ = generator.step(model, state)
    np.testing.assert_array_equal(state.command, jnp.where(ROWS[:, None] < 4, commands(3), commands(2)))


def test_a_command_withdrawn_before_its_tick_changes_nothing(model):
    generator = jitted(cmg_jax.on_tick(cmg_jax.streaming(3), num_frames=3))
    state, _ = generator.step(model, generator.init(model, KEY, commands(1)))
    changed = generator.set_command(model, state, commands(2))
    assert changed.waiting.all()
    assert not generator.set_command(model, changed, commands(1)).waiting.any()


def test_a_mirrored_row_serves_the_mirror_image(model):
    plain, mirrored = jitted(cmg_jax.streaming(3)), jitted(cmg_jax.mirrored(cmg_jax.streaming(3), 0.5))
    robot = model.config.robot
    state = mirrored.init(model, KEY, commands(1), first(2))
    mask = np.asarray(state.mirror)
    assert 0 < mask.sum() < BATCH
    np.testing.assert_array_equal(state.command, commands(1))
    image = plain.init(model, KEY, _joints.mirror_command(commands(1)), _frame.mirror_motion(first(2), robot))
    same = plain.init(model, KEY, commands(1), first(2))
    for now in range(6):
        if now == 3:
            state = mirrored.set_command(model, state, commands(4))
            image = plain.set_command(model, image, _joints.mirror_command(commands(4)))
            same = plain.set_command(model, same, commands(4))
            np.testing.assert_array_equal(state.command, commands(4))
        ahead = flat(mirrored.lookahead(model, state, (1,)))[:, 0]
        state, served = mirrored.step(model, state)
        image, image_frame = plain.step(model, image)
        same, same_frame = plain.step(model, same)
        reflected = _frame.mirror_motion(jnp.asarray(flat(image_frame)), robot)
        expected = np.where(mask[:, None], reflected, flat(same_frame))
        np.testing.assert_allclose(flat(served), expected, atol=1e-5)
        np.testing.assert_allclose(ahead, expected, atol=1e-5)


def test_only_rows_that_are_reset_are_drawn_again(model):
    generator = jitted(cmg_jax.mirrored(cmg_jax.streaming(0)))
    state = generator.init(model, KEY, commands(1))
    draws = []
    for seed in range(12):
        state = generator.reset(model, state, ROWS < 6, jax.random.key(seed), commands(1))
        draws.append(np.asarray(state.mirror, int))
    assert (np.ptp(draws, axis=0) == (np.arange(BATCH) < 6)).all()


@pytest.fixture(scope="module")
def guard():
    return jitted(cmg_jax.guarded(cmg_jax.streaming(3)))


def test_a_frame_that_is_not_finite_is_counted_and_held(model, guard):
    bare = jitted(cmg_jax.guarded(cmg_jax.streaming(3), hold=False))
    state, frame = guard.step(model, guard.init(model, KEY, commands(1), first(2)))
    shown, _ = bare.step(model, bare.init(model, KEY, commands(1), first(2)))
    broken = ROWS == 3
    command = jnp.where(broken[:, None], jnp.nan, commands(1))
    state, shown = (jax.jit(guard.set_command)(model, s, command, broken) for s in (state, shown))
    for _ in range(4):
        state, served = guard.step(model, state)
        shown, seen = bare.step(model, shown)
        assert np.isfinite(flat(served)).all()
        np.testing.assert_array_equal(flat(served)[3], flat(frame)[3])
        np.testing.assert_array_equal(~np.isfinite(flat(seen)).all(-1), broken)
        assert np.isfinite(flat(guard.lookahead(model, state, (0, 1, 3)))).all()
        assert not np.isfinite(flat(bare.lookahead(model, shown, (1,)))[3]).any()
    np.testing.assert_array_equal(state.counts.not_finite, np.where(broken, 4, 0))
    np.testing.assert_array_equal(state.counts.outside_command, np.where(broken, 4, 0))
    state = guard.reset(model, state, broken, KEY, commands(1))
    state, served = guard.step(model, state)
    assert np.abs(flat(served)[3] - flat(frame)[3]).max() > 0
    np.testing.assert_array_equal(state.counts.not_finite, np.where(broken, 4, 0))


def test_a_served_frame_outlives_a_donated_state(model):
    generator = cmg_jax.guarded(cmg_jax.streaming(1))
    state, frame = generator.step(model, generator.init(model, KEY, commands(1)))
    before = flat(frame)
    jax.jit(generator.step, donate_argnums=1)(model, state)
    np.testing.assert_array_equal(flat(frame), before)


def test_a_row_reset_to_nan_does_not_show_its_last_episode(model, guard):
    state, last = guard.step(model, guard.init(model, KEY, commands(1), first(2)))
    state = jax.jit(guard.reset)(model, state, ROWS < 2, KEY, jnp.full((BATCH, 3), jnp.nan), first(5))
    state, served = guard.step(model, state)
    np.testing.assert_allclose(flat(served)[:2], first(5)[:2], atol=1e-5)
    assert np.abs(flat(served)[:2] - flat(last)[:2]).max() > 0.01


def test_joints_and_commands_beyond_their_range_are_counted(model):
    generator = jitted(cmg_jax.guarded(cmg_jax.pregenerated(4, serve_first=True), tolerance=0.01))
    limits = model.config.robot.joint_limits
    motion = first(2)
    motion = motion.at[2, 5].set(limits[5, 1] + 0.02).at[4, 7].set(limits[7, 0] - 0.02).at[6, 8].set(limits[8, 1])
    motion = motion.at[7, 5].set(limits[5, 1] + 0.005)
    command = jnp.zeros((BATCH, 3)).at[1, 2].set(9.0).at[5, 0].set(-9.0)
    state, _ = generator.step(model, generator.init(model, KEY, command, motion))
    np.testing.assert_array_equal(state.counts.outside_limits, jnp.isin(ROWS, jnp.array([2, 4])))
    np.testing.assert_array_equal(state.counts.outside_command, jnp.isin(ROWS, jnp.array([1, 5])))
    np.testing.assert_array_equal(state.counts.not_finite, 0)


def test_joints_of_another_robot_have_no_limits_here(small_model):
    generator = cmg_jax.guarded(cmg_jax.streaming(0))
    state = generator.init(small_model, KEY, jnp.ones((3, 2)), jnp.full((3, 6), 1e3))
    state, _ = generator.step(small_model, state)
    assert (state.counts.outside_limits == 0).all()


def test_impossible_options_are_refused():
    for make, words in (
        (lambda: cmg_jax.on_tick(cmg_jax.streaming(3), num_frames=0), "num_frames 0"),
        (lambda: cmg_jax.mirrored(cmg_jax.streaming(3), 1.5), "fraction 1.5"),
    ):
        with pytest.raises(InputError, match=words):
            make()
