"""Where the robot stands: a generated motion has joints only, so its root follows the command."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax.robot import kinematics


def integrate_command(commands: jax.Array, fps: float) -> tuple[jax.Array, jax.Array]:
    """Path of a robot that walks exactly as commanded, starting at the origin and facing +x.

    Exact for commands that are constant within a frame: along an arc of turn a = yaw_rate / fps the
    chord is v / fps * sin(a/2) / (a/2), in the direction half-way through the turn.

    Args:
      commands: vx, vy [m/s] in the robot's frame and yaw rate [rad/s], [..., T, 3].
      fps: frames per second.

    Returns:
      position [..., T+1, 2] m and yaw [..., T+1] rad.
    """
    turn = commands[..., 2] / fps
    yaw = jnp.cumsum(turn, axis=-1)
    middle = yaw - turn / 2
    chord = jnp.sinc(turn / (2 * jnp.pi)) / fps
    vx, vy = commands[..., 0], commands[..., 1]
    step = jnp.stack(
        [
            (vx * jnp.cos(middle) - vy * jnp.sin(middle)) * chord,
            (vx * jnp.sin(middle) + vy * jnp.cos(middle)) * chord,
        ],
        axis=-1,
    )
    position = jnp.cumsum(step, axis=-2)
    start = jnp.zeros_like(position[..., :1, :])
    return jnp.concatenate([start, position], axis=-2), jnp.concatenate([start[..., 0], yaw], axis=-1)


def on_floor(
    joint_pos: np.ndarray,
    joint_names: Sequence[str],
    commands: np.ndarray,
    fps: float,
    progress: kinematics.Progress = lambda _: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Root poses for pictures and files: the commanded path, upright, the lower foot on the floor.

    Args:
      joint_pos: [..., T+1, J] rad.
      joint_names: names of the J joints, joints of the G1.
      commands: [..., T, 3], physical.
      fps: frames per second.
      progress: called with the number of frames done.

    Returns:
      root_pos [..., T+1, 3] m and root_quat [..., T+1, 4] wxyz.
    """
    path, yaw = map(np.asarray, integrate_command(jnp.asarray(commands, jnp.float32), fps))
    flat = joint_pos.reshape(-1, joint_pos.shape[-1])
    height = -kinematics.sole_height(kinematics.qpos(flat, joint_names), progress).reshape(*yaw.shape, 1)
    return np.concatenate([path, height], axis=-1).astype(np.float32), yaw_quaternion(yaw)


def yaw_quaternion(yaw: np.ndarray) -> np.ndarray:
    """Upright rotation [..., 4] wxyz, float32, for yaw [...] rad."""
    zero = np.zeros_like(yaw)
    return np.stack([np.cos(yaw / 2), zero, zero, np.sin(yaw / 2)], axis=-1).astype(np.float32)
