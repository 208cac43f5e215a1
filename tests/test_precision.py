"""Models in lower precision."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cmg_jax
from cmg_jax import InputError
from cmg_jax.export import onnx_model, stablehlo
from cmg_jax.model import _networks
from cmg_jax.model._precision import with_precision
from tests.generator_tools import commands, first, play

# Root mean square error of one frame, rad and rad/s: about twice the measured one.
ERRORS = {
    "float32": (0, 0),
    "tf32": (0, 0),
    "bfloat16": (5e-4, 7e-3),
    "float16": (7e-5, 9e-4),
    "int8": (1.6e-3, 2.5e-2),
}


@pytest.mark.parametrize("precision", ERRORS)
def test_one_frame_is_near_that_of_float32(precision, model):
    motion, command = first(1, 64), commands(2, 64)
    changed = with_precision(model, precision)
    frame, expected = (np.asarray(cmg_jax.apply(each, motion, command)) for each in (changed, model))
    error = np.sqrt(np.square(frame - expected).mean(axis=0))
    position, velocity = ERRORS[precision]
    assert error[:29].max() <= position
    assert error[29:].max() <= velocity
    assert (precision in ("float32", "tf32")) == (not error.any())  # a CPU has no TF32
    assert frame.dtype == np.float32


@pytest.mark.parametrize(("precision", "fraction"), [("bfloat16", 0.55), ("float16", 0.55), ("int8", 0.32)])
def test_weights_are_smaller(precision, fraction, model):
    sizes = [sum(leaf.nbytes for leaf in jax.tree.leaves(m.params)) for m in (with_precision(model, precision), model)]
    assert sizes[0] <= fraction * sizes[1]


def test_int8_weights_are_within_half_a_step(model):
    changed = with_precision(model, "int8")
    for name in ("layers_0", "layers_1", "layers_2"):
        kernel, scale = np.asarray(model.params[name]["kernel"]), np.asarray(changed.params[name]["kernel_scale"])
        restored = np.asarray(changed.params[name]["kernel"]).astype(np.float32) * scale[:, None]
        assert (np.abs(restored - kernel) <= scale[:, None] * 0.5001).all()
        assert np.abs(changed.params[name]["kernel"]).max() == 127


def test_a_product_is_of_the_kernels_precision_and_summed_in_float32(model):
    text = jax.jit(cmg_jax.apply).lower(with_precision(model, "bfloat16"), first(1, 64), commands(2, 64)).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert sum("xbf16" in line and line.rstrip().endswith("xf32>") for line in products) == 3


GPU_PRODUCTS = {
    "float32": ["x3"] * 5,
    "tf32": ["x3"] * 2 + ["x1"] * 3,
    "bfloat16": ["x3"] * 2 + ["bf16"] * 3,
    "float16": ["x3"] * 2 + ["f16"] * 3,
    "int8": ["x3"] * 5,
}
"""Of the gate's two products and the experts' three."""


@pytest.mark.parametrize("precision", GPU_PRODUCTS)
@pytest.mark.parametrize("default", ["bfloat16", "highest"])
def test_products_for_a_gpu_name_their_precision_whatever_the_default_is(default, precision, model):
    with jax.default_matmul_precision(default):
        traced = jax.jit(cmg_jax.apply).trace(with_precision(model, precision), first(1, 64), commands(2, 64))
        text = traced.lower(lowering_platforms=("cuda",)).as_text()
    kinds = []
    for line in text.splitlines():
        if "dot_general" in line:
            passes = re.search(r"lhs_precision_type = tf32.*num_primitive_operations = (\d)", line)
            operand = re.search(r": \(tensor<\d+x\d+x(\w+)>", line)
            assert operand
            assert "HIGHEST" not in line
            kinds.append(f"x{passes[1]}" if passes else operand[1])
    assert kinds == GPU_PRODUCTS[precision]


@pytest.mark.parametrize("default", ["bfloat16", "highest"])
def test_on_other_platforms_float32_is_the_highest_precision(default, model):
    with jax.default_matmul_precision(default):
        traced = jax.jit(cmg_jax.apply).trace(model, first(1, 64), commands(2, 64))
        text = traced.lower(lowering_platforms=("tpu",)).as_text()
    assert text.count("dot_general") == text.count("precision = [HIGHEST, HIGHEST]") == 5


def test_a_program_for_several_platforms_names_the_highest_precision(model):
    text = str(stablehlo(model).mlir_module())
    products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
    assert products
    assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)


def test_three_passes_of_tf32_hold_what_float32_promises(policy_model, monkeypatch):
    """1e-4 rad over 200 frames, emulated: a TF32 number has 10 bits after its first one. One pass would not do."""

    def rounded(x):
        bits = jax.lax.bitcast_convert_type(x, jnp.int32)
        return jax.lax.bitcast_convert_type((bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF, jnp.float32)

    def product(kernel, x, *, tf32=False):
        high = rounded(kernel), rounded(x)
        if passes == 1:
            return high[0] @ high[1]
        low = rounded(kernel - high[0]), rounded(x - high[1])
        return high[0] @ high[1] + (high[0] @ low[1] + low[0] @ high[1])

    motion, held = first(1, 48), jnp.repeat(commands(2, 48)[:, None], 200, axis=1)
    expected = np.asarray(jax.jit(cmg_jax.generate)(policy_model, motion, held))
    monkeypatch.setattr(_networks, "product", product)
    apart = []
    for passes in (1, 3):  # noqa: B007
        trajectory = jax.jit(lambda *arrays: cmg_jax.generate(*arrays))(policy_model, motion, held)
        apart.append(np.abs(trajectory - expected)[..., :29].max())
    assert apart[0] > 1e-3
    assert apart[1] < 1e-4


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_generators_run_a_model_in_lower_precision(precision, model):
    changed = with_precision(model, precision)
    served = []
    for each in (model, changed):
        generator = cmg_jax.streaming(3)
        state = generator.init(each, jax.random.key(0), commands(3), first(4))
        served.append(play(generator, each, state, 10)[1][..., :29])
    assert 0 < np.abs(served[0] - served[1]).max() < 0.05


def test_unsupported_precisions_and_exports_are_refused(model, tmp_path):
    with pytest.raises(InputError, match="'int4' is not one of float32, tf32, bfloat16, float16, int8"):
        with_precision(model, "int4")  # pyright: ignore[reportArgumentType]
    changed = with_precision(model, "bfloat16")
    with pytest.raises(InputError, match="in lower precision already"):
        with_precision(changed, "int8")
    with pytest.raises(InputError, match="in lower precision already"):
        with_precision(with_precision(model, "tf32"), "int8")
    with pytest.raises(InputError, match="only models in float32 become ONNX"):
        onnx_model(with_precision(model, "int8"))
    with pytest.raises(InputError, match="only models in float32 are saved"):
        cmg_jax.save(changed, tmp_path / "model")
