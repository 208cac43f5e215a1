"""The rate of `cmg_jax.generate` beside the machine's own matrix products, and how it grows."""

import statistics
from collections.abc import Sequence
from typing import Any

import jax

from bench.measure import (
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
SCALING_ENVS, SCALING_STEPS = (512, 1024, 2048, 4096, 8192), (50, 100, 200, 500, 1000)
FIXED_ENVS, FIXED_STEPS = 512, 50

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
    """Frames a second and the fraction of the matrix-product peak, measured in turn with it."""
    rows: list[dict[str, Any]] = []
    notes = (
        f"of peak: operations of the matrix products alone ({2 * products_per_frame(model.config) / 1e6:.2f} MFLOP a "
        "frame) against the float32 matrix-product peak, measured in turn",
        "MFLOP a frame and FLOP a byte: XLA's own count for one frame of all environments",
    )
    section = Section("generate", RATE_COLUMNS, rows, notes)
    for envs in sizes:
        compiled, arguments = generate_program(model, envs, STEPS)
        work = 2 * products_per_frame(model.config) * envs * STEPS
        seconds(lambda compiled=compiled, arguments=arguments: compiled.call(*arguments))
        times, fractions = [], []
        for _ in range(repeats):
            times.append(seconds(lambda compiled=compiled, arguments=arguments: compiled.call(*arguments)))
            fractions.append(work / times[-1] / matmul_peak())
        one = one_frame(model, envs)
        rows.append(
            {
                "envs": envs,
                "steps": STEPS,
                "seconds": statistics.median(times),
                "frames_per_second": envs * STEPS / statistics.median(times),
                "of_peak": statistics.median(fractions),
                "of_peak_low": min(fractions),
                "of_peak_high": max(fractions),
                "compile_seconds": compiled.seconds,
                "temporary_mb": compiled.temporary_bytes / 1e6,
                "operations_per_frame": one.operations / envs / 1e6,
                "operations_per_byte": one.operations / max(one.bytes_accessed, 1),
            }
        )
        advance(1, section)
    return section


def generate_program(model: CMGModel, envs: int, steps: int) -> tuple[Compiled, tuple[Any, ...]]:
    """`generate`, time-major, and its arguments."""
    arguments = (model, *inputs(model, envs, steps))
    return compile_program(lambda *given: _rollout.generate(*given, time_major=True), *arguments), arguments


def one_frame(model: CMGModel, envs: int) -> Compiled:
    shapes = [
        jax.ShapeDtypeStruct((envs, size), "float32") for size in (model.config.motion_dim, model.config.command_dim)
    ]
    return compile_program(apply, model, *shapes)


def scaling(model: CMGModel, repeats: int, advance: Advance) -> list[Section]:
    """How time and memory of `generate` grow with environments and with frames."""
    cases = {
        "environments": [(envs, FIXED_STEPS) for envs in SCALING_ENVS],
        "frames": [(FIXED_ENVS, steps) for steps in SCALING_STEPS],
    }
    columns = {
        "envs": "envs|d",
        "steps": "frames|d",
        "seconds": "seconds|.3f",
        "microseconds_per_frame": "us a frame|.2f",
        "memory_mb": "output + temporary MB|.1f",
    }
    sections = []
    for name, sizes in cases.items():
        programs = [generate_program(model, *size) for size in sizes]
        times: list[list[float]] = [[] for _ in sizes]
        for repeat in range(repeats + 1):  # round after round: a machine that drifts drifts for all sizes
            for index, (compiled, arguments) in enumerate(programs):
                taken = seconds(lambda compiled=compiled, arguments=arguments: compiled.call(*arguments))
                if repeat:
                    times[index].append(taken)
                advance(1)
        rows = []
        for (envs, steps), (compiled, _), taken in zip(sizes, programs, times, strict=True):
            trajectory = (steps + 1) * envs * model.config.motion_dim * 4
            rows.append(
                {
                    "envs": envs,
                    "steps": steps,
                    "seconds": statistics.median(taken),
                    "microseconds_per_frame": 1e6 * statistics.median(taken) / envs / steps,
                    "memory_mb": (trajectory + compiled.temporary_bytes) / 1e6,
                }
            )
        varied = [row["envs"] * row["steps"] for row in rows]
        exponents = {key: growth_exponent(varied, [row[key] for row in rows]) for key in ("seconds", "memory_mb")}
        note = f"grows with the number of {name} to the power of {exponents['seconds']:.3f} (time), "
        sections.append(
            Section(f"growth with {name}", columns, rows, (note + f"{exponents['memory_mb']:.3f} (memory)",))
        )
    return sections


def scaling_calls(repeats: int) -> int:
    return (repeats + 1) * (len(SCALING_ENVS) + len(SCALING_STEPS))
