"""`cmg_jax.generate` beside PyTorch and onnxruntime: the same weights and the same frames, in one process."""
# pyright: reportMissingImports=false

import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from bench.measure import Advance, Section, compile_program, cores, inputs, seconds
from cmg_jax import _rollout
from cmg_jax._errors import InputError
from cmg_jax.export import onnx_model
from cmg_jax.model import _normalization
from cmg_jax.model._model import CMGModel

Step = Callable[[Any, Any], Any]
"""(motion [B, D], command [B, C]) -> motion [B, D], normalized."""

STEPS = 50
SIZES = (1, 64, 512, 4096)
BLENDED_ROWS, BLENDED_STEPS = 512, 5
"""Beyond these rows, four weights a row take tens of gigabytes; steps of one timing, a tenth of a second each."""
TOLERANCE = 2e-3
"""rad or rad/s after STEPS frames of feedback: rounding, fed back."""
REST_SECONDS = 0.3
"""Before each timing: idle threads of the one before spin for a while, on a core that the next one needs."""

COLUMNS = {
    "envs": "envs|d",
    "peer": "peer|s",
    "ratio": "its time / ours|.2f",
    "ratio_low": "lowest|.2f",
    "ratio_high": "highest|.2f",
    "frames_per_second": "its frames/s|,.0f",
    "our_frames_per_second": "ours|,.0f",
    "largest_difference": "differs by|.1e",
}


class Peer(NamedTuple):
    name: str
    step: Step
    rollout: Callable[..., Any]
    steps: int = STEPS


def compare(model: CMGModel, sizes: Sequence[int], repeats: int, advance: Advance) -> Section:
    """The time of every peer over ours, for the same number of frames; above 1, we are faster.

    Every peer feeds its frames back and keeps them, as `generate` does. Before it is timed, its frames must be ours.

    Raises:
      InputError: none of the peers is installed.
    """
    rows: list[dict[str, Any]] = []
    notes = (
        f"{STEPS} frames of feedback, kept; medians of {repeats}, in turn; as the original: {BLENDED_STEPS} frames",
        versions(),
    )
    section = Section("peers", COLUMNS, rows, notes)
    for envs in sizes:
        motion, commands = inputs(model, envs, STEPS)
        program = compile_program(lambda *given: _rollout.generate(*given, time_major=True), model, motion, commands)

        def ours(program: Any = program, motion: Any = motion, commands: Any = commands) -> np.ndarray:
            return np.asarray(program.call(model, motion, commands))

        expected = np.asarray(_normalization.normalize_motion(model.stats, jax.numpy.asarray(ours()[1:])))
        first = np.array(_normalization.normalize_motion(model.stats, motion))
        orders = np.array(_normalization.normalize_command(model.stats, commands).swapaxes(0, 1))
        for peer in peers(model, envs):

            def theirs(peer: Peer = peer, first: Any = first, orders: Any = orders) -> np.ndarray:
                return peer.rollout(peer.step, first, orders[: peer.steps])

            difference = float(np.abs(theirs() - expected[: peer.steps]).max())
            if not difference <= TOLERANCE:
                raise InputError(f"{peer.name}: its frames differ from ours by {difference:.1e}; nothing was timed")
            ratios, own, other = [], [], []
            for _ in range(repeats):
                own.append(rested(ours) / STEPS)
                other.append(rested(theirs) / peer.steps)
                ratios.append(other[-1] / own[-1])
            rows.append(
                {
                    "envs": envs,
                    "peer": peer.name,
                    "ratio": statistics.median(ratios),
                    "ratio_low": min(ratios),
                    "ratio_high": max(ratios),
                    "frames_per_second": envs / statistics.median(other),
                    "our_frames_per_second": envs / statistics.median(own),
                    "largest_difference": difference,
                }
            )
            advance(0, section)
        advance(1)
    return section


def rested(call: Callable[[], Any]) -> float:
    """Seconds of a call, after a rest and a call that is not counted."""
    time.sleep(REST_SECONDS)
    call()
    return seconds(call)


def require() -> None:
    """Raise InputError where there is nothing to compare with: before the measuring, not after it."""
    if not any(importlib.util.find_spec(name) for name in ("torch", "onnxruntime")):
        raise InputError("no peer is installed: pip install 'cmg_jax[bench]' and torch")


def peers(model: CMGModel, envs: int) -> Iterator[Peer]:
    """Those that are installed."""
    try:
        from bench.torch_network import torch_peers
    except ImportError:
        torch_peers = None
    if torch_peers is not None:
        for name, step, play in torch_peers(model, envs, envs <= BLENDED_ROWS):
            yield Peer(name, step, play, BLENDED_STEPS if "as the original" in name else STEPS)
    try:
        import onnxruntime
    except ImportError:
        return
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    session = onnxruntime.InferenceSession(onnx_model(model).SerializeToString(), options)

    def step(motion: np.ndarray, command: np.ndarray) -> np.ndarray:
        return session.run(None, {"prev_motion": motion, "command": command})[0]  # pyright: ignore

    yield Peer("onnxruntime", step, play_numpy)


def play_numpy(step: Step, motion: np.ndarray, commands: np.ndarray) -> np.ndarray:
    """Feed frames back under commands [T, B, C] and keep them, [T, B, D]."""
    frames = np.empty((*commands.shape[:2], motion.shape[-1]), np.float32)
    for index, command in enumerate(commands):
        frames[index] = motion = step(motion, command)
    return frames


def versions() -> str:
    from importlib import metadata

    found = []
    for name in ("jax", "torch", "onnxruntime"):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"no {name}")
    return f"{', '.join(found)}; {cores()} cores, {jax.devices()[0].platform}"
