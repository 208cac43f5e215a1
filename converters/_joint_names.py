"""Names of a model's joints: the user's, or those in the checkpoint or its data set."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.robot import G1, Robot
from cmg_jax.robot._g1 import ROBOTS, g1_spelling
from converters import _tree

KEYS = ("joint_names", "dof_names", "joint_order")


def find(content: Any) -> tuple[str, ...] | None:
    """The joint names in the content of a file; None if there are none."""
    for leaf in _tree.leaves(content):
        if leaf.name.rpartition(".")[2] in KEYS and isinstance(leaf.value, list | tuple | np.ndarray):
            names = list(np.atleast_1d(leaf.value) if isinstance(leaf.value, np.ndarray) else leaf.value)
            if names and all(isinstance(name, str) for name in names):
                return tuple(map(str, names))
    return None


def choose(
    num_joints: int, chosen: Sequence[str] | None, *contents: Any, robot: Robot = G1
) -> tuple[tuple[str, ...], str]:
    """The names of `num_joints` joints, and their origin.

    Args:
      num_joints: their number.
      chosen: the user's names, which take precedence.
      contents: the contents of the files.
      robot: the robot whose joint names are used if there are no others.

    Raises:
      InputError: nothing names the joints, or the number of names is wrong.
    """
    held = (names for content in contents if (names := find(content)) is not None)
    names, origin = (chosen, "as given") if chosen is not None else (next(held, None), "as the file names them")
    if names is None and num_joints == robot.num_joints:
        whose = "the G1's" if robot is G1 else f"{robot.name}'s"
        names, origin = (
            robot.joint_names,
            f"not named; taken as {whose} {num_joints} in its MJCF's order (see --joint-names)",
        )
    if names is None:
        robots = " or ".join(name for name, known in ROBOTS.items() if len(known) == num_joints)
        raise InputError(
            f"has {num_joints} joints, and nothing names them; pass --joint-names {f'{robots}, or ' if robots else ''}"
            "their names in the model's order, separated by commas or in a file"
        )
    if len(names) != num_joints or len(set(names)) != num_joints:
        raise InputError(f"has {num_joints} joints, but {len(set(names))} different names for them, {origin}")
    return g1_spelling(names), origin
