"""`cmg-jax data`: motion files in; one data set, a table of what became of each file, and a plot out."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from cmg_jax._errors import InputError
from cmg_jax._files import require_file_target
from cmg_jax.cli import assume as assume_options
from cmg_jax.cli import robot as robot_options
from cmg_jax.cli.program import beside_the_result, progress_bars, warn
from cmg_jax.data import _build, _dataset
from cmg_jax.data._build import Options, Row
from cmg_jax.data._dataset import LEFT, RIGHT, Dataset
from cmg_jax.motion_files import SUFFIXES, is_motion_file
from cmg_jax.robot import _feet
from cmg_jax.viz import _plot

PROGRAM = "cmg-jax data"
EPISODES_SHOWN = 5
"""Rows of a file of many episodes that the table shows, if nothing was dropped."""


def add_parser(subparsers: Any) -> None:
    defaults = Options()
    parser = subparsers.add_parser("data", help="make a data set of motion files")
    parser.add_argument(
        "sources", type=Path, nargs="+", metavar="SRC", help=f"files ({', '.join(SUFFIXES)}) or directories of them"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.npz", help="the data set")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="speeds; by default beside the data set")
    parser.add_argument("--fps", type=float, default=defaults.fps, help="frames per second of the data set")
    assume_options.add_arguments(parser)
    parser.add_argument(
        "--smoothing",
        type=float,
        default=defaults.smoothing,
        metavar="S",
        help="seconds over which the velocity of a recording is averaged to serve as its command",
    )
    parser.add_argument(
        "--commands",
        choices=("recorded", "walked"),
        default="walked",
        help="walked: recorded commands are replaced by the velocity that the feet walk at under each",
    )
    parser.add_argument(
        "--percentiles",
        type=float,
        nargs=2,
        default=defaults.percentiles,
        metavar=("LOW", "HIGH"),
        help="velocities of recordings beyond these percentiles are cut out; 0 100 keeps all",
    )
    parser.add_argument("--min-seconds", type=float, default=defaults.min_seconds, help="shorter pieces are dropped")
    robot_options.add_arguments(parser, "that the data set and its models are of")
    parser.set_defaults(function=_data)


def _data(arguments: argparse.Namespace) -> None:
    out: Path = arguments.out
    picture: Path = arguments.plot or out.with_suffix(".png")
    if out.suffix != ".npz":
        raise InputError(f"{out}: a data set is written as .npz")
    if arguments.plot:
        _plot.require_target("--plot", picture)
    elif picture.exists() and not out.exists():
        raise InputError(f"{picture}: exists, and is no plot of {out}; name another one with --plot")
    low, high = arguments.percentiles
    if not 0 <= low < high <= 100:
        raise InputError(f"--percentiles {low:g} {high:g}: they must rise from 0 to 100")
    files = list_files(arguments.sources)
    require_file_target(out, files)
    robot = robot_options.from_arguments(arguments)
    _feet.check(robot)
    _ = robot.mirror  # which says what is missing before any file is read
    options = Options(
        fps=arguments.fps,
        assume=assume_options.from_arguments(arguments, robot),
        smoothing=arguments.smoothing,
        measure_commands=arguments.commands == "walked",
        percentiles=(low, high),
        min_seconds=arguments.min_seconds,
    )
    with progress_bars() as progress:
        made, rows = _build.build(files, options, progress("files", len(files)))
    print(table(rows))
    for line in notes(rows):
        print(line)
    print(summary(made))
    _dataset.save(out, made)
    print(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)")
    with beside_the_result(PROGRAM, picture):
        _plot.plot_speeds(picture, made.command, made.seconds)
        print(f"wrote {picture}")


def list_files(sources: list[Path]) -> list[Path]:
    """The files named, and the motion files in the directories named, each once.

    Raises:
      InputError: one that does not exist, or a directory without motion files.
    """
    files: list[Path] = []
    for source in sources:
        if source.is_dir():
            found = sorted(path for path in source.rglob("*") if is_motion_file(path))
            if not found:
                raise InputError(f"{source}: holds no motion file ({', '.join(SUFFIXES)})")
            files += found
        elif source.is_file():
            files.append(source)
        else:
            raise InputError(f"{source}: no such file or directory")
    once = {path.resolve(): path for path in reversed(files)}
    repeated = len(files) - len(once)
    if repeated:
        warn(PROGRAM, f"{repeated} of the {len(files)} files are named twice, and read once")
    return list(reversed(once.values()))


def table(rows: list[Row]) -> str:
    """What became of each clip; of an untouched file of many episodes only the first rows."""
    lines, hidden = [("clip", "frames", "kept", "")], 0
    seen: dict[str, int] = {}
    for row in rows:
        group = row.name.split("[")[0]
        seen[group] = seen.get(group, 0) + 1
        if seen[group] > EPISODES_SHOWN and not row.reason:
            hidden += 1
            continue
        note = f"dropped: {row.reason}" if not row.kept else f"in part: {row.reason}" if row.reason else ""
        lines.append((row.name, str(row.frames), str(row.kept), note))
    width = max(len(line[0]) for line in lines)
    text = [f"{name:<{width}}  {frames:>7}  {kept:>7}  {note}".rstrip() for name, frames, kept, note in lines]
    return "\n".join([*text, f"and {hidden} more clips, kept whole"] if hidden else text)


def notes(rows: list[Row]) -> list[str]:
    """What was put right or taken for granted in reading, a line for all files alike."""
    files: dict[str, dict[str, None]] = {}
    for row in rows:
        for note in row.notes:
            files.setdefault(note, {})[row.name.split("[")[0]] = None
    lines = []
    for note, names in files.items():
        others = f" and {len(names) - 3} more" if len(names) > 3 else ""
        lines.append(f"{', '.join(list(names)[:3])}{others}: {note}")
    return lines


def summary(made: Dataset) -> str:
    low, high = made.command.min(axis=0), made.command.max(axis=0)
    standing = np.abs(made.command).max(axis=-1) < _build.STANDING_SPEED
    starts = [int((made.first_foot == foot).sum()) for foot in (LEFT, RIGHT)]
    return (
        f"{len(made.clip_names)} stretches, {len(made.motion)} frames, {made.seconds / 60:.1f} min "
        f"at {made.fps:g} fps; standing {100 * standing.mean():.0f} %\n"
        f"vx {low[0]:+.2f} .. {high[0]:+.2f} m/s, vy {low[1]:+.2f} .. {high[1]:+.2f} m/s, "
        f"yaw rate {low[2]:+.2f} .. {high[2]:+.2f} rad/s\n"
        f"starts from standing: {starts[0]} with the left foot, {starts[1]} with the right one"
    )
