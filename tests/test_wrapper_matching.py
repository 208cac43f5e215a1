"""Motion matching around an environment of Brax: episodes of recorded motion that begin, obey and end in their rows."""

import jax
import numpy as np
import pytest

pytest.importorskip("brax")

import cmg_jax
from cmg_jax import commands
from cmg_jax.robot import split_frame
from tests.generator_tools import play
from tests.library_tools import recordings, small_library
from tests.tiny_envs import OFFSETS, BeginsBrax
from tests.wrapper_tools import BATCH, EPISODE, KEYS, actions_of, unroll, wrapped

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("allow_mixed_dtypes")]

JOINTS, STEPS = 29, 90


class Walker(BeginsBrax):
    """An environment with the joints of the library's robot."""

    joints = JOINTS


def draw(key, num_envs):
    """Speeds of the recordings, straight on."""
    low, high = np.array([0.4, 0.0, 0.0], np.float32), np.array([1.1, 0.0, 0.0], np.float32)
    return commands.uniform(key, commands.CommandRange(low, high), num_envs)


@pytest.fixture(scope="module")
def env():
    model = cmg_jax.model_of_library(small_library())
    generator = cmg_jax.matching(start="standing", lookahead_frames=max(OFFSETS) + 1)
    return wrapped(Walker(), model, generator, draw=draw, hold=1000)


@pytest.fixture(scope="module")
def rollout(env):
    """The first state, and 90 steps in which episodes end at different times."""
    state = jax.jit(env.reset)(KEYS)
    actions = actions_of(1, STEPS)
    return state, unroll(env, state, actions)[1]


def test_an_episode_is_what_the_library_plays(env, rollout):
    state, seen = rollout
    inside = state.info["reference_state"]
    length = np.asarray(seen["done"]).argmax(axis=0)  # the first row's steps until its first episode ends
    frames = play(env._source.generator, inside.model, inside.generator, STEPS + max(OFFSETS))[1]
    for row, steps in enumerate(length):
        reference = jax.tree.map(lambda leaf, row=row: np.asarray(leaf[:, row]), seen["reference"])
        np.testing.assert_allclose(reference.joint_pos[:steps], frames[:steps, row, :JOINTS], atol=1e-5)
        for place, offset in enumerate(OFFSETS):
            expected = frames[offset : offset + steps, row, :JOINTS]
            np.testing.assert_allclose(reference.ahead.joint_pos[:steps, place], expected, atol=1e-5)
    assert length.max() > 20
    assert len(np.unique(length)) > 3


def test_a_row_that_is_done_stands_at_the_origin_and_the_others_go_on(rollout):
    _, seen = rollout
    reference, done = seen["reference"], np.asarray(seen["done"]) == 1
    library, joint_pos = small_library(), np.asarray(reference.joint_pos)
    standing = np.asarray(library.frames[library.standing_index])[None, :JOINTS]
    np.testing.assert_allclose(joint_pos[done], np.repeat(standing, done.sum(), axis=0), atol=1e-5)
    np.testing.assert_array_equal(np.asarray(seen["data"]["joints"])[done, :JOINTS], joint_pos[done])
    np.testing.assert_allclose(np.asarray(reference.root.position)[done, :2], 0, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(seen["obs"])[..., 2 : 2 + JOINTS], joint_pos)
    # Where no episode ends, a step is no longer than in the recordings.
    step = np.abs(np.diff(joint_pos, axis=0)).max(axis=-1)[~done[1:]]
    assert 0.05 < step.max() < 1.2 * np.abs(np.diff(recordings().motion[:, :JOINTS], axis=0)).max()
    counts = done.sum(axis=-1)
    assert (counts == 0).any()
    assert ((counts > 0) & (counts < BATCH)).sum() > 5, "rows that end alone"


def test_the_root_walks_in_the_world_as_the_command_says(env):
    state = jax.jit(env.reset)(KEYS)
    actions = np.full((2 * EPISODE, BATCH, 3), -1.0, np.float32)
    state.info["steps"] = state.info["steps"] - EPISODE  # so that the episodes last twice as long
    state, seen = unroll(env, state, actions)
    reference = jax.tree.map(np.asarray, seen["reference"])
    command = reference.command[-2]
    assert np.ptp(command[:, 0]) > 0.3
    position = reference.root.position
    late = slice(EPISODE, 2 * EPISODE - 1)
    walked = np.diff(position[late], axis=0).mean(axis=0) * 50
    np.testing.assert_allclose(walked[:, 0], command[:, 0], atol=0.2)
    assert np.corrcoef(walked[:, 0], command[:, 0])[0, 1] > 0.9
    np.testing.assert_allclose(reference.root.linear_velocity[late].mean(axis=0), walked, atol=0.05)
    root = split_frame(small_library().frames, JOINTS).root
    assert root is not None
    np.testing.assert_allclose(position[late, :, 2].mean(), np.asarray(root.height).mean(), atol=0.03)
