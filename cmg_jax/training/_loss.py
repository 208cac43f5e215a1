"""The loss of a window: what the network predicts from its first frame, with scheduled sampling, against the data."""

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
    """Predict the n frames after a window's first one, as the PyTorch original's trainer does.

    Each frame is predicted from the frame before it: from the data's frame where `teacher` is true, else from the
    network's prediction of it (scheduled sampling, Bengio et al. 2015). The first frame is always the data's.

    Args:
      params: parameters of `config.network`.
      config: of the model.
      motion: [n+1, b, D] normalized.
      command: [n, b, C] normalized; command[t] leads from frame t to frame t+1.
      teacher: [n, b] bool: whether step t+1 starts from frame t+1 of the data.
      through_predictions: let gradients flow through the network's predictions; the original stops them.

    Returns:
      [n, b, D] normalized.
    """

    def step(last: jax.Array, now: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        target, command, teacher = now
        frame: jax.Array = config.network.apply({"params": params}, last, command)  # pyright: ignore
        prediction = frame if through_predictions else jax.lax.stop_gradient(frame)
        return jnp.where(teacher[:, None], target, prediction), frame

    return jax.lax.scan(step, motion[0], (motion[1:], command, teacher))[1]


def frame_loss(predicted: jax.Array, target: jax.Array) -> jax.Array:
    """Mean squared error of normalized frames."""
    return jnp.square(predicted - target).mean()


def disagreement(joint_pos: jax.Array, joint_vel: jax.Array, fps: float) -> jax.Array:
    """Mean squared difference [rad2/s2] of velocities [n, b, J] and central differences of positions."""
    central = (joint_pos[2:] - joint_pos[:-2]) * (fps / 2)
    return jnp.square(central - joint_vel[1:-1]).mean()


def feet_losses(predicted: jax.Array, target: jax.Array, robot: Robot, fps: float) -> tuple[jax.Array, jax.Array]:
    """The errors at the feet that errors of the joints cause.

    Args:
      predicted: joint positions of windows, [n, b, J] rad.
      target: those of the data.
      robot: with known feet.
      fps: frames per second.

    Returns:
      The mean squared distance [m2] of points under the feet from their targets, and the mean over windows of the
      squared error of the velocity (m/s and rad/s alike, summed), measured at the stance foot of the data.
    """
    soles = _feet.sole_points(predicted, robot).swapaxes(0, 1)
    target_soles = _feet.sole_points(target, robot).swapaxes(0, 1)
    stance = _odometry.stance_foot(target_soles)
    error = _odometry.root_velocity(soles, stance, fps) - _odometry.root_velocity(target_soles, stance, fps)
    return jnp.square(soles - target_soles).sum(axis=-1).mean(), jnp.square(error.mean(axis=1)).sum(axis=-1).mean()
