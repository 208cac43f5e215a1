"""The Unitree G1, the robot by default; and what names of joints alone say."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from cmg_jax.robot.robot import Robot

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
"""Links that other models of the G1 have and ours does not: the body that each is fixed to, and where in it [m]."""


def is_g1(robot: Robot) -> bool:
    """Whether it is the G1, with any of its joints."""
    return robot.mjcf == G1.mjcf


def fixed_links(robot: Robot) -> dict[str, tuple[str, tuple[float, float, float]]]:
    """`FIXED_LINKS` of the G1; other robots have none."""
    return FIXED_LINKS if is_g1(robot) else {}


@lru_cache(maxsize=128)
def robot_of(joint_names: tuple[str, ...], robot: Robot = G1) -> Robot:
    """`robot` or else the G1 with these joints, if all are its; else a robot of which only the names are known."""
    if joint_names and robot is not G1 and robot.has_mjcf and set(joint_names) <= set(robot.hinge_names):
        return robot.with_joints(joint_names)
    if joint_names and set(joint_names) <= set(G1_29_JOINTS):
        return G1.with_joints(joint_names)
    return Robot("robot", joint_names)


def robot_of_size(num_joints: int, robot: Robot = G1) -> Robot:
    """The robot of a motion that does not name its joints: all joints of `robot` if the number fits.

    Of the G1 also the 23 without wrists; else a robot whose joints are only numbered.
    """
    known: Sequence[tuple[str, ...]] = [robot.joint_names, *([G1_29_JOINTS, G1_23_JOINTS] if is_g1(robot) else [])]
    for names in known:
        if len(names) == num_joints:
            return robot.with_joints(names)
    return Robot("robot", tuple(f"joint_{index}" for index in range(num_joints)))
