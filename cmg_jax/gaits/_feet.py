"""A foot as a rocker: where it is, how far it is pitched and turned, and the sole that this pose has.

    sole frame    at the foot body's origin; x ahead, y to the left, z up while the robot stands
    pitch         rad about y, toes down positive; the foot rolls over its heel (negative) or its toes (positive)
    yaw           rad about the vertical, in the world

A foot that stands has no roll: its two rear points, or its two front points, are on the floor together.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from cmg_jax.robot import Robot, _bodies, _feet, _rotation


class FootShape(NamedTuple):
    """The soles of a robot in their sole frames."""

    bodies: tuple[int, int]
    """Indices of the feet among the robot's bodies, left foot first."""
    ahead: np.ndarray  # [2, 3] the x axis of the sole frame, in the frame of the body
    left: np.ndarray  # [2, 3] its y axis
    points: np.ndarray  # [2, P, 3] m, centres of the balls under the foot
    radius: np.ndarray  # [2, P] m, of the balls
    heel: np.ndarray  # [2, 3] m, the point between the rearmost balls
    toe: np.ndarray  # [2, 3] m, the point between the foremost balls


class FootPoses(NamedTuple):
    """Poses of both feet, left foot first."""

    position: np.ndarray  # [T, 2, 3] m, of the foot bodies
    pitch: np.ndarray  # [T, 2] rad
    yaw: np.ndarray  # [T, 2] rad, without jumps of a full turn


@lru_cache(maxsize=32)
def foot_shape(robot: Robot) -> FootShape:
    """The shape of the robot's feet.

    Raises:
      InputError: the robot's feet are not known, or its base is fixed.
    """
    _feet.check(robot)
    soles = _feet._soles(robot)
    standing = _bodies.body_poses(robot, robot.standing_qpos[None])
    bodies = (soles.bodies[0] - 1, soles.bodies[1] - 1)
    axes = [
        _rotation.matrix(standing.rotation[0, body].astype(np.float64)) for body in bodies
    ]  # from the body to the world, which is the sole frame of a robot that stands
    points = np.stack([points @ axis.T for points, axis in zip(soles.points, axes, strict=True)])
    middle = points[..., 0].mean(axis=-1, keepdims=True)
    front = points[..., 0] > middle
    return FootShape(
        bodies,
        np.stack([axis[0] for axis in axes]),
        np.stack([axis[1] for axis in axes]),
        points,
        soles.radius,
        np.stack([foot[~ahead].mean(axis=0) for foot, ahead in zip(points, front, strict=True)]),
        np.stack([foot[ahead].mean(axis=0) for foot, ahead in zip(points, front, strict=True)]),
    )


def foot_poses(
    joint_pos: Float[np.ndarray, "T J"],
    root_pos: Float[np.ndarray, "T 3"],
    root_quat: Float[np.ndarray, "T 4"],
    robot: Robot,
) -> FootPoses:
    """The poses of the feet of a motion: joints in rad, the root in m and wxyz."""
    shape = foot_shape(robot)
    poses = _bodies.body_poses(robot, _bodies.qpos(robot, joint_pos, root_pos, root_quat))
    position = poses.position[:, list(shape.bodies)].astype(np.float64)
    quat = poses.rotation[:, list(shape.bodies)].astype(np.float64)
    ahead, left = (_rotation.rotate(quat, np.broadcast_to(axis, position.shape)) for axis in (shape.ahead, shape.left))
    # By the sideways axis, which stays level when the toes point down.
    yaw = np.unwrap(np.arctan2(-left[..., 0], left[..., 1]), axis=0)
    along = ahead[..., 0] * np.cos(yaw) + ahead[..., 1] * np.sin(yaw)
    return FootPoses(position, np.arctan2(-ahead[..., 2], along), yaw)


def sole_points(poses: FootPoses, robot: Robot) -> Float[np.ndarray, "T 2 P 3"]:
    """Centres [m] of the balls under feet in these poses, which have no roll."""
    points = foot_shape(robot).points
    sin, cos = np.sin(poses.pitch)[..., None], np.cos(poses.pitch)[..., None]
    ahead = cos * points[..., 0] + sin * points[..., 2]
    up = cos * points[..., 2] - sin * points[..., 0]
    sin, cos = np.sin(poses.yaw)[..., None], np.cos(poses.yaw)[..., None]
    turned = np.stack([cos * ahead - sin * points[..., 1], sin * ahead + cos * points[..., 1], up], axis=-1)
    return turned + poses.position[..., None, :]
