"""Body poses and velocities of a robot for files and pictures, by C MuJoCo."""
# pyright: reportAttributeAccessIssue=false
# (mujoco is a compiled module without stubs)

from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.robot import _rotation
from cmg_jax.robot._g1 import fixed_links
from cmg_jax.robot._joints import indices
from cmg_jax.robot._robot import Robot

Progress = Callable[[int], Any]
"""Called with the number of frames just finished."""


ArrayT = TypeVar("ArrayT", jax.Array, np.ndarray)


class BodyPoses(NamedTuple, Generic[ArrayT]):
    """Poses of bodies in the world: NumPy's arrays from C MuJoCo, JAX's from MJX."""

    position: ArrayT  # [..., bodies, 3] m
    rotation: ArrayT  # [..., bodies, 4] wxyz


class BodyStates(NamedTuple):
    """Poses of all bodies, the root first, and velocities of their frames, in the world."""

    position: np.ndarray  # [N, bodies, 3] m
    rotation: np.ndarray  # [N, bodies, 4] wxyz
    linear_velocity: np.ndarray  # [N, bodies, 3] m/s, of the frame's origin
    angular_velocity: np.ndarray  # [N, bodies, 3] rad/s


def qpos(
    robot: Robot,
    joint_pos: np.ndarray,
    root_pos: np.ndarray | None = None,
    root_quat: np.ndarray | None = None,
) -> np.ndarray:
    """MuJoCo positions [N, nq]; joints that are not among the robot's `joint_names` stay at rest.

    Args:
      robot: the robot.
      joint_pos: [N, J] rad.
      root_pos: [N, 3] m; the origin by default.
      root_quat: [N, 4] wxyz; upright by default.

    Raises:
      InputError: the robot has a fixed base.
    """
    out = np.tile(robot.mj_model.qpos0, (len(joint_pos), 1))
    _check_floating(robot)
    out[:, :3] = 0.0 if root_pos is None else root_pos
    out[:, 3:7] = (1.0, 0.0, 0.0, 0.0) if root_quat is None else root_quat
    out[:, robot.qpos_index] = joint_pos
    return out


def qvel(robot: Robot, joint_vel: np.ndarray, root_linear: np.ndarray, root_angular: np.ndarray) -> np.ndarray:
    """MuJoCo velocities [N, nv]; joints that are not among the robot's `joint_names` are at rest.

    Args:
      robot: the robot.
      joint_vel: [N, J] rad/s.
      root_linear: [N, 3] m/s, in the world.
      root_angular: [N, 3] rad/s, in the frame of the root.
    """
    _check_floating(robot)
    out = np.zeros((len(joint_vel), robot.mj_model.nv))
    out[:, :3], out[:, 3:6] = root_linear, root_angular
    out[:, robot.qvel_index] = joint_vel
    return out


def _check_floating(robot: Robot) -> None:
    if not robot.is_floating:
        raise InputError(f"the robot {robot.name} has a fixed base: its MJCF has no free joint")


def body_poses(robot: Robot, positions: np.ndarray, progress: Progress = lambda _: None) -> BodyPoses[np.ndarray]:
    """Poses of all bodies, the root first, for MuJoCo positions [N, nq]; about 6 us a frame."""
    bodies = robot.mj_model.nbody - 1
    out = BodyPoses(
        np.empty((len(positions), bodies, 3), np.float32), np.empty((len(positions), bodies, 4), np.float32)
    )
    for index, data in _forward(robot, positions, progress):
        out.position[index] = data.xpos[1:]
        out.rotation[index] = data.xquat[1:]
    return out


def body_states(
    robot: Robot, positions: np.ndarray, velocities: np.ndarray, progress: Progress = lambda _: None
) -> BodyStates:
    """Poses and velocities of all bodies for MuJoCo positions [N, nq] and velocities [N, nv]."""
    import mujoco

    model, bodies = robot.mj_model, robot.mj_model.nbody - 1
    out = BodyStates(*(np.empty((len(positions), bodies, size), np.float32) for size in (3, 4, 3, 3)))
    for index, data in _forward(robot, positions, progress):
        data.qvel[:] = velocities[index]
        mujoco.mj_comPos(model, data)
        mujoco.mj_comVel(model, data)
        angular, linear = data.cvel[1:, :3], data.cvel[1:, 3:]
        out.position[index] = data.xpos[1:]
        out.rotation[index] = data.xquat[1:]
        out.angular_velocity[index] = angular
        # MuJoCo's linear velocity is that of the point at the robot's centre of mass.
        out.linear_velocity[index] = linear + np.cross(angular, data.xpos[1:] - data.subtree_com[1])
    return out


def link_positions(robot: Robot, poses: BodyPoses[np.ndarray], links: Sequence[str]) -> np.ndarray:
    """Positions [N, len(links), 3] m of bodies and of `fixed_links`, by name."""
    out = np.empty((len(poses.position), len(links), 3), poses.position.dtype)
    fixed = fixed_links(robot)
    for column, link in enumerate(links):
        body, offset = fixed.get(link, (link, None))
        index = robot.body_names.index(body)
        out[:, column] = poses.position[:, index]
        if offset is not None:
            out[:, column] += _rotation.rotate(poses.rotation[:, index], np.array(offset, out.dtype))
    return out


def breadth_first(robot: Robot, names: Sequence[str]) -> tuple[str, ...]:
    """`names` of joints, or of bodies, by their depth in the tree, as Isaac Lab numbers them."""
    model = robot.mj_model
    known = robot.hinge_names if names[0] in robot.hinge_names else robot.body_names

    def depth(name: str) -> int:
        body, count = int(model.joint(name).bodyid[0]) if known is robot.hinge_names else model.body(name).id, 0
        while body:
            body, count = int(model.body_parentid[body]), count + 1
        return count

    return tuple(sorted((name for name in known if name in names), key=depth))


def centres_of_mass(robot: Robot, names: Sequence[str]) -> np.ndarray:
    """Centres of mass of bodies in their own frames, [len(names), 3] m."""
    return robot.mj_model.body_ipos[1:][indices(names, robot.body_names)].astype(np.float32)


def _forward(robot: Robot, positions: np.ndarray, progress: Progress, report_every: int = 4096):
    import mujoco

    model, data = robot.mj_model, mujoco.MjData(robot.mj_model)
    for index, position in enumerate(positions):
        data.qpos[:] = position
        mujoco.mj_kinematics(model, data)
        yield index, data
        if (index + 1) % report_every == 0:
            progress(report_every)
    progress(len(positions) % report_every)
