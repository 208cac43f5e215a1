"""The frame rate of a recorded walk, for motions that do not state it.

A walking robot or person falls over the stance foot like an inverted pendulum. Gravity is known, so the acceleration of
the body away from the stance foot, measured in frames, gives the frame rate.
"""

from collections.abc import Sequence

import numpy as np

from cmg_jax.motion_files._clips import Clip
from cmg_jax.robot import _feet, _rotation
from cmg_jax.robot._bodies import qpos

GRAVITY = 9.81

FRAMES = 3000
"""Number of frames of a clip that are used."""

STEP = 0.06
"""Distance in m by which one foot has to be ahead of the other, and then behind it, to count as a step."""

SLOWEST, FASTEST = 0.9, 5.0
"""Steps per second of a walk."""

MIN_STEPS = 8

ABOVE, BELOW, UNUSABLE = 1.25, 1.8, 2.5
"""Factors by which the pendulum's rate may be above or below the assumed one before that is reported, and either way
before the user has to state the rate: a walk is only roughly a pendulum, noise lowers the rate, and the root may be
invented."""


def steps_per_second(clip: Clip) -> float | None:
    """Steps per second in the faster half of a clip's steps; None if it takes hardly any."""
    soles = _feet.sole_positions(clip.robot, qpos(clip.robot, clip.joint_pos[:FRAMES]))
    ahead = np.subtract(*np.moveaxis(soles[..., 0].mean(axis=-1), -1, 0))  # m, left before right
    steps, side = [], 0
    for frame in np.flatnonzero(np.abs(ahead) > STEP):
        if np.sign(ahead[frame]) != side:
            steps.append(frame)
            side = np.sign(ahead[frame])
    if len(steps) < MIN_STEPS:
        return None
    return float(clip.fps / np.quantile(np.diff(steps), 0.25))


def pendulum_fps(clip: Clip) -> float | None:
    """The rate at which the body sways sideways over its stance foot like a pendulum of its height; None if it does
    not."""
    index = slice(0, FRAMES)
    root_quat = clip.root_quat[index]
    positions = qpos(clip.robot, clip.joint_pos[index], clip.root_pos[index], root_quat)
    mass, soles = _feet.mass_and_soles(clip.robot, positions)
    stance = soles[..., 2].mean(axis=-1).argmin(axis=-1)
    left = _rotation.rotate(root_quat, np.array([0.0, 1.0, 0.0]))[:, :2]
    steps = []
    for foot in (0, 1):
        over = mass - soles[:, foot].mean(axis=1)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], stance == foot, [0]])))
        for first, last in edges.reshape(-1, 2):
            first, last = first + (last - first) // 6, last - (last - first) // 6  # without the change of feet
            if last - first < 5:
                continue
            sideways = (over[first:last, :2] * left[first:last]).sum(axis=-1)
            time = np.arange(last - first) - (last - first - 1) / 2
            steps.append((sideways.mean(), 2 * np.polyfit(time, sideways, 3)[1], over[first:last, 2].mean()))
    if len(steps) < MIN_STEPS:
        return None
    distance, acceleration, height = np.array(steps).T
    if (distance * acceleration > 0).mean() < 0.8:  # it accelerates towards the foot, or hardly sways
        return None
    square = GRAVITY * (distance * acceleration).sum() / (height.mean() * np.square(acceleration).sum())
    return float(np.sqrt(square))


def assess(clips: Sequence[Clip]) -> tuple[str, bool]:
    """A remark on the rate of clips that do not state it, empty if it is plausible; whether the user must state it."""
    walks = [clip for clip in clips[:8] if len(clip.joint_pos) > 20]
    fps = clips[0].fps
    steps = [rate for clip in walks if (rate := steps_per_second(clip)) is not None]
    rate = float(np.median(steps)) if steps else None
    if rate is not None and not SLOWEST <= rate <= FASTEST:
        return f"it then takes {rate:.2f} steps per second", True
    fits = [fit for clip in walks if (fit := pendulum_fps(clip)) is not None]
    if not fits:
        return "", False
    fit = float(np.median(fits))
    doubt = fit > ABOVE * fps or fit < fps / BELOW
    return f"it sways as if recorded at about {fit:.0f}" if doubt else "", not 1 / UNUSABLE < fit / fps < UNUSABLE
