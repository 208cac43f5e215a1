"""Rows over several devices: the same numbers as on one device, and no communication between devices."""

import functools
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cmg_jax
from cmg_jax import InputError
from cmg_jax.generators import _sharded
from tests import two_processes
from tests.conftest import XLA_FLAGS
from tests.generator_tools import commands, flat, jitted, play
from tests.library_tools import small_library
from tests.test_generators import ALL, MODES, POOLED

ROWS, STEPS = 64, 14
ROUNDING = 3e-5
"""Tolerance in rad/s after 14 frames of feedback: matrix products of another size sum in another order, so rows in
groups of another size differ in the last bits."""
COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "collective-permute", "reduce-scatter")


@pytest.fixture(scope="module")
def devices():
    assert len(jax.devices()) == 8
    return _sharded.mesh()


def rollout(generator):
    """Repeated resets, changes of command and steps; returns the served and the look-ahead frames."""

    def run(model, state, done, changed, command):
        def body(state, now):
            done, changed, command, key = now
            state = generator.reset(model, state, done, key, command)
            state = generator.set_command(model, state, command[::-1], changed)
            state, frame = generator.step(model, state)
            return state, (frame, generator.lookahead(model, state, (1, 3)))

        keys = jax.random.split(jax.random.key(7), STEPS)
        return jax.lax.scan(body, state, (done, changed, command, keys))

    return jax.jit(run)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["loop", "extend", "realtime", "streaming", *POOLED])
def test_every_mode_serves_the_same_frames_on_eight_devices_as_on_one(mode, model, motions, devices):
    generator = ALL[mode]()
    model = cmg_jax.model_of_library(small_library()) if mode == "matching" else model.replace(bank=motions)
    rng = np.random.default_rng(3)
    done, changed = rng.random((2, STEPS, ROWS)) < 0.2
    command = np.stack([commands(seed, ROWS) for seed in range(STEPS)])
    served = []
    for kind in (generator, _sharded.sharded(generator, devices)):
        state = jax.jit(kind.init)(model, jax.random.key(1), commands(90, ROWS))
        state, (frames, ahead) = rollout(kind)(model, state, done, changed, command)
        served.append((flat(frames), flat(ahead), np.asarray(state.command)))
    assert len(state.command.sharding.device_set) == 8
    for one, many in zip(*served, strict=True):
        assert one.std() > 0.1
        if mode == "matching":  # of frames that match equally well, rounding chooses
            assert (np.abs(many - one) > ROUNDING).mean() < 0.002
        else:
            np.testing.assert_allclose(many, one, rtol=0, atol=ROUNDING)


def test_a_state_of_numpy_arrays_continues_on_several_devices(model, motions, devices):
    generator, model = _sharded.sharded(ALL["wrapped"](), devices), model.replace(bank=motions)
    assert generator.horizon == ALL["wrapped"]().horizon
    functions = jitted(generator)
    state = functions.init(model, jax.random.key(1), commands(3, ROWS))
    restored = jax.tree.map(np.asarray, state)
    done = np.arange(ROWS) % 5 == 0
    frames = []
    for start in (state, restored):
        after = functions.reset(model, start, done, jax.random.key(2), commands(4, ROWS))
        after = functions.set_command(model, after, commands(5, ROWS))
        frames.append((functions.step(model, after)[1], functions.lookahead(model, start, (0, 1))))
    jax.tree.map(np.testing.assert_array_equal, *frames)
    with pytest.raises(InputError, match="offset 6 is beyond the 5 frames ahead"):
        generator.lookahead(model, state, (6,))


def assert_equal_up_to_rounding(frames, expected):
    """Compare frames of feedback, time first: matrix products of another shape sum in another order."""
    np.testing.assert_allclose(frames[1], expected[1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(frames, expected, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["loop", "realtime", "streaming"])
def test_64_rows_a_device_differ_only_by_rounding(mode, model, devices):
    served = []
    for kind in (MODES[mode](), _sharded.sharded(MODES[mode](), devices)):
        state = jax.jit(kind.init)(model, jax.random.key(1), commands(5, 512))
        served.append(play(kind, model, state, 12)[1])
    assert_equal_up_to_rounding(*served)


def test_a_drawn_bank_is_the_same_on_eight_devices(model, motions, devices):
    generator, model = cmg_jax.replay(), model.replace(bank=motions)
    states = [
        kind.init(model, jax.random.key(4), None, num_envs=ROWS)
        for kind in (generator, _sharded.sharded(generator, devices))
    ]
    jax.tree.map(np.testing.assert_array_equal, *states)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["realtime", "streaming", *POOLED])
def test_nothing_passes_between_devices(mode, model, motions, devices):
    generator = _sharded.sharded(ALL[mode](), devices)
    model = cmg_jax.model_of_library(small_library()) if mode == "matching" else model.replace(bank=motions)
    model = _sharded.replicate(model, devices)
    command, done = _sharded.shard_rows((np.asarray(commands(1, ROWS)), np.arange(ROWS) % 3 == 0), devices)
    state = jax.jit(generator.init)(model, jax.random.key(0), command)
    for function, arguments in (
        (generator.step, ()),
        (generator.reset, (done, jax.random.key(1), command)),
        (generator.set_command, (command, done)),
    ):
        text = str(jax.jit(function).lower(model, state, *arguments).compile().as_text())
        assert [word for word in COLLECTIVES if word in text] == []


@pytest.mark.parametrize("time_major", [False, True])
def test_generate_is_that_of_one_device(time_major, model, devices):
    motion = model.initial_motion[:512]
    schedule = jnp.stack([commands(seed, 512) for seed in range(20)], axis=1)
    expected = jax.jit(cmg_jax.generate, static_argnames="time_major")(model, motion, schedule, time_major=time_major)
    generate = jax.jit(functools.partial(_sharded.generate_sharded, over=devices, time_major=time_major))
    trajectory = generate(model, motion, schedule)
    assert_equal_up_to_rounding(*(a if time_major else np.swapaxes(a, 0, 1) for a in (trajectory, expected)))
    inputs = _sharded.replicate(model, devices), *_sharded.shard_rows((motion, schedule), devices)
    text = str(generate.lower(*inputs).compile().as_text())
    assert [word for word in COLLECTIVES if word in text] == []


def test_rows_that_do_not_divide_evenly_are_refused(model, devices):
    with pytest.raises(InputError, match="12 rows cannot be shared evenly by 8 devices"):
        _sharded.sharded(cmg_jax.streaming(2), devices).init(model, jax.random.key(0), commands(0, 12))
    generator = _sharded.sharded(cmg_jax.streaming(2), devices)
    state = generator.init(model, jax.random.key(0), commands(0, 16))
    with pytest.raises(InputError, match="command is not finite in row 3"):
        generator.set_command(model, state, commands(0, 16).at[3, 1].set(jnp.nan))
    with pytest.raises(InputError, match="offset -1 is negative"):
        generator.lookahead(model, state, (-1,))
    with pytest.raises(InputError, match=r"command has shape \(8, 3\); it must be \[16, 3\]"):
        generator.reset(model, state, np.ones(16, bool), jax.random.key(0), commands(0, 8))
    with pytest.raises(InputError, match="10 rows cannot be shared evenly"):
        _sharded.generate_sharded(model, model.initial_motion[:10], jnp.zeros((10, 3, 3)), devices)


@pytest.mark.slow
def test_two_processes_serve_the_frames_of_one_with_two_devices(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "XLA_FLAGS": f"{XLA_FLAGS} --xla_force_host_platform_device_count=1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.two_processes", str(port), str(process), str(tmp_path / f"{process}.npy")],
            cwd=Path(__file__).parents[1],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in range(2)
    ]
    try:
        errors = [process.communicate(timeout=200)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], errors
    served = np.concatenate([np.load(tmp_path / f"{process}.npy") for process in range(2)], axis=1)
    two_devices = _sharded.mesh(jax.devices()[:2])
    expected = two_processes.run(two_devices, cmg_jax.streaming(3), cmg_jax.default_model(), slice(None))
    # Matrix products divide their threads differently with another number of devices in a process.
    np.testing.assert_allclose(served[0], expected[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(served, expected, rtol=0, atol=1e-4)


def test_a_mesh_of_other_axes_is_refused(model):
    other = jax.sharding.Mesh(np.array(jax.devices()).reshape(2, 4), ("batch", "environments"))
    for call in (
        lambda: _sharded.sharded(cmg_jax.streaming(2), other),
        lambda: _sharded.shard_rows(np.zeros((8, 3)), other),
        lambda: _sharded.generate_sharded(model, jnp.zeros((8, 58)), jnp.zeros((8, 2, 3)), other),
    ):
        with pytest.raises(InputError, match=r"the mesh has the axes batch, environments; rows are .*generators\.mesh"):
            call()
