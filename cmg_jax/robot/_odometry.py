"""The root's motion from the feet, for a motion that has joints only: the lower foot stands still on the floor."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from cmg_jax.robot import _feet
from cmg_jax.robot._robot import Robot
from cmg_jax.robot._root_pose import root_on_floor
from cmg_jax.robot._rotation import rotate_planar

CONTACT_HEIGHT = 0.01
"""Height in m above the lowest point of both feet up to which a point of a sole is in contact with the floor."""


def stance_velocity(joint_pos: ArrayLike, robot: Robot, fps: float) -> Float[Array, "... 3"]:
    """Velocity of the root between frames, from joint positions alone.

    The root is assumed upright, and the stance foot of two successive frames, the one whose sole is lower in both, is
    assumed to stay in place. The rigid planar motion that best fits its contact points in the root's frame (Procrustes)
    is then the inverse of the root's motion.

    Args:
      joint_pos: [..., T, J] rad.
      robot: the robot.
      fps: frames per second.

    Returns:
      vx, vy [m/s] in the robot's yaw frame and yaw rate [rad/s], [..., T-1, 3].

    Examples:
      >>> from cmg_jax import robot
      >>> walk = cmg_jax.motion_files.read(Path("walk.npz")).clips[0]
      >>> robot.stance_velocity(walk.joint_pos, robot.G1, walk.fps).shape  # vx, vy, yaw rate between frames
      (300, 3)
    """
    return _stance_velocity(joint_pos, robot, fps)


@partial(jax.jit, static_argnums=1)
def _stance_velocity(joint_pos: jax.Array, robot: Robot, fps: float) -> jax.Array:
    soles = _feet.sole_points(joint_pos, robot)
    return root_velocity(soles, stance_foot(soles), fps)


def root_velocity(
    soles: Float[Array, "*batch T 2 P 3"], stance: Int[Array, "*batch T-1"], fps: float
) -> Float[Array, "*batch T-1 3"]:
    """Velocity of the root if the stance foot of soles stays in place."""
    displacement, turn = _root_motion(soles, stance)
    # In the direction half-way through the turn.
    return jnp.concatenate([rotate_planar(displacement, -turn / 2), turn[..., None]], axis=-1) * fps


def stance_foot(soles: Float[Array, "*batch T 2 P 3"]) -> Int[Array, "*batch T-1"]:
    """The foot that is lower between frames: 0 or 1."""
    return (soles[..., :-1, :, :, 2] + soles[..., 1:, :, :, 2]).mean(axis=-1).argmin(axis=-1)


def root_from_feet(
    joint_pos: Float[np.ndarray, "*batch T J"], robot: Robot, fps: float
) -> tuple[Float[np.ndarray, "*batch T 3"], Float[np.ndarray, "*batch T 4"]]:
    """Root poses by odometry of the stance feet: from the origin, upright, the lower foot on the floor.

    Args:
      joint_pos: rad.
      robot: the robot.
      fps: frames per second.

    Returns:
      root_pos [m] and root_quat, wxyz.

    Examples:
      >>> from cmg_jax import robot
      >>> walk = cmg_jax.motion_files.read(Path("walk.npz")).clips[0]
      >>> root_pos, root_quat = robot.root_from_feet(walk.joint_pos, robot.G1, walk.fps)
      >>> root_pos.shape, root_quat.shape
      ((301, 3), (301, 4))
    """
    flat = joint_pos.reshape(-1, *joint_pos.shape[-2:])
    # One motion after the other: points of soles take four times the memory of a motion.
    velocity = np.stack([np.asarray(stance_velocity(motion, robot, fps)) for motion in flat])
    velocity = velocity.reshape(*joint_pos.shape[:-2], *velocity.shape[1:])
    return root_on_floor(joint_pos, robot, velocity, fps)


class Contacts(NamedTuple):
    """How the feet touch the floor over a motion."""

    sliding: float
    """m/s, mean speed of the points of the soles that touch the floor."""
    steps_per_second: float
    """How often the stance foot changes."""


def contacts(joint_pos: ArrayLike, robot: Robot, fps: float) -> Contacts:
    """Sliding and step rate of motions [..., T, J], the root moving by `stance_velocity`.

    Examples:
      >>> from cmg_jax import robot
      >>> walk = cmg_jax.motion_files.read(Path("walk.npz")).clips[0]
      >>> found = robot.contacts(walk.joint_pos, robot.G1, walk.fps)
      >>> print(f"{found.steps_per_second:.1f} steps/s")
      1.5 steps/s
    """
    return Contacts(*(float(figure) * fps for figure in _contacts(joint_pos, robot)))


@partial(jax.jit, static_argnums=1)
def _contacts(joint_pos: jax.Array, robot: Robot) -> tuple[jax.Array, jax.Array]:
    """Per frame: sliding [m] and changes of the stance foot."""
    soles = _feet.sole_points(joint_pos, robot)
    stance = stance_foot(soles)
    displacement, turn = _root_motion(soles, stance)
    points = soles.reshape(*soles.shape[:-3], -1, 3)
    before, after = points[..., :-1, :, :], points[..., 1:, :, :]
    moved = rotate_planar(after[..., :2], turn[..., None]) + displacement[..., None, :] - before[..., :2]
    height = jnp.maximum(before[..., 2], after[..., 2])
    down = (height - height.min(axis=-1, keepdims=True) < CONTACT_HEIGHT).astype(height.dtype)
    return (jnp.linalg.norm(moved, axis=-1) * down).sum() / down.sum(), (jnp.diff(stance, axis=-1) != 0).mean()


def smooth(values: np.ndarray, width: int) -> np.ndarray:
    """Centred moving average over `width` frames of [..., T, n]; over fewer at the ends."""
    total = np.cumsum(np.concatenate([np.zeros_like(values[..., :1, :]), values], axis=-2), axis=-2)
    frames = values.shape[-2]
    low = np.maximum(np.arange(frames) - width // 2, 0)
    high = np.minimum(np.arange(frames) - width // 2 + width, frames)
    return (total[..., high, :] - total[..., low, :]) / (high - low)[:, None]


def _root_motion(soles: jax.Array, stance: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Displacement [..., T-1, 2] m in the frame before it, and turn [..., T-1] rad, of the root."""
    stance = stance[..., None, None, None]
    frames = soles[..., :-1, :, :, :2], soles[..., 1:, :, :, :2]
    p, q = (jnp.where(stance == 0, points[..., :1, :, :], points[..., 1:, :, :])[..., 0, :, :] for points in frames)
    p_mean, q_mean = p.mean(axis=-2), q.mean(axis=-2)
    p0, q0 = p - p_mean[..., None, :], q - q_mean[..., None, :]
    # The rotation a and shift d of p = R(a) q + d.
    turn = jnp.arctan2((q0[..., 0] * p0[..., 1] - q0[..., 1] * p0[..., 0]).sum(-1), (q0 * p0).sum((-1, -2)))
    return p_mean - rotate_planar(q_mean, turn), turn
