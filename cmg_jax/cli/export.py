"""`cmg-jax export`: a model for other programs."""

import argparse
from pathlib import Path
from typing import Any

from cmg_jax._errors import InputError
from cmg_jax._files import atomic_path, require_file_target
from cmg_jax.export import PLATFORMS, check_onnx, check_stablehlo, onnx_model, stablehlo, torch_file
from cmg_jax.model import _checkpoint


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
        content = onnx_model(model, physical=arguments.physical).SerializeToString()
        difference = check_onnx(model, content, physical=arguments.physical)
        summary = f"prev_motion, command -> motion, {'physical units' if arguments.physical else 'normalized'}; "
        if difference is None:
            summary += "not checked, for want of onnxruntime"
        else:
            summary += f"onnxruntime differs by {difference:.1e}"
    elif arguments.format == "stablehlo":
        steps = arguments.steps
        content = bytes(stablehlo(model, num_frames=steps).serialize())
        difference = check_stablehlo(model, content, num_frames=steps)
        shapes = "motion [b, D], command [b, C] -> motion [b, D]"
        if steps is not None:
            shapes = f"motion [b, D], commands [b, {steps}, C] -> trajectory [b, {steps + 1}, D]"
        summary = f"{shapes}, on {', '.join(PLATFORMS)}; run here, a frame differs by {difference:.1e}"
    else:
        content = torch_file(model, stats=not arguments.weights_only, name=out.stem)
        summary = "the state_dict" + ("" if arguments.weights_only else " and the stats") + " in the original's layout"
    with atomic_path(out) as partial:
        partial.write_bytes(content)
    print(f"wrote {out} ({len(content) / 1e6:.1f} MB): {summary}")
