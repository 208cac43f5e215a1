"""`cmg-convert`: a PyTorch CMG checkpoint becomes a cmg_jax model directory."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from cmg_jax._errors import InputError
from cmg_jax.cli import robot as robot_options
from cmg_jax.cli.program import Parser, run
from cmg_jax.model import _checkpoint
from cmg_jax.model._model import CMGConfig
from converters import _joint_names, _state_dict, check, load_model

PROGRAM = "cmg-convert"


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    return run(PROGRAM, lambda: _convert(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=PROGRAM, description="Convert a PyTorch CMG checkpoint into a cmg_jax model directory.")
    parser.add_argument(
        "source", type=Path, metavar="SRC.pt", help="cmg_best.pt, cmg_ckpt_N.pt, cmg_final.pt, or .safetensors"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="model directory to write")
    parser.add_argument(
        "--stats",
        type=Path,
        metavar="FILE",
        help="cmg_training_data.pt (also gives a pool of initial frames), cmg_stats.yaml, or a checkpoint with stats",
    )
    parser.add_argument(
        "--weights", metavar="NAME", help="which weights, where the file has several: ema_model, say, or model.student"
    )
    parser.add_argument(
        "--joint-names",
        metavar="NAMES",
        help="names of the model's joints in its order, separated by commas, or a file of them; needed where neither "
        "the checkpoint nor the data set names them and they are not the G1's 29",
    )
    robot_options.add_arguments(parser, "that the model is of")
    parser.add_argument("--fps", type=float, default=50.0, help="frames per second of the model (default 50)")
    parser.add_argument("--description", default="", metavar="TEXT", help="a line for the model's card")
    parser.add_argument("--force", action="store_true", help="replace DIR if it exists")
    return parser


def _convert(arguments: argparse.Namespace) -> None:
    if not (math.isfinite(arguments.fps) and arguments.fps > 0):
        raise InputError(f"--fps {arguments.fps} is not a positive number of frames per second")
    _checkpoint.check_target(arguments.out, overwrite=arguments.force)
    model, rows, tensors = load_model(
        arguments.source,
        arguments.stats,
        fps=arguments.fps,
        description=arguments.description,
        weights=arguments.weights,
        names=None if arguments.joint_names is None else _joint_names.parse(arguments.joint_names),
        robot=robot_options.from_arguments(arguments),
    )
    print(_table(rows))
    error = check(model, tensors)
    _checkpoint.save(model, arguments.out, overwrite=arguments.force)

    config, pool = model.config, model.initial_motion
    size = sum(path.stat().st_size for path in arguments.out.rglob("*") if path.is_file())
    print(
        f"\n{config.num_experts} experts, layers {_arrow(config)}, "
        f"{sum(leaf.size for leaf in jax.tree.leaves(model.params)):,} parameters, {config.fps:g} fps, "
        f"{0 if pool is None else len(pool)} initial frames\n"
        f"joints: {dict(config.provenance)['joints']}\n"
        f"independent NumPy forward pass: largest difference {error:.1e}\n"
        f"wrote {arguments.out} ({size / 1e6:.1f} MB)"
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
