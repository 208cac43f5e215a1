"""`cmg-jax export`: a model for other programs."""

import argparse
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cmg_jax import _rollout
from cmg_jax._errors import InputError
from cmg_jax._files import atomic_path, require_file_target
from cmg_jax.export._onnx_model import onnx_model
from cmg_jax.export._stablehlo import PLATFORMS, stablehlo
from cmg_jax.export._torch_file import torch_file
from cmg_jax.generators._base import standing_frame
from cmg_jax.model import _checkpoint
from cmg_jax.model._model import CMGModel, apply, apply_normalized

TOLERANCE = 1e-5
"""Largest difference of a frame, in units of the data's standard deviation."""

CHECKED_ROWS = 5


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("export", help="write a model for other programs")
    parser.add_argument(
        "model", type=Path, nargs="?", metavar="MODEL", help="model directory; the bundled model by default"
    )
    parser.add_argument("--format", choices=("onnx", "stablehlo", "torch"), required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--physical",
        action="store_true",
        help="onnx: take and give physical units; by default all is normalized, as by the original's exporter",
    )
    parser.add_argument(
        "--steps", type=int, metavar="K", help="stablehlo: a trajectory of K steps; by default one frame further"
    )
    parser.add_argument(
        "--weights-only", action="store_true", help="torch: the state_dict alone, as cmg_best.pt, without the stats"
    )
    parser.set_defaults(function=_export)


def _export(arguments: argparse.Namespace) -> None:
    out: Path = arguments.out
    options = {"physical": "onnx", "steps": "stablehlo", "weights_only": "torch"}
    for option, name in options.items():
        if getattr(arguments, option) not in (None, False) and arguments.format != name:
            raise InputError(f"--{option.replace('_', '-')}: belongs to --format {name}")
    path = arguments.model or _checkpoint.default_model_path()
    require_file_target(out, [path / "config.json"])
    model = _checkpoint.load(path)
    if arguments.format == "onnx":
        content = onnx_model(model, normalization=arguments.physical).SerializeToString()
        said = check_onnx(model, content, arguments.physical)
    elif arguments.format == "stablehlo":
        content = bytes(stablehlo(model, arguments.steps).serialize())
        said = check_stablehlo(model, content, arguments.steps)
    else:
        content = torch_file(model, stats=not arguments.weights_only, name=out.stem)
        said = "the state_dict" + ("" if arguments.weights_only else " and the stats") + " in the original's layout"
    with atomic_path(out) as partial:
        partial.write_bytes(content)
    print(f"wrote {out} ({len(content) / 1e6:.1f} MB): {said}")


def check_onnx(model: CMGModel, content: bytes, physical: bool) -> str:
    """What onnxruntime makes of the graph, beside what the model does.

    Raises:
      InputError: they differ.
    """
    inputs = "physical units" if physical else "normalized"
    try:
        import onnxruntime  # pyright: ignore[reportMissingImports]
    except ImportError:
        return f"prev_motion, command -> motion, {inputs}; not checked, for want of onnxruntime"
    motion, command = _inputs(model, physical)
    session = onnxruntime.InferenceSession(content)
    frame = session.run(None, {"prev_motion": motion, "command": command})[0]
    expected = jax.jit(apply if physical else apply_normalized)(model, motion, command)
    difference = _difference(model, frame, expected, physical)
    return f"prev_motion, command -> motion, {inputs}; onnxruntime differs by {difference:.1e}"


def check_stablehlo(model: CMGModel, content: bytes, steps: int | None) -> str:
    """What the program makes on this machine, beside what the model does.

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
    # Feedback over many frames magnifies what is rounded: one frame is what can be told to differ.
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
