"""The rate of `cmg_jax.generate`, relative to the machine's peak of matrix products, and how time and memory grow."""

import functools
import statistics
from collections.abc import Sequence
from typing import Any

import jax

from bench._measure import (
    Advance,
    Compiled,
    Section,
    compile_program,
    growth_exponent,
    inputs,
    matmul_peak,
    products_per_frame,
    seconds,
)
from cmg_jax import _rollout
from cmg_jax.model._model import CMGModel, apply

STEPS = 50
SCALING_CASES = {
    "environments": [(num_envs, 50) for num_envs in (512, 1024, 2048, 4096, 8192)],
    "frames": [(512, steps) for steps in (50, 100, 200, 500, 1000)],
}
"""Numbers of environments and of frames, of which one varies."""
SCALING_COLUMNS = {
    "envs": "envs|d",
    "steps": "frames|d",
    "seconds": "seconds|.3f",
    "microseconds_per_frame": "us a frame|.2f",
    "memory_mb": "output + temporary MB|.1f",
}

RATE_COLUMNS = {
    "envs": "envs|d",
    "steps": "frames|d",
    "frames_per_second": "frames/s|,.0f",
    "seconds": "seconds|.3f",
    "of_peak": "of peak|.2f",
    "of_peak_low": "lowest|.2f",
    "of_peak_high": "highest|.2f",
    "compile_seconds": "compile s|.2f",
    "temporary_mb": "temporary MB|.1f",
    "operations_per_frame": "MFLOP a frame|.2f",
    "operations_per_byte": "FLOP a byte|.1f",
}


def rate(model: CMGModel, sizes: Sequence[int], repeats: int, advance: Advance) -> Section:
    """Frames per second, and the fraction of the matrix-product peak, which is measured alternately."""
    rows: list[dict[str, Any]] = []
    notes = (
        f"of peak: operations of the matrix products alone ({2 * products_per_frame(model.config) / 1e6:.2f} MFLOP a "
        "frame) against the float32 matrix-product peak, measured alternately",
        "MFLOP a frame and FLOP a byte: XLA's own count for one frame of all environments",
    )
    section = Section("generate", RATE_COLUMNS, rows, notes)
    for num_envs in sizes:
        compiled, arguments = generate_program(model, num_envs, STEPS)
        work = 2 * products_per_frame(model.config) * num_envs * STEPS
        seconds(lambda compiled=compiled, arguments=arguments: compiled.call(*arguments))
        times, fractions = [], []
        for _ in range(repeats):
            times.append(seconds(lambda compiled=compiled, arguments=arguments: compiled.call(*arguments)))
            fractions.append(work / times[-1] / matmul_peak())
        one = one_frame(model, num_envs)
        rows.append(
            {
                "envs": num_envs,
                "steps": STEPS,
                "seconds": statistics.median(times),
                "frames_per_second": num_envs * STEPS / statistics.median(times),
                "of_peak": statistics.median(fractions),
                "of_peak_low": min(fractions),
                "of_peak_high": max(fractions),
                "compile_seconds": compiled.seconds,
                "temporary_mb": compiled.temporary_bytes / 1e6,
                "operations_per_frame": one.operations / num_envs / 1e6,
                "operations_per_byte": one.operations / max(one.bytes_accessed, 1),
            }
        )
        advance(1, section)
    return section


def generate_program(model: CMGModel, num_envs: int, steps: int) -> tuple[Compiled, tuple[Any, ...]]:
    """`generate`, time-major, compiled, and its arguments."""
    arguments = (model, *inputs(model, num_envs, steps))
    return compile_program(functools.partial(_rollout.generate, time_major=True), *arguments), arguments


def one_frame(model: CMGModel, num_envs: int) -> Compiled:
    shapes = [
        jax.ShapeDtypeStruct((num_envs, size), "float32")
        for size in (model.config.motion_dim, model.config.command_dim)
    ]
    return compile_program(apply, model, *shapes)


def scaling(model: CMGModel, name: str, repeats: int, advance: Advance) -> Section:
    """How time and memory of `generate` grow with the number of `name`: environments or frames."""
    sizes = SCALING_CASES[name]
    programs = [generate_program(model, *size) for size in sizes]
    times: list[list[float]] = [[] for _ in sizes]
    section = Section("", {}, [])
    for repeat in range(repeats + 1):  # one round after another, so that drift of the machine affects all sizes
        for (compiled, arguments), taken in zip(programs, times, strict=True):
            call = seconds(lambda compiled=compiled, arguments=arguments: compiled.call(*arguments))
            taken += [call] if repeat else []
        if repeat:
            section = _scaling_section(model, name, [compiled for compiled, _ in programs], times)
        advance(1, section if repeat else None)
    return section


def _scaling_section(model: CMGModel, name: str, programs: Sequence[Compiled], times: list[list[float]]) -> Section:
    rows = []
    for (num_envs, steps), compiled, taken in zip(SCALING_CASES[name], programs, times, strict=True):
        trajectory = (steps + 1) * num_envs * model.config.motion_dim * 4
        rows.append(
            {
                "envs": num_envs,
                "steps": steps,
                "seconds": statistics.median(taken),
                "microseconds_per_frame": 1e6 * statistics.median(taken) / num_envs / steps,
                "memory_mb": (trajectory + compiled.temporary_bytes) / 1e6,
            }
        )
    varied = [row["envs"] * row["steps"] for row in rows]
    time, memory = (growth_exponent(varied, [row[key] for row in rows]) for key in ("seconds", "memory_mb"))
    note = f"grows with the number of {name} to the power of {time:.3f} (time), {memory:.3f} (memory)"
    return Section(f"growth with {name}", SCALING_COLUMNS, rows, (note,))
