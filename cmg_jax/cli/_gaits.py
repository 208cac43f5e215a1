"""`cmg-jax gaits`: makes a data set that answers every velocity from a few minutes of recorded clips."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cmg_jax._errors import InputError
from cmg_jax._files import require_file_target
from cmg_jax.cli import _assume, _options
from cmg_jax.cli._progress import progress_reports
from cmg_jax.data import _dataset, _sources
from cmg_jax.gaits import Options, _build, _report
from cmg_jax.motion_files import SUFFIXES
from cmg_jax.robot import _feet

PROGRAM = "cmg-jax gaits"
SUMMARY = "make a data set that answers every velocity from a few recorded clips"


def add_options(parser: Any) -> None:
    defaults = Options()
    parser.add_argument(
        "sources",
        type=Path,
        nargs="+",
        metavar="SRC",
        help=f"motion files with their root ({', '.join(SUFFIXES)}) or directories of them; the clips of one directory "
        "count as one person's, and of clips that show one motion the first is used",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.npz", help="data set to write (required)")
    parser.add_argument(
        "--fps", type=_options.rate, default=defaults.fps, metavar="F", help="rate of the data set in frames per second"
    )
    parser.add_argument(
        "--changes",
        type=_options.count,
        default=defaults.changes,
        metavar="N",
        help="number of clips of half a minute in which the velocity changes",
    )
    _options.add_seed(parser, "the velocities of these clips", defaults.seed)
    _assume.add_options(parser)
    _options.add_robot(parser, "of the clips")
    parser.set_defaults(run=run)


def run(
    *,
    sources: Sequence[Path],
    out: Path,
    fps: float,
    changes: int,
    seed: int,
    csv_fps: float | None,
    joint_names: str | None,
    assume: Sequence[str],
    robot: Path | None,
    feet: Sequence[str] | None,
    mirror: Sequence[str] | None,
) -> None:
    if out.suffix != ".npz":
        raise InputError(f"{out}: a data set is written as .npz")
    files = _sources.list_files(sources)
    require_file_target(out, files)
    chosen = _options.robot(robot, feet, mirror)
    _feet.check(chosen)
    _ = chosen.mirror  # raises here, before any file is read
    options = Options(fps, _assume.from_options(assume, csv_fps, joint_names, chosen), seed, changes)
    with progress_reports(PROGRAM) as progress:
        made = _build.build(files, options, progress("files", len(files)))
    print(_report.text(made))
    _dataset.save(out, made.dataset)
    print(f"wrote {out} ({made.dataset.seconds / 60:.1f} min, {out.stat().st_size / 1e6:.1f} MB)")
