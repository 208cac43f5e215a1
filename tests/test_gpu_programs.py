"""Programs for a GPU, compiled for an H100 that is not there: what a step copies and how often the host waits for it.

JAX_PLATFORMS=cpu pytest tests/test_gpu_programs.py, with the extra `gpu-compile`.
"""

import jax
import pytest
from jax import lax

from bench import _gpu_compiler, _hlo, _roofline, gpu_programs
from bench._gpu_compiler import compile_for_gpu
from cmg_jax.generators import _rolling

pytestmark = [
    pytest.mark.skipif(_gpu_compiler.missing() is not None, reason=str(_gpu_compiler.missing())),
    pytest.mark.usefixtures("allow_mixed_dtypes"),
]

ENVS = 4096
STORE_MB = 1.0  # the smallest store, a frame of all rows, has 0.95
HOST_READS = {
    "generate": (0, 0),
    "streaming-20, quiet": (0, 0),
    "streaming-20": (2, 4),
    "realtime-100, quiet": (1, 2),
    "realtime-100": (3, 6),
    "pregenerated-500, quiet": (0, 0),
    "pregenerated-500": (2, 4),
    "extend-500, quiet": (1, 2),
    "extend-500": (3, 6),
    "bank-256x500, quiet": (0, 0),
    "bank-256x500": (0, 0),
    "streaming-20-bank-tick, quiet": (1, 2),
    "streaming-20-bank-tick": (2, 4),
    "realtime-100-bank-tick": (3, 6),
    "matching, quiet": (1, 2),
    "matching": (4, 8),
    "streaming-20, kernels": (2, 4),
    "realtime-100, kernels": (3, 6),
    "wrapper, streaming-20": (2, 4),
    "wrapper, bank-256x500": (0, 0),
    "wrapper, streaming-20-bank-tick": (2, 4),
}
"""Numbers that the host waits for in one step: where nothing happens, and with a reset, a change of command, a refill.
Each is of one loop whose end depends on data, entered once; no inner loop is among them, and no conditional."""


@pytest.mark.parametrize("name", HOST_READS)
def test_a_step_copies_no_store_and_rarely_waits_for_the_host(name, policy_model):
    costs, temporary_mb, _ = compile_for_gpu(gpu_programs.programs(policy_model, ENVS)[name]())
    assert costs.largest_copy_mb < STORE_MB
    assert costs.conditionals == 0
    assert costs.open_loops == HOST_READS[name][0]
    assert (costs.reads_quiet, costs.reads_busy) == HOST_READS[name]
    # Activations of the network for all rows; without a network call, next to nothing.
    assert temporary_mb < (20 if name.startswith(("pregenerated", "extend", "bank")) else 70)


def test_a_conditional_in_place_of_a_loop_would_copy_the_store(policy_model, monkeypatch):
    def conditional(needed, update, carry):
        return lax.cond(needed, update, lambda carry: carry, carry)

    monkeypatch.setattr(_rolling, "update_if", conditional)
    costs, *_ = compile_for_gpu(gpu_programs.programs(policy_model, ENVS)["realtime-100, quiet"]())
    assert costs.largest_copy_mb == pytest.approx(100 * ENVS * 58 * 4 / 1e6)
    assert costs.conditionals == 1


def test_costs_of_a_program_that_is_counted_by_hand():
    """A loop of 7 turns, whose body has a copy of 400 bytes, a product in TF32, a kernel of Pallas in half precision,
    a loop of 3 turns with a fusion of 4000 bytes that slices one row of 40, and an open loop around a conditional."""
    text = """HloModule hand

%sliced (p: f32[100,10], i: s32[]) -> f32[1,10] {
  %p = f32[100,10]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %zero = s32[] constant(0)
  ROOT %row = f32[1,10]{1,0} dynamic-slice(%p, %i, %zero), dynamic_slice_sizes={1,10}
}

%multiplied (p: f32[100,10], v: f32[100]) -> f32[100,20] {
  %p = f32[100,10]{1,0} parameter(0)
  %v = f32[100]{0} parameter(1)
  %w = f32[20,10]{1,0} broadcast(%v), dimensions={}
  ROOT %d = f32[100,20]{1,0} dot(%p, %w), lhs_contracting_dims={1}, rhs_a={1}, algorithm=dot_tf32_tf32_f32, a={}
}

%inner (t: (f32[100,10], s32[])) -> (f32[100,10], s32[]) {
  %t = (f32[100,10]{1,0}, s32[]) parameter(0)
  %a = f32[100,10]{1,0} get-tuple-element(%t), index=0
  %n = s32[] get-tuple-element(%t), index=1
  %row = f32[1,10]{1,0} fusion(%a, %n), kind=kLoop, calls=%sliced
  ROOT %out = (f32[100,10]{1,0}, s32[]) tuple(%a, %n)
}

%branch (a: f32[100,10]) -> f32[100,10] {
  %a = f32[100,10]{1,0} parameter(0)
  ROOT %copied = f32[100,10]{1,0} copy(%a)
}

%open (t: (f32[100,10], pred[])) -> (f32[100,10], pred[]) {
  %t = (f32[100,10]{1,0}, pred[]) parameter(0)
  %a = f32[100,10]{1,0} get-tuple-element(%t), index=0
  %go = pred[] get-tuple-element(%t), index=1
  %b = f32[100,10]{1,0} conditional(%go, %a, %a), true_computation=%branch, false_computation=%branch
  ROOT %out = (f32[100,10]{1,0}, pred[]) tuple(%b, %go)
}

%body (t: (f32[100,10], f32[100])) -> (f32[100,10], f32[100]) {
  %t = (f32[100,10]{1,0}, f32[100]{0}) parameter(0)
  %a = f32[100,10]{1,0} get-tuple-element(%t), index=0
  %v = f32[100]{0} get-tuple-element(%t), index=1
  %w = f16[2,4,10]{2,1,0} get-tuple-element(%t), index=2
  %c = f32[100,16]{1,0} get-tuple-element(%t), index=3
  %copy = f32[100]{0} copy(%v)
  %y = f32[100,20]{1,0} fusion(%a, %v), kind=kCustom, calls=%multiplied
  %z = f32[100,4]{1,0} custom-call(%a, %w, %c), metadata={op_name="experts_layer_half/pallas_call"}
  %three = (f32[100,10]{1,0}, s32[]) while(%a), condition=%c, body=%inner, config={"known_trip_count":{"n":"3"}}
  %some = (f32[100,10]{1,0}, pred[]) while(%a), condition=%c, body=%open
  ROOT %out = (f32[100,10]{1,0}, f32[100]{0}) tuple(%a, %copy)
}

ENTRY %main (a: f32[100,10], v: f32[100]) -> f32[100,10] {
  %a = f32[100,10]{1,0} parameter(0)
  %v = f32[100]{0} parameter(1)
  %t = (f32[100,10]{1,0}, f32[100]{0}) tuple(%a, %v)
  ROOT %all = (f32[100,10]{1,0}, f32[100]{0}) while(%t), condition=%c, body=%body, config={"known_trip_count":{"n":"7"}}
}
"""
    costs = _hlo.loop_costs(text)
    assert costs.kernels == 1 + 2 + 3
    product = _roofline.Work(4000 + 400 + 8000, 2 * 100 * 10 * 20, "tf32")
    kernel = _roofline.Work(4000 + 160 + 6400 + 1600, 2 * 100 * (2 * 4 * 10), "half")
    assert costs.work == [_roofline.Work(800), product, kernel, *3 * [_roofline.Work(84)]]
    assert costs.megabytes == pytest.approx(sum(work.bytes for work in costs.work) / 1e6)
    assert costs.copies_mb == pytest.approx((400 + 2 * 4000) / 1e6)
    assert costs.largest_copy_mb == pytest.approx(4000 / 1e6)
    assert (costs.conditionals, costs.open_loops, costs.reads_quiet, costs.reads_busy) == (1, 1, 1, 3)


def test_generate_lowered_for_a_gpu_on_a_host_without_one_has_all_rows_in_one_block(policy_model):
    generate = gpu_programs.programs(policy_model, ENVS)["generate"]()
    lowered = jax.jit(generate.function).trace(*generate.arguments).lower(lowering_platforms=("cuda",))
    assert f"tensor<58x{ENVS}xf32>" in lowered.as_text()
    assert "tensor<58x512xf32>" not in lowered.as_text()


def test_an_estimate_is_the_longer_of_operations_and_bytes_and_a_gap():
    fast, slow = _roofline.Work(bytes=100), _roofline.Work(bytes=340_000_000)
    gap = _roofline.seconds([fast], "a100")
    assert gap == pytest.approx(1.5e-6, rel=1e-3)
    assert _roofline.seconds([slow, fast], "a100") == pytest.approx(340e6 / (0.85 * 2.04e12) + 2 * gap)
    products = [_roofline.Work(100, 10**10, precision) for precision in ("half", "tf32", "float32")]
    half, tf32, float32 = (_roofline.seconds([work], "h100") - 1.5e-6 for work in products)
    assert tf32 == pytest.approx(1e10 / (0.65 * 495e12))
    assert float32 == pytest.approx(3 * tf32)
    assert tf32 == pytest.approx(half * 989 / 495)
