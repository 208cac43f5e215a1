"""How feet meet the floor: slip, flight, floating, penetration."""

import numpy as np
import pytest

from cmg_jax.robot import G1
from cmg_jax.robot._foot_quality import figures, foot_figures, soles
from tests.data_tools import strides


@pytest.fixture(scope="module")
def clip():
    """A walk whose stance foot stays in its place, the lower foot always on the floor."""
    return strides()


def measure(clip, shift=(0.0, 0.0, 0.0)):
    return foot_figures(clip.joint_pos, clip.root_pos + np.asarray(shift), clip.root_quat, G1, clip.fps)


def test_a_walk_on_the_floor_neither_slides_nor_floats(clip):
    found = measure(clip)
    assert found.slip < 0.05
    assert found.flight == 0
    assert abs(found.floating) < 1e-4
    assert found.penetration < 1e-4


@pytest.mark.parametrize("height", [0.06, -0.03])
def test_feet_that_float_or_sink_do_so_by_their_distance_from_the_floor(height, clip):
    found = measure(clip, (0, 0, height))
    np.testing.assert_allclose(found.floating, height, atol=1e-4)
    np.testing.assert_allclose(found.penetration, max(-height, 0), atol=1e-4)
    assert found.flight == (height > 0)
    assert np.isnan(found.slip) == (height > 0)


def test_a_root_that_glides_over_still_legs_slips_at_its_speed():
    frames, speed = 80, 0.7
    joint_pos = np.tile(G1.standing_joint_pos, (frames, 1))
    root_quat = np.tile([1.0, 0, 0, 0], (frames, 1))
    root_pos = np.stack([speed * np.arange(frames) / 50, np.zeros(frames), np.zeros(frames)], axis=-1)
    root_pos[:, 2] = -float(soles(joint_pos[:1], root_pos[:1], root_quat[:1], G1)[..., 2].min())
    np.testing.assert_allclose(foot_figures(joint_pos, root_pos, root_quat, G1, 50.0).slip, speed, rtol=1e-4)


def test_flight_between_steps_is_no_floating(clip):
    """Hops of 0.2 s, 5 a motion: up to 5 cm high."""
    phase = np.arange(len(clip.joint_pos)) % 30
    height = np.where(phase < 10, 0.05 * np.sin(np.pi * phase / 10), 0.0)
    found = measure(clip, np.stack([0 * height, 0 * height, height], axis=-1))
    np.testing.assert_allclose(found.flight, np.mean(height > 0.025), atol=0.02)
    assert abs(found.floating) < 1e-4


def test_motions_are_measured_together_whatever_their_lengths(clip):
    points = soles(clip.joint_pos, clip.root_pos, clip.root_quat, G1)
    assert points.shape == (len(clip.joint_pos), 2, 4, 3)
    raised = points[:50] + np.array([0, 0, 0.1], np.float32)
    found = figures([points, raised], clip.fps)
    assert found.flight == 0.25
    assert found.slip == figures([points], clip.fps).slip
    joint_pos, root_pos, root_quat = (
        np.stack([array] * 3) for array in (clip.joint_pos, clip.root_pos, clip.root_quat)
    )
    batch = foot_figures(joint_pos, root_pos, root_quat, G1, clip.fps)
    np.testing.assert_allclose(np.array(batch), np.array(measure(clip)), rtol=1e-5, atol=1e-9)
