"""Switching between modes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import cmg_jax
from tests.generator_tools import commands, first, flat, play


def test_switching_continues_from_the_frame_last_served(model, motions):
    generators = [
        cmg_jax.streaming(3),
        cmg_jax.pregenerated(6, on_end="extend"),
        cmg_jax.realtime(8),
        cmg_jax.mirrored(cmg_jax.on_tick(cmg_jax.streaming(2)), 0.5),
        cmg_jax.streaming(3, from_bank=True),
    ]
    model = model.replace(bank=motions)
    state = generators[0].init(model, jax.random.key(0), commands(1), first(2))
    for index, now in enumerate(generators):
        state, served = play(now, model, state, 3)
        to = generators[(index + 1) % len(generators)]
        following = jax.jit(partial(cmg_jax.switch, now, to))(model, state, jax.random.key(0))
        np.testing.assert_array_equal(following.command, commands(1))
        frame = jax.jit(to.step)(model, following)[1]
        if index != 2:  # from there on, some rows are mirrored
            expected = cmg_jax.apply(model, jnp.asarray(served[-1]), commands(1))
            np.testing.assert_allclose(flat(frame), expected, atol=2e-5)
        state = following


def test_switching_to_a_bank_continues_from_the_nearest_frame(model, motions):
    rolling, bank = cmg_jax.streaming(3), cmg_jax.replay(lookahead_frames=2)
    model = model.replace(bank=motions)
    start = cmg_jax.apply(model, first(2), commands(1))
    state = rolling.init(model, jax.random.key(0), commands(1), start)
    following = cmg_jax.switch(rolling, bank, model, state, jax.random.key(0))
    np.testing.assert_array_equal(
        following.motion_index, cmg_jax.replay().init(model, jax.random.key(0), commands(1)).motion_index
    )
    stats = model.stats
    wanted = (start - stats.motion_mean[None]) / stats.motion_std[None]
    chosen = np.asarray(motions.frames)[:17, following.motion_index]
    nearest = np.square(chosen - np.asarray(wanted)).sum(-1).argmin(0)
    np.testing.assert_array_equal(following.frame_index, nearest)
    assert len(set(nearest.tolist())) > 2
