"""`cmg-jax evaluate`: measures how well a model's motion, or that of recordings, obeys its commands."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cmg_jax import evaluation
from cmg_jax._errors import InputError
from cmg_jax._files import atomic_path, require_file_target, require_parent
from cmg_jax.cli import _library, _options
from cmg_jax.cli._program import beside_the_result
from cmg_jax.cli._progress import progress_reports
from cmg_jax.data import _dataset
from cmg_jax.viz import _evaluation_page, _plot

PROGRAM = "cmg-jax evaluate"
SUMMARY = "measure how well a model's motion obeys its commands"


def add_options(parser: Any) -> None:
    defaults = evaluation.Settings()
    _library.add_options(parser)
    _options.add_grid(parser)
    _options.add_seconds(parser, "duration of the motion under each command", 10.0)
    parser.add_argument(
        "--ramp-seconds",
        type=_options.time,
        default=defaults.ramp_seconds,
        metavar="S",
        help="time in seconds in which each command rises from zero",
    )
    parser.add_argument(
        "--drift-seconds",
        type=_options.duration,
        default=200.0,
        metavar="S",
        help="duration in seconds of the long run that drift is measured in; at least four times --seconds are run",
    )
    _options.add_seed(parser, "the changing commands", defaults.seed)
    parser.add_argument(
        "--data", type=Path, metavar="FILE.npz", help="the model's data set, whose figures are shown beside its own"
    )
    parser.add_argument(
        "--compare",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="directories of reports of other models, whose gaits are shown beside this one",
    )
    parser.add_argument("--report", type=Path, metavar="DIR", help="directory for report.json and report.png")
    parser.set_defaults(run=run)


def run(
    *,
    model: Path | None,
    library: Sequence[Path] | None,
    grid: Sequence[Sequence[float]] | None,
    seconds: float,
    ramp_seconds: float,
    drift_seconds: float,
    seed: int,
    data: Path | None,
    compare: Sequence[Path],
    report: Path | None,
) -> None:
    compared = {str(directory): read_report(directory) for directory in compare}
    if report is not None:
        check_report_directory(report)
    loaded, title = _library.load(model, library)
    dataset = _dataset.load(data) if data else None
    frames, drift_frames = (round(duration * loaded.config.fps) for duration in (seconds, drift_seconds))
    settings = evaluation.Settings(frames, ramp_seconds=ramp_seconds, num_drift_frames=drift_frames, seed=seed)
    with progress_reports(PROGRAM) as progress:
        advance = progress("stages", len(evaluation.STAGES))
        begun = 0

        def begin(_: str) -> None:  # called before each stage
            nonlocal begun
            advance(int(begun > 0))
            begun += 1

        found = evaluation.evaluate(loaded, grid=grid, settings=settings, data=dataset, progress=begin)
    print(evaluation.report_text(found, compared))
    if report is not None:
        report.mkdir(exist_ok=True)
        with atomic_path(report / "report.json") as partial:
            partial.write_text(evaluation.report_json(found))
        print(f"wrote {report / 'report.json'}")
        with beside_the_result(PROGRAM, report / "report.png"):
            _evaluation_page.plot_evaluation(report / "report.png", found, title, compared)
            print(f"wrote {report / 'report.png'}")


def read_report(directory: Path) -> dict[str, Any]:
    """The report in a directory that `--report` wrote.

    Raises:
      InputError: there is none.
    """
    path = directory / "report.json"
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{directory} has no report.json; make it with {PROGRAM} --report {directory}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if not _is_report(content):
        raise InputError(f"{path} is not a report of {PROGRAM}")
    return content


def check_report_directory(directory: Path) -> None:
    """Raise InputError unless a report may be written there: it may replace only another report of ours."""
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory} is not a directory")
    require_parent(directory)
    _plot.require_matplotlib()
    names = [name for name in ("report.json", "report.png") if (directory / name).exists()]
    try:
        ours = not names or _is_report(json.loads((directory / "report.json").read_text()))
    except (OSError, ValueError, RecursionError):
        ours = False
    if not ours:
        raise InputError(
            f"{directory} holds a {names[0]} that is not a report of cmg-jax evaluate; choose another directory"
        )
    for name in names:
        require_file_target(directory / name)


def _is_report(content: Any) -> bool:
    return isinstance(content, dict) and {"tracking", "start_stop", "switching"} <= set(content)
