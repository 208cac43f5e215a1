import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cmg_jax
from cmg_jax import InputError
from cmg_jax.generators._base import to_frame
from tests.generator_tools import BATCH, commands, first, flat, jitted, play, sampler


def test_a_bank_holds_the_frames_of_the_network(model, motions):
    assert motions.frames.shape == (20, 17, 58)
    again = cmg_jax.build_bank(model, jax.random.key(9), 17, 20, sampler, block_rows=17)
    np.testing.assert_allclose(motions.frames, again.frames, atol=1e-4)
    following = flat(to_frame(model, motions.frames[1:]))
    held = jnp.broadcast_to(motions.command, (19, 17, 3))
    expected = cmg_jax.apply(model, jnp.asarray(flat(to_frame(model, motions.frames[:-1]))), held)
    np.testing.assert_allclose(following, expected, atol=1e-4)


def test_a_row_plays_its_motion_from_a_random_frame_and_leaves_room(model, motions):
    generator, model = cmg_jax.replay(lookahead_frames=3), model.replace(bank=motions)
    state = generator.init(model, jax.random.key(0), None, num_envs=400)
    played = flat(to_frame(model, motions.frames))
    seen = set()
    for _ in range(25):
        index = int(state.frame_index[0])
        ahead = flat(generator.lookahead(model, state, (1, 2, 3)))
        state, frame = generator.step(model, state)
        now = np.asarray(state.frame_index)
        assert now.max() <= 16
        seen |= set(now.tolist())
        np.testing.assert_array_equal(flat(frame), played[now, state.motion_index])
        if index < 16:
            np.testing.assert_array_equal(ahead[0], played[index + 1 : index + 4, state.motion_index[0]])
    assert seen == set(range(17))


def test_draws_follow_a_changing_range_without_compiling(model, motions):
    generator = cmg_jax.replay()
    reset = jax.jit(chex.assert_max_traces(generator.reset, n=1))
    state = generator.init(model.replace(bank=motions), jax.random.key(0), None, num_envs=300)
    everything = jnp.ones(300, bool)
    middle = float(np.median(motions.command[:, 0]))
    for low, high in ((-9.0, middle), (middle, 9.0)):
        limits = {"command_low": jnp.array([low, -9.0, -9.0]), "command_high": jnp.array([high, 9.0, 9.0])}
        state = reset(model.replace(bank=motions._replace(**limits)), state, everything, jax.random.key(1), None)
        assert (state.command[:, 0] >= low).all()
        assert (state.command[:, 0] <= high).all()
        assert len(np.unique(state.motion_index)) >= 8
    nothing = model.replace(bank=motions._replace(command_low=motions.command_low + 100))
    assert len(np.unique(reset(nothing, state, everything, jax.random.key(2), None).motion_index)) == 17


def test_a_command_takes_the_nearest_motion(model, motions):
    generator, model = cmg_jax.replay(), model.replace(bank=motions)
    state = generator.init(model, jax.random.key(0), motions.command[jnp.array([3, 3, 8])] + 0.001)
    np.testing.assert_array_equal(state.motion_index, [3, 3, 8])
    state = generator.set_command(model, state, motions.command[jnp.array([5, 6, 7])], jnp.array([True, False, True]))
    np.testing.assert_array_equal(state.motion_index, [5, 3, 7])
    np.testing.assert_array_equal(state.command, motions.command[jnp.array([5, 3, 7])])


def test_a_given_frame_is_followed_by_the_successors_of_the_nearest_frame(model, motions):
    generator, model = cmg_jax.replay(lookahead_frames=2), model.replace(bank=motions)
    played = flat(to_frame(model, motions.frames))
    motion, frame = np.array([4, 4, 9, 12]), np.array([0, 6, 11, 16])
    given = jnp.asarray(played[frame, motion]) + 1e-3
    state = generator.init(model, jax.random.key(0), motions.command[motion], given)
    np.testing.assert_array_equal(flat(generator.step(model, state)[1]), played[frame + 1, motion])
    done = np.array([False, True, False, True])
    state = generator.init(model, jax.random.key(0), motions.command[np.array([1, 1, 2, 3])])
    after = generator.reset(model, state, done, jax.random.key(1), motions.command[motion], given)
    for name, wanted in (("motion_index", motion), ("frame_index", frame)):
        np.testing.assert_array_equal(getattr(after, name), np.where(done, wanted, getattr(state, name)))


# Resets from a bank.


@pytest.mark.parametrize(
    "make", [lambda: cmg_jax.streaming(4, from_bank=True), lambda: cmg_jax.realtime(6, from_bank=True)]
)
def test_a_reset_from_a_bank_plays_its_motion_and_continues(make, model, motions):
    generator, model = make(), model.replace(bank=motions)
    state = generator.init(model, jax.random.key(0), None, num_envs=BATCH)
    generator = jitted(generator)
    frames, names = np.asarray(motions.frames), np.asarray(motions.command)
    for _ in range(3):
        state, _ = generator.step(model, state)
    done = jnp.arange(BATCH) % 2 == 0
    undisturbed = play(generator, model, state, 12)[1]
    state = generator.reset(model, state, done, jax.random.key(4), None)
    last = flat(generator.lookahead(model, state, (0,)))[:, 0]
    served = play(generator, model, state, 12)[1]
    np.testing.assert_array_equal(served[:, ~done], undisturbed[:, ~done])
    for row in np.flatnonzero(done):
        motion = np.flatnonzero((names == np.asarray(state.command)[row]).all(-1))[0]
        known = flat(to_frame(model, jnp.asarray(frames[:, motion])))
        index = np.abs(known - last[row]).max(-1).argmin()
        np.testing.assert_allclose(known[index : index + 5], [last[row], *served[:4, row]], atol=1e-5)
        going_on = min(len(known) - index - 1, 12)
        np.testing.assert_allclose(served[:going_on, row], known[index + 1 : index + 1 + going_on], atol=1e-4)
    starts = {tuple(row) for row in last[done]}
    assert len(starts) == done.sum()


def test_a_reset_from_a_bank_never_runs_the_network(model, motions):
    generator, model = cmg_jax.streaming(4, from_bank=True), model.replace(bank=motions)
    state = jax.jit(generator.init, static_argnames="num_envs")(model, jax.random.key(0), None, num_envs=BATCH)
    program = jax.make_jaxpr(generator.reset)(model, state, jnp.arange(BATCH) < 3, jax.random.key(0), None)
    assert "dot_general" not in str(program)
    assert "dot_general" in str(
        jax.make_jaxpr(generator.reset)(model, state, jnp.arange(BATCH) < 3, jax.random.key(0), commands(1), first(2))
    )


def test_draws_from_the_bank_stay_in_its_range(model, motions):
    generator = cmg_jax.streaming(4, from_bank=True)
    reset = jax.jit(chex.assert_max_traces(generator.reset, n=1))
    state = generator.init(model.replace(bank=motions), jax.random.key(0), None, num_envs=200)
    middle = float(np.median(motions.command[:, 0]))
    for low, high in ((-9.0, middle), (middle, 9.0)):
        limits = {"command_low": jnp.array([low, -9.0, -9.0]), "command_high": jnp.array([high, 9.0, 9.0])}
        pooled = model.replace(bank=motions._replace(**limits))
        state = reset(pooled, state, jnp.ones(200, bool), jax.random.key(0), None)
        assert (state.command[:, 0] >= low).all()
        assert (state.command[:, 0] <= high).all()
        assert len(np.unique(state.command[:, 0])) >= 8


@pytest.mark.parametrize(
    "generator",
    [cmg_jax.streaming(20, from_bank=True), cmg_jax.realtime(21, from_bank=True), cmg_jax.replay(lookahead_frames=20)],
)
def test_a_bank_that_is_missing_or_too_short_is_refused(generator, model, motions):
    for each, words in (
        (model, "the model has none"),
        (model.replace(bank=motions), "20 frames each; 21 are needed"),
    ):
        with pytest.raises(InputError, match=words):
            generator.init(each, jax.random.key(0), commands(1))
