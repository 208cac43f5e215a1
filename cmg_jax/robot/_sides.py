"""Left and right: which names belong together, and what a reflection does to the joints."""
# pyright: reportAttributeAccessIssue=false

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from cmg_jax._errors import InputError

if TYPE_CHECKING:
    from cmg_jax.robot._robot import Robot

PAIRS = (
    *(("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT")),
    *(("l_", "r_"), ("L_", "R_"), ("_l", "_r"), ("_L", "_R"), ("l-", "r-"), ("-l", "-r")),
)
"""What stands for left and right in names, as `find_pair` tries them."""

IMAGE_TOLERANCE = 0.02
"""By how much the axis of a joint may differ from the reflected one of its other side, unit vectors both."""


def check_pair(pair: Sequence[str]) -> tuple[str, str]:
    """What a user gives for left and right.

    Raises:
      InputError: not two different texts.
    """
    if len(pair) != 2 or not all(pair) or pair[0] == pair[1]:
        raise InputError(f"mirror {' '.join(map(str, pair))!r}: two different parts of names, for left and right")
    return (str(pair[0]), str(pair[1]))


def find_pair(joint_names: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """The first of `PAIRS` that gives every joint its other side; empty where none does."""
    for pair in PAIRS:
        if any(side_of(name, pair) == 0 for name in names) and not _unmatched(joint_names, pair):
            return pair
    return ()


def check(joint_names: Sequence[str], pair: Sequence[str], where: str) -> None:
    """Raise InputError unless every joint has its other side, with those that have none."""
    if not any(side_of(name, pair) == 0 for name in joint_names):
        raise InputError(f"{where}: no joint has {pair[0]!r} in its name; its joints are {_list(joint_names)}")
    if missing := _unmatched(joint_names, pair):
        raise InputError(f"{where}: no other side of {_list(missing)} (left is {pair[0]!r}, right {pair[1]!r})")


def side_of(name: str, pair: Sequence[str]) -> int | None:
    """0 for a name of the left, 1 for one of the right, None for one of neither."""
    return next((side for side in (0, 1) if _pattern(pair[side]).search(name)), None)


def mirrored_name(name: str, pair: Sequence[str]) -> str:
    """The name of the other side; the name itself where it has none."""
    side = side_of(name, pair)
    return name if side is None else _pattern(pair[side]).sub(lambda _: pair[1 - side], name, count=1)


def label(name: str, pair: Sequence[str]) -> str:
    """A joint's name in words, without its side."""
    side = side_of(name, pair) if pair else None
    short = name if side is None else _pattern(pair[side]).sub("", name, count=1)
    return short.removesuffix("_joint").replace("_", " ").strip(" -")


def match_feet(body_names: Sequence[str], patterns: Sequence[str], where: str) -> tuple[str, str]:
    """The two bodies of patterns such as "left_foot" or "*foot_l", left and right.

    Raises:
      InputError: a pattern that no body matches, or that several do.
    """
    if len(patterns) != 2:
        raise InputError(f"{where}: {len(patterns)} feet; give two, left and right")
    feet = []
    for pattern in patterns:
        found = [name for name in body_names if fnmatchcase(name, pattern)]
        if len(found) != 1:
            several = f"{len(found)} bodies match" if found else "no body matches"
            raise InputError(f"{where}: {several} the foot {pattern!r}; its bodies are {_list(found or body_names)}")
        feet += found
    if feet[0] == feet[1]:
        raise InputError(f"{where}: both feet are {feet[0]}")
    return feet[0], feet[1]


def mirror(robot: "Robot") -> tuple[np.ndarray, np.ndarray]:
    """Where each joint's other side is [J], and whether its value changes sign there [J], +1 or -1.

    A rotation about an axis, seen in the mirror, is one about the axis reflected and reversed: it is that of the other
    side's joint, or its opposite.

    Raises:
      InputError: see `Robot.mirror`.
    """
    import mujoco

    model = robot.mj_model
    where = f"the robot {robot.name}"
    if not robot.sides:
        raise InputError(
            f"{where}: nothing in the names of its joints stands for left and right ({_list(robot.joint_names)}); "
            "say what does: --mirror LEFT RIGHT, or Robot.from_mjcf(..., mirror=(...))"
        )
    check(robot.joint_names, robot.sides, where)
    data = mujoco.MjData(model)
    if robot.is_floating:
        data.qpos[:7] = [0, 0, 0, 1, 0, 0, 0]
    mujoco.mj_kinematics(model, data)
    axes, zero = data.xaxis[robot.joint_ids], model.qpos0[robot.qpos_index]
    names = list(robot.joint_names)
    source = np.array([names.index(mirrored_name(name, robot.sides)) for name in names], np.int32)
    image = axes[source] * [-1, 1, -1]
    sign = np.where((axes * image).sum(axis=-1) < 0, -1.0, 1.0)
    away = np.abs(axes - sign[:, None] * image).max(axis=-1) + np.abs(zero - sign * zero[source])
    if (away > IMAGE_TOLERANCE).any():
        strange = [f"{names[row]} and {names[source[row]]}" for row in np.flatnonzero(away > IMAGE_TOLERANCE)]
        raise InputError(f"{where}: no mirror images of each other, by their axes: {_list(strange)}")
    return source, sign.astype(np.float32)


def limbs(robot: "Robot") -> dict[str, tuple[str, ...]]:
    """See `Robot.limbs`."""
    if not robot.has_mjcf or not robot.sides:
        return {"joints": robot.joint_names}
    legs: list[set[str]] = [set(chain_joints(robot, foot)) for foot in robot.feet] or [set(), set()]
    groups: dict[str, list[str]] = {name: [] for name in ("left leg", "right leg", "waist", "left arm", "right arm")}
    for name in robot.joint_names:
        side = side_of(name, robot.sides)
        word = ("left", "right")[side] if side is not None else ""
        leg = side is not None and name in legs[side]
        groups[f"{word} {'leg' if leg else 'arm'}" if word else "waist"].append(name)
    return {limb: tuple(names) for limb, names in groups.items() if names}


def chain_joints(robot: "Robot", body: str) -> list[str]:
    """The hinges from the root down to a body, those of the root itself left out."""
    model: Any = robot.mj_model
    index, names = model.body(body).id, []
    while index and model.body_parentid[index]:
        joints = range(model.body_jntadr[index], model.body_jntadr[index] + model.body_jntnum[index])
        names = [model.joint(j).name for j in joints if int(model.jnt_type[j]) == 3] + names
        index = model.body_parentid[index]
    return names


def _unmatched(names: Sequence[str], pair: Sequence[str]) -> list[str]:
    return [name for name in names if mirrored_name(name, pair) not in names]


def _pattern(part: str) -> re.Pattern[str]:
    """Where `part` stands in a name. Short ones, such as "l_", only between characters that are no letters."""
    if len(part.strip("_-")) > 2:
        return re.compile(re.escape(part))
    before = r"(?<![A-Za-z0-9])" if part[0].isalnum() else ""
    after = r"(?![A-Za-z0-9])" if part[-1].isalnum() else ""
    return re.compile(before + re.escape(part) + after)


def _list(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
