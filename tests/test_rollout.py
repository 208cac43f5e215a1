import math
import re
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cmg_jax
from tests.conftest import SHARED, needs_shared

GOLDEN_TOLERANCE = 1e-3  # rad or rad/s, after up to 200 steps of feedback

generate = jax.jit(cmg_jax.generate, static_argnames=("time_major", "block_rows"))


def inputs(model, rows, steps, seed=0):
    """First frames from the pool, and commands that differ from row to row and step to step."""
    rng = np.random.default_rng(seed)
    pool = np.asarray(model.initial_motion)
    motion = pool[rng.integers(len(pool), size=rows)] + rng.normal(size=(rows, pool.shape[1])) * 0.01
    low, high = np.asarray(model.stats.command_min), np.asarray(model.stats.command_max)
    commands = rng.uniform(low, high, size=(rows, steps, len(low)))
    return jnp.asarray(motion, jnp.float32), jnp.asarray(commands, jnp.float32)


def held(command, steps):
    return np.repeat(command[:, None], steps, axis=1)


def test_constant_commands_agree_with_pytorch(model, golden):
    commands = held(golden["pregenerated_command"], 200)
    trajectory = generate(model, golden["pregenerated_motion"], commands)
    np.testing.assert_allclose(trajectory, golden["pregenerated_trajectory"], rtol=0, atol=GOLDEN_TOLERANCE)


def test_varying_commands_agree_with_pytorch(model, golden):
    trajectory = generate(model, golden["varying_motion"], golden["varying_commands"])
    np.testing.assert_allclose(trajectory, golden["varying_trajectory"], rtol=0, atol=GOLDEN_TOLERANCE)


@needs_shared
def test_whole_golden_files_agree_with_pytorch(model):
    with np.load(SHARED / "golden" / "pregenerated.npz") as arrays:
        constant = generate(model, arrays["init_motion"], held(arrays["command"], 200)) - arrays["trajectories"]
    with np.load(SHARED / "golden" / "varying_commands.npz") as arrays:
        varying = generate(model, arrays["init_motion"], arrays["commands"]) - arrays["trajectories"]
    print(f"constant {np.abs(constant).max():.1e}, varying {np.abs(varying).max():.1e}")
    assert np.abs(constant).max() <= GOLDEN_TOLERANCE
    assert np.abs(varying).max() <= GOLDEN_TOLERANCE


def test_first_frame_is_the_given_one_to_the_bit(model):
    motion, commands = inputs(model, 5, 3)
    trajectory = generate(model, motion, commands)
    assert trajectory.shape == (5, 4, 58)
    np.testing.assert_array_equal(trajectory[:, 0], motion)


def test_each_frame_is_the_network_on_the_one_before(model):
    motion, commands = inputs(model, 4, 6)
    trajectory = generate(model, motion, commands)
    for step in range(6):
        following = cmg_jax.apply(model, trajectory[:, step], commands[:, step])
        np.testing.assert_allclose(trajectory[:, step + 1], following, atol=2e-5)


@pytest.mark.parametrize("rows", [1, 7, 64, 101])
@pytest.mark.parametrize("block_rows", [1, 13, 64, 1000])
def test_blocks_do_not_change_the_result(small_model, rows, block_rows):
    motion, commands = inputs(small_model, rows, 5, seed=rows)
    whole = generate(small_model, motion, commands, block_rows=rows)
    np.testing.assert_allclose(generate(small_model, motion, commands, block_rows=block_rows), whole, atol=1e-5)


def test_time_major_is_the_same_trajectory(small_model):
    motion, commands = inputs(small_model, 11, 4)
    frames = generate(small_model, motion, commands, time_major=True, block_rows=4)
    assert frames.shape == (5, 11, 6)
    np.testing.assert_allclose(frames.swapaxes(0, 1), generate(small_model, motion, commands), atol=1e-5)


@pytest.mark.parametrize("batch_shape", [(), (3,), (2, 3), (2, 1, 3), (0,)])
def test_any_number_of_leading_axes(small_model, batch_shape):
    rows = int(np.prod(batch_shape))
    motion, commands = inputs(small_model, max(rows, 1), 4)
    flat = generate(small_model, motion, commands)[:rows]
    shaped = (motion[:rows].reshape(*batch_shape, 6), commands[:rows].reshape(*batch_shape, 4, 2))
    trajectory = generate(small_model, *shaped)
    np.testing.assert_allclose(trajectory, flat.reshape(*batch_shape, 5, 6), atol=1e-5)
    frames = generate(small_model, *shaped, time_major=True)
    assert frames.shape == (5, *batch_shape, 6)


def test_no_steps_leave_the_first_frame(small_model):
    motion, commands = inputs(small_model, 3, 0)
    np.testing.assert_array_equal(generate(small_model, motion, commands), motion[:, None])


def test_under_vmap_and_inside_a_scan(small_model):
    motion, commands = inputs(small_model, 6, 4)
    expected = generate(small_model, motion, commands)

    mapped = jax.jit(jax.vmap(cmg_jax.generate, in_axes=(None, 0, 0)))(small_model, motion, commands)
    np.testing.assert_allclose(mapped, expected, atol=1e-5)

    @jax.jit
    def scanned(model, motion, commands):
        def body(last, command):
            frame = cmg_jax.generate(model, last, command[:, None])[:, -1]
            return frame, frame

        return jax.lax.scan(body, motion, commands.swapaxes(0, 1))[1]

    np.testing.assert_allclose(scanned(small_model, motion, commands).swapaxes(0, 1), expected[:, 1:], atol=1e-5)


def test_gradient_is_that_of_the_steps_written_out(small_model):
    motion, commands = inputs(small_model, 9, 4)
    weights = jax.random.normal(jax.random.key(1), (9, 6))

    def blocks(motion, commands):
        return jnp.vdot(weights, cmg_jax.generate(small_model, motion, commands, block_rows=4)[:, -1])

    def written_out(motion, commands):
        for step in range(4):
            motion = cmg_jax.apply(small_model, motion, commands[:, step])
        return jnp.vdot(weights, motion)

    gradients, expected = (jax.jit(jax.grad(loss, argnums=(0, 1)))(motion, commands) for loss in (blocks, written_out))
    assert np.abs(expected[1][:, 0]).min() > 0, "the first command should matter to the last frame"
    jax.tree.map(lambda got, want: np.testing.assert_allclose(got, want, atol=1e-5), gradients, expected)


def test_a_row_does_not_affect_other_rows(model):
    motion, commands = inputs(model, 8, 10)
    before = generate(model, motion, commands)
    after = generate(model, motion.at[2].set(jnp.nan), commands.at[5].add(0.3))
    others = np.array([0, 1, 3, 4, 6, 7])
    np.testing.assert_array_equal(before[others], after[others])
    assert np.isnan(after[2]).all()
    assert np.abs(after[5, -1] - before[5, -1]).max() > 1e-3


def test_a_second_call_compiles_nothing(small_model):
    chex.clear_trace_counter()
    counted = jax.jit(chex.assert_max_traces(cmg_jax.generate, n=1))
    for seed in range(3):
        counted(small_model, *inputs(small_model, 5, 4, seed))


def moved(compiled, weights) -> list[str]:
    """The instructions of a compiled program that copy or transpose an array of the size of one of `weights`."""
    text, sizes = str(compiled.as_text()), {leaf.size for leaf in weights}
    for leaf in weights:
        assert f"f32[{','.join(map(str, leaf.shape))}]" in text, "the program does not contain this weight"
    found = re.findall(r"f32\[([\d,]+)\]\S* ((?:transpose|copy)\(\S*)", text)
    return [f"[{shape}] {what}" for shape, what in found if math.prod(map(int, shape.split(","))) in sizes]


def test_compiled_program_holds_one_trajectory_and_no_moved_weights(model):
    rows, steps = 4000, 100  # in blocks of 500: no activation is of the size of a weight
    shapes = (jax.ShapeDtypeStruct((rows, 58), jnp.float32), jax.ShapeDtypeStruct((rows, steps, 3), jnp.float32))
    compiled = generate.lower(model, *shapes, time_major=True).compile()
    memory: Any = compiled.memory_analysis()
    trajectory_bytes = (steps + 1) * rows * 58 * 4
    assert memory.output_size_in_bytes == pytest.approx(trajectory_bytes, rel=0.01)
    assert memory.temp_size_in_bytes < 0.35 * trajectory_bytes
    kernels = [leaf for leaf in jax.tree.leaves(model.params) if leaf.ndim == 2 and leaf.size > 4 * 512]
    assert len(kernels) == 4, "the gate's first layer and three of experts"
    assert not moved(compiled, kernels)

    @jax.jit
    def moving(model, motion, commands):  # a program that the check must detect
        turned = jax.lax.optimization_barrier(jax.tree.map(lambda leaf: leaf.T, model.params))
        return generate(model.replace(params=jax.tree.map(lambda leaf: leaf.T, turned)), motion, commands)

    shapes = (jax.ShapeDtypeStruct((5, 58), jnp.float32), jax.ShapeDtypeStruct((5, 2, 3), jnp.float32))
    assert len(moved(moving.lower(model, *shapes).compile(), kernels)) >= 4


@pytest.mark.parametrize(
    ("motion_shape", "commands_shape", "words"),
    [
        ((4, 57), (4, 5, 3), "58"),
        ((4, 58), (4, 5, 2), "[T, 3]"),
        ((4, 58), (5, 5, 3), "leading axes"),
        ((58,), (4, 5, 3), "leading axes"),
        ((4, 58), (3,), "[T, 3]"),
    ],
)
def test_shapes_that_do_not_fit_are_named(model, motion_shape, commands_shape, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        cmg_jax.generate(model, jnp.zeros(motion_shape), jnp.zeros(commands_shape))
