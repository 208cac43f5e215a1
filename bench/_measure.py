"""Times, peak rates and inputs that all benchmarks share."""

import functools
import importlib.metadata
import os
import platform
import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax._version import __version__
from cmg_jax.commands import _sampler
from cmg_jax.generators._base import first_frames
from cmg_jax.model._model import CMGConfig, CMGModel

PEAK_SIZES = (1024, 2048, 3072)
BANDWIDTH_BYTES = 256 * 2**20


class Section(NamedTuple):
    """One table of a benchmark."""

    name: str
    columns: dict[str, str]
    """Key in a row -> heading and format, as `heading|format`."""
    rows: list[dict[str, Any]]
    notes: Sequence[str] = ()


class Advance(Protocol):
    """Receives the progress of a measurement."""

    def __call__(self, done: int, section: Section | None = None, /) -> object:
        """`done` further parts are done; `section` is the table so far, whose rows are complete."""


class Compiled(NamedTuple):
    """A compiled program, and the cost of compiling it."""

    call: Callable[..., Any]
    seconds: float
    operations: float
    """Of one call, as XLA counts them: a loop's body once."""
    bytes_accessed: float
    temporary_bytes: int


def compile_program(function: Callable[..., Any], *arguments: Any, **options: Any) -> Compiled:
    """`jax.jit(function, **options)` compiled for `arguments`."""
    start = time.perf_counter()
    compiled = jax.jit(function, **options).lower(*arguments).compile()
    seconds = time.perf_counter() - start
    cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
    cost = cost if isinstance(cost, dict) else {}
    temporary = getattr(memory, "temp_size_in_bytes", 0)
    return Compiled(compiled, seconds, cost.get("flops", 0.0), cost.get("bytes accessed", 0.0), temporary)


def seconds(call: Callable[[], Any]) -> float:
    """Seconds of one call, until its results are ready."""
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def median_seconds(call: Callable[[], Any], repeats: int) -> float:
    """Median seconds of `repeats` calls, after one that is not counted."""
    seconds(call)
    return statistics.median(seconds(call) for _ in range(repeats))


def in_turn(first: Callable[[], Any], second: Callable[[], Any], repeats: int) -> tuple[list[float], list[float]]:
    """Seconds of `repeats` calls of each, alternately, so that drift of the machine affects both."""
    pairs = [(seconds(first), seconds(second)) for _ in range(repeats)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def matmul_peak(repeats: int = 3) -> float:
    """Best rate [FLOP/s] of square products in full float32, the median of repeats for each size."""
    rates = []
    for size in PEAK_SIZES:
        a = jax.random.normal(jax.random.key(size), (size, size))
        product = jax.jit(functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST))
        rates.append(2 * size**3 / median_seconds(lambda product=product, a=a: product(a, a), repeats))
    return max(rates)


def bandwidth(repeats: int = 3) -> float:
    """Bytes per second of an array that is read and written once."""
    array = jnp.zeros(BANDWIDTH_BYTES // 4)
    add = jax.jit(lambda x: x + 1, donate_argnums=0)  # in place: new pages would be timed otherwise

    def call() -> jax.Array:
        nonlocal array
        array = add(array)
        return array

    return 2 * BANDWIDTH_BYTES / median_seconds(call, repeats)


def products_per_frame(config: CMGConfig) -> int:
    """Multiply-accumulates of the matrix products of one frame; twice as many operations."""
    width = config.motion_dim + config.command_dim
    gate = (width, *config.gate_dims, config.num_experts)
    layers = (width, *config.hidden_dims, config.motion_dim)
    gate_products = sum(a * b for a, b in pairwise(gate))
    return gate_products + config.num_experts * sum(a * b for a, b in pairwise(layers))


def draw_commands(model: CMGModel, key: jax.Array, num_envs: int) -> jax.Array:
    """Commands [num_envs, C] over the trained range."""
    return _sampler.uniform(key, _sampler.trained_range(model), num_envs)


def inputs(model: CMGModel, num_envs: int, steps: int) -> tuple[jax.Array, jax.Array]:
    """First frames [num_envs, D] and held commands [num_envs, T, C] for `cmg_jax.generate`, all different."""
    frame_key, command_key = jax.random.split(jax.random.key(0))
    command = np.asarray(draw_commands(model, command_key, num_envs))[:, None]
    return first_frames(model, frame_key, num_envs), jnp.asarray(np.repeat(command, steps, axis=1))


def device() -> dict[str, Any]:
    """The machine and the versions that figures belong to."""
    first = jax.devices()[0]
    return {
        "cmg_jax": __version__,
        "device": _processor() if first.platform == "cpu" else first.device_kind,
        "cores": cores(),
        "devices": len(jax.devices()),
        "platform": first.platform,
        "jax": jax.__version__,
        "python": platform.python_version(),
        **(_gpu_versions() if first.platform == "gpu" else {}),
    }


def _gpu_versions() -> dict[str, Any]:
    """What the figures of a GPU depend on beside the device: its driver, jax's CUDA and the flags of XLA."""
    first = jax.devices()[0]
    versions = {"runtime": first.client.platform_version, "compute_capability": first.compute_capability}
    versions["xla_flags"] = os.environ.get("XLA_FLAGS", "")
    versions |= {
        wheel.metadata["Name"]: wheel.version
        for wheel in importlib.metadata.distributions()
        if re.match(r"jaxlib|jax-cuda|jax-rocm|nvidia-", wheel.metadata["Name"] or "")
    }
    if program := shutil.which("nvidia-smi"):
        command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
        report = subprocess.run(command, capture_output=True, text=True, timeout=60)
        versions["driver"] = next(iter(report.stdout.split()), "")
    return versions


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def growth_exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Slope of log(values) over log(sizes): 1 if twice the size takes twice as much."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])
