"""Names of a model's joints: the user's, or those in the checkpoint or its data set."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.robot import G1, Robot
from cmg_jax.robot._frame import ROOT_SIZE, has_root
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
    motion_dim: int, chosen: Sequence[str] | None, *contents: Any, stated: int | None = None, robot: Robot = G1
) -> tuple[tuple[str, ...], str]:
    """The names of the joints, and where they come from. How many they are says whether frames have a root channel.

    Args:
      motion_dim: D, numbers in a frame.
      chosen: the user's names, which count before any other.
      contents: the contents of the files.
      stated: the number of joints that the files state, if they do.
      robot: the robot whose joints they are where nothing names them.

    Raises:
      InputError: nothing names the joints, or the number of names is wrong.
    """
    held = (names for content in contents if (names := find(content)) is not None)
    names, origin = (chosen, "as given") if chosen is not None else (next(held, None), "as the file names them")
    if names is None and (motion_dim // 2 if stated is None else stated) == robot.num_joints:
        whose = "the G1's" if robot is G1 else f"{robot.name}'s"
        names, origin = (
            robot.joint_names,
            f"not named; taken as {whose} {robot.num_joints} in its MJCF's order (see --joint-names)",
        )
    if names is None:
        raise _unnamed(motion_dim, stated)
    if len(set(names)) != len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise InputError(f"joint {twice} is named twice, {origin}")
    if chosen is None and stated not in (None, len(names)):
        raise InputError(f"{len(names)} joints are named, {origin}, but its stats state {stated}")
    has_root(motion_dim, len(names))
    return g1_spelling(names), origin


def _unnamed(motion_dim: int, stated: int | None) -> InputError:
    """What to do where nothing names the joints, with every reading of the frame that is possible."""
    counts = [motion_dim // 2, (motion_dim - ROOT_SIZE) // 2] if stated is None else [stated]
    counts = [count for count in counts if count > 0]
    robots = [name for count in counts for name, known in ROBOTS.items() if len(known) == count]
    readings = " joints, or with a root channel of ".join(map(str, counts))
    variants = "".join(f"{name} or " for name in robots)
    return InputError(
        f"a frame of {motion_dim} numbers is of {readings} joints, and nothing names them; "
        f"pass --joint-names {variants}their names in the model's order, separated by commas or in a file"
    )
