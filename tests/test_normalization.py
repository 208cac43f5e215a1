import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cmg_jax.model import _normalization
from cmg_jax.model._normalization import MotionStats

STATS = MotionStats(
    jnp.array([1.0, -2.0]), jnp.array([0.5, 4.0]), jnp.array([-0.5, -1.0, 0.0]), jnp.array([1.5, 1.0, 8.0])
)
floats = st.floats(-100, 100, width=32, allow_subnormal=False)
batch_shapes = st.sampled_from([(), (3,), (2, 0), (2, 1, 3)])


def test_motion_is_centred_and_scaled():
    np.testing.assert_allclose(_normalization.normalize_motion(STATS, jnp.array([2.0, 2.0])), [2.0, 1.0])


def test_command_range_becomes_minus_one_to_one():
    commands = jnp.stack([STATS.command_min, (STATS.command_min + STATS.command_max) / 2, STATS.command_max])
    expected = np.array([[-1.0] * 3, [0.0] * 3, [1.0] * 3])
    np.testing.assert_allclose(_normalization.normalize_command(STATS, commands), expected, atol=1e-6)


@given(hnp.arrays(np.float32, batch_shapes.map(lambda shape: (*shape, 2)), elements=floats))
def test_motion_round_trip(motion):
    back = _normalization.denormalize_motion(STATS, _normalization.normalize_motion(STATS, jnp.asarray(motion)))
    np.testing.assert_allclose(back, motion, atol=1e-4)


@given(hnp.arrays(np.float32, batch_shapes.map(lambda shape: (*shape, 3)), elements=floats))
def test_command_round_trip(command):
    back = _normalization.denormalize_command(STATS, _normalization.normalize_command(STATS, jnp.asarray(command)))
    np.testing.assert_allclose(back, command, atol=1e-4)
