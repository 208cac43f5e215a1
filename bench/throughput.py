"""Rate and memory of `cmg_jax.generate` beside the machine's own matrix products.

    python bench/throughput.py [--envs 4096] [--steps 100] [--block-rows 512 ...] [--repeats 5]
    python bench/throughput.py --memory --steps 500

The rate is given as a fraction of the float32 matrix-product peak measured in the same process, in
turn with it: 2 operations a multiply-accumulate, activations and normalization not counted.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

import cmg_jax
from cmg_jax.model import CMGConfig, CMGModel

PEAK_SIZES = (1024, 2048, 3072)


def multiply_accumulates(config: CMGConfig) -> int:
    """Of the matrix products of one frame."""
    width = config.motion_dim + config.command_dim
    gate = (width, *config.gate_dims, config.num_experts)
    layers = (width, *config.hidden_dims, config.motion_dim)
    products = sum(a * b for a, b in pairwise(gate))
    return products + config.num_experts * sum(a * b for a, b in pairwise(layers))


def seconds(function: Callable[[], jax.Array]) -> float:
    start = time.perf_counter()
    function().block_until_ready()
    return time.perf_counter() - start


def matmul_peak(repeats: int) -> float:
    """Best rate [FLOP/s] of square float32 products, the median of repeats for each size."""
    product = jax.jit(jnp.matmul)
    rates = []
    for size in PEAK_SIZES:
        a = jax.random.normal(jax.random.key(size), (size, size))
        seconds(lambda a=a: product(a, a))
        rates.append(2 * size**3 / statistics.median(seconds(lambda a=a: product(a, a)) for _ in range(repeats)))
    return max(rates)


def inputs(model: CMGModel, envs: int, steps: int) -> tuple[jax.Array, jax.Array]:
    assert model.initial_motion is not None
    rng = np.random.default_rng(0)
    motion = model.initial_motion[rng.integers(len(model.initial_motion), size=envs)]
    low, high = np.asarray(model.stats.command_min), np.asarray(model.stats.command_max)
    command = rng.uniform(low, high, size=(envs, 1, len(low))).astype(np.float32)
    return motion, jnp.asarray(np.broadcast_to(command, (envs, steps, len(low))))


def report_rate(model: CMGModel, envs: int, steps: int, block_rows: int | None, repeats: int) -> None:
    motion, commands = inputs(model, envs, steps)
    start = time.perf_counter()
    generate = jax.jit(cmg_jax.generate, static_argnames=("time_major", "block_rows"))
    options = {"time_major": True, "block_rows": block_rows}
    compiled = generate.lower(model, motion, commands, **options).compile()
    compile_seconds = time.perf_counter() - start
    seconds(lambda: compiled(model, motion, commands))
    runs, ratios = [], []
    for _ in range(repeats):
        runs.append(seconds(lambda: compiled(model, motion, commands)))
        work = 2 * multiply_accumulates(model.config) * envs * steps
        ratios.append(work / runs[-1] / matmul_peak(3))
    median = statistics.median(runs)
    print(
        f"B {envs}, T {steps}, float32, block {block_rows or 'default'}: {envs * steps / median:,.0f} frames/s "
        f"(median of {repeats}, {median:.2f} s; compile {compile_seconds:.2f} s), "
        f"{statistics.median(ratios):.2f} of the matrix-product peak ({min(ratios):.2f} .. {max(ratios):.2f})"
    )


def report_memory(model: CMGModel, envs: int, steps: int) -> None:
    motion, commands = inputs(model, envs, steps)
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    generate = jax.jit(cmg_jax.generate, static_argnames="time_major")
    frames = generate(model, motion, commands, time_major=True).block_until_ready()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        f"B {envs}, T {steps}, time-major: trajectory {frames.nbytes / 1e6:.0f} MB; "
        f"process {idle / 1e6:.0f} MB before, {peak / 1e6:.0f} MB at its peak: "
        f"{(peak - idle) / frames.nbytes:.2f} x the trajectory above idle"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--block-rows", type=int, nargs="*", default=[None])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory", action="store_true", help="peak memory of the process instead of the rate")
    arguments = parser.parse_args()
    model = cmg_jax.default_model()
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}")
    if arguments.memory:
        report_memory(model, arguments.envs, arguments.steps)
        return
    print(f"float32 matrix-product peak {matmul_peak(arguments.repeats) / 1e9:.0f} GFLOP/s")
    for block_rows in arguments.block_rows:
        report_rate(model, arguments.envs, arguments.steps, block_rows, arguments.repeats)


if __name__ == "__main__":
    main()
