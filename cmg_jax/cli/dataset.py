"""`cmg-jax dataset`: a folder of motions over a grid of commands, an index of them, and a picture of all."""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax import _rollout, motion_files
from cmg_jax._errors import InputError
from cmg_jax._files import atomic_directory, require_parent
from cmg_jax.cli.evaluate import parse_grid
from cmg_jax.cli.program import Progress, beside_the_result, progress_bars, warn_beyond_range
from cmg_jax.commands import _sampler
from cmg_jax.evaluation import _measure, _quality
from cmg_jax.generators._base import first_frames, standing_frame
from cmg_jax.model import _checkpoint
from cmg_jax.model._model import CMGModel
from cmg_jax.motion_files import Motion
from cmg_jax.robot._g1 import is_g1, robot_of_size
from cmg_jax.viz import _contact_sheet, _plot, _render

PROGRAM = "cmg-jax dataset"
INDEX, SHEET = "index.csv", "contact_sheet.png"
SETTLE_SECONDS = 1.0
"""Left out of the walked velocity: a motion needs a step to get under way."""

MAX_FRAMES = 20_000_000
"""Of all motions, which are kept in memory: 5 GB."""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("dataset", help="write a folder of motions over a grid of commands")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory to create; must not exist")
    parser.add_argument("--model", type=Path, metavar="DIR", help="model directory; the bundled model by default")
    parser.add_argument("--format", choices=tuple(motion_files.FORMATS), default="npz", help="of the motions")
    parser.add_argument(
        "--grid",
        metavar="VX:VY:YAW",
        help="values separated by commas for each: --grid=-0.3,0,0.9:0:-0.6,0,0.6 (default: the grid of evaluate)",
    )
    parser.add_argument("--motions", type=int, default=1, metavar="N", help="for each command (default 1)")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="of each motion (default 10)")
    parser.add_argument("--standing", action="store_true", help="start from standing, not from the model's pool")
    parser.add_argument("--seed", type=int, default=0, metavar="K", help="draws the first frames (default 0)")
    parser.add_argument("--root", choices=motion_files.ROOTS, default="command", help="as of cmg-jax generate")
    parser.add_argument("--joints", type=int, choices=(29, 23), help="to write (default: the model's)")
    parser.set_defaults(function=_dataset)


def _dataset(arguments: argparse.Namespace) -> None:
    out: Path = arguments.out
    if out.exists():
        raise InputError(f"--out {out}: exists; choose another directory")
    require_parent(out)
    _render.choose_gl()
    _plot.require_matplotlib()
    model = _checkpoint.load(arguments.model or _checkpoint.default_model_path())
    model.config.check_walks("a dataset")
    if arguments.joints and not is_g1(model.config.robot):
        raise InputError(f"--joints {arguments.joints}: says how many joints of the G1 to write; this is another robot")
    grid = parse_grid(arguments.grid) if arguments.grid else _measure.DEFAULT_GRID
    commands = np.repeat(np.asarray(grid, np.float32), max(arguments.motions, 0), axis=0)
    steps = _steps(arguments, len(commands), model.config.fps)
    warn_beyond_range(PROGRAM, _sampler.trained_range(model), commands)
    with progress_bars() as progress:
        trajectory = generate(model, commands, steps, arguments.seed, arguments.standing)
        with atomic_directory(out) as partial:
            partial.mkdir()
            rows, shown = _write(partial, model, trajectory, commands, arguments, progress)
            write_index(partial / INDEX, rows)
        with beside_the_result(PROGRAM, out / SHEET):
            pictures = progress("pictures", _contact_sheet.num_pictures(len(shown)))
            drawn_by = _contact_sheet.draw_contact_sheet(out / SHEET, shown, progress=pictures)
            print(f"wrote {out / SHEET} (drawn by {drawn_by})")
    error = np.array([[row[f"walked_{part}"] - row[part] for part in _measure.COMPONENTS] for row in rows])
    vx, vy, yaw = np.sqrt(np.square(error).mean(axis=0))
    size = sum(path.stat().st_size for path in out.iterdir())
    print(
        f"{len(rows)} motions of {steps + 1} frames at {model.config.fps:g} fps, {len(grid)} commands; "
        f"walked velocity against the command (RMSE): vx {vx:.3f} m/s, vy {vy:.3f} m/s, yaw {yaw:.3f} rad/s\n"
        f"wrote {out}: {INDEX} and {len(rows)} files "
        f"{arguments.format} ({size / 1e6:.1f} MB)"
    )


def _steps(arguments: argparse.Namespace, motions: int, fps: float) -> int:
    """Frames of each motion after the first."""
    if arguments.motions < 1:
        raise InputError(f"--motions {arguments.motions}: at least one for each command is needed")
    if not 0 <= arguments.seed < 2**32:
        raise InputError(f"--seed {arguments.seed}: a seed is a number from 0 to {2**32 - 1}")
    shortest = SETTLE_SECONDS + _measure.STRIDE_SECONDS
    if not shortest <= arguments.seconds < np.inf:
        raise InputError(f"--seconds {arguments.seconds:g}: at least {shortest:g} are needed to measure a motion")
    if motions * arguments.seconds * fps > MAX_FRAMES:
        raise InputError(
            f"{motions} motions of {arguments.seconds:g} s are more than {MAX_FRAMES:,} frames; ask for fewer"
        )
    return round(arguments.seconds * fps)


def generate(model: CMGModel, commands: np.ndarray, steps: int, seed: int, standing: bool) -> np.ndarray:
    """Trajectories [N, steps + 1, D] of commands [N, 3] held, each from a frame of its own or all standing."""
    if standing:
        first = jnp.broadcast_to(standing_frame(model), (len(commands), model.config.motion_dim))
    else:
        first = first_frames(model, jax.random.key(seed), len(commands))
    held = np.repeat(commands[:, None], steps, axis=1)
    return np.asarray(jax.jit(_rollout.generate)(model, first, held))


def _write(
    directory: Path,
    model: CMGModel,
    trajectory: np.ndarray,
    commands: np.ndarray,
    arguments: argparse.Namespace,
    progress: Progress,
) -> tuple[list[dict[str, Any]], list[_contact_sheet.SheetEntry]]:
    """The motions as files; their rows of the index, and those that the picture shows."""
    config = model.config
    advance, rows, shown = progress("motions", len(commands)), [], []
    pictured = set(_contact_sheet.choose(len(commands)))
    settle = round(SETTLE_SECONDS * config.fps)
    for index, (frames, command) in enumerate(zip(trajectory, commands, strict=True)):
        held = np.broadcast_to(command, (len(frames) - 1, 3))
        motion: Motion = motion_files.of_trajectory(config, frames, held, arguments.root)
        velocity = _measure.measured_velocity(model, frames)[settle:].mean(axis=0)
        number = index % arguments.motions
        name = "vx{:+.2f}_vy{:+.2f}_yaw{:+.2f}".format(*command) + (f"_{number}" if arguments.motions > 1 else "")
        file = f"{index:04d}_{name}{motion_files.FORMATS[arguments.format].suffix}"
        written = motion.with_joints(robot_of_size(arguments.joints).joint_names) if arguments.joints else motion
        motion_files.write(directory / file, written, arguments.format, bodies=True)
        row = {"file": file, "frames": len(frames), "fps": config.fps}
        for prefix, values in (("", command), ("walked_", velocity)):
            row |= {prefix + part: round(float(v), 4) for part, v in zip(_measure.COMPONENTS, values, strict=True)}
        quality = _quality.quality(frames[None], config.robot, config.fps)
        row |= {key: float(f"{value:.4g}") for key, value in quality.items()}
        rows.append(row)
        if index in pictured:
            shown.append(_contact_sheet.SheetEntry(motion, velocity))
        advance(1)
    return rows, shown


def write_index(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """A line for each motion under a line of names."""
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
