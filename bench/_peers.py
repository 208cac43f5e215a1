"""`cmg_jax.generate` compared with PyTorch and onnxruntime: the same weights and frames, in one process."""
# pyright: reportMissingImports=false

import functools
import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from bench._measure import Advance, Section, compile_program, cores, inputs, seconds
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
"""With more rows, four weight matrices a row take tens of gigabytes; steps of one timing, 0.1 s each."""
TOLERANCE = 2e-3
"""rad or rad/s after STEPS frames of feedback, which amplifies rounding."""
REST_SECONDS = 0.3
"""Pause before each timing: idle threads of the last program keep spinning on a core that the next one needs."""

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
    """The time of every peer relative to ours, for the same number of frames; above 1, ours is faster.

    Every peer feeds its frames back and keeps them, as `generate` does. Its frames are compared with ours
    before it is timed.

    Raises:
      InputError: a peer's frames differ from ours.
    """
    rows: list[dict[str, Any]] = []
    notes = (
        f"{STEPS} frames of feedback, kept; medians of {repeats}, alternately; as the original: {BLENDED_STEPS} frames",
        versions(),
    )
    section = Section("peers", COLUMNS, rows, notes)
    for num_envs in sizes:
        motion, commands = inputs(model, num_envs, STEPS)
        program = compile_program(functools.partial(_rollout.generate, time_major=True), model, motion, commands)

        def ours(program: Any = program, motion: Any = motion, commands: Any = commands) -> np.ndarray:
            return np.asarray(program.call(model, motion, commands))

        expected = np.asarray(_normalization.normalize_motion(model.stats, jax.numpy.asarray(ours()[1:])))
        first = np.array(_normalization.normalize_motion(model.stats, motion))
        requests = np.array(_normalization.normalize_command(model.stats, commands).swapaxes(0, 1))
        for peer in peers(model, num_envs):

            def theirs(peer: Peer = peer, first: Any = first, requests: Any = requests) -> np.ndarray:
                return peer.rollout(peer.step, first, requests[: peer.steps])

            difference = float(np.abs(theirs() - expected[: peer.steps]).max())
            if not difference <= TOLERANCE:
                raise InputError(f"{peer.name}: its frames differ from ours by {difference:.1e}; nothing was timed")
            ratios, our_seconds, their_seconds = [], [], []
            for _ in range(repeats):
                our_seconds.append(rested(ours) / STEPS)
                their_seconds.append(rested(theirs) / peer.steps)
                ratios.append(their_seconds[-1] / our_seconds[-1])
            rows.append(
                {
                    "envs": num_envs,
                    "peer": peer.name,
                    "ratio": statistics.median(ratios),
                    "ratio_low": min(ratios),
                    "ratio_high": max(ratios),
                    "frames_per_second": num_envs / statistics.median(their_seconds),
                    "our_frames_per_second": num_envs / statistics.median(our_seconds),
                    "largest_difference": difference,
                }
            )
            advance(0, section)
        advance(1)
    return section


def rested(call: Callable[[], Any]) -> float:
    """Seconds of a call, after a pause and a call that is not counted."""
    time.sleep(REST_SECONDS)
    call()
    return seconds(call)


def require() -> None:
    """Raise InputError if no peer is installed."""
    if not any(importlib.util.find_spec(name) for name in ("torch", "onnxruntime")):
        raise InputError("no peer is installed: pip install 'cmg_jax[bench]' and torch")


def peers(model: CMGModel, num_envs: int) -> Iterator[Peer]:
    """The peers that are installed."""
    try:
        from bench._torch_network import torch_peers
    except ImportError:
        torch_peers = None
    if torch_peers is not None:
        for name, step, play in torch_peers(model, num_envs, num_envs <= BLENDED_ROWS):
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
