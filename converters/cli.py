"""`cmg-convert`: a PyTorch CMG checkpoint becomes a cmg_jax model directory."""

import contextlib
import hashlib
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.cli import _options
from cmg_jax.cli._program import Parser, run
from cmg_jax.model import _checkpoint
from cmg_jax.model._model import CMGConfig, CMGModel, apply_normalized
from cmg_jax.model._normalization import MotionStats
from cmg_jax.robot import G1, Robot
from cmg_jax.robot._g1 import robot_of
from converters import joint_names, reference, source, state_dict, stats
from converters.joint_names import parse as parse_joint_names

PROGRAM = "cmg-convert"
CHECK_TOLERANCE = 1e-4


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
        help="weights to take of several, as ema_model or model.student (default: the only ones)",
    )
    made.add_argument(
        "--joint-names",
        metavar="NAMES",
        help="names of the model's joints in its order, separated by commas, or a file of names (default: those that "
        "the checkpoint or the data set name, else the G1's 29)",
    )
    _options.add_robot(made, "that the model is of")
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
    _checkpoint.check_target(out, overwrite=force)
    names = None if joint_names is None else parse_joint_names(joint_names)
    chosen = _options.robot(robot, feet, mirror)
    model, rows, tensors = load_model(source, stats, fps, description, weights=weights, names=names, robot=chosen)
    print(_table(rows))
    error = check(model, tensors)
    _checkpoint.save(model, out, overwrite=force)

    config, pool = model.config, model.initial_motion
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(
        f"\n{config.num_experts} experts, layers {_arrow(config)}, "
        f"{sum(leaf.size for leaf in jax.tree.leaves(model.params)):,} parameters, {config.fps:g} fps, "
        f"{0 if pool is None else len(pool)} initial frames\n"
        f"joints: {dict(config.provenance)['joints']}\n"
        f"independent NumPy forward pass: largest difference {error:.1e}\n"
        f"wrote {out} ({size / 1e6:.1f} MB)"
    )


def load_model(
    path: Path,
    stats_file: Path | None = None,
    fps: float = 50.0,
    description: str = "",
    *,
    weights: str | None = None,
    names: Sequence[str] | None = None,
    robot: Robot = G1,
) -> tuple[CMGModel, tuple[state_dict.Row, ...], dict[str, np.ndarray]]:
    """The model in a PyTorch file, the conversion table, and the state_dict's arrays for `check`.

    Args:
      path: the checkpoint.
      stats_file: where the stats are, if not in the checkpoint; a data set also gives the pool of first frames.
      fps: frames per second of the model.
      description: a line for its card.
      weights: which weights, where the file has several.
      names: its joints, in its order; by default those that the files name, or all of `robot`.
      robot: the robot that the model is of.

    Raises:
      InputError: a file cannot be used; the message names it.
    """
    content = source.load(path)
    with _naming(path):
        where, tensors = state_dict.find(content, weights)
        converted = state_dict.convert(tensors)
        raw = stats.find(content)
        found = None if raw is None else stats.parse(raw, converted.motion_dim, converted.command_dim)
    data = None
    if stats_file is not None:
        data = stats.read(stats_file)
        with _naming(stats_file):
            raw = stats.find(data)
            if raw is None:
                raise InputError("holds no stats")
            given = stats.parse(raw, converted.motion_dim, converted.command_dim)
        if found is not None and not stats.same(found, given):
            raise InputError(
                f"{stats_file}: its stats are not those that {path} carries; "
                "leave --stats out, or give the data set that this model was trained on"
            )
        found = found or given
    if found is None:
        raise InputError(f"{path}: holds no stats; pass cmg_training_data.pt or cmg_stats.yaml as --stats")
    pool = None
    if stats_file is not None and isinstance(data, dict) and "samples" in data:
        with _naming(stats_file):
            pool = jnp.asarray(stats.initial_motions(data["samples"], converted.motion_dim))
    with _naming(path):
        names, origin = joint_names.choose(converted.motion_dim // 2, names, content, data, robot=robot)

    provenance = {
        "source": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "weights": f"{where or 'the file itself'}, {', '.join(sorted({row.dtype for row in converted.rows}))}",
        "joints": origin,
        **({"stats": stats_file.name} if stats_file else {}),
        **({"description": description} if description else {}),
    }
    config = CMGConfig(
        motion_dim=converted.motion_dim,
        command_dim=converted.command_dim,
        num_experts=converted.num_experts,
        gate_dims=converted.gate_dims,
        hidden_dims=converted.hidden_dims,
        robot=robot_of(tuple(names), robot),
        fps=fps,
        provenance=tuple(provenance.items()),
    )
    params = jax.tree.map(jnp.asarray, converted.params)
    model = CMGModel(params, MotionStats(**{name: jnp.asarray(found[name]) for name in stats.FIELDS}), pool, config)
    return model, converted.rows, converted.tensors


def check(model: CMGModel, tensors: dict[str, np.ndarray]) -> float:
    """Largest difference between the model and the NumPy formula on the PyTorch arrays, relative to its output.

    Raises:
      InputError: it is larger than 1e-4: the conversion is wrong.
    """
    random = np.random.default_rng(0)
    motion = random.normal(size=(16, model.config.motion_dim)).astype(np.float32)
    command = random.uniform(-1, 1, size=(16, model.config.command_dim)).astype(np.float32)
    expected = reference.forward(tensors, motion, command)
    with jax.default_matmul_precision("highest"):  # a GPU's default may round products to 10 bits
        output = apply_normalized(model, jnp.asarray(motion), jnp.asarray(command))
    difference = np.abs(np.asarray(output) - expected)
    error = float(difference.max() / max(1.0, np.abs(expected).max()))
    if not error <= CHECK_TOLERANCE:
        raise InputError(f"the converted model differs from the checkpoint by {error:.1e}; please report this file")
    return error


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Puts the file's name before the complaint of what is inside it."""
    try:
        yield
    except InputError as error:
        raise error if str(error).startswith(str(path)) else InputError(f"{path}: {error}") from error


def _arrow(config: CMGConfig) -> str:
    return " -> ".join(map(str, (config.motion_dim + config.command_dim, *config.hidden_dims, config.motion_dim)))


def _table(rows: Sequence[state_dict.Row]) -> str:
    lines = [("source", "shape", "target", "dtype")]
    lines += [(row.source, " x ".join(map(str, row.shape)), row.target, row.dtype) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    return "\n".join("  ".join([*map(str.ljust, line, widths), line[3]]) for line in lines)


if __name__ == "__main__":
    sys.exit(main())
