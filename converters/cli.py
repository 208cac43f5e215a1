"""`cmg-convert`: converts a PyTorch CMG checkpoint into a cmg_jax model directory."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from cmg_jax._errors import InputError
from cmg_jax.cli import _options
from cmg_jax.cli._program import Parser, run
from cmg_jax.model import _checkpoint
from cmg_jax.model._model import CMGConfig
from cmg_jax.robot._frame import describe
from converters import _state_dict, check, load_model

PROGRAM = "cmg-convert"


def main(argv: Sequence[str] | None = None) -> int:
    options = vars(parser().parse_args(argv))
    return run(PROGRAM, lambda: _convert(**options))


def parser() -> Parser:
    made = Parser(prog=PROGRAM, description="Convert a PyTorch CMG checkpoint into a cmg_jax model directory.")
    made.add_argument(
        "source", type=Path, metavar="SRC.pt", help="cmg_best.pt, cmg_ckpt_N.pt, cmg_final.pt, or .safetensors"
    )
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="model directory to write (required)")
    made.add_argument(
        "--stats",
        type=Path,
        metavar="FILE",
        help="cmg_training_data.pt (also gives a pool of first frames), cmg_stats.yaml, or a checkpoint with stats "
        "(default: the checkpoint's own)",
    )
    made.add_argument(
        "--weights",
        metavar="NAME",
        help="weights to convert if the file has several, as ema_model or model.student (default: the only ones)",
    )
    made.add_argument(
        "--joint-names",
        metavar="NAMES",
        help="names of the model's joints in its order: a known robot, names separated by commas, or a file of names "
        "(default: those in the checkpoint or the data set, else the G1's 29)",
    )
    _options.add_robot(made, "of the model")
    made.add_argument("--fps", type=float, default=50.0, metavar="F", help="rate of the model in frames per second")
    made.add_argument("--description", default="", metavar="TEXT", help="a line for the model's card")
    made.add_argument("--force", action="store_true", help="replace DIR if it exists")
    return made


def _convert(
    *,
    source: Path,
    out: Path,
    stats: Path | None,
    weights: str | None,
    joint_names: str | None,
    robot: Path | None,
    feet: Sequence[str] | None,
    mirror: Sequence[str] | None,
    fps: float,
    description: str,
    force: bool,
) -> None:
    if not (math.isfinite(fps) and fps > 0):
        raise InputError(f"--fps {fps} is not a positive number of frames per second")
    _checkpoint.check_target(out, overwrite=force, option="--force")
    names = None if joint_names is None else _options.joint_names(joint_names)
    chosen = _options.robot(robot, feet, mirror)
    model, rows, tensors = load_model(
        source, stats, fps=fps, description=description, weights=weights, names=names, robot=chosen
    )
    print(_table(rows))
    error = check(model, tensors)
    _checkpoint.save(model, out, overwrite=force)

    config, pool = model.config, model.initial_motion
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(
        f"\n{config.num_experts} experts, layers {_arrow(config)}, "
        f"{sum(leaf.size for leaf in jax.tree.leaves(model.params)):,} parameters, {config.fps:g} fps, "
        f"{0 if pool is None else len(pool)} initial frames\n"
        f"frame: {describe(config.frame_parts)}\n"
        f"joints: {dict(config.provenance)['joints']}\n"
        f"independent NumPy forward pass: largest difference {error:.1e}\n"
        f"wrote {out} ({size / 1e6:.1f} MB)"
    )


def _arrow(config: CMGConfig) -> str:
    return " -> ".join(map(str, (config.motion_dim + config.command_dim, *config.hidden_dims, config.motion_dim)))


def _table(rows: Sequence[_state_dict.Row]) -> str:
    lines = [("source", "shape", "target", "dtype")]
    lines += [(row.source, " x ".join(map(str, row.shape)), row.target, row.dtype) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    return "\n".join("  ".join([*map(str.ljust, line, widths), line[3]]) for line in lines)


if __name__ == "__main__":
    sys.exit(main())
