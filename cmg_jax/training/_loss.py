"""The loss of a window: the network runs on from its first frame, now and then put right by the data."""

from typing import Any

import jax
import jax.numpy as jnp

from cmg_jax.model._model import CMGConfig
from cmg_jax.robot import Robot, _feet, _odometry


def predict(
    params: Any,
    config: CMGConfig,
    motion: jax.Array,
    command: jax.Array,
    teacher: jax.Array,
    *,
    through_predictions: bool = False,
) -> jax.Array:
    """The n frames after a window's first one, [n, b, D], as the PyTorch original's trainer has it.

    Each frame is predicted from the frame before it: the data's where `teacher`, else the network's own
    prediction of it (scheduled sampling, Bengio et al. 2015). The first frame is always the data's.

    Args:
      params: parameters of `config.network`.
      config: the model's.
      motion: [n+1, b, D] normalized.
      command: [n, b, C] normalized; command[t] leads from frame t to frame t+1.
      teacher: [n, b] bool: whether frame t+1 of the data is what step t+1 starts from.
      through_predictions: let gradients flow through the network's own predictions; the original cuts them.
    """

    def step(last: jax.Array, now: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        target, command, teacher = now
        frame: jax.Array = config.network.apply({"params": params}, last, command)  # pyright: ignore
        own = frame if through_predictions else jax.lax.stop_gradient(frame)
        return jnp.where(teacher[:, None], target, own), frame

    return jax.lax.scan(step, motion[0], (motion[1:], command, teacher))[1]


def frame_loss(predicted: jax.Array, target: jax.Array) -> jax.Array:
    """Mean squared error of normalized frames."""
    return jnp.square(predicted - target).mean()


def disagreement(joint_pos: jax.Array, joint_vel: jax.Array, fps: float) -> jax.Array:
    """Mean squared difference [rad2/s2] of velocities [n, b, J] and central differences of positions."""
    central = (joint_pos[2:] - joint_pos[:-2]) * (fps / 2)
    return jnp.square(central - joint_vel[1:-1]).mean()


def feet_losses(predicted: jax.Array, target: jax.Array, robot: Robot, fps: float) -> tuple[jax.Array, jax.Array]:
    """What an error of the joints means on the floor, of windows of joint positions [n, b, J] rad.

    Returns:
      the mean squared distance [m2] of points under the feet from where they should be, and the mean over
      windows of the squared error of the velocity walked (m/s and rad/s alike, summed), on the foot that stands
      in the data.
    """
    soles = _feet.sole_points(predicted, robot).swapaxes(0, 1)
    wanted = _feet.sole_points(target, robot).swapaxes(0, 1)
    stance = _odometry.stance_foot(wanted)
    error = _odometry.root_velocity(soles, stance, fps) - _odometry.root_velocity(wanted, stance, fps)
    return jnp.square(soles - wanted).sum(axis=-1).mean(), jnp.square(error.mean(axis=1)).sum(axis=-1).mean()
