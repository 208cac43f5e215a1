"""The rate at which a walk was recorded, for motions that do not state it.

A robot, or a person, falls over the standing foot as an inverted pendulum does, and gravity is known: how fast the
body accelerates away from the foot it stands on, in frames, gives the frames in a second.
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
"""m; a foot that is less far ahead of the other, and then behind it, makes no step."""

SLOWEST, FASTEST = 0.9, 5.0
"""Steps per second of a walk."""

MIN_STEPS = 8

SLOW, FAST, ABSURD = 1.25, 1.8, 2.5
"""Factors by which the pendulum's rate may be above or below the other before that is reported, and before the rate is
asked for: a walk is not quite a pendulum, noise makes the rate less, and the root may be made up."""


def steps_per_second(clip: Clip) -> float | None:
    """Steps per second in the brisker half of a clip's steps; None where it takes hardly any."""
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
    """The rate at which the body sways sideways over its standing foot as a pendulum of its height; None where it
    does not."""
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
    if (distance * acceleration > 0).mean() < 0.8:  # towards the foot, or without a swing
        return None
    square = GRAVITY * (distance * acceleration).sum() / (height.mean() * np.square(acceleration).sum())
    return float(np.sqrt(square))


def judge(clips: Sequence[Clip]) -> tuple[str, bool]:
    """What there is to report about the rate of clips that do not state it, empty where it fits; and whether to ask."""
    walks = [clip for clip in clips[:8] if len(clip.joint_pos) > 20]
    fps = clips[0].fps
    steps = [rate for clip in walks if (rate := steps_per_second(clip)) is not None]
    rate = float(np.median(steps)) if steps else None
    if rate is not None and not SLOWEST <= rate <= FASTEST:
        return f"at which it takes {rate:.2f} steps a second", True
    fits = [fit for clip in walks if (fit := pendulum_fps(clip)) is not None]
    if not fits:
        return "", False
    fit = float(np.median(fits))
    doubt = fit > SLOW * fps or fit < fps / FAST
    return f"but it sways as if recorded at about {fit:.0f}" if doubt else "", not 1 / ABSURD < fit / fps < ABSURD
