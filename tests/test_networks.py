import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmg_jax.model._networks import blend_experts, pack_experts, unpack_experts
from tests.conftest import SHARED, needs_shared

TOLERANCE = 1e-5
LAYERS = ("layer_0", "layer_1", "layer_2")


def layer_outputs(model, arrays):
    """Gate and layer outputs, named as in the golden file."""
    _, state = model.config.network.apply(
        {"params": model.params},
        arrays["motion_normalized"],
        arrays["command_normalized"],
        capture_intermediates=True,
    )
    captured = state["intermediates"]
    outputs = {"gate": captured["gating"]["__call__"][0].T}
    return outputs | {f"layer_{i}": captured[f"layers_{i}"]["__call__"][0].T for i in range(3)}


@pytest.mark.parametrize("name", ["gate", *LAYERS])
def test_each_layer_agrees_with_pytorch(model, golden, name):
    arrays = {key.removeprefix("network_"): value for key, value in golden.items() if key.startswith("network_")}
    np.testing.assert_allclose(layer_outputs(model, arrays)[name], arrays[name], rtol=0, atol=TOLERANCE)


@needs_shared
def test_each_layer_agrees_with_pytorch_on_the_whole_golden_file(model):
    with np.load(SHARED / "golden" / "network.npz") as arrays:
        outputs = layer_outputs(model, arrays)
        for name in ("gate", *LAYERS):
            difference = np.abs(outputs[name] - arrays[name]).max()
            print(f"{name}: {difference:.1e}")
            assert difference <= TOLERANCE


@given(
    batch=st.sampled_from([1, 4]),
    experts=st.sampled_from([1, 2, 5]),
    widths=st.sampled_from([(1, 1), (1, 4), (4, 1), (3, 3), (2, 9), (9, 2), (7, 8)]),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=40)
def test_blend_experts_is_the_sum_of_its_experts(batch, experts, widths, seed):
    features_in, features_out = widths
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(batch, features_in)).astype(np.float32)
    coefficients = rng.dirichlet(np.ones(experts), size=batch).astype(np.float32)
    weights = rng.normal(size=(experts, features_in, features_out)).astype(np.float32)
    bias = rng.normal(size=(experts, features_out)).astype(np.float32)

    kernel = pack_experts(weights)
    np.testing.assert_array_equal(unpack_experts(kernel, bias), weights)
    blended = blend_experts(*map(jax.numpy.asarray, (x.T, coefficients.T, kernel, bias))).T

    expected = np.einsum("be,eio,bi->bo", coefficients, weights, x) + coefficients @ bias
    np.testing.assert_allclose(blended, expected, atol=1e-5)


def test_gate_is_a_distribution_that_follows_the_input(model, golden):
    inputs = [golden[f"network_{name}_normalized"][:6].reshape(2, 3, -1) for name in ("motion", "command")]
    gate = np.asarray(model.config.network.apply({"params": model.params}, *inputs, method="coefficients"))
    assert gate.shape == (2, 3, 4)
    np.testing.assert_allclose(gate.sum(-1), 1, atol=1e-6)
    np.testing.assert_allclose(gate.reshape(6, 4), golden["network_gate"][:6], atol=TOLERANCE)
    assert np.ptp(gate.reshape(6, 4), axis=0).max() > 0.1, "rows with different inputs should have different gates"
