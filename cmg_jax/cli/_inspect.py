"""`cmg-jax inspect`: reports what a motion file holds, and checks whether its content agrees with what it declares."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cmg_jax.cli import _assume, _options
from cmg_jax.cli._program import beside_the_result
from cmg_jax.motion_files import SUFFIXES, _inspection, _inspection_text
from cmg_jax.motion_files._check import ASK, WRONG
from cmg_jax.viz import _inspection_page, _plot

PROGRAM = "cmg-jax inspect"
SUMMARY = "report what a motion file holds and check it; the exit code is 1 if a check fails or is left open"


def add_options(parser: Any) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help=f"motion file ({', '.join(SUFFIXES)})")
    _assume.add_options(parser)
    _options.add_robot(parser, "of the motion")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="picture of joints, path and velocity of the first clip"
    )
    parser.set_defaults(run=run)


def run(
    *,
    file: Path,
    plot: Path | None,
    csv_fps: float | None,
    joint_names: str | None,
    assume: Sequence[str],
    robot: Path | None,
    feet: Sequence[str] | None,
    mirror: Sequence[str] | None,
) -> int:
    if plot is not None:
        _plot.require_target("--plot", plot)
    assumed = _assume.from_options(assume, csv_fps, joint_names, _options.robot(robot, feet, mirror))
    found = _inspection.inspect(file, assumed)
    print(_inspection_text.text(file, found))
    if plot is not None:
        with beside_the_result(PROGRAM, plot):
            _inspection_page.plot_clip(plot, found.clips[0], found.checks, str(file))
            print(f"wrote {plot}")
    return int(any(check.verdict in (WRONG, ASK) for check in found.checks))
