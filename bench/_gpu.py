"""What a GPU is measured for: precisions, the network as plain products and as kernels, and tiles of the kernels.

Every form is compared with plain float32 before it is timed, because nobody may have run it on this device yet.
"""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from bench import _rollout
from bench._measure import Advance, Section, compile_program, inputs, median_seconds, seconds
from cmg_jax import _rollout as generation
from cmg_jax.model import Tile, apply_normalized, with_kernels, with_precision
from cmg_jax.model._model import CMGModel

PRECISIONS = ("float32", "tf32", "float16", "bfloat16")
FRAMES = 100
"""Of the network in one call, so that launching from Python is no part of the time of a frame."""
ERROR_FRAMES, ERROR_ENVS = 200, 256
GENERATORS = ("streaming-20", "realtime-100", "pregenerated-500", "bank-256x500", "streaming-20-bank-tick")

WIDE_TILES = (
    Tile(64, 64, 32, 4, 3),
    Tile(64, 64, 32, 4, 4),
    Tile(64, 128, 32, 4, 3),
    Tile(64, 128, 32, 8, 3),
    Tile(64, 128, 64, 8, 2),
    Tile(128, 64, 32, 4, 3),
    Tile(128, 64, 32, 8, 3),
    Tile(128, 128, 32, 8, 2),
    Tile(128, 128, 32, 8, 3),
    Tile(128, 128, 32, 8, 4),
)
LAST_TILES = (
    Tile(64, 16, 32, 4, 3),
    Tile(64, 32, 32, 4, 3),
    Tile(64, 32, 64, 4, 3),
    Tile(64, 64, 32, 4, 3),
    Tile(64, 128, 32, 8, 3),
)
"""Tiles that are timed: of all layers but the last first, then of the last, whose outputs are few."""
TOLERANCES = {"float32": 1e-4, "tf32": 1e-2, "float16": 1e-2, "bfloat16": 1e-1}
"""Of one frame, normalized. Tiles whose frames are further from plain float32 are not recommended."""

FORMS = {
    "precision": "precision|s",
    "form": "form|s",
    "envs": "envs|d",
    "frame_us": "us a frame|,.1f",
    "ratio": "time / plain float32|.3f",
    "error": "error rad|.1e",
    "compile_seconds": "compile s|.1f",
    "failed": "does not run|s",
}
TILES = {
    "precision": "precision|s",
    "layers": "layers|s",
    "tile": "outputs, rows, inputs, warps, stages|s",
    "envs": "envs|d",
    "frame_us": "us a frame|,.1f",
    "apart": "one frame apart|.1e",
    "best": "best|s",
    "failed": "does not run|s",
}
NO_KERNELS = "no NVIDIA GPU here: kernels are skipped; few environments are measured unless --envs is given"
SIZES_WITHOUT_GPU = (64,)
FAILURES = (jax.errors.JaxRuntimeError, NotImplementedError, ValueError)
"""What a program raises that a GPU has no room or no instructions for. The other figures are still of use."""


def runs_kernels() -> bool:
    """Whether programs of this process run on a GPU of NVIDIA."""
    return "cuda" in jax.devices()[0].client.platform_version.lower()


def forms(
    model: CMGModel, sizes: Sequence[int], repeats: int, advance: Advance, *, kernels: bool, interpret: bool = False
) -> Section:
    """Time of a frame and error after frames of feedback, for each precision and form.

    Args:
      model: the model, in float32.
      sizes: numbers of environments.
      repeats: timings of each, alternately with plain float32; the median is reported.
      advance: receives the progress.
      kernels: whether to measure kernels.
      interpret: of `with_kernels`.
    """
    rows: list[dict[str, Any]] = []
    notes = (
        f"{FRAMES} frames in one call",
        f"error: largest difference of a joint from plain float32 within {ERROR_FRAMES} frames",
        *(() if kernels else (NO_KERNELS,)),
    )
    section = Section("precisions", FORMS, rows, notes)
    for num_envs in sizes:
        arguments = _frames_of(model, num_envs)
        reference = compile_program(_rollout.network_steps(FRAMES), model, *arguments)
        expected = _joints_after(model, num_envs)

        def plain(reference: Any = reference, arguments: Any = arguments) -> Any:
            return reference.call(model, *arguments)

        for precision in PRECISIONS:
            changed = with_precision(model, precision)
            made = {"plain": changed} | ({"kernels": with_kernels(changed, interpret=interpret)} if kernels else {})
            for form, each in made.items():
                row = {"precision": precision, "form": form, "envs": num_envs}
                rows.append(row | _time_of_form(each, arguments, expected, plain, repeats))
                advance(1, section)
    return section


def _time_of_form(
    model: CMGModel,
    arguments: tuple[jax.Array, jax.Array],
    expected: np.ndarray,
    plain: Callable[[], Any],
    repeats: int,
) -> dict[str, Any]:
    """Columns of a form's row: error from `expected`, and time, alternately with that of `plain`."""
    try:
        error = np.abs(_joints_after(model, len(arguments[0])) - expected).max()
        program = compile_program(_rollout.network_steps(FRAMES), model, *arguments)
        pairs = [(seconds(lambda: program.call(model, *arguments)), seconds(plain)) for _ in range(repeats + 1)]
    except FAILURES as failure:
        return {"failed": _first_line(failure)}
    own, ratios = zip(*((own, own / reference) for own, reference in pairs[1:]), strict=True)  # the first warms up
    return {
        "frame_us": 1e6 * statistics.median(own) / FRAMES,
        "ratio": statistics.median(ratios),
        "error": float(error),
        "compile_seconds": program.seconds,
    }


def tiles(
    model: CMGModel,
    num_envs: int,
    repeats: int,
    advance: Advance,
    *,
    wide: Sequence[Tile] = WIDE_TILES,
    last: Sequence[Tile] = LAST_TILES,
    interpret: bool = False,
) -> Section:
    """Time of a frame with each tile, and which are the best of each precision.

    Args:
      model: the model, in float32.
      num_envs: number of environments.
      repeats: timings of each tile; the median is reported.
      advance: receives the progress.
      wide: tiles to try for all layers but the last, with the default tile of the last.
      last: tiles to try for the last layer, with the best of the others.
      interpret: of `with_kernels`.
    """
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    section = Section("tiles", TILES, rows, notes)
    arguments = _frames_of(model, num_envs)
    expected = np.asarray(jax.jit(apply_normalized)(model, *arguments))
    for precision in PRECISIONS[:3]:
        changed = with_precision(model, precision)
        default = with_kernels(changed).kernels
        assert default is not None
        best = list(default.tiles)
        for layers, candidates in (("all but the last", wide), ("last", last)):
            timed: list[tuple[float, dict[str, Any], list[Tile]]] = []
            for tile in candidates:
                chosen = [*best[:-1], tile] if layers == "last" else [tile] * (len(best) - 1) + best[-1:]
                made = with_kernels(changed, tiles=chosen, interpret=interpret)
                row = {"precision": precision, "layers": layers, "tile": ", ".join(map(str, tile)), "envs": num_envs}
                row |= _time_of_tile(made, arguments, expected, repeats)
                rows.append(row)
                if "frame_us" in row and row["apart"] <= TOLERANCES[precision]:
                    timed.append((row["frame_us"], row, chosen))
                advance(1, section)
            if timed:
                _, row, best = min(timed, key=lambda each: each[0])
                row["best"] = "yes"
        text = ", ".join(str(tuple(tile)) for tile in best)
        notes.append(f"{precision}: with_kernels(model, tiles=[{text}])")
    return section


def _time_of_tile(
    model: CMGModel, arguments: tuple[jax.Array, jax.Array], expected: np.ndarray, repeats: int
) -> dict[str, Any]:
    """Columns of a tile's row: a tile that a GPU has no room for does not compile."""
    try:
        apart = np.abs(np.asarray(jax.jit(apply_normalized)(model, *arguments)) - expected).max()
        program = compile_program(_rollout.network_steps(FRAMES), model, *arguments)
        duration = median_seconds(lambda: program.call(model, *arguments), repeats)
    except FAILURES as failure:
        return {"failed": _first_line(failure)}
    return {"frame_us": 1e6 * duration / FRAMES, "apart": float(apart)}


def rollouts(
    model: CMGModel, names: Sequence[str], sizes: Sequence[int], steps: int, repeats: int, advance: Advance
) -> Section:
    """`_rollout.cost` of the model with kernels, in their default tiles, relative to network steps with kernels."""
    name = "rollout, kernels"
    try:
        section = _rollout.cost(with_kernels(model), names, sizes, steps, repeats, advance)
    except FAILURES as failure:
        return Section(name, {"failed": TILES["failed"]}, [{"failed": _first_line(failure)}])
    return section._replace(name=name, notes=(*section.notes, "kernels in both, in their default tiles"))


def _first_line(failure: Exception) -> str:
    return next(iter(str(failure).strip().splitlines()), type(failure).__name__)[:80]


def tile_parts() -> int:
    """Number of tiles that `tiles` times."""
    return len(PRECISIONS[:3]) * (len(WIDE_TILES) + len(LAST_TILES))


def _frames_of(model: CMGModel, num_envs: int) -> tuple[jax.Array, jax.Array]:
    """Normalized motion and commands of environments that differ."""
    keys = jax.random.split(jax.random.key(0))
    config = model.config
    motion = jax.random.normal(keys[0], (num_envs, config.motion_dim))
    return motion, jax.random.uniform(keys[1], (num_envs, config.command_dim), minval=-1.0)


def _joints_after(model: CMGModel, num_envs: int) -> np.ndarray:
    """Joint positions [rad] of frames that feed back, under commands of the trained range."""
    motion, commands = inputs(model, min(num_envs, ERROR_ENVS), ERROR_FRAMES)
    generate: Callable[..., jax.Array] = jax.jit(generation.generate)
    return np.asarray(generate(model, motion, commands)[..., : model.config.num_joints])
