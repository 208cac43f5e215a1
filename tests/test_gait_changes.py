"""Libraries of gaits where the velocity changes: labels, rests, feet left behind and swings that race."""

from itertools import pairwise

import numpy as np
import pytest

from cmg_jax.gaits import Options, _catalogue, _feet, _plan, _soften, _synthesis
from cmg_jax.gaits._plan import Segment
from cmg_jax.robot import G1, _foot_quality
from tests import gait_tools
from tests.gait_tools import FPS


def plan(*segments: Segment) -> _plan.Plan:
    return _plan.make_plan(segments, _plan.Clock(gait_tools.library().walk, None), FPS)


def test_command_jumps_and_the_motion_follows():
    made = plan(Segment(2.0, (0.2, 0.0, 0.0)), Segment(2.0, (1.0, 0.1, 0.5)), Segment(3.0, None))
    command, velocity = (array[made.kept.start :] for array in (made.command, made.velocity))
    np.testing.assert_array_equal(command[99], (0.2, 0.0, 0.0))
    np.testing.assert_array_equal(command[100], (1.0, 0.1, 0.5))
    np.testing.assert_array_equal(command[200], (0.0, 0.0, 0.0))
    assert velocity[100, 0] < 0.25
    np.testing.assert_allclose(velocity[100 + 60 : 200], command[100 + 60 : 200], atol=1e-9)  # after 1.2 s
    assert velocity[201, 0] > 0.9
    assert not velocity[-30:].any()
    # No acceleration that a person has not.
    assert (np.abs(np.diff(velocity, axis=0)).max(axis=0) * FPS < 2 * _plan.ACCELERATION).all()


def test_strides_get_longer_slowly():
    made = plan(Segment(2.0, (1.0, 0.0, 0.0)), Segment(2.0, (0.2, 0.0, 0.0)))
    growth = np.diff(made.period) * FPS
    assert growth.max() == pytest.approx(_plan.LENGTHENING, rel=1e-6)
    assert made.period[-1] > made.period[0] + 0.15


def test_catalogue_has_every_change():
    bounds = _catalogue.Region(-0.8, 3.1)
    items = _catalogue.catalogue(bounds, seed=3, changes=Options().changes)
    seconds = {True: 0.0, False: 0.0}
    pairs, corners = set(), set()
    for item in items:
        seconds["changes" in item.name] += sum(segment.seconds for segment in item.segments)
        speeds = [0.0 if segment.velocity is None else segment.velocity[0] for segment in item.segments]
        pairs |= set(pairwise(speeds))
        corners |= {segment.velocity for segment in item.segments if segment.velocity is not None}
        assert all(segment.velocity is None or bounds.holds(segment.velocity) for segment in item.segments)
    assert {(0.0, 3.0), (3.0, 0.0), (2.5, 0.8), (-0.5, 1.2), (1.5, 2.2), (2.2, 1.2)} <= pairs
    assert {(0.6, 0.35, 0.7), (-0.6, -0.35, 0.7), (1.5, 0.35, -0.7), (3.0, 0.0, -0.7), (0.3, -0.35, 0.0)} <= corners
    assert seconds[True] > 0.5 * (seconds[True] + seconds[False])
    again = _catalogue.catalogue(bounds, seed=4, changes=40)
    assert [item.name for item in again] != [item.name for item in items]


def test_every_rest_is_reached_and_left_with_the_right_foot():
    items = [
        item
        for item in _catalogue.catalogue(_catalogue.Region(-0.4, 1.0), seed=1, changes=16)
        if "start and stop changes" in item.name or "large" in item.name
    ]
    rests = 0
    for item in items:
        made = plan(*item.segments)
        asked = np.concatenate([[True], (made.command == 0).all(axis=1)])
        for begin in np.flatnonzero(asked[:-1] & ~asked[1:]).tolist():
            if begin == 0 or begin < made.kept.start or begin > len(asked) - FPS:
                continue
            rests += 1
            assert made.active[begin] < 1e-3
            assert np.argwhere(~made.contact[begin:])[0, 1] == 1
    assert rests >= 15


@pytest.fixture(scope="module")
def walking():
    """A plan and its motion, without what smooths it."""
    made = plan(Segment(3.0, (0.7, 0.0, 0.0)))
    motion = _synthesis.synthesise([made], gait_tools.library(), FPS)[0]
    return motion, made.contact[made.kept], gait_tools.library().limits


def test_a_swing_that_races_is_smoothed_and_feet_on_the_floor_stay(walking):
    motion, contact, limits = walking
    knee = G1.joint_names.index("right_knee_joint")
    swing = np.flatnonzero(~contact[:, 1] & np.roll(contact[:, 1], 1) & (np.arange(len(contact)) > 20))[0]
    raced = motion.joint_pos.copy()
    raced[swing + 6, knee] += 0.4
    out = _soften.soften(raced, motion.root_pos, motion.root_quat, contact, limits, G1, FPS)
    step = [np.abs(np.diff(array[:, knee])).max() * FPS for array in (raced, out)]
    assert step[0] > 15
    assert step[1] <= _soften.FASTEST + 1e-6
    changed = np.argwhere(out != raced)
    assert set(changed[:, 1]) <= set(range(6, 12))
    assert not contact[changed[:, 0], 1].any()
    lowest = _foot_quality.soles(out, motion.root_pos, motion.root_quat, G1)[..., 2].min()
    assert lowest > -0.002


def test_even_motion_is_left_as_it_is(walking):
    motion, contact, limits = walking
    out = _soften.soften(motion.joint_pos, motion.root_pos, motion.root_quat, contact, limits, G1, FPS)
    np.testing.assert_array_equal(out, motion.joint_pos)


def test_the_heel_of_a_foot_left_behind_comes_up():
    made = plan(Segment(1.0, None))
    library, frames = gait_tools.library(), len(made.phase)
    behind = np.linspace(0.0, 0.4, frames)  # m
    hips = _synthesis.hips(G1)
    ground = gait_tools.ANKLE - 0.001
    position = np.stack([np.stack([-sign * behind, np.full(frames, hips[foot, 1]), np.full(frames, ground)], -1)
                         for foot, sign in ((0, 1), (1, -1))], axis=1)  # fmt: skip
    feet = _feet.FootPoses(position, np.zeros((frames, 2)), np.zeros((frames, 2)))
    before = _feet.sole_points(feet, G1)
    root = np.tile([0.0, 0.0, 0.735], (frames, 1))
    upright = np.tile([1.0, 0.0, 0.0, 0.0], (frames, 1))
    kept = feet.position[:, 1].copy()
    _synthesis._raise_heels(root, upright, feet, made, library, FPS)
    after = _feet.sole_points(feet, G1)
    front = _feet.foot_shape(G1).points[0, :, 0] > 0
    np.testing.assert_allclose(after[:, 0, front], before[:, 0, front], atol=0.006)  # the toes stay
    assert after[-1, 0, ~front, 2].min() > 0.02
    assert feet.pitch[0, 0] == 0
    assert (np.diff(feet.pitch[:, 0]) >= -1e-12).all()
    distance = np.linalg.norm(root[-1] + hips[0] - feet.position[-1, 0])
    assert distance < library.reach[0] + 1e-9
    np.testing.assert_array_equal(feet.position[:, 1], kept)  # a foot ahead comes down on its heel by itself
