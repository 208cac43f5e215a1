"""A robot as data sets and models store it: the names of its joints, and its MJCF as text unless it is the G1."""

from typing import Any

from cmg_jax._errors import InputError
from cmg_jax.robot._g1 import G1, robot_of
from cmg_jax.robot._robot import Robot


def to_json(robot: Robot) -> dict[str, Any]:
    """`joint_names`, and `robot` with everything else if the names alone do not determine it."""
    out: dict[str, Any] = {"joint_names": list(robot.joint_names)}
    if robot.has_mjcf and robot != robot_of(robot.joint_names):
        fields = {"name": robot.name, "feet": list(robot.feet), "sides": list(robot.sides), "mjcf": robot.mjcf}
        out["robot"] = fields
    return out


def from_json(content: dict[str, Any], where: str) -> Robot:
    """The robot that `to_json` stored. Without the field `robot`, the G1 if it has all the joints.

    Raises:
      InputError: the content is damaged, or the MJCF lacks one of the joints or refers to other files.
    """
    names = content.get("joint_names")
    if not isinstance(names, list):
        raise InputError(f"{where}: its joint names are damaged; make it again")
    names = tuple(map(str, names))
    if (saved := content.get("robot")) is None:
        return robot_of(names)
    damaged = InputError(f"{where}: its robot is damaged; make it again")
    if not isinstance(saved, dict):
        raise damaged
    texts = saved.get("name"), saved.get("mjcf")
    pairs = saved.get("feet"), saved.get("sides")
    if not all(isinstance(text, str) and text for text in texts) or not all(_is_pair(pair) for pair in pairs):
        raise damaged
    whole = Robot(saved["name"], names, saved["mjcf"], tuple(saved["feet"]), tuple(saved["sides"]))
    if whole.mjcf == G1.mjcf:
        whole = Robot(G1.name, names, G1.mjcf, whole.feet, whole.sides)
    known = (*whole.hinge_names, *whole.body_names)
    if missing := [name for name in (*names, *whole.feet) if name not in known]:
        raise InputError(f"{where}: its robot has no {', '.join(missing)}; make it again")
    return whole


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) in (0, 2) and all(isinstance(part, str) and part for part in value)
