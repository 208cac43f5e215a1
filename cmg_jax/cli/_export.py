"""`cmg-jax export`: writes a model for other programs."""

from pathlib import Path
from typing import Any

from cmg_jax._errors import InputError
from cmg_jax._files import atomic_path, require_file_target
from cmg_jax.cli import _options
from cmg_jax.export import PLATFORMS, check_onnx, check_stablehlo, onnx_model, stablehlo, torch_file
from cmg_jax.model import _checkpoint

SUMMARY = "write a model as an ONNX, StableHLO or PyTorch file"


def add_options(parser: Any) -> None:
    _options.add_model(parser)
    parser.add_argument(
        "--format", choices=("onnx", "stablehlo", "torch"), required=True, help="kind of file to write (required)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write (required)")
    parser.add_argument(
        "--physical",
        action="store_true",
        help="onnx: inputs and outputs in physical units (default: normalized, as in the original's exporter)",
    )
    parser.add_argument(
        "--steps",
        type=int,
        metavar="K",
        help="stablehlo: number of steps of the trajectory that the program makes (default: a single frame)",
    )
    parser.add_argument(
        "--weights-only", action="store_true", help="torch: the state_dict alone, as cmg_best.pt, without the stats"
    )
    parser.set_defaults(run=run)


def run(*, model: Path | None, format: str, out: Path, physical: bool, steps: int | None, weights_only: bool) -> None:
    for option, value, needed in (
        ("physical", physical, "onnx"),
        ("steps", steps is not None, "stablehlo"),
        ("weights-only", weights_only, "torch"),
    ):
        if value and format != needed:
            raise InputError(f"--{option} requires --format {needed}")
    path = _options.model_path(model)
    require_file_target(out, [path / "config.json"])
    loaded = _checkpoint.load(path)
    if format == "onnx":
        content = onnx_model(loaded, physical=physical).SerializeToString()
        difference = check_onnx(loaded, content, physical=physical)
        remark = f"prev_motion, command -> motion, {'physical units' if physical else 'normalized'}; "
        if difference is None:
            remark += "not checked, because onnxruntime is not installed"
        else:
            remark += f"onnxruntime differs by {difference:.1e}"
    elif format == "stablehlo":
        content = bytes(stablehlo(loaded, num_frames=steps).serialize())
        difference = check_stablehlo(loaded, content, num_frames=steps)
        shapes = "motion [b, D], command [b, C] -> motion [b, D]"
        if steps is not None:
            shapes = f"motion [b, D], commands [b, {steps}, C] -> trajectory [b, {steps + 1}, D]"
        remark = f"{shapes}, on {', '.join(PLATFORMS)}; run here, a frame differs by {difference:.1e}"
    else:
        content = torch_file(loaded, stats=not weights_only, name=out.stem)
        remark = "the state_dict" + ("" if weights_only else " and the stats") + " in the original's layout"
    with atomic_path(out) as partial:
        partial.write_bytes(content)
    print(f"wrote {out} ({len(content) / 1e6:.1f} MB): {remark}")
