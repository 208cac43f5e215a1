"""The Unitree G1, which is the default robot, and robots of which only the joint names are known."""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from cmg_jax.robot._robot import Robot

MJCF_PATH = Path(__file__).with_name("g1.xml")

_LEG = ("hip_pitch", "hip_roll", "hip_yaw", "knee", "ankle_pitch", "ankle_roll")
_ARM = ("shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow", "wrist_roll", "wrist_pitch", "wrist_yaw")

G1_29_JOINTS: tuple[str, ...] = (
    *(f"left_{joint}_joint" for joint in _LEG),
    *(f"right_{joint}_joint" for joint in _LEG),
    *("waist_yaw_joint", "waist_roll_joint", "waist_pitch_joint"),
    *(f"left_{joint}_joint" for joint in _ARM),
    *(f"right_{joint}_joint" for joint in _ARM),
)
"""All joints of the G1, in the order of its MJCF."""

G1_23_JOINTS: tuple[str, ...] = tuple(name for name in G1_29_JOINTS if "wrist" not in name)
"""The G1 without its six wrist joints."""

ROBOTS: dict[str, tuple[str, ...]] = {
    "g1-29": G1_29_JOINTS,
    "g1-27": tuple(name for name in G1_29_JOINTS if name not in ("waist_roll_joint", "waist_pitch_joint")),
    "g1-23-no-wrists": G1_23_JOINTS,
    "g1-23": tuple(
        name for name in G1_29_JOINTS if not re.search("waist_roll|waist_pitch|wrist_pitch|wrist_yaw", name)
    ),
}
"""Variants of the G1: all joints; waist roll and pitch locked; the six wrist joints locked, as in ASAP, PBHC and
mjlab; and Unitree's own 23 joints, with a wrist that only rolls and a waist that only yaws."""

G1 = Robot(
    "g1",
    G1_29_JOINTS,
    MJCF_PATH.read_text(),
    feet=("left_ankle_roll_link", "right_ankle_roll_link"),
    sides=("left", "right"),
)

FIXED_LINKS: dict[str, tuple[str, tuple[float, float, float]]] = {
    "pelvis_contour_link": ("pelvis", (0.0, 0.0, 0.0)),
    "left_toe_link": ("left_ankle_roll_link", (0.1, 0.0, -0.02)),
    "right_toe_link": ("right_ankle_roll_link", (0.1, 0.0, -0.02)),
    "head_link": ("torso_link", (0.0039635, 0.0, -0.044)),
    "head_mocap": ("torso_link", (0.0, 0.0, 0.4)),
    "imu_in_torso": ("torso_link", (-0.03959, -0.00224, 0.14792)),
    "left_rubber_hand": ("left_wrist_yaw_link", (0.0415, 0.003, 0.0)),
    "right_rubber_hand": ("right_wrist_yaw_link", (0.0415, -0.003, 0.0)),
}
"""Links of other models of the G1 that ours lacks: the body that each is fixed to, and its place in that body [m]."""


SPEEDS = {
    "hip|waist_yaw": 32.0,
    "knee": 20.0,
    "ankle|waist_roll|waist_pitch|shoulder|elbow|wrist_roll": 37.0,
    "wrist_pitch|wrist_yaw": 22.0,
}
"""Speed limits [rad/s] of the motors, from Unitree's URDF of the G1, by parts of the joint's name."""

OTHERS_SPEED = 30.0
"""Speed limit [rad/s] assumed for the joints of other robots, since an MJCF has none."""


def joint_speeds(robot: Robot) -> np.ndarray:
    """Speed limits [J] rad/s of the joints."""
    if not is_g1(robot):
        return np.full(robot.num_joints, OTHERS_SPEED)
    named = ((speed for part, speed in SPEEDS.items() if re.search(part, name)) for name in robot.joint_names)
    return np.array([next(speeds) for speeds in named])


def is_g1(robot: Robot) -> bool:
    """Whether it is the G1, with all or some of its joints."""
    return robot.mjcf == G1.mjcf


def fixed_links(robot: Robot) -> dict[str, tuple[str, tuple[float, float, float]]]:
    """`FIXED_LINKS` of the G1; other robots have none."""
    return FIXED_LINKS if is_g1(robot) else {}


@lru_cache(maxsize=128)
def robot_of(joint_names: tuple[str, ...], robot: Robot = G1) -> Robot:
    """`robot`, or else the G1, with these joints if it has all of them; else a robot known by these names alone."""
    if joint_names and robot is not G1 and robot.has_mjcf and set(joint_names) <= set(robot.hinge_names):
        return robot.with_joints(joint_names)
    if joint_names and set(joint_names) <= set(G1_29_JOINTS):
        return G1.with_joints(joint_names)
    return Robot("robot", joint_names)


def robot_of_size(num_joints: int, robot: Robot = G1) -> Robot:
    """The robot of a motion that does not name its joints, by their number.

    It is `robot` with all its joints, or the G1 without its wrists, if the number fits; else a robot whose joints are
    only numbered.
    """
    known: Sequence[tuple[str, ...]] = [robot.joint_names, *([G1_29_JOINTS, G1_23_JOINTS] if is_g1(robot) else [])]
    for names in known:
        if len(names) == num_joints:
            return robot.with_joints(names)
    return Robot("robot", tuple(f"joint_{index}" for index in range(num_joints)))


def variants(robot: Robot) -> dict[str, tuple[str, ...]]:
    """The sets of joints in which motions of this robot are recorded, by name; all its joints come first."""
    return ROBOTS if is_g1(robot) else {robot.name: robot.joint_names}


def joints_by_place(robot: Robot) -> tuple[str, ...]:
    """The joints expected by programs that identify joints by position: all joints of the MJCF in its order, or the 23
    of the G1 without wrists."""
    return G1_23_JOINTS if set(robot.joint_names) == set(G1_23_JOINTS) else robot.hinge_names


_PREFIX = re.compile(r"^(dof_pos|joint_pos|dof|joint|qpos|pos|q)_")
_SUFFIX = re.compile(r"_(joint|dof|pos|position|angle|rad|deg|q)$")


def g1_spelling(names: Sequence[str]) -> tuple[str, ...]:
    """Names in the spelling of the G1's MJCF: `LeftKnee`, `robot/left_knee` and `left_knee_joint_dof` become
    `left_knee_joint`.

    Names of other joints do not change; none changes if two of them would become the same.
    """
    spelled = []
    for name in names:
        plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", re.split(r"[/:.]", name.strip())[-1])
        plain = re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_")
        for pattern in (_PREFIX, _SUFFIX):
            while (shorter := pattern.sub("", plain)) != plain:
                plain = shorter
        spelled.append(f"{plain}_joint" if f"{plain}_joint" in G1_29_JOINTS else name)
    return tuple(spelled) if len(set(spelled)) == len(set(names)) else tuple(names)
