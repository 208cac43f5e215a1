"""`cmg-jax evaluate`: what a model's motion is like, on screen, as JSON and as a page of plots."""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

from cmg_jax import evaluation
from cmg_jax._errors import InputError
from cmg_jax._files import atomic_path, require_file_target, require_parent
from cmg_jax.cli.program import beside_the_result, progress_bars
from cmg_jax.data import _dataset
from cmg_jax.model import _checkpoint
from cmg_jax.viz import _evaluation_page, _plot

PROGRAM = "cmg-jax evaluate"


def add_parser(subparsers: Any) -> None:
    defaults = evaluation.Settings()
    parser = subparsers.add_parser("evaluate", help="measure how a model obeys its commands")
    parser.add_argument(
        "model", type=Path, nargs="?", metavar="MODEL", help="model directory; the bundled model by default"
    )
    parser.add_argument(
        "--grid",
        metavar="VX:VY:YAW",
        help="values separated by commas for each: --grid=-0.3,0,0.9:0:-0.6,0,0.6",
    )
    parser.add_argument("--frames", type=int, default=defaults.num_frames, help="generated for every command")
    parser.add_argument("--drift-frames", type=int, default=defaults.num_drift_frames, help="of the long run")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of the changing commands")
    parser.add_argument("--data", type=Path, metavar="FILE.npz", help="its data set, to compare its motion with")
    parser.add_argument("--report", type=Path, metavar="DIR", help="write report.json and report.png there")
    parser.set_defaults(function=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> None:
    directory: Path | None = arguments.report
    if directory is not None:
        check_report_directory(directory)
    path = arguments.model or _checkpoint.default_model_path()
    model = _checkpoint.load(path)
    data = _dataset.load(arguments.data) if arguments.data else None
    grid = parse_grid(arguments.grid) if arguments.grid else evaluation.DEFAULT_GRID
    settings = evaluation.Settings(
        num_frames=arguments.frames, num_drift_frames=arguments.drift_frames, seed=arguments.seed
    )
    with progress_bars() as progress:
        advance = progress("evaluate", len(evaluation.STAGES))
        report = evaluation.evaluate(model, grid=grid, settings=settings, data=data, progress=lambda _: advance(1))
    print(evaluation.report_text(report))
    if directory is not None:
        directory.mkdir(exist_ok=True)
        with atomic_path(directory / "report.json") as partial:
            partial.write_text(evaluation.report_json(report))
        print(f"wrote {directory / 'report.json'}")
        with beside_the_result(PROGRAM, directory / "report.png"):
            _evaluation_page.plot_evaluation(directory / "report.png", report, str(path))
            print(f"wrote {directory / 'report.png'}")


def check_report_directory(directory: Path) -> None:
    """Raise InputError unless a report may be written there: what it replaces must be a report of ours."""
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory} is not a directory")
    require_parent(directory)
    _plot.require_matplotlib()
    names = [name for name in ("report.json", "report.png") if (directory / name).exists()]
    try:
        content = json.loads((directory / "report.json").read_text()) if names else None
        ours = content is None or {"tracking", "start_stop", "gate"} <= set(content)
    except (OSError, ValueError, TypeError, RecursionError):
        ours = False
    if not ours:
        raise InputError(
            f"{directory} holds a {names[0]} that is no report of cmg-jax evaluate; choose another directory"
        )
    for name in names:
        require_file_target(directory / name)


def parse_grid(grid: str) -> list[tuple[float, ...]]:
    """The commands of `VX:VY:YAW`, three lists of numbers.

    Raises:
      InputError: something that is not a finite number, or not three lists.
    """
    columns = []
    if grid.count(":") != 2:
        raise InputError(f"--grid {grid}: three lists of numbers are needed, as in --grid=-0.3,0,0.9:0:-0.6,0,0.6")
    for column in grid.split(":"):
        try:
            numbers = [float(number) for number in column.split(",")]
        except ValueError:
            raise InputError(f"--grid {column}: numbers separated by commas are needed") from None
        if not np.isfinite(numbers).all():
            raise InputError(f"--grid {column}: not finite")
        columns.append(numbers)
    return list(itertools.product(*columns))
