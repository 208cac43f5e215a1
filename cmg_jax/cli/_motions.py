"""`cmg-jax motions`: writes a folder of motions over a grid of commands, an index and a contact sheet."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cmg_jax import motion_files
from cmg_jax._errors import InputError
from cmg_jax._files import atomic_directory, require_parent
from cmg_jax.cli import _options
from cmg_jax.cli._program import beside_the_result, warn_beyond_range
from cmg_jax.cli._progress import progress_reports
from cmg_jax.commands import _sampler
from cmg_jax.evaluation import _measure, _motion_set
from cmg_jax.model import _checkpoint
from cmg_jax.motion_files._motion import choose_root
from cmg_jax.robot._g1 import is_g1, robot_of_size
from cmg_jax.viz import _contact_sheet, _plot, _render

PROGRAM = "cmg-jax motions"
SUMMARY = "write a folder of motion files over a grid of commands"
SHEET = "contact_sheet.png"
MAX_FRAMES = 20_000_000
"""Largest number of frames of all motions, which are kept in memory: 5 GB."""


def add_options(parser: Any) -> None:
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="directory to create, which must not exist (required)"
    )
    _options.add_model(parser)
    parser.add_argument(
        "--format", choices=tuple(motion_files.FORMATS), default="npz", help="format of the motion files"
    )
    _options.add_grid(parser)
    parser.add_argument(
        "--per-command",
        type=_options.count,
        default=1,
        metavar="N",
        help="number of motions under each command, each from its own first frame",
    )
    _options.add_seconds(parser, "duration of each motion", 10.0)
    parser.add_argument(
        "--standing", action="store_true", help="start from standing (default: from frames of the model's pool)"
    )
    _options.add_seed(parser, "the first frames")
    _options.add_root_and_joints(parser)
    parser.set_defaults(run=run)


def run(
    *,
    out: Path,
    model: Path | None,
    format: str,
    grid: Sequence[Sequence[float]] | None,
    per_command: int,
    seconds: float,
    standing: bool,
    seed: int,
    root: str | None,
    joints: int | None,
) -> None:
    if out.exists():
        raise InputError(f"--out {out}: exists; choose another directory")
    require_parent(out)
    shortest = _motion_set.SETTLE_SECONDS + _measure.STRIDE_SECONDS
    if seconds < shortest:
        raise InputError(f"--seconds {seconds:g}: at least {shortest:g} are needed to measure a motion")
    _render.choose_gl()
    _plot.require_matplotlib()
    loaded = _checkpoint.load(_options.model_path(model))
    fps = loaded.config.fps
    loaded.config.check_walks("a set of motions")
    root = choose_root(loaded.config, root)
    if joints and not is_g1(loaded.config.robot):
        raise InputError(f"--joints {joints}: selects joints of the G1; this is another robot")
    held = _measure.default_grid(loaded) if grid is None else np.asarray(grid, np.float32)
    number = len(held) * per_command
    if number * seconds * fps > MAX_FRAMES:
        raise InputError(f"{number} motions of {seconds:g} s are more than {MAX_FRAMES:,} frames; ask for fewer")
    commands = np.repeat(held, per_command, axis=0)
    steps = round(seconds * fps)
    warn_beyond_range(PROGRAM, _sampler.trained_range(loaded), commands)
    with progress_reports(PROGRAM) as progress:
        advance = progress("motions", number)
        trajectories = _motion_set.generate(loaded, commands, steps, seed=seed, standing=standing)
        with atomic_directory(out) as partial:
            partial.mkdir()
            rows, kept = _motion_set.write(
                partial,
                loaded,
                trajectories,
                commands,
                per_command=per_command,
                format=format,
                root=root,
                robot=robot_of_size(joints) if joints else None,
                keep=_contact_sheet.choose(number),
                progress=advance,
            )
        with beside_the_result(PROGRAM, out / SHEET):
            pictures = progress("pictures", _contact_sheet.num_pictures(len(kept)))
            entries = [_contact_sheet.SheetEntry(motion, velocity) for motion, velocity in kept]
            drawn_by = _contact_sheet.draw_contact_sheet(out / SHEET, entries, progress=pictures)
            print(f"wrote {out / SHEET} (drawn by {drawn_by})")
    vx, vy, yaw = _motion_set.tracking_error(rows)
    size = sum(path.stat().st_size for path in out.iterdir())
    print(
        f"{len(rows)} motions of {steps + 1} frames at {fps:g} fps, {len(held)} commands; "
        f"walked velocity against the command (RMSE): vx {vx:.3f} m/s, vy {vy:.3f} m/s, yaw {yaw:.3f} rad/s\n"
        f"wrote {out}: {_motion_set.INDEX} and {len(rows)} files {format} ({size / 1e6:.1f} MB)"
    )
