"""Options that state facts about motion files."""

from collections.abc import Sequence
from typing import Any

from cmg_jax._errors import InputError
from cmg_jax.cli import _options
from cmg_jax.motion_files import Assume
from cmg_jax.motion_files._assume import CHOICES
from cmg_jax.motion_files._clips import check_fps
from cmg_jax.robot import G1, Robot
from cmg_jax.robot._g1 import ROBOTS

KEYS = "; ".join(f"{field.replace('_', '-')}={'|'.join(values)}" for field, values in CHOICES.items())


def add_options(parser: Any) -> None:
    """--csv-fps, --joint-names and --assume."""
    parser.add_argument(
        "--csv-fps", type=float, metavar="F", help="rate of CSV files without times in frames per second (default: 30)"
    )
    parser.add_argument(
        "--joint-names",
        metavar="NAMES",
        help="joints of files that do not name them, in the file's order: "
        f"{', '.join(ROBOTS)}, names separated by commas, or a file of names (default: those that the robot proves)",
    )
    parser.add_argument(
        "--assume",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override what files state and what the robot proves: fps=F in frames per second, "
        + KEYS.replace("; ", ", "),
    )


def from_options(
    pairs: Sequence[str], csv_fps: float | None = None, joint_names: str | None = None, robot: Robot = G1
) -> Assume:
    """The assumptions that these options make about motion of `robot`.

    Raises:
      InputError: an unknown key, value or joint.
    """
    options: dict[str, Any] = {}
    for pair in ",".join(pairs).split(",") if pairs else ():
        key, _, value = pair.strip().partition("=")
        field = key.replace("-", "_")
        if key == "fps":
            options[field] = _fps(value)
        elif value in CHOICES.get(field, ()):
            options[field] = value
        else:
            raise InputError(f"--assume {pair}: it takes fps=F; {KEYS}")
    if joint_names:
        options["joints"] = _options.joint_names(joint_names)
    return Assume(**options, csv_fps=csv_fps, robot=robot)


def _fps(value: str) -> float:
    try:
        return check_fps(float(value))
    except ValueError:
        raise InputError(f"--assume fps={value}: a rate is a positive number of frames per second") from None
