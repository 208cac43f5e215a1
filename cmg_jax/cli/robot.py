"""The options that name a robot other than the G1."""

import argparse
from pathlib import Path
from typing import Any

from cmg_jax._errors import InputError
from cmg_jax.robot import G1, Robot


def add_arguments(parser: Any, purpose: str) -> None:
    """--robot, --feet and --mirror; `purpose` says what the robot is for."""
    parser.add_argument(
        "--robot", type=Path, metavar="FILE.xml", help=f"MJCF of the robot {purpose}; the G1 by default"
    )
    parser.add_argument(
        "--feet",
        nargs=2,
        metavar=("LEFT", "RIGHT"),
        help="with --robot: names or patterns of the two bodies that stand on the floor; by default the lowest two",
    )
    parser.add_argument(
        "--mirror",
        nargs=2,
        metavar=("LEFT", "RIGHT"),
        help="with --robot: what stands for left and right in its names, as left_ right_; by default found by trial",
    )


def from_arguments(arguments: argparse.Namespace) -> Robot:
    """The robot of these options.

    Raises:
      InputError: an MJCF that cannot be read, or patterns that do not match.
    """
    if arguments.robot is None:
        for option in ("feet", "mirror"):
            if getattr(arguments, option):
                raise InputError(f"--{option}: belongs to --robot FILE.xml, which is missing")
        return G1
    return Robot.from_mjcf(arguments.robot, feet=arguments.feet, mirror=arguments.mirror)
