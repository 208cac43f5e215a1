"""The network as fused kernels, interpreted: the frames, gradients and files of the network without them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cmg_jax
from cmg_jax import InputError
from cmg_jax.export import onnx_model, stablehlo, state_dict
from cmg_jax.generators import generate_sharded, mesh
from cmg_jax.model import Tile, apply_normalized, expert_coefficients, with_kernels, with_precision, without_kernels
from cmg_jax.model._model import CMGConfig, CMGModel
from cmg_jax.robot import Robot
from tests.generator_tools import commands, first, flat, reference, sampler
from tests.test_generators import ALL

TOLERANCE = 1e-5
SMALL = Tile(outputs=32, rows=16, inputs=32, warps=4, stages=2)
normalized = jax.jit(apply_normalized)


def inputs(model, rows):
    keys = jax.random.split(jax.random.key(rows))
    return [
        jax.random.normal(key, (rows, size))
        for key, size in zip(keys, (model.config.motion_dim, model.config.command_dim), strict=True)
    ]


def random_model(num_experts, gate_dims, hidden_dims):
    """A random model of three joints."""
    config = CMGConfig(6, 3, num_experts, gate_dims, hidden_dims, Robot("abc", ("a", "b", "c")))
    params = jax.jit(config.network.init)(jax.random.key(3), jnp.zeros((1, 6)), jnp.zeros((1, 3)))["params"]
    params = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(leaf.size), leaf.shape), params)
    stats = cmg_jax.default_model().stats
    return CMGModel(params, stats._replace(motion_mean=jnp.zeros(6), motion_std=jnp.ones(6)), None, config)


@pytest.mark.parametrize("rows", [1, 37, 160])
def test_a_frame_is_that_of_the_network_for_any_number_of_rows(rows, model):
    kernels = with_kernels(model, interpret=True)
    np.testing.assert_allclose(
        normalized(kernels, *inputs(model, rows)), normalized(model, *inputs(model, rows)), atol=TOLERANCE
    )


@pytest.mark.parametrize(
    ("num_experts", "gate_dims", "hidden_dims"),
    [(5, (70, 9, 130), (9, 200)), (17, (7,), (130,)), (1, (), (20,))],
)
def test_networks_of_any_size(num_experts, gate_dims, hidden_dims):
    model = random_model(num_experts, gate_dims, hidden_dims)
    kernels = with_kernels(model, tiles=[SMALL] * (len(hidden_dims) + 1), interpret=True)
    np.testing.assert_allclose(
        normalized(kernels, *inputs(model, 21)), normalized(model, *inputs(model, 21)), atol=TOLERANCE
    )


def test_leading_axes_and_vmap(small_model):
    kernels = with_kernels(small_model, tiles=[SMALL] * 4, interpret=True)
    motion, command = (array.reshape(3, 4, -1) for array in inputs(small_model, 12))
    expected = normalized(small_model, motion, command)
    np.testing.assert_allclose(normalized(kernels, motion, command), expected, atol=TOLERANCE)
    mapped = jax.jit(jax.vmap(apply_normalized, (None, 0, 0)))(kernels, motion, command)
    np.testing.assert_allclose(mapped, expected, atol=TOLERANCE)
    one = normalized(kernels, motion[0, 1], command[0, 1])
    np.testing.assert_allclose(one, expected[0, 1], atol=TOLERANCE)


@pytest.mark.parametrize(("precision", "tolerance"), [("tf32", 1e-5), ("float16", 1e-3), ("bfloat16", 1e-2)])
def test_precisions_round_what_they_round_without_kernels(precision, tolerance, model):
    changed = with_precision(model, precision)
    frame, rounded, exact = (
        np.asarray(normalized(each, *inputs(model, 33)))
        for each in (with_kernels(changed, interpret=True), changed, model)
    )
    apart, rounding = (np.sqrt(np.square(other - rounded).mean()) for other in (frame, exact))
    assert np.abs(frame - rounded).max() < tolerance
    assert precision == "tf32" or apart < rounding / 2  # of sums in another order: few intermediates round differently


@pytest.mark.parametrize("name", ["loop", "realtime", "streaming", "wrapped"])
def test_every_mode_serves_the_frames_of_the_network(name, root_model):
    bank = cmg_jax.build_bank(root_model, jax.random.key(9), 5, 20, sampler)
    plain = root_model.replace(bank=bank)
    kernels = with_kernels(plain, tiles=[SMALL] * 3, interpret=True)
    generator, rows, steps = ALL[name](), 7, 10
    rng = np.random.default_rng(3)
    done, changed = rng.random((2, steps, rows)) < 0.2
    command = np.stack([commands(seed, rows) for seed in range(steps)])

    def run(model):
        def body(state, now):
            done, changed, command, key = now
            state = generator.reset(model, state, done, key, command)
            state = generator.set_command(model, state, command[::-1], changed)
            return generator.step(model, state)

        state = generator.init(model, jax.random.key(1), commands(1, rows))
        return jax.lax.scan(body, state, (done, changed, command, jax.random.split(jax.random.key(7), steps)))[1]

    frames, expected = (flat(jax.jit(run)(each)) for each in (kernels, plain))
    assert np.ptp(expected, axis=(0, 1)).min() > 1e-3  # the frames move
    np.testing.assert_allclose(frames, expected, atol=TOLERANCE)


def test_generate_with_a_model_that_walks(policy_model):
    kernels = with_kernels(policy_model, interpret=True)
    served, expected = (reference(each, first(1, 5), commands(2, 5), 20) for each in (kernels, policy_model))
    np.testing.assert_allclose(served, expected, atol=1e-4)  # rad/s, after 20 frames of feedback


def test_generate_on_eight_devices(tiny_model):
    plain = tiny_model.replace(initial_motion=jnp.zeros((1, 6)))
    kernels = with_kernels(plain, tiles=[SMALL] * 3, interpret=True)
    motion = jax.random.normal(jax.random.key(0), (16, 6))
    held = jnp.repeat(commands(2, 16)[:, None], 5, axis=1)
    generate = jax.jit(lambda model: generate_sharded(model, motion, held, mesh()))
    np.testing.assert_allclose(generate(kernels), generate(plain), atol=TOLERANCE)


def test_without_a_gpu_the_network_runs_as_without_kernels(model):
    arguments = inputs(model, 9)
    np.testing.assert_array_equal(normalized(with_kernels(model), *arguments), normalized(model, *arguments))


def test_a_program_for_a_gpu_has_the_kernels_and_no_other_product(model):
    traced = jax.jit(apply_normalized).trace(with_kernels(model), *inputs(model, 64))
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("@__gpu$xla.gpu.triton") == 4  # the gate and three layers
    assert "stablehlo.dot_general" not in text
    assert "triton" not in traced.lower(lowering_platforms=("cpu",)).as_text()


def test_gradients_are_those_of_the_network(tiny_model):
    arguments = inputs(tiny_model, 10)

    def loss(model, motion, command):
        return jnp.square(apply_normalized(model, motion, command)).sum()

    gradient = jax.jit(jax.grad(loss, (0, 1, 2)))
    expected = gradient(tiny_model, *arguments)
    got = gradient(with_kernels(tiny_model, tiles=[SMALL] * 3, interpret=True), *arguments)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-4),
        (without_kernels(got[0]).params, got[1:]),
        (expected[0].params, expected[1:]),
    )


def test_weights_are_padded_once_and_restored(small_model):
    kernels = with_kernels(small_model)
    assert kernels.params["layers_0"]["kernel"].shape == (5, 64, 64)
    restored = without_kernels(kernels)
    assert jax.tree.structure(restored) == jax.tree.structure(small_model)
    jax.tree.map(np.testing.assert_array_equal, restored, small_model)
    assert without_kernels(small_model) is small_model
    arguments = inputs(small_model, 4)
    np.testing.assert_array_equal(
        expert_coefficients(kernels, *arguments), expert_coefficients(small_model, *arguments)
    )


def test_files_hold_the_model_without_kernels(small_model, tmp_path):
    kernels = with_kernels(small_model)
    cmg_jax.save(kernels, tmp_path / "model")
    loaded = cmg_jax.load(tmp_path / "model")
    assert loaded.kernels is None
    jax.tree.map(np.testing.assert_array_equal, loaded, small_model)
    assert onnx_model(kernels) == onnx_model(small_model)
    arguments = inputs(small_model, 4)
    np.testing.assert_array_equal(stablehlo(kernels).call(*arguments), stablehlo(small_model).call(*arguments))
    jax.tree.map(np.testing.assert_array_equal, state_dict(kernels), state_dict(small_model))


def test_what_has_no_kernels_is_refused(small_model, model):
    with pytest.raises(InputError, match="no kernels for int8; take with_precision"):
        with_kernels(with_precision(model, "int8"))
    with pytest.raises(InputError, match="has kernels already"):
        with_kernels(with_kernels(model))
    with pytest.raises(InputError, match="change the precision first, then call with_kernels"):
        with_precision(with_kernels(model), "float16")
    with pytest.raises(InputError, match="2 tiles for 3 layers"):
        with_kernels(model, tiles=[SMALL, SMALL])
    with pytest.raises(InputError, match=r"tile \(64, 100, 32, 4, 3\): rows 100 must be a power of two from 16 to 256"):
        with_kernels(model, tiles=[(64, 100, 32, 4, 3)] * 3)
    with pytest.raises(InputError, match="inputs 128 must be a power of two from 16 to 64"):
        with_kernels(model, tiles=[SMALL._replace(inputs=128)] * 3)
    with pytest.raises(InputError, match="must be the 5 numbers outputs, rows, inputs, warps, stages"):
        with_kernels(model, tiles=[(64, 64)] * 3)
    assert dataclasses.asdict(with_kernels(model, tiles=[SMALL] * 3).kernels)["interpret"] is False  # pyright: ignore
