"""Options that several commands share: with the same name, meaning and error message in each of them."""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from cmg_jax import motion_files
from cmg_jax._errors import InputError
from cmg_jax.commands import _grid
from cmg_jax.model import _checkpoint
from cmg_jax.model._model import CMGModel
from cmg_jax.robot import G1, Robot
from cmg_jax.robot._g1 import ROBOTS, g1_spelling

Value = TypeVar("Value")
DEFAULT_COMMAND = (0.8, 0.0, 0.0)


def checked(parse: Callable[[str], Value], name: str) -> Callable[[str], Value]:
    """`parse` as the type of an option: argparse reports its InputError in one line that names the option."""

    def convert(text: str) -> Value:
        try:
            return parse(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    convert.__name__ = name  # argparse: "invalid NAME value"
    return convert


def _integer(low: int, high: int, message: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise InputError(f"{text}: {message}")
        return value

    return checked(parse, "int")


def _number(valid: Callable[[float], bool], message: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = float(text)
        if not valid(value):
            raise InputError(f"{text}: {message}")
        return value

    return checked(parse, "float")


count = _integer(1, 2**63, "must be at least 1")
"""Parses a number of at least 1."""

seed = _integer(0, 2**32 - 1, f"a seed is a number from 0 to {2**32 - 1}")
duration = _number(lambda value: 0 < value < math.inf, "a duration is a positive number of seconds")
time = _number(lambda value: 0 <= value < math.inf, "a time is a number of seconds from 0 on")
rate = _number(lambda value: 0 < value < math.inf, "a rate is a positive number of frames per second")
velocity = _number(lambda value: abs(value) < float(np.finfo(np.float32).max), "a command is three finite numbers")


def add_model(parser: Any) -> None:
    names = " or ".join(_checkpoint.BUNDLED)
    parser.add_argument(
        "--model",
        type=Path,
        metavar="DIR",
        help=f"model directory, or {names} for a bundled model (default: {_checkpoint.BUNDLED[0]})",
    )


def model_path(model: Path | None) -> Path:
    return _checkpoint.model_directory(model) if model else _checkpoint.default_model_path()


def load_model(model: Path | None) -> CMGModel:
    return _checkpoint.load(model) if model else _checkpoint.default_model()


def add_seed(parser: Any, draws: str, default: int | None = 0) -> None:
    parser.add_argument("--seed", type=seed, default=default, metavar="K", help=f"seed (no unit) that draws {draws}")


def add_command(parser: Any, between: str = "") -> None:
    default = " ".join(f"{value:g}" for value in DEFAULT_COMMAND)
    parser.add_argument(
        "--command",
        type=velocity,
        nargs=3,
        action="append",
        metavar=("VX", "VY", "YAW"),
        help="forward and sideways velocity in m/s and yaw rate in rad/s; several commands are held in turn"
        f"{between} (default: {default})",
    )


def add_seconds(parser: Any, what: str, default: float | None, words: str = "") -> None:
    """--seconds, the duration `what`; `words` describe the default if that is None."""
    parser.add_argument("--seconds", type=duration, default=default, metavar="S", help=f"{what} in seconds{words}")


def add_grid(parser: Any, default: Sequence[Sequence[float]] | None = None) -> None:
    parser.add_argument(
        "--grid",
        type=checked(_grid.parse, "grid"),
        default=default,
        metavar="VX:VY:YAW",
        help="values of vx and vy in m/s and of the yaw rate in rad/s, separated by commas; every combination is a "
        "command, as in --grid=-0.3,0,0.9:0:-0.6,0,0.6 (default: "
        + ("commands within the trained range)" if default is None else f"{_grid.text(default)})"),
    )


def rate_text(num_envs: int, steps: int, run_seconds: float, compile_seconds: float) -> str:
    """The amount of motion that was generated, and its rate."""
    return (
        f"{num_envs} environments x {steps} frames on {jax.devices()[0].device_kind}: "
        f"{num_envs * steps / run_seconds:,.0f} frames/s ({run_seconds:.2f} s, and {compile_seconds:.2f} s to compile)"
    )


def add_root_and_joints(parser: Any) -> None:
    parser.add_argument(
        "--root",
        choices=motion_files.ROOTS,
        help="where the root goes: as the model's own root does, as commanded, or as the stance feet walk (default: "
        "model, or command for a model without a root)",
    )
    parser.add_argument(
        "--joints", type=int, choices=(29, 23), help="number of the G1's joints to write (default: the model's)"
    )


def add_robot(parser: Any, purpose: str) -> None:
    """--robot, --feet and --mirror; `purpose` follows "MJCF of the robot" in the help."""
    parser.add_argument("--robot", type=Path, metavar="FILE.xml", help=f"MJCF of the robot {purpose} (default: the G1)")
    parser.add_argument(
        "--feet",
        nargs=2,
        metavar=("LEFT", "RIGHT"),
        help="with --robot: names or patterns of the two bodies that stand on the floor (default: the lowest two)",
    )
    parser.add_argument(
        "--mirror",
        nargs=2,
        metavar=("LEFT", "RIGHT"),
        help="with --robot: parts of its names that mean left and right, as left_ right_ (default: found in them)",
    )


def robot(robot: Path | None, feet: Sequence[str] | None, mirror: Sequence[str] | None) -> Robot:
    """The robot of these options.

    Raises:
      InputError: an MJCF that cannot be read, or patterns that do not match.
    """
    if robot is None:
        for option, value in (("feet", feet), ("mirror", mirror)):
            if value:
                raise InputError(f"--{option} requires --robot FILE.xml")
        return G1
    return Robot.from_mjcf(robot, feet=tuple(feet) if feet else None, mirror=tuple(mirror) if mirror else None)


def joint_names(text: str) -> tuple[str, ...]:
    """The value of --joint-names: the joints of a known robot, or names in a list or a file, in the G1's spelling.

    Raises:
      InputError: no such robot or file, a file that is not text, or a joint that is named twice.
    """
    if text in ROBOTS:
        return ROBOTS[text]
    listed, path = text, Path(text)
    if "," not in text and path.is_file():
        try:
            listed = path.read_text("utf-8-sig")
        except UnicodeDecodeError:
            raise InputError(f"--joint-names {text}: is not a text file; it must list one name per line") from None
    elif path.suffix in (".txt", ".csv", ".json", ".yaml"):
        raise InputError(f"--joint-names {text}: no such file")
    names = [name for name in listed.translate(str.maketrans("[]\",'\n\t;", " " * 8)).split() if name != "-"]
    if len(names) < 2 or len(set(names)) < len(names):
        fault = "neither a known robot nor a list of names" if len(names) < 2 else "it names a joint twice"
        raise InputError(f"--joint-names {text[:60]}: {fault}; known robots are {', '.join(ROBOTS)}")
    return g1_spelling(names)
