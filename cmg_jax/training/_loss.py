"""The loss of a window: what the network predicts from its first frame, with scheduled sampling, against the data."""

from typing import Any

import jax
import jax.numpy as jnp

from cmg_jax.model._model import CMGConfig
from cmg_jax.robot import MotionFrame, Robot, _feet, _odometry, _root

ROOT_WEIGHT = 3.0
"""Weight of the root channel's numbers in the error of a frame: six of them would be lost among those of the joints."""

SLIDE = 0.7
"""m/s; so large an error of a foot's velocity on the floor counts as one of 5 cm of its place."""

STEEPEST = 0.6
"""Sine of the lean beyond which the feet are no longer followed: the derivative is infinite where a root lies."""


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


def frame_loss(predicted: jax.Array, target: jax.Array, weight: jax.Array | None = None) -> jax.Array:
    """Mean squared error of normalized frames [..., D], where some numbers may weigh [D] more than others."""
    error = jnp.square(predicted - target)
    return error.mean() if weight is None else jnp.einsum("...d,d->...", error, weight).mean() / weight.size


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


def root_losses(
    predicted: MotionFrame, target: MotionFrame, robot: Robot, fps: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The errors at the feet of frames with a root channel, whose height, lean and velocity they follow from.

    The root alone would go as commanded from the first steps of a training, over legs that stand still: its command is
    its own smoothed velocity. That feet on the floor have the velocity of the data's makes the legs walk.

    Args:
      predicted: frames of windows, leaves [n, b, k].
      target: those of the data.
      robot: with known feet.
      fps: frames per second.

    Returns:
      The mean squared distance [m2] of points under the feet from their targets in the heading frame; the mean squared
      error [m2/s2] of the horizontal velocity of points that are low in the data; and the mean over windows of the
      squared error of the root's mean velocity (m/s and rad/s alike, summed).
    """
    (soles, velocity, planar), (target_soles, target_velocity, target_planar) = (
        _on_floor(frames, robot, fps) for frames in (predicted, target)
    )
    low = jax.nn.sigmoid((0.05 - target_soles[1:, ..., 2]) / 0.01)
    return (
        jnp.square(soles - target_soles).sum(axis=-1).mean(),
        (low * jnp.square(velocity - target_velocity).sum(axis=-1)).mean(),
        jnp.square((planar - target_planar).mean(axis=0)).sum(axis=-1).mean(),
    )


def _on_floor(frames: MotionFrame, robot: Robot, fps: float) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Of frames [n, ...]: soles in the heading frame, their velocities in the world, and the root's [n, ..., 3]."""
    assert frames.root is not None
    root = frames.root._replace(gravity=jnp.clip(frames.root.gravity, -STEEPEST, STEEPEST))
    soles = _root.soles_in_heading(frames._replace(root=root), robot)
    return soles, _root.sole_velocity(soles, root, fps), _root.planar_velocity(root)
