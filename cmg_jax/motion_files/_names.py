"""Joint names in motion files, under any key and in any form that programs write."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from cmg_jax.robot import Robot
from cmg_jax.robot._g1 import G1_29_JOINTS, g1_spelling

JOINT_NAMES = ("dof_names", "joint_names", "joints_list")
BODY_NAMES = ("body_names", "link_body_list", "link_names")
RATES = ("fps", "framerate", "frame_rate", "frequency", "motion_fps", "mocap_framerate", "mocap_frame_rate")
STEPS = ("dt", "timestep", "time_step")
TIMES = ("time", "times", "t", "timestamps", "timestamp")

MIN_JOINTS = 4
"""A shorter list under an unknown key names only some joints, such as those of a hand, and is ignored."""

MAX_LENGTH = 10_000
"""Largest number of entries, or of characters of a text, that is searched for names under an unknown key."""


def listed(value: Any, nested: bool = False) -> tuple[str, ...] | None:
    """The entries of a list of names; None for anything else.

    `value` may be a list, a tuple, an array, a dictionary from names to positions or the reverse, or a text of names
    separated by commas or in JSON. A list of one such value is accepted too.
    """
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "OSU":
            return None
        value = value.ravel().tolist()
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):
        value = _split(value)
    if isinstance(value, dict):
        value = _by_position(value)
    if not isinstance(value, list | tuple) or (value and all(name is None for name in value)):
        return None
    if len(value) == 1 and not nested:
        inner = listed(value[0], nested=True)
        if inner is not None and len(inner) > 1:
            return inner
    return tuple(name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in value)


def _split(text: str) -> Any:
    """The names in a text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return [name for name in re.split(r"[,;\s]+", text.strip("[](){} \n")) if name] if text.strip() else None


def _by_position(value: dict[Any, Any]) -> list[Any] | None:
    """The names of a dictionary in the order of their positions."""
    names, positions = list(value), list(value.values())
    if all(isinstance(position, str | bytes) for position in positions):
        names, positions = positions, names
    try:
        numbers = np.array(positions, np.int64)
    except (TypeError, ValueError, OverflowError):
        return None
    if numbers.ndim != 1 or not numbers.size:
        return None
    order = np.argsort(numbers)
    rising = np.array_equal(np.diff(numbers[order]), np.ones(len(numbers) - 1, np.int64))
    return [names[index] for index in order] if rising else None


def with_shared(motion: Mapping[str, Any], beside: Mapping[str, Any], robot: Robot) -> dict[str, Any]:
    """`motion` with the joint names and the rate of `beside`, if it has none itself."""
    out, rates = dict(motion), (*RATES, *STEPS)
    if not any(key in motion for key in (*rates, *TIMES)):
        out |= {key: beside[key] for key in rates if beside.get(key) is not None}
    if not any(key in motion for key in JOINT_NAMES) and not any(found(motion, robot)):
        keys = {key for key in JOINT_NAMES if listed(beside.get(key)) is not None}
        keys |= {key for key, _ in found(beside, robot)}
        out |= {key: beside[key] for key in beside if key in keys}
    return out


def without_root(names: tuple[str, ...]) -> tuple[str, ...]:
    """`names` without a leading free joint."""
    free = len(names) > 1 and re.search("root|free|float", names[0].lower())
    return names[1:] if free else names


def found(
    arrays: Mapping[str, Any], robot: Robot, counts: tuple[int, ...] | None = None
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The lists in `arrays` whose entries all name joints of `robot`, with their keys.

    With `counts`, only lists of these lengths.
    """
    known = {*(robot.hinge_names if robot.has_mjcf else robot.joint_names), *G1_29_JOINTS}
    for key, value in arrays.items():
        size = value.size if isinstance(value, np.ndarray) else len(value) if hasattr(value, "__len__") else 0
        names = None if key in BODY_NAMES or size > MAX_LENGTH else listed(value)
        if names is None or len(names) < MIN_JOINTS:
            continue
        spelled = without_root(g1_spelling(names))
        if (counts is None or len(spelled) in counts) and set(spelled) <= known and len(set(spelled)) == len(spelled):
            yield str(key), spelled
