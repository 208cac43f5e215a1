"""The fused kernels as machine code of three GPUs that are not there: registers, tensor cores, memory traffic.

JAX_PLATFORMS=cpu pytest tests/test_gpu_kernels.py, with the extra `gpu-compile`.
"""

import jax
import jax.numpy as jnp
import pytest

from bench import _gpu_compiler, gpu_programs
from bench._gpu_compiler import Program, compile_for_gpu, product_types
from cmg_jax.model import Tile, apply_normalized, with_kernels, with_precision
from cmg_jax.model._networks import product

pytestmark = pytest.mark.skipif(_gpu_compiler.missing() is not None, reason=str(_gpu_compiler.missing()))

ENVS = 4096
TYPES = {"float32": {"tf32"}, "tf32": {"tf32"}, "float16": {"tf32", "f16"}, "bfloat16": {"tf32", "bf16"}}
"""Of the tensor cores' operands, by precision. The gate is in float32, three passes of TF32."""


def frame(model, rows=ENVS):
    """A program of one frame."""
    arguments = [jax.ShapeDtypeStruct((rows, size), jnp.float32) for size in (58, 3)]
    return Program(apply_normalized, (model, *arguments))


@pytest.mark.parametrize("precision", TYPES)
@pytest.mark.parametrize("gpu", _gpu_compiler.GPUS)
def test_kernels_fit_the_registers_and_use_the_tensor_cores(gpu, precision, policy_model):
    compiled = compile_for_gpu(frame(with_kernels(with_precision(policy_model, precision))), gpu, ptx=True)
    kernels = {kernel.name: kernel for kernel in _gpu_compiler.kernels(compiled.ptx)}
    assert len([name for name in kernels if name.startswith(("gate", "experts_layer"))]) == 4
    assert all(kernel.spilled == 0 for kernel in kernels.values())
    assert max(kernel.registers for kernel in kernels.values()) > 100  # the tiles are in registers
    assert product_types(compiled.ptx).keys() == TYPES[precision]
    assert ("wgmma" in "".join(compiled.ptx)) == (gpu == "h100")


def test_a_tile_that_is_too_large_spills(policy_model):
    large = with_kernels(policy_model, tiles=[Tile(outputs=128, rows=128, inputs=32, warps=8, stages=3)] * 3)
    compiled = compile_for_gpu(frame(large), "a100", ptx=True)
    assert max(kernel.spilled for kernel in _gpu_compiler.kernels(compiled.ptx)) > 0


@pytest.mark.parametrize("precision", TYPES)
def test_products_without_kernels_use_the_tensor_cores_too(precision, policy_model):
    compiled = compile_for_gpu(frame(with_precision(policy_model, precision)), ptx=True)
    assert product_types(compiled.ptx).keys() == TYPES[precision]


def test_float32_is_three_passes_of_what_tf32_is_one(policy_model):
    def passes(program):
        return product_types(compile_for_gpu(program, ptx=True).ptx)["tf32"]

    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((2048, 512), (512, ENVS))]
    one, three = (
        passes(Program(lambda *a, tf32=tf32: product(*a, tf32=tf32), tuple(arrays))) for tf32 in (True, False)
    )
    assert three == 3 * one > 0
    tiles = [Tile(outputs=64, rows=64, inputs=32, warps=4, stages=3)] * 3
    tf32, float32 = (
        passes(frame(with_kernels(with_precision(policy_model, precision), tiles=tiles)))
        for precision in ("tf32", "float32")
    )
    gate = float32 - 3 * (float32 - tf32) // 2
    assert gate > 0
    assert gate % 3 == 0


@pytest.mark.parametrize(("precision", "megabytes"), [("float32", 50), ("tf32", 50), ("float16", 30)])
def test_a_frame_of_generate_is_eight_kernels_and_a_quarter_of_the_traffic(precision, megabytes, policy_model):
    name = "generate" if precision == "float32" else f"generate, {precision}"
    programs = gpu_programs.programs(policy_model, ENVS)
    costs, plain = (compile_for_gpu(programs[each]()).costs for each in (f"{name}, kernels", name))
    assert costs.kernels <= 8
    assert costs.megabytes < megabytes
    assert costs.megabytes < plain.megabytes / 4
    assert (costs.conditionals, costs.open_loops) == (0, 0)
    assert sum(work.operations for work in costs.work) == pytest.approx(
        sum(work.operations for work in plain.work), rel=0.05
    )  # padding aside
