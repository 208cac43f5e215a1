"""What the user says of files that do not say it themselves, or say something else than they hold."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cmg_jax._errors import InputError
from cmg_jax.motion_files._clips import check_fps
from cmg_jax.robot import G1, Robot
from cmg_jax.robot._g1 import ROBOTS, g1_spelling

MUJOCO, ISAACLAB = "mujoco", "isaaclab"
CHOICES: dict[str, tuple[str, ...]] = {
    "joint-order": (MUJOCO, ISAACLAB),
    "quaternion": ("wxyz", "xyzw"),
    "angles": ("radians", "degrees"),
    "lengths": ("m", "cm", "mm"),
    "bodies": ("ignore",),
    "missing": ("zero",),
}


class Assume(NamedTuple):
    """None leaves it to the file."""

    csv_fps: float | None = None
    """Of tables without times."""
    fps: float | None = None
    """Of all files, whatever they say."""
    joints: tuple[str, ...] | None = None
    """Names, in the order of the file, of joints without names."""
    joint_order: str | None = None
    """Of joints without names: MuJoCo's or Isaac Lab's."""
    quaternion: str | None = None
    angles: str | None = None
    lengths: str | None = None
    bodies: str | None = None
    """"ignore": body poses that do not fit the joints prove nothing."""
    missing: str | None = None
    """"zero": joints that a file lacks stay at zero."""
    robot: Robot = G1
    """Whose motion it is, where the names of its joints allow that."""


def from_options(
    pairs: Sequence[str], csv_fps: float | None = None, names: str | None = None, robot: Robot = G1
) -> Assume:
    """The assumptions that the options of a program stand for.

    Args:
      pairs: of --assume, each `KEY=VALUE`, several separated by commas.
      csv_fps: of --csv-fps, in frames per second.
      names: of --joint-names; see `joints`.
      robot: whose motion it is.

    Raises:
      InputError: an unknown key, value or joint.
    """
    values: dict[str, Any] = {}
    for pair in ",".join(pairs).split(",") if pairs else ():
        key, _, value = pair.strip().partition("=")
        if key == "fps":
            values["fps"] = _fps(value)
        elif value in CHOICES.get(key, ()):
            values[key.replace("-", "_")] = value
        else:
            known = "; ".join(f"{key}={'|'.join(choices)}" for key, choices in CHOICES.items())
            raise InputError(f"--assume {pair}: it takes fps=F; {known}")
    if csv_fps is not None:
        values["csv_fps"] = check_fps(csv_fps)
    if names:
        values["joints"] = joints(names)
    return Assume(**values, robot=robot)


def _fps(value: str) -> float:
    try:
        return check_fps(float(value))
    except ValueError:
        raise InputError(f"--assume fps={value}: a rate is a positive number of frames per second") from None


def joints(text: str) -> tuple[str, ...]:
    """Names of a robot, of a list, or of a file with a name a line.

    Raises:
      InputError: one name, or one twice.
    """
    if text in ROBOTS:
        return ROBOTS[text]
    path = Path(text)
    if path.suffix in (".txt", ".csv", ".json", ".yaml") and not path.is_file():
        raise InputError(f"--joint-names {text}: no such file")
    listed = path.read_text() if "," not in text and path.is_file() else text
    names = [name for name in listed.translate(str.maketrans("[]\",'\n\t;", " " * 8)).split() if name != "-"]
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError(f"--joint-names {text[:60]}: {_fault(names)}; known robots are {', '.join(ROBOTS)}")
    return g1_spelling(names)


def _fault(names: Sequence[str]) -> str:
    return "no such robot, nor a list of names" if len(names) < 2 else "it names a joint twice"
