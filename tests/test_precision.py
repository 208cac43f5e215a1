"""Models in lower precision."""

import jax
import numpy as np
import pytest

import cmg_jax
from cmg_jax import InputError
from cmg_jax.export import onnx_model
from cmg_jax.model._precision import with_precision
from tests.generator_tools import commands, first, play

# Root mean square error of one frame, rad and rad/s: about twice the measured one.
ERRORS = {"float32": (0, 0), "bfloat16": (5e-4, 7e-3), "float16": (7e-5, 9e-4), "int8": (1.6e-3, 2.5e-2)}


@pytest.mark.parametrize("precision", ERRORS)
def test_one_frame_is_near_that_of_float32(precision, model):
    motion, command = first(1, 64), commands(2, 64)
    changed = with_precision(model, precision)
    frame, expected = (np.asarray(cmg_jax.apply(each, motion, command)) for each in (changed, model))
    error = np.sqrt(np.square(frame - expected).mean(axis=0))
    position, velocity = ERRORS[precision]
    assert error[:29].max() <= position
    assert error[29:].max() <= velocity
    assert (precision == "float32") == (not error.any())
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
    with pytest.raises(InputError, match="'int4' is not one of float32, bfloat16, float16, int8"):
        with_precision(model, "int4")  # pyright: ignore[reportArgumentType]
    changed = with_precision(model, "bfloat16")
    with pytest.raises(InputError, match="in lower precision already"):
        with_precision(changed, "int8")
    with pytest.raises(InputError, match="only models in float32 become ONNX"):
        onnx_model(with_precision(model, "int8"))
    with pytest.raises(InputError, match="only models in float32 are saved"):
        cmg_jax.save(changed, tmp_path / "model")
