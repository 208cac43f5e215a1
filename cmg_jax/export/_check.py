"""An exported model is run before it is kept, and compared with the model that it comes from."""

from typing import Any

import jax
import numpy as np

from cmg_jax import _rollout
from cmg_jax._errors import InputError
from cmg_jax.export._stablehlo import PLATFORMS
from cmg_jax.generators._base import standing_frame
from cmg_jax.model._model import CMGModel, apply, apply_normalized

TOLERANCE = 1e-5
"""Largest difference of a frame, in units of the data's standard deviation."""

CHECKED_ROWS = 5


def onnx(model: CMGModel, content: bytes, physical: bool) -> str:
    """Run the graph in onnxruntime and compare it with the model; a line about it.

    Raises:
      InputError: they differ.
    """
    inputs = "physical units" if physical else "normalized"
    try:
        import onnxruntime  # pyright: ignore[reportMissingImports]
    except ImportError:
        return f"prev_motion, command -> motion, {inputs}; not checked, because onnxruntime is not installed"
    motion, command = _inputs(model, physical)
    session = onnxruntime.InferenceSession(content)
    frame = session.run(None, {"prev_motion": motion, "command": command})[0]
    expected = jax.jit(apply if physical else apply_normalized)(model, motion, command)
    difference = _difference(model, frame, expected, physical)
    return f"prev_motion, command -> motion, {inputs}; onnxruntime differs by {difference:.1e}"


def stablehlo(model: CMGModel, content: bytes, steps: int | None) -> str:
    """Run the program on this machine and compare it with the model; a line about it.

    Raises:
      InputError: they differ.
    """
    motion, command = _inputs(model, physical=True)
    if steps is None:
        expected, shapes = jax.jit(apply)(model, motion, command), "motion [b, D], command [b, C] -> motion [b, D]"
    else:
        command = np.repeat(command[:, None], steps, axis=1)
        expected = jax.jit(_rollout.generate)(model, motion, command)
        shapes = f"motion [b, D], commands [b, {steps}, C] -> trajectory [b, {steps + 1}, D]"
    frames = jax.export.deserialize(bytearray(content)).call(motion, command)
    # Feedback over many frames magnifies what is rounded: only one frame can be compared.
    first = (frames, expected) if steps is None else (frames[:, 1], expected[:, 1])
    difference = _difference(model, *first, physical=True)
    return f"{shapes}, on {', '.join(PLATFORMS)}; run here, a frame differs by {difference:.1e}"


def _inputs(model: CMGModel, physical: bool) -> tuple[np.ndarray, np.ndarray]:
    """Frames around standing and commands within the trained range, each row its own."""
    rng, stats, rows = np.random.default_rng(0), model.stats, CHECKED_ROWS
    motion = rng.normal(size=(rows, model.config.motion_dim)).astype(np.float32)
    command = rng.uniform(-1, 1, size=(rows, model.config.command_dim)).astype(np.float32)
    if physical:
        motion = motion * 0.1 * np.asarray(stats.motion_std) + np.asarray(standing_frame(model))
        low, high = np.asarray(stats.command_min), np.asarray(stats.command_max)
        command = (low + high) / 2 + command * (high - low) / 2
    return motion, command


def _difference(model: CMGModel, frame: Any, expected: Any, physical: bool) -> float:
    scale = np.asarray(model.stats.motion_std) if physical else 1.0
    difference = float((np.abs(np.asarray(frame) - np.asarray(expected)) / scale).max())
    if not difference <= TOLERANCE:
        raise InputError(f"the exported model differs by {difference:.1e}; please report this model")
    return difference
