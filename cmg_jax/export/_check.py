"""Whether an exported model makes the same frame as the model."""

import jax
import numpy as np
from jax.typing import ArrayLike

from cmg_jax import _rollout
from cmg_jax._errors import InputError
from cmg_jax.generators._base import standing_frame
from cmg_jax.model._model import CMGModel, apply, apply_normalized

TOLERANCE = 1e-5
"""Largest difference of a frame, in units of the data's standard deviation."""

NUM_ROWS = 5
"""Rows of the batch that is compared."""


def check_onnx(model: CMGModel, content: bytes, *, physical: bool = False) -> float | None:
    """Compare a frame of an ONNX graph, run by onnxruntime, with the model's.

    Args:
      model: the model that was exported.
      content: the serialized graph of `onnx_model`.
      physical: whether the graph takes and gives physical arrays.

    Returns:
      The largest difference, in units of the data's standard deviation; None if onnxruntime is not installed.

    Raises:
      InputError: the difference is beyond `TOLERANCE`.

    Examples:
      >>> from cmg_jax import export
      >>> content = export.onnx_model(model).SerializeToString()
      >>> export.check_onnx(model, content) < export.TOLERANCE
      True
    """
    try:
        import onnxruntime  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    motion, command = _inputs(model, physical)
    session = onnxruntime.InferenceSession(content)
    frame = np.asarray(session.run(None, {"prev_motion": motion, "command": command})[0])
    expected = jax.jit(apply if physical else apply_normalized)(model, motion, command)
    return _difference(model, frame, expected, physical)


def check_stablehlo(model: CMGModel, content: bytes, *, num_frames: int | None = None) -> float:
    """Compare a frame of a StableHLO program, run on this machine, with the model's.

    Args:
      model: the model that was exported.
      content: the serialized program of `stablehlo`.
      num_frames: as passed to `stablehlo`.

    Returns:
      The largest difference, in units of the data's standard deviation.

    Raises:
      InputError: the difference is beyond `TOLERANCE`.

    Examples:
      >>> from cmg_jax import export
      >>> content = export.stablehlo(model).serialize()
      >>> export.check_stablehlo(model, content) < export.TOLERANCE
      True
    """
    motion, command = _inputs(model, physical=True)
    program = jax.export.deserialize(bytearray(content))
    if num_frames is None:
        frame, expected = program.call(motion, command), jax.jit(apply)(model, motion, command)
    else:
        commands = np.repeat(command[:, None], num_frames, axis=1)
        # Feedback over many frames amplifies rounding: only the first generated frame can be compared.
        frame = program.call(motion, commands)[:, 1]
        expected = jax.jit(_rollout.generate)(model, motion, commands)[:, 1]
    return _difference(model, frame, expected, physical=True)


def _inputs(model: CMGModel, physical: bool) -> tuple[np.ndarray, np.ndarray]:
    """Different frames around standing, and different commands within the trained range."""
    rng, stats = np.random.default_rng(0), model.stats
    motion = rng.normal(size=(NUM_ROWS, model.config.motion_dim)).astype(np.float32)
    command = rng.uniform(-1, 1, size=(NUM_ROWS, model.config.command_dim)).astype(np.float32)
    if physical:
        motion = motion * 0.1 * np.asarray(stats.motion_std) + np.asarray(standing_frame(model))
        low, high = np.asarray(stats.command_min), np.asarray(stats.command_max)
        command = (low + high) / 2 + command * (high - low) / 2
    return motion, command


def _difference(model: CMGModel, frame: ArrayLike, expected: ArrayLike, physical: bool) -> float:
    scale = np.asarray(model.stats.motion_std) if physical else 1.0
    difference = float((np.abs(np.asarray(frame) - np.asarray(expected)) / scale).max())
    if not difference <= TOLERANCE:
        raise InputError(f"the exported model differs by {difference:.1e}; please report this model")
    return difference
