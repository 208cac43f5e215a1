"""Figures of motion under changing commands: tracking after a change, starting and stopping."""

from typing import Any

import numpy as np

from cmg_jax.commands._region import clip_to_region
from cmg_jax.evaluation import _gait
from cmg_jax.evaluation._measure import (
    STILL,
    STRIDE_SECONDS,
    Settings,
    by_component,
    default_grid,
    generate,
    measured_velocity,
)
from cmg_jax.model._model import CMGModel
from cmg_jax.robot import _odometry

NUM_ENVS = 64
"""Environments that follow changing commands."""


def changing_commands(model: CMGModel, settings: Settings) -> np.ndarray:
    """Random commands within the range of the default grid, each held for `hold_seconds`, [NUM_ENVS, T, 3]."""
    rng = np.random.default_rng(settings.seed)
    grid = default_grid(model)
    draws = rng.uniform(grid.min(axis=0), grid.max(axis=0), size=(NUM_ENVS, settings.num_holds, 3)).astype(np.float32)
    draws = np.asarray(clip_to_region(model.stats.command_region, draws))
    return np.repeat(draws, round(settings.hold_seconds * model.config.fps), axis=1)


def changes(model: CMGModel, trajectory: np.ndarray, commands: np.ndarray, settings: Settings) -> dict[str, Any]:
    """Tracking in the second half of each command, and the largest step between frames after a change."""
    hold = round(settings.hold_seconds * model.config.fps)
    velocity = measured_velocity(model, trajectory).reshape(len(commands), settings.num_holds, hold, 3)
    late = velocity[:, :, hold // 2 :].mean(axis=2)
    error = late - commands.reshape(*velocity.shape)[:, :, 0]
    step = np.abs(np.diff(trajectory[..., : model.config.num_joints], axis=1)).max(axis=(0, 2))
    after = step[hold:].reshape(settings.num_holds - 1, hold)[:, :5] if settings.num_holds > 1 else step
    return {
        "rmse": by_component(np.sqrt(np.square(error).mean(axis=(0, 1)))),
        "largest_step_after_a_change_rad": float(after.max()),
        "largest_step_rad": float(step.max()),
    }


def start_stop(model: CMGModel) -> dict[str, Any]:
    """Seconds from standing to half of each forward speed, and from that speed back to standing, at the feet."""
    fps = model.config.fps
    speeds = np.arange(0.2, 1.51, 0.1, dtype=np.float32)
    walk, stop = round(4 * fps), round(4 * fps)
    commands = np.zeros((len(speeds), walk + stop, 3), np.float32)
    commands[:, :walk, 0] = speeds[:, None]
    trajectory = generate(model, commands)
    by = _gait.feet_velocity if model.config.has_root else measured_velocity  # a root obeys at once, its legs do not
    velocity = by(model, trajectory)
    velocity = _odometry.smooth(velocity, round(STRIDE_SECONDS * fps))
    reached = velocity[:, :walk, 0] >= 0.5 * speeds[:, None]
    moving = np.linalg.norm(velocity[:, walk:], axis=-1) > STILL
    last = np.where(moving.any(axis=1), stop - moving[:, ::-1].argmax(axis=1), 0)
    return {
        "speeds": [round(float(speed), 2) for speed in speeds],
        "seconds_to_half_speed": [round(float(row.argmax() / fps), 2) if row.any() else None for row in reached],
        "seconds_to_stand": [round(float(frame / fps), 2) if frame < stop else None for frame in last],
    }
