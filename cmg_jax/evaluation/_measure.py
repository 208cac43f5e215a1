"""The basis of all figures of an evaluation: settings, generated motion, and the velocity measured in it."""

import itertools
from typing import NamedTuple

import jax
import numpy as np

from cmg_jax import _play
from cmg_jax.commands import trained_range, within
from cmg_jax.model._model import CMGModel
from cmg_jax.robot import Robot, _odometry, split_frame

COMPONENTS = ("vx", "vy", "yaw")
"""Names of the components of a velocity: forward and left [m/s], and yaw rate [rad/s]."""

MOVING = 0.2
"""A command demands motion if its largest component is at least this, in m/s or rad/s."""

STILL = 0.05
"""The robot stands while the norm of its velocity (m/s and rad/s alike) is at most this."""

STRIDE_SECONDS = 0.6
"""Seconds over which changing velocities are averaged: about a stride."""

DEFAULT_GRID = tuple(itertools.product((-0.3, 0.0, 0.3, 0.6, 0.9, 1.2, 1.5), (-0.3, 0.0, 0.3), (-0.6, 0.0, 0.6)))
"""Commands (vx, vy [m/s], yaw rate [rad/s]) that a model is evaluated under if it knows no region of commands."""

WIDE_VX = (-0.6, -0.3, 0.0, 0.3, 0.6, 0.9, 1.2, 1.5, 2.0, 2.5, 3.0)
"""m/s; forward speeds of the grid of a model that knows its region."""

SIDEWAYS_BELOW = 1.6
"""m/s; forward speed above which no command of the grid goes sideways."""

MARGIN = 0.05
"""m/s and rad/s; commands of the grid lie outside of the region by at most this."""


def default_grid(model: CMGModel) -> np.ndarray:
    """The commands [M, 3] that `evaluate` holds: walking and running as far as the model's region of commands goes.

    Of a region that lies between the lines of the grid they are the ends.

    Examples:
      >>> from cmg_jax import evaluation
      >>> evaluation.default_grid(model).shape  # commands
      (81, 3)
    """
    trained = trained_range(model)
    if trained.region is None:
        return np.asarray(DEFAULT_GRID, np.float32)
    grid = np.array(list(itertools.product(WIDE_VX, (-0.3, 0.0, 0.3), (-0.6, 0.0, 0.6))), np.float32)
    grid = grid[(grid[:, 0] <= SIDEWAYS_BELOW) | (grid[:, 1] == 0)]
    inside = (np.abs(np.asarray(within(trained, grid)) - grid) <= MARGIN).all(axis=1)
    if not grid[inside].any():
        vx, vy, yaw = np.stack([trained.low, trained.high], axis=1)
        grid = np.array(list(itertools.product(np.linspace(vx[0], vx[1], 3), vy, yaw)), np.float32)
        return np.unique(np.asarray(within(trained, grid)), axis=0)
    return grid[inside]


class Settings(NamedTuple):
    """How long an evaluation generates, and what it draws.

    Examples:
      >>> from cmg_jax import evaluation
      >>> evaluation.Settings(num_frames=250, num_drift_frames=1000).hold_seconds
      2.0
    """

    num_frames: int = 500
    """Frames generated from standing, for every command of the grid."""
    settle_seconds: float = 1.0
    """Seconds at the beginning of a motion that no figure includes."""
    hold_seconds: float = 2.0
    """Seconds that each of the changing commands is held."""
    num_holds: int = 8
    """Random commands one after the other, in each of 64 environments."""
    num_drift_frames: int = 10_000
    """Frames of the long run."""
    seed: int = 0
    """Draws the changing commands."""
    ramp_seconds: float = 0.0
    """Seconds in which a held command rises from zero."""


def held(commands: np.ndarray, num_frames: int, ramp: float = 0.0) -> np.ndarray:
    """Commands [B, T, 3] that reach `commands` [B, 3] after `ramp` frames and stay there."""
    share = np.clip(np.arange(1, num_frames + 1, dtype=np.float32) / max(ramp, 1.0), 0.0, 1.0)
    return commands[:, None] * share[:, None]


def generate(model: CMGModel, commands: np.ndarray) -> np.ndarray:
    """Trajectories [B, T+1, D] under commands [B, T, 3], whose first frame stands."""
    return np.asarray(_generate(model, commands))


@jax.jit
def _generate(model: CMGModel, commands: jax.Array) -> jax.Array:
    return _play.trajectory(model, *_play.begin(model, len(commands)), commands)


def measured_velocity(model: CMGModel, trajectory: np.ndarray) -> np.ndarray:
    """Velocity [..., T, 3] of trajectories [..., T+1, D], frame by frame: see `velocity_of`."""
    return velocity_of(trajectory, model.config.robot, model.config.fps)


def velocity_of(motion: np.ndarray, robot: Robot, fps: float) -> np.ndarray:
    """Velocity [..., T, 3] of motion [..., T+1, D]: of its root channel, or else measured at the stance foot."""
    frames = split_frame(motion, robot.num_joints)
    if frames.root is not None:
        return np.concatenate([frames.root.velocity, frames.root.yaw_rate], axis=-1)[..., 1:, :]
    return np.asarray(_odometry.stance_velocity(frames.joint_pos, robot, fps))


def by_component(values: np.ndarray) -> dict[str, float]:
    """The three values of a velocity or of its error, by name."""
    return {name: float(value) for name, value in zip(COMPONENTS, values, strict=True)}
