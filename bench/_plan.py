"""The measurements of each mode of `cmg-jax bench`."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from bench import _generation, _gpu, _memory, _modes, _peers, _rollout
from bench._measure import Advance, Section
from cmg_jax.model._model import CMGModel

MODES = {
    "quick": "rate, the original's modes and time to first frame at 256 environments, within a minute on 2 busy cores",
    "full": "the same at 512 to 8192 environments, with streaming and bank (25 minutes)",
    "scaling": "how time and memory grow with environments and with frames",
    "preload": "pregenerated trajectories: init, reads and memory, with half-precision stores",
    "buffer": "the realtime buffer: init, reads and memory, with half-precision stores",
    "peers": "beside PyTorch and onnxruntime, those that are installed",
    "rollout": "each generator inside a rollout, with resets and changes of command",
    "gpu": "for a GPU, to send back: precisions, kernels and their tiles, rollouts, the original's modes",
    "memory": "peak memory of a process that makes 500 frames of all environments",
}
SIZES = (512, 1024, 2048, 4096, 8192)
DEFAULT_SIZES = {"quick": (256,), "peers": _peers.SIZES, "memory": (4096,)}
DEFAULT_SIZES |= dict.fromkeys(("rollout", "gpu"), (1024, 4096))
"""Numbers of environments of modes that do not use `SIZES`."""


class Measurement(NamedTuple):
    """One table of a mode."""

    parts: int
    """Number of parts of the work, as `run` reports them."""
    run: Callable[[Advance], Section]


def plan(
    mode: str,
    model: CMGModel,
    *,
    num_envs: Sequence[int] | None = None,
    steps: int = 500,
    repeats: int = 5,
    generators: Sequence[str] | None = None,
) -> list[Measurement]:
    """The measurements of a mode, in order.

    Args:
      mode: one of `MODES`.
      model: the model to measure.
      num_envs: numbers of environments; the mode's own by default.
      steps: length of a rollout, or of the trajectory whose memory is measured.
      repeats: number of timings; the median is reported.
      generators: of `_rollout.MODES`, for the mode rollout, all by default, and for the mode gpu.
    """
    sizes = num_envs or DEFAULT_SIZES.get(mode, SIZES)
    if mode in ("quick", "full"):
        names = ("pregenerated", "realtime", *(("streaming", "bank") if mode == "full" else ()))
        starts = min(repeats, 3) if mode == "full" else 1
        repeats = repeats if mode == "full" else min(repeats, 2)
        return [
            Measurement(2, lambda advance: _memory.first_frame(starts, advance)),
            Measurement(len(sizes), lambda advance: _generation.rate(model, sizes, repeats, advance)),
            Measurement(len(sizes) * len(names), lambda advance: _modes.table(model, names, sizes, repeats, advance)),
        ]
    if mode == "scaling":
        return [
            Measurement(repeats + 1, lambda advance, name=name: _generation.scaling(model, name, repeats, advance))
            for name in _generation.SCALING_CASES
        ]
    if mode in ("preload", "buffer"):
        names = ("pregenerated",) if mode == "preload" else ("realtime",)
        parts = len(sizes) * len(_memory.STORES)
        return [Measurement(parts, lambda advance: _modes.table(model, names, sizes, repeats, advance, _memory.STORES))]
    if mode == "peers":
        return [Measurement(len(sizes), lambda advance: _peers.compare(model, sizes, repeats, advance))]
    if mode == "rollout":
        names = tuple(generators or _rollout.MODES)
        parts = len(sizes) * _rollout.cases(names)
        return [Measurement(parts, lambda advance: _rollout.cost(model, names, sizes, steps, repeats, advance))]
    if mode == "gpu":
        sizes = sizes if num_envs or _gpu.runs_kernels() else _gpu.SIZES_WITHOUT_GPU
        return _gpu_plan(model, tuple(generators or _gpu.GENERATORS), sizes, steps, repeats)
    return [Measurement(len(_memory.PEAK_CASES), lambda advance: _memory.peaks(sizes[0], steps, advance))]


def _gpu_plan(
    model: CMGModel, generators: Sequence[str], sizes: Sequence[int], steps: int, repeats: int
) -> list[Measurement]:
    kernels, modes = _gpu.runs_kernels(), ("pregenerated", "realtime", "streaming")
    forms = len(sizes) * len(_gpu.PRECISIONS) * (1 + kernels)
    cases, options = len(sizes) * _rollout.cases(generators), (generators, sizes, steps, repeats)
    measurements = [
        Measurement(forms, lambda advance: _gpu.forms(model, sizes, repeats, advance, kernels=kernels)),
        Measurement(cases, lambda advance: _rollout.cost(model, *options, advance)),
        Measurement(len(sizes) * len(modes), lambda advance: _modes.table(model, modes, sizes, repeats, advance)),
    ]
    if kernels:
        measurements[1:1] = [
            Measurement(_gpu.tile_parts(), lambda advance: _gpu.tiles(model, max(sizes), repeats, advance)),
            Measurement(cases, lambda advance: _gpu.rollouts(model, *options, advance)),
        ]
    return measurements
