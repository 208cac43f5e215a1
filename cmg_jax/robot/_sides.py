"""Left and right: which names are counterparts, and what a reflection does to the joints."""
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
"""Parts of names that mean left and right, in the order in which `find_pair` tries them."""

IMAGE_TOLERANCE = 0.02
"""Largest allowed difference between the axis of a joint and the reflected axis of its counterpart (unit vectors)."""


def check_pair(pair: Sequence[str]) -> tuple[str, str]:
    """A user's parts of names for left and right, checked.

    Raises:
      InputError: not two different texts.
    """
    if len(pair) != 2 or not all(pair) or pair[0] == pair[1]:
        raise InputError(f"mirror {' '.join(map(str, pair))!r}: give two different parts of names, for left and right")
    return (str(pair[0]), str(pair[1]))


def find_pair(joint_names: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """The first of `PAIRS` by which every joint has a counterpart; empty if there is none."""
    for pair in PAIRS:
        if any(side_of(name, pair) == 0 for name in names) and not _unmatched(joint_names, pair):
            return pair
    return ()


def check(joint_names: Sequence[str], pair: Sequence[str], where: str) -> None:
    """Raise InputError, which lists the joints without a counterpart, unless every joint has one."""
    if not any(side_of(name, pair) == 0 for name in joint_names):
        raise InputError(f"{where}: no joint has {pair[0]!r} in its name; its joints are {_list(joint_names)}")
    if missing := _unmatched(joint_names, pair):
        raise InputError(f"{where}: no counterpart of {_list(missing)} (left is {pair[0]!r}, right {pair[1]!r})")


def side_of(name: str, pair: Sequence[str]) -> int | None:
    """0 for a name of the left side, 1 for one of the right, None for neither."""
    return next((side for side in (0, 1) if _pattern(pair[side]).search(name)), None)


def mirrored_name(name: str, pair: Sequence[str]) -> str:
    """The name of the counterpart; the name itself if it has no side."""
    side = side_of(name, pair)
    return name if side is None else _pattern(pair[side]).sub(lambda _: pair[1 - side], name, count=1)


def label(name: str, pair: Sequence[str]) -> str:
    """A joint's name as words, without its side."""
    side = side_of(name, pair) if pair else None
    short = name if side is None else _pattern(pair[side]).sub("", name, count=1)
    return short.removesuffix("_joint").replace("_", " ").strip(" -")


def match_feet(body_names: Sequence[str], patterns: Sequence[str], where: str) -> tuple[str, str]:
    """The bodies, left and right, that match two patterns such as "left_foot" or "*foot_l".

    Raises:
      InputError: a pattern that no body or more than one body matches.
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
    """The index of each joint's counterpart [J], and the sign of its value there [J], +1 or -1.

    A rotation about an axis, seen in a mirror, is one about the reflected and reversed axis: that of the counterpart
    (+1) or its opposite (-1).

    Raises:
      InputError: see `Robot.mirror`.
    """
    import mujoco

    model = robot.mj_model
    where = f"the robot {robot.name}"
    if not robot.sides:
        raise InputError(
            f"{where}: left and right cannot be found in the names of its joints ({_list(robot.joint_names)}); "
            "give what means left and right: --mirror LEFT RIGHT, or Robot.from_mjcf(..., mirror=(...))"
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
        raise InputError(f"{where}: their axes are not mirror images of each other: {_list(strange)}")
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
    """The hinges from the root down to a body, without those of the root itself."""
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
    """A pattern that finds `part` in a name. Short parts, such as "l_", match only if no letter is next to them."""
    if len(part.strip("_-")) > 2:
        return re.compile(re.escape(part))
    before = r"(?<![A-Za-z0-9])" if part[0].isalnum() else ""
    after = r"(?![A-Za-z0-9])" if part[-1].isalnum() else ""
    return re.compile(before + re.escape(part) + after)


def _list(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
