"""The whole root of a motion: where it is, how it leans and how it moves, from what its frames hold.

A frame with a root channel has its height, lean and planar velocity; integrating the latter gives the path. For a
frame without one, the root is assumed upright, its lower foot on the floor, and to walk as commanded.

    world frame     x and y on the floor, z up
    heading frame   at the root, z up, x along the horizontal part of the root's x axis
    root frame      the root body's own, x forward, y to the left
    gravity         the unit vector down, in the root frame: (sin pitch, -cos pitch sin roll, -cos pitch cos roll)
    yaw             of the heading frame, about z; rotation = yaw, then pitch, then roll (each in the turned frame)
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from cmg_jax.robot import _feet
from cmg_jax.robot._frame import MotionFrame, RootMotion
from cmg_jax.robot._robot import Robot
from cmg_jax.robot._root_pose import RootPose, integrate_command
from cmg_jax.robot._rotation import inverse, multiply, rotate, rotate_planar, rotation_vector, yaw_of


class RootState(NamedTuple):
    """The root in the world, or in the heading frame of another one. Velocities lead from a frame to the next."""

    position: Float[Array, "... 3"]  # m
    rotation: Float[Array, "... 4"]  # wxyz
    linear_velocity: Float[Array, "... 3"]  # m/s
    angular_velocity: Float[Array, "... 3"]  # rad/s

    def in_heading(self) -> tuple[Float[Array, "*batch 3"], Float[Array, "*batch 3"]]:
        """Linear velocity [m/s] and angular velocity [rad/s] in the root's own heading frame."""
        back = -yaw_of(self.rotation)
        return turn(self.linear_velocity, back), turn(self.angular_velocity, back)


def root_motion(frames: MotionFrame, command: Float[Array, "... C"], robot: Robot) -> RootMotion:
    """The root channel of frames, leaves [..., n].

    Args:
      frames: the frames. Where they have no root channel, the root is upright, its lower foot is on the floor (at
        height 0 for a robot whose feet are not known), and it moves as commanded.
      command: active commands [..., 3]: vx, vy [m/s] and yaw rate [rad/s].
      robot: the robot.

    Examples:
      >>> from cmg_jax import robot
      >>> frames = robot.MotionFrame(jnp.zeros((4, 29)), jnp.zeros((4, 29)))  # without a root channel
      >>> root = robot.root_motion(frames, jnp.tile(jnp.array([0.8, 0.0, 0.0]), (4, 1)), robot.G1)
      >>> root.velocity[0]
      Array([0.8, 0. ], dtype=float32)
    """
    if frames.root is not None:
        return frames.root
    shape = frames.joint_pos.shape[:-1]
    if robot.walks:
        height = -_feet.sole_points(frames.joint_pos, robot)[..., 2].min(axis=(-2, -1))[..., None]
    else:
        height = jnp.zeros((*shape, 1), jnp.float32)
    command = jnp.broadcast_to(command, (*shape, command.shape[-1]))
    return RootMotion(height, jnp.zeros((*shape, 2), jnp.float32), command[..., :2], command[..., 2:3])


def planar_velocity(motion: RootMotion) -> Float[Array, "... 3"]:
    """Velocity forward and to the left [m/s] and yaw rate [rad/s], as `step_root` takes it."""
    return jnp.concatenate([motion.velocity, motion.yaw_rate], axis=-1)


def integrate_root(motion: RootMotion, fps: float) -> RootState:
    """The roots of n successive frames, in the heading frame of the first one.

    Positions and rotations follow the planar velocities exactly, along arcs. Velocities are those that lead to the
    next frame; the last frame repeats the one before it. A single frame only has its planar velocity.

    Args:
      motion: leaves [..., n, k].
      fps: frames per second.

    Returns:
      leaves [..., n, k].

    Examples:
      >>> from cmg_jax import robot
      >>> frames = robot.split_frame(model.initial_motion[:8], 29)  # leaves [8, n]
      >>> root = robot.integrate_root(frames.root, model.config.fps)  # in the heading frame of the first one
      >>> root.position.shape, root.rotation.shape
      ((8, 3), (8, 4))
    """
    planar = planar_velocity(motion)
    path, yaw = integrate_command(planar[..., 1:, :], fps)
    position = jnp.concatenate([path, motion.height], axis=-1)
    rotation = rotation_of(yaw, motion.gravity)
    if yaw.shape[-1] == 1:
        zero = jnp.zeros_like(yaw)
        return RootState(
            position,
            rotation,
            jnp.stack([planar[..., 0], planar[..., 1], zero], axis=-1),
            jnp.stack([zero, zero, planar[..., 2]], axis=-1),
        )
    linear = jnp.diff(position, axis=-2) * fps
    angular = rotation_vector(multiply(rotation[..., 1:, :], inverse(rotation[..., :-1, :]))) * fps
    repeat = [jnp.concatenate([values, values[..., -1:, :]], axis=-2) for values in (linear, angular)]
    return RootState(position, rotation, *repeat)


def root_channel(position: Float[np.ndarray, "T 3"], rotation: Float[np.ndarray, "T 4"], fps: float) -> RootMotion:
    """The root channel of a recorded root, by which `integrate_root` finds its path again.

    The first frame repeats the velocity of the second one. A lean of more than 90 degrees cannot be expressed.

    Args:
      position: [T, 3] m in the world, T at least 2.
      rotation: [T, 4] wxyz.
      fps: frames per second.

    Returns:
      NumPy leaves [T, k], float64.

    Examples:
      >>> from cmg_jax import robot
      >>> walk = cmg_jax.motion_files.read(Path("walk.npz")).clips[0]
      >>> channel = robot.root_channel(walk.root_pos, walk.root_quat, walk.fps)
      >>> channel.height.shape, channel.velocity.shape
      ((301, 1), (301, 2))
    """
    position, rotation = np.asarray(position, np.float64), np.asarray(rotation, np.float64)
    down = rotate(inverse(rotation), np.broadcast_to([0.0, 0.0, -1.0], position.shape))
    w, x, y, z = rotation.T
    yaw = np.unwrap(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))
    turned = np.diff(yaw)
    # The inverse of `integrate_command`: a chord is half-way through its turn.
    towards, chord = -(yaw[:-1] + turned / 2), np.sinc(turned / (2 * np.pi)) / fps
    dx, dy = np.diff(position[:, :2], axis=0).T / chord
    cos, sin = np.cos(towards), np.sin(towards)
    planar = np.stack([dx * cos - dy * sin, dx * sin + dy * cos, turned * fps], axis=-1)
    planar = np.concatenate([planar[:1], planar])
    return RootMotion(position[:, 2:], down[:, :2], planar[:, :2], planar[:, 2:])  # pyright: ignore


def place_root(root: RootState, pose: RootPose) -> RootState:
    """Roots given in the heading frame of `pose`, in the world.

    Args:
      root: leaves [B, ..., k].
      pose: of each row, leaves [B, 2] and [B].

    Examples:
      >>> from cmg_jax import robot
      >>> frames = robot.split_frame(model.initial_motion[:8], 29)  # leaves [8, n]
      >>> root = robot.integrate_root(jax.tree.map(lambda leaf: leaf[:, None], frames.root), model.config.fps)
      >>> pose = robot.init_root(8)
      >>> pose = pose._replace(position=pose.position + 2.0)
      >>> robot.place_root(root, pose).position[0, 0, :2]
      Array([2., 2.], dtype=float32)
    """
    yaw = pose.yaw.reshape(-1, *(1,) * (root.position.ndim - 2))
    yaw = jnp.broadcast_to(yaw, root.position.shape[:-1])
    origin = pose.position.reshape(-1, *(1,) * (root.position.ndim - 2), 2)
    planar = rotate_planar(root.position[..., :2], yaw) + origin
    upright = rotation_of(yaw, jnp.zeros((*yaw.shape, 2), jnp.float32))
    return RootState(
        jnp.concatenate([planar, root.position[..., 2:]], axis=-1),
        multiply(upright, root.rotation),
        turn(root.linear_velocity, yaw),
        turn(root.angular_velocity, yaw),
    )


def rotation_of(yaw: Float[Array, "*batch"], gravity: Float[Array, "*batch 2"]) -> Float[Array, "*batch 4"]:
    """The rotation wxyz of a root with a yaw [rad] and a lean, up to 90 degrees from upright."""
    x, y = gravity[..., 0], gravity[..., 1]
    pitch = jnp.arcsin(jnp.clip(x, -1.0, 1.0))
    down = jnp.sqrt(jnp.maximum(1 - x * x - y * y, 0.0))
    roll = jnp.arctan2(-y, down)
    (sy, cy), (sp, cp), (sr, cr) = ((jnp.sin(angle / 2), jnp.cos(angle / 2)) for angle in (yaw, pitch, roll))
    return jnp.stack(
        [
            cy * cp * cr + sy * sp * sr,
            cy * cp * sr - sy * sp * cr,
            cy * sp * cr + sy * cp * sr,
            sy * cp * cr - cy * sp * sr,
        ],
        axis=-1,
    )


def gravity_of(rotation: Float[Array, "*batch 4"]) -> Float[Array, "*batch 2"]:
    """The lean of rotations wxyz: x and y of the unit vector down in the rotated frame."""
    w, x, y, z = (rotation[..., index] for index in range(4))
    return jnp.stack([2 * (w * y - x * z), -2 * (y * z + w * x)], axis=-1)


def turn(vector: Float[Array, "*batch 3"], yaw: Float[Array, "*batch"]) -> Float[Array, "*batch 3"]:
    """Vectors turned about the vertical by `yaw` [rad]."""
    return jnp.concatenate([rotate_planar(vector[..., :2], yaw), vector[..., 2:]], axis=-1)


CONTACT_HEIGHT = 0.03
"""m above the floor, up to which a point of a sole may be in contact with it."""

CONTACT_SPEED = 0.5
"""m/s that such a point may have: a foot that stands, is set down or pushes off is slower, one that swings faster."""


def foot_contacts(
    joint_pos: Float[Array, "*batch n J"], root: RootState, robot: Robot, fps: float
) -> Bool[Array, "*batch n 2"]:
    """Whether the feet are on the floor: whether a point of a sole is low and slow.

    Args:
      joint_pos: of n successive frames [..., n, J] rad.
      root: of these frames, leaves [..., n, k].
      robot: the robot.
      fps: frames per second.

    Returns:
      [..., n, 2] bool, left foot first. A frame's speeds lead to the next one; the last frame repeats those before it.
      A single frame has contacts by height alone.

    Raises:
      InputError: the robot's feet are not known.

    Examples:
      >>> from cmg_jax import robot
      >>> frames = robot.split_frame(model.initial_motion[:8], 29)  # leaves [8, n]
      >>> root = robot.integrate_root(frames.root, model.config.fps)  # in the heading frame of the first one
      >>> robot.foot_contacts(frames.joint_pos, root, robot.G1, model.config.fps).shape  # left foot first
      (8, 2)
    """
    points = soles_in_world(joint_pos, root, robot)
    low = points[..., 2] < CONTACT_HEIGHT
    if points.shape[-4] == 1:
        return low.any(axis=-1)
    speed = jnp.linalg.norm(jnp.diff(points, axis=-4), axis=-1) * fps
    speed = jnp.concatenate([speed, speed[..., -1:, :, :]], axis=-3)
    return (low & (speed < CONTACT_SPEED)).any(axis=-1)


def soles_in_world(
    joint_pos: Float[ArrayLike, "*batch J"], root: RootState, robot: Robot
) -> Float[Array, "*batch 2 P 3"]:
    """Lowest points under each foot [..., 2, P, 3] m of poses [..., J], the root at leaves [..., k].

    Examples:
      >>> from cmg_jax import robot
      >>> frames = robot.split_frame(model.initial_motion[:8], 29)  # leaves [8, n]
      >>> root = robot.integrate_root(frames.root, model.config.fps)  # in the heading frame of the first one
      >>> robot.soles_in_world(frames.joint_pos, root, robot.G1).shape  # frames, feet, points, xyz [m]
      (8, 2, 4, 3)
    """
    points = _feet.sole_points(joint_pos, robot)
    rotation = jnp.broadcast_to(root.rotation[..., None, None, :], (*points.shape[:-1], 4))
    return rotate(rotation, points) + root.position[..., None, None, :]


def soles_in_heading(frames: MotionFrame, robot: Robot) -> Float[Array, "... 2 P 3"]:
    """Lowest points [m] under each foot of frames with a root channel, in their heading frames."""
    assert frames.root is not None
    height, gravity = frames.root.height, frames.root.gravity
    origin = jnp.concatenate([jnp.zeros_like(gravity), height], axis=-1)
    lean = rotation_of(jnp.zeros_like(height[..., 0]), gravity)
    return soles_in_world(frames.joint_pos, RootState(origin, lean, origin, origin), robot)


def sole_velocity(
    soles: Float[Array, "n *batch 2 P 3"], motion: RootMotion, fps: float
) -> Float[Array, "n-1 *batch 2 P 2"]:
    """Horizontal velocity [m/s] in the world between n successive frames, exact for their arcs.

    Args:
      soles: `soles_in_heading` of the frames.
      motion: their root channel, leaves [n, ..., k].
      fps: frames per second.

    Returns:
      velocities along the heading half-way between two frames.
    """
    half = (motion.yaw_rate[1:, ..., 0] / (2 * fps))[..., None, None]
    chord = jnp.sinc(half / jnp.pi)[..., None] * motion.velocity[1:, ..., None, None, :]
    return (rotate_planar(soles[1:, ..., :2], half) - rotate_planar(soles[:-1, ..., :2], -half)) * fps + chord
