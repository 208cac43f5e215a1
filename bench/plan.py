"""What each mode of `cmg-jax bench` measures."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from bench import generation, memory, modes, peers, rollout
from bench.measure import Advance, Section
from cmg_jax.model._model import CMGModel

MODES = {
    "quick": "rate, modes and time to first frame at 512 environments, within a minute on 2 cores",
    "full": "the same at 512 to 8192 environments, with streaming and bank (25 minutes)",
    "scaling": "how time and memory grow with environments and with frames",
    "preload": "pregenerated trajectories: init, reads and memory, with half-precision stores",
    "buffer": "the realtime buffer: init, reads and memory, with half-precision stores",
    "peers": "beside PyTorch and onnxruntime, those that are installed",
    "rollout": "each generator inside a rollout, with resets and changes of command",
    "memory": "peak memory of a process that makes 500 frames of all environments",
}
SIZES = (512, 1024, 2048, 4096, 8192)
DEFAULT_SIZES = {"quick": (512,), "peers": peers.SIZES, "rollout": (1024, 4096), "memory": (4096,)}
"""Numbers of environments, where they are not `SIZES`."""


class Measurement(NamedTuple):
    parts: int
    """How often `run` advances."""
    run: Callable[[Advance], Section | list[Section]]


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
      model: what is measured.
      num_envs: numbers of environments; the mode's own by default.
      steps: length of a rollout, or of the trajectory whose memory is measured.
      repeats: timings of which the median is taken.
      generators: of `rollout.MODES`, for the mode rollout; all by default.
    """
    sizes = num_envs or DEFAULT_SIZES.get(mode, SIZES)
    if mode in ("quick", "full"):
        names = ("pregenerated", "realtime", *(("streaming", "bank") if mode == "full" else ()))
        few, processes = (repeats, min(repeats, 3)) if mode == "full" else (min(repeats, 2), 1)
        return [
            Measurement(2, lambda advance: memory.first_frame(processes, advance)),
            Measurement(len(sizes), lambda advance: generation.rate(model, sizes, repeats, advance)),
            Measurement(len(sizes) * len(names), lambda advance: modes.table(model, names, sizes, few, advance)),
        ]
    if mode == "scaling":
        calls = generation.scaling_calls(repeats)
        return [Measurement(calls, lambda advance: generation.scaling(model, repeats, advance))]
    if mode in ("preload", "buffer"):
        names = ("pregenerated",) if mode == "preload" else ("realtime",)
        parts = len(sizes) * len(memory.STORES)
        return [Measurement(parts, lambda advance: modes.table(model, names, sizes, repeats, advance, memory.STORES))]
    if mode == "peers":
        return [Measurement(len(sizes), lambda advance: peers.compare(model, sizes, repeats, advance))]
    if mode == "rollout":
        names = tuple(generators or rollout.MODES)
        parts = len(sizes) * rollout.cases(names)
        return [Measurement(parts, lambda advance: rollout.cost(model, names, sizes, steps, repeats, advance))]
    return [Measurement(len(memory.PEAK_CASES), lambda advance: memory.peaks(sizes[0], steps, advance))]
