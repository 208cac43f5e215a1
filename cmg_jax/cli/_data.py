"""`cmg-jax data`: makes one data set from motion files, with a table of what was kept of each file, and a plot."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cmg_jax._errors import InputError
from cmg_jax._files import require_file_target
from cmg_jax.cli import _assume, _options
from cmg_jax.cli._program import beside_the_result
from cmg_jax.cli._progress import progress_reports
from cmg_jax.data import _build, _dataset, _report, _sources
from cmg_jax.data._prepared import HUMAN_STRIDE, POLICY_STRIDE, ROOTS, Options
from cmg_jax.motion_files import SUFFIXES
from cmg_jax.robot import _feet
from cmg_jax.viz import _plot

PROGRAM = "cmg-jax data"
SUMMARY = "make a training data set from motion files"


def add_options(parser: Any) -> None:
    defaults = Options()
    parser.add_argument(
        "sources",
        type=Path,
        nargs="+",
        metavar="SRC",
        help=f"motion files ({', '.join(SUFFIXES)}) or directories of them",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.npz", help="data set to write (required)")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="picture of the speeds (default: beside the data set)"
    )
    parser.add_argument(
        "--fps", type=_options.rate, default=defaults.fps, metavar="F", help="rate of the data set in frames per second"
    )
    _assume.add_options(parser)
    parser.add_argument(
        "--root",
        choices=ROOTS,
        default=defaults.root,
        help="height, lean and velocity of the root in each frame; auto: kept if every clip has a recorded root",
    )
    parser.add_argument(
        "--smoothing-seconds",
        type=float,
        metavar="S",
        help="time in seconds over which the velocity of a recording, and the heading in which it is seen, are "
        f"averaged to serve as its command: a stride (default: {HUMAN_STRIDE:g}, under recorded commands "
        f"{POLICY_STRIDE:g})",
    )
    parser.add_argument(
        "--commands",
        choices=("recorded", "walked"),
        default="walked",
        help="walked: recorded commands are replaced by the velocity that the root, or without one the feet, walk at "
        "under each of them",
    )
    parser.add_argument(
        "--percentiles",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="cut out frames whose velocity is outside these percentiles, in percent, which are the fastest ones "
        "(default: keep all)",
    )
    parser.add_argument(
        "--min-seconds",
        type=float,
        default=defaults.min_seconds,
        metavar="S",
        help="pieces shorter than this duration in seconds are dropped",
    )
    _options.add_robot(parser, "of the data set and its models")
    parser.set_defaults(run=run)


def run(
    *,
    sources: Sequence[Path],
    out: Path,
    plot: Path | None,
    fps: float,
    csv_fps: float | None,
    joint_names: str | None,
    assume: Sequence[str],
    root: str,
    smoothing_seconds: float | None,
    commands: str,
    percentiles: Sequence[float] | None,
    min_seconds: float,
    robot: Path | None,
    feet: Sequence[str] | None,
    mirror: Sequence[str] | None,
) -> None:
    picture = plot or out.with_suffix(".png")
    if out.suffix != ".npz":
        raise InputError(f"{out}: a data set is written as .npz")
    if plot:
        _plot.require_target("--plot", picture)
    elif picture.exists() and not out.exists():
        raise InputError(f"{picture}: exists, and is no plot of {out}; name another one with --plot")
    low, high = percentiles or (0.0, 100.0)
    if not 0 <= low < high <= 100:
        raise InputError(f"--percentiles {low:g} {high:g}: they must rise from 0 to 100")
    files = _sources.list_files(sources)
    require_file_target(out, files)
    chosen = _options.robot(robot, feet, mirror)
    _feet.check(chosen)
    _ = chosen.mirror  # raises here, before any file is read
    options = Options(
        fps=fps,
        assume=_assume.from_options(assume, csv_fps, joint_names, chosen),
        root=root,
        smoothing=smoothing_seconds,
        measure_commands=commands == "walked",
        percentiles=(low, high) if percentiles else None,
        min_seconds=min_seconds,
    )
    with progress_reports(PROGRAM) as progress:
        made, rows = _build.build(files, options, progress("files", len(files)))
    print(_report.table(rows, made.fps))
    for line in _report.notes(rows):
        print(line)
    print(_report.summary(made))
    _dataset.save(out, made)
    print(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)")
    with beside_the_result(PROGRAM, picture):
        _plot.plot_commands(picture, made.command, made.seconds)
        print(f"wrote {picture}")
