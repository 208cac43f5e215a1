"""Our G1: what its MJCF says of joints and bodies, and body poses for files and pictures, by C MuJoCo."""
# pyright: reportAttributeAccessIssue=false
# (mujoco is a compiled module without stubs)

import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cmg_jax.robot import rotation
from cmg_jax.robot.joints import indices

MJCF_PATH = Path(__file__).with_name("g1.xml")

Progress = Callable[[int], Any]
"""Called with the number of frames just finished."""


class BodyPoses(NamedTuple):
    """World poses of the 30 bodies, pelvis first."""

    position: np.ndarray  # [N, 30, 3] m
    rotation: np.ndarray  # [N, 30, 4] wxyz


class BodyStates(NamedTuple):
    """World poses of the 30 bodies, pelvis first, and the velocities of their frames, in the world."""

    position: np.ndarray  # [N, 30, 3] m
    rotation: np.ndarray  # [N, 30, 4] wxyz
    linear_velocity: np.ndarray  # [N, 30, 3] m/s, of the frame's origin
    angular_velocity: np.ndarray  # [N, 30, 3] rad/s


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


@cache
def mj_model() -> Any:
    """The compiled `mujoco.MjModel` of `g1.xml`; treat it as read-only."""
    import mujoco  # not needed to generate motion

    return mujoco.MjModel.from_xml_path(str(MJCF_PATH))


def joint_names() -> tuple[str, ...]:
    """The 29 hinges in the order of qpos[7:]."""
    return tuple(mj_model().joint(index).name for index in range(1, mj_model().njnt))


def body_names() -> tuple[str, ...]:
    """The 30 bodies in the order of `BodyPoses`."""
    return tuple(mj_model().body(index).name for index in range(1, mj_model().nbody))


def breadth_first(names: Sequence[str]) -> tuple[str, ...]:
    """Joints, or bodies, of the G1 by their depth in the tree, as Isaac Lab numbers them."""
    model = mj_model()
    joints = joint_names()

    def depth(name: str) -> int:
        body, count = int(model.joint(name).bodyid[0]) if name in joints else model.body(name).id, 0
        while body:
            body, count = int(model.body_parentid[body]), count + 1
        return count

    known = joints if names[0] in joints else body_names()
    return tuple(sorted((name for name in known if name in names), key=depth))


def centres_of_mass(names: Sequence[str]) -> np.ndarray:
    """Where in their frames bodies have their centres of mass, [len(names), 3] m."""
    return mj_model().body_ipos[1:][indices(names, body_names())].astype(np.float32)


def joint_limits(names: Sequence[str]) -> np.ndarray:
    """Lower and upper limits [len(names), 2] rad."""
    return mj_model().jnt_range[1:][indices(names, joint_names())].astype(np.float32)


SPEEDS = {
    "hip|waist_yaw": 32.0,
    "knee": 20.0,
    "ankle|waist_roll|waist_pitch|shoulder|elbow|wrist_roll": 37.0,
    "wrist_pitch|wrist_yaw": 22.0,
}
"""rad/s that a motor turns at most, as Unitree's URDF of the G1 says, by parts of the joint's name."""


def joint_speeds(names: Sequence[str]) -> np.ndarray:
    """Speeds [len(names)] rad/s that joints do not exceed."""
    return np.array([next(speed for part, speed in SPEEDS.items() if re.search(part, name)) for name in names])


def standing_joint_pos(names: Sequence[str]) -> np.ndarray:
    """Joint positions [len(names)] rad of the keyframe `stand`: upright, knees slightly bent."""
    return mj_model().key("stand").qpos[7:][indices(names, joint_names())].astype(np.float32)


def qpos(
    joint_pos: np.ndarray,
    names: Sequence[str],
    root_pos: np.ndarray | None = None,
    root_quat: np.ndarray | None = None,
) -> np.ndarray:
    """MuJoCo positions [N, 36]; joints that are not among `names` stay at zero.

    Args:
      joint_pos: [N, J] rad, in the order of `names`.
      names: names of the J joints.
      root_pos: [N, 3] m; the origin by default.
      root_quat: [N, 4] wxyz; upright by default.

    Raises:
      ValueError: a name is no joint of the G1.
    """
    out = np.zeros((len(joint_pos), 36))
    out[:, :3] = 0.0 if root_pos is None else root_pos
    out[:, 3:7] = (1.0, 0.0, 0.0, 0.0) if root_quat is None else root_quat
    out[:, 7 + indices(names, joint_names())] = joint_pos
    return out


def qvel(joint_vel: np.ndarray, names: Sequence[str], root_linear: np.ndarray, root_angular: np.ndarray) -> np.ndarray:
    """MuJoCo velocities [N, 35] of joint velocities [N, J] rad/s and those of the root.

    Args:
      joint_vel: [N, J] rad/s, in the order of `names`.
      names: names of the J joints; others are at rest.
      root_linear: [N, 3] m/s, in the world.
      root_angular: [N, 3] rad/s, in the frame of the pelvis.
    """
    out = np.zeros((len(joint_vel), 35))
    out[:, :3], out[:, 3:6] = root_linear, root_angular
    out[:, 6 + indices(names, joint_names())] = joint_vel
    return out


def body_poses(positions: np.ndarray, progress: Progress = lambda _: None) -> BodyPoses:
    """Poses of all bodies for MuJoCo positions [N, 36]; about 6 us a frame."""
    bodies = mj_model().nbody - 1
    out = BodyPoses(
        np.empty((len(positions), bodies, 3), np.float32), np.empty((len(positions), bodies, 4), np.float32)
    )
    for index, data in _forward(positions, progress):
        out.position[index] = data.xpos[1:]
        out.rotation[index] = data.xquat[1:]
    return out


def body_states(positions: np.ndarray, velocities: np.ndarray, progress: Progress = lambda _: None) -> BodyStates:
    """Poses and velocities of all bodies for MuJoCo positions [N, 36] and velocities [N, 35]."""
    import mujoco

    model, bodies = mj_model(), mj_model().nbody - 1
    out = BodyStates(*(np.empty((len(positions), bodies, size), np.float32) for size in (3, 4, 3, 3)))
    for index, data in _forward(positions, progress):
        data.qvel[:] = velocities[index]
        mujoco.mj_comPos(model, data)
        mujoco.mj_comVel(model, data)
        angular, linear = data.cvel[1:, :3], data.cvel[1:, 3:]
        out.position[index] = data.xpos[1:]
        out.rotation[index] = data.xquat[1:]
        out.angular_velocity[index] = angular
        # MuJoCo gives it at the robot's centre of mass.
        out.linear_velocity[index] = linear + np.cross(angular, data.xpos[1:] - data.subtree_com[1])
    return out


def sole_positions(positions: np.ndarray) -> np.ndarray:
    """Lowest points of the four balls under each foot in the world, left foot first, [N, 2, 4, 3] m."""
    return _mass_and_soles(positions, with_mass=False)[1]


def mass_and_soles(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre of mass of the robot [N, 3] m, and its `sole_positions`."""
    return _mass_and_soles(positions, with_mass=True)


def _mass_and_soles(positions: np.ndarray, with_mass: bool) -> tuple[np.ndarray, np.ndarray]:
    import mujoco

    model = mj_model()
    soles = [index for index in range(model.ngeom) if model.geom(index).name.endswith("_sole")]
    mass, out = np.zeros((len(positions), 3)), np.empty((len(positions), len(soles), 3), np.float32)
    for index, data in _forward(positions, lambda _: None):
        out[index] = data.geom_xpos[soles] - [0, 0, model.geom_size[soles[0], 0]]
        if with_mass:
            mujoco.mj_comPos(model, data)
            mass[index] = data.subtree_com[1]
    return mass, out.reshape(len(positions), 2, -1, 3)


def link_positions(poses: BodyPoses, links: Sequence[str]) -> np.ndarray:
    """Positions [N, len(links), 3] m of bodies and of `FIXED_LINKS`, by name."""
    out = np.empty((len(poses.position), len(links), 3), poses.position.dtype)
    bodies = body_names()
    for column, link in enumerate(links):
        body, offset = FIXED_LINKS.get(link, (link, None))
        index = bodies.index(body)
        out[:, column] = poses.position[:, index]
        if offset is not None:
            out[:, column] += rotation.rotate(poses.rotation[:, index], np.array(offset, out.dtype))
    return out


def _forward(positions: np.ndarray, progress: Progress, report_every: int = 4096):
    import mujoco

    model, data = mj_model(), mujoco.MjData(mj_model())
    for index, position in enumerate(positions):
        data.qpos[:] = position
        mujoco.mj_kinematics(model, data)
        yield index, data
        if (index + 1) % report_every == 0:
            progress(report_every)
    progress(len(positions) % report_every)
