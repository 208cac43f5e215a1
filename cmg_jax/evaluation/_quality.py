"""Figures of motion that do not depend on its command, for a model and for its training data."""

import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.data._dataset import Dataset
from cmg_jax.evaluation import _gait
from cmg_jax.evaluation._measure import STRIDE_SECONDS, by_component, velocity_of
from cmg_jax.robot import Robot, _odometry, split_frame


def quality(motion: np.ndarray, robot: Robot, fps: float) -> dict[str, float]:
    """Joint limits, agreement of velocities with positions, sliding of feet, jerk and steps of motions [B, T, D]."""
    position, velocity, root = split_frame(motion, robot.num_joints)
    low, high = robot.joint_limits.T
    beyond = np.maximum(position - high, low - position)
    central = (position[:, 2:] - position[:, :-2]) * (fps / 2)
    jerk = np.diff(position, n=3, axis=1) * fps**3
    if root is None:
        sliding, steps = _odometry.contacts(position, robot, fps)
    else:
        found = _gait.figures_of(motion, robot, fps)
        sliding, steps = found["slip_m_s"], found["steps_per_second"]
    return {
        "frames_beyond_limits": float((beyond > 0).any(axis=-1).mean()),
        "furthest_beyond_limits_rad": max(float(beyond.max()), 0.0),
        "velocity_disagreement_rad_s": float(np.sqrt(np.square(central - velocity[:, 1:-1]).mean())),
        "jerk_rms_rad_s3": float(np.sqrt(np.square(jerk).mean())),
        "largest_step_rad": float(np.abs(np.diff(position, axis=1)).max()),
        "foot_sliding_m_s": sliding,
        "steps_per_second": steps,
    }


def segments(data: Dataset, num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Motion [N, num_frames, D] and commands [N, num_frames, 3] of a data set's clips; remainders are dropped.

    Raises:
      InputError: no clip has that many frames.
    """
    edges = data.clip_edges()
    starts = np.concatenate([np.arange(first, last - num_frames + 1, num_frames) for first, last in edges])
    if not len(starts):
        raise InputError(f"no clip of the data has {num_frames} frames to compare with; ask for fewer seconds")
    index = starts[:, None] + np.arange(num_frames)
    return data.motion[index], data.command[index]


def data_tracking(data: Dataset, motion: np.ndarray, command: np.ndarray) -> dict[str, float]:
    """RMSE between the data's velocity (`velocity_of`), averaged over a stride, and its commands.

    Where it is large, so is the error of a model that has learnt the data perfectly: pelvises tilt, feet slide,
    commands change.
    """
    velocity = velocity_of(motion, data.robot, data.fps)
    error = _odometry.smooth(velocity, round(STRIDE_SECONDS * data.fps)) - command[:, :-1]
    return by_component(np.sqrt(np.square(error).mean(axis=(0, 1))))
