"""Root poses. A generated motion has joints only, so its root follows the command."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from cmg_jax.robot import _feet
from cmg_jax.robot._robot import Robot
from cmg_jax.robot._rotation import rotate_planar, yaw_quaternion


class RootPose(NamedTuple):
    """Planar pose of the root in the world, as a rollout carries it along."""

    position: Float[Array, "... 2"]  # m
    yaw: Float[Array, "..."]  # rad, between -pi and pi


def init_root(num_envs: int) -> RootPose:
    """Roots at the origin, facing +x.

    Examples:
      >>> from cmg_jax import robot
      >>> pose = robot.init_root(num_envs=2)
      >>> pose.position.shape, pose.yaw.shape
      ((2, 2), (2,))
    """
    return RootPose(jnp.zeros((num_envs, 2), jnp.float32), jnp.zeros(num_envs, jnp.float32))


def step_root(pose: RootPose, command: Float[Array, "... 3"], fps: float) -> RootPose:
    """One frame further under `command`, exactly along the arc. See `integrate_command`.

    Examples:
      >>> from cmg_jax import robot
      >>> pose = robot.init_root(num_envs=2)
      >>> command = jnp.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.0]])
      >>> robot.step_root(pose, command, fps=50.0).position
      Array([[0.02, 0.  ],
             [0.  , 0.01]], dtype=float32)
    """
    displacement, turn = _arc(command, pose.yaw, fps)
    yaw = pose.yaw + turn
    # Kept small: a float32 angle that grows loses its last digits.
    return RootPose(pose.position + displacement, yaw - 2 * jnp.pi * jnp.round(yaw / (2 * jnp.pi)))


def reset_root(pose: RootPose, done: ArrayLike, to: RootPose | None = None) -> RootPose:
    """Rows where `done` [num_envs] start again: at the origin, or at their row of `to`.

    Examples:
      >>> from cmg_jax import robot
      >>> pose = robot.init_root(num_envs=2)
      >>> pose = pose._replace(position=pose.position + 1.0)
      >>> robot.reset_root(pose, jnp.array([True, False])).position
      Array([[0., 0.],
             [1., 1.]], dtype=float32)
    """
    done = jnp.asarray(done).astype(bool)
    to = init_root(len(done)) if to is None else to
    return RootPose(jnp.where(done[:, None], to.position, pose.position), jnp.where(done, to.yaw, pose.yaw))


def commanded_velocity(pose: RootPose, command: Float[Array, "*batch 3"]) -> Float[Array, "*batch 2"]:
    """Velocity in the world [m/s] of a robot that walks as commanded; it turns at command[..., 2] rad/s.

    Examples:
      >>> from cmg_jax import robot
      >>> pose = robot.init_root(num_envs=2)
      >>> pose = pose._replace(yaw=jnp.array([0.0, jnp.pi / 2]))
      >>> robot.commanded_velocity(pose, jnp.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])).round(3)
      Array([[ 1.,  0.],
             [-0.,  1.]], dtype=float32)
    """
    return rotate_planar(command[..., :2], pose.yaw)


def integrate_command(
    commands: Float[Array, "*batch T 3"], fps: float
) -> tuple[Float[Array, "*batch T+1 2"], Float[Array, "*batch T+1"]]:
    """Path of a robot that walks exactly as commanded, starting at the origin and facing +x.

    Exact for commands that are constant within a frame: along an arc of turn a = yaw_rate / fps the
    chord is v / fps * sin(a/2) / (a/2), in the direction half-way through the turn.

    Args:
      commands: vx, vy [m/s] in the robot's frame and yaw rate [rad/s].
      fps: frames per second.

    Returns:
      position [m] and yaw [rad], which is not wrapped.

    Examples:
      >>> from cmg_jax import robot
      >>> straight = jnp.tile(jnp.array([1.0, 0.0, 0.0]), (50, 1))
      >>> position, yaw = robot.integrate_command(straight, fps=50.0)
      >>> position[-1].round(3)
      Array([1., 0.], dtype=float32)
    """
    yaw = jnp.cumsum(commands[..., 2] / fps, axis=-1)
    start = jnp.zeros((*yaw.shape[:-1], 1), yaw.dtype)
    yaw = jnp.concatenate([start, yaw], axis=-1)
    position = jnp.cumsum(_arc(commands, yaw[..., :-1], fps)[0], axis=-2)
    return jnp.concatenate([jnp.stack([start, start], axis=-1), position], axis=-2), yaw


def _arc(command: jax.Array, yaw: jax.Array, fps: float) -> tuple[jax.Array, jax.Array]:
    """Displacement [..., 2] m in the world and turn [...] rad of one frame that begins at `yaw` [...]."""
    turn = command[..., 2] / fps
    chord = jnp.sinc(turn / (2 * jnp.pi)) / fps
    return rotate_planar(command[..., :2] * chord[..., None], yaw + turn / 2), turn


def root_on_floor(
    joint_pos: Float[np.ndarray, "*batch T J"], robot: Robot, commands: Float[np.ndarray, "*batch T-1 3"], fps: float
) -> tuple[Float[np.ndarray, "*batch T 3"], Float[np.ndarray, "*batch T 4"]]:
    """Root poses for pictures and files: along the commanded path, upright, the lower foot on the floor.

    Args:
      joint_pos: rad.
      robot: the robot; one whose feet are not known stays at height 0.
      commands: physical.
      fps: frames per second.

    Returns:
      root_pos [m] and root_quat, wxyz.

    Examples:
      >>> from cmg_jax import robot
      >>> joint_pos = np.tile(robot.G1.standing_joint_pos, (51, 1))
      >>> root_pos, root_quat = robot.root_on_floor(joint_pos, robot.G1, np.zeros((50, 3), np.float32), fps=50.0)
      >>> root_pos.shape, root_quat.shape
      ((51, 3), (51, 4))
    """
    path, yaw = map(np.asarray, integrate_command(jnp.asarray(commands, jnp.float32), fps))
    flat = joint_pos.reshape(-1, joint_pos.shape[-1])
    height = -np.asarray(_ground_height(flat, robot)) if robot.walks else np.zeros(len(flat), np.float32)
    height = height.reshape(*yaw.shape, 1)
    return np.concatenate([path, height], axis=-1).astype(np.float32), yaw_quaternion(yaw)


_ground_height = jax.jit(_feet.ground_height, static_argnums=1)
