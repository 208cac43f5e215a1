"""Generators against the reads of the PyTorch implementation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cmg_jax
from tests.conftest import SHARED, needs_shared
from tests.generator_tools import GOLDEN_TOLERANCE, play


def golden_start(generator, model, path, rows):
    with np.load(path) as arrays:
        arrays = dict(arrays)
    state = jax.jit(generator.init)(model, jax.random.key(0), arrays["command"][:rows], arrays["init_motion"][:rows])
    return arrays, state


def test_pregenerated_reads_agree_with_pytorch_through_the_wrap(model, golden):
    generator = cmg_jax.pregenerated(200, serve_first=True)
    start = jax.jit(generator.init)
    state = start(model, jax.random.key(0), golden["pregenerated_command"], golden["pregenerated_motion"])
    served = play(generator, model, state, 231)[1].swapaxes(0, 1)
    expected = golden["pregenerated_trajectory"]
    np.testing.assert_allclose(served[:, :201], expected, rtol=0, atol=GOLDEN_TOLERANCE)
    np.testing.assert_allclose(served[:, 201:], expected[:, :30], rtol=0, atol=GOLDEN_TOLERANCE)


@pytest.mark.parametrize("name", ["realtime", "streaming"])
def test_rolling_reads_agree_with_pytorch(name, model, golden):
    generator = {"realtime": cmg_jax.realtime(100), "streaming": cmg_jax.streaming(20)}[name]
    start = jax.jit(generator.init)
    state = start(model, jax.random.key(0), golden["pregenerated_command"], golden["pregenerated_motion"])
    served = play(generator, model, state, 180)[1].swapaxes(0, 1)
    expected = golden["pregenerated_trajectory"][:, 1:181]
    np.testing.assert_allclose(served, expected, rtol=0, atol=GOLDEN_TOLERANCE)


@needs_shared
def test_whole_golden_files_agree_with_pytorch(model):
    generator = cmg_jax.pregenerated(200, serve_first=True)
    arrays, state = golden_start(generator, model, SHARED / "golden" / "pregenerated.npz", 8)
    reads = np.abs(play(generator, model, state, 231)[1].swapaxes(0, 1) - arrays["reads"]).max()
    state, before = play(generator, model, state, 37)
    rows = jnp.array([1, 5])
    motion = jnp.asarray(arrays["init_motion"]).at[rows].set(arrays["init_motion"][[2, 3]])
    command = jnp.asarray(arrays["command"]).at[rows].set(arrays["command"][[4, 0]])
    done = jnp.zeros(8, bool).at[rows].set(True)
    state = jax.jit(generator.reset)(model, state, done, jax.random.key(1), command, motion)
    series = np.concatenate([before, play(generator, model, state, 43)[1]]).swapaxes(0, 1)
    partial = np.abs(series - arrays["partial_reset_reads"]).max()

    generator = cmg_jax.realtime(100)
    arrays, state = golden_start(generator, model, SHARED / "golden" / "realtime.npz", 8)
    realtime = np.abs(play(generator, model, state, 180)[1].swapaxes(0, 1) - arrays["reads"]).max()
    print(f"pregenerated {reads:.1e}, partial reset {partial:.1e}, realtime {realtime:.1e}")
    assert max(reads, partial, realtime) <= GOLDEN_TOLERANCE
