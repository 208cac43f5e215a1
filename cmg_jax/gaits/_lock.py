"""Locks feet to the floor: a foot that stands stays where it is and rolls over its heel and its toes.

The paths of the feet come from a table of strides and bend with the path of the root. Of each contact the place is that
of the middle of the contact; between contacts the correction passes smoothly from one to the next.
"""

import numpy as np
from jaxtyping import Bool, Float

from cmg_jax.gaits import _feet
from cmg_jax.gaits._feet import FootPoses
from cmg_jax.motion_files import _clips
from cmg_jax.robot import Robot

PLAY = 0.12
"""rad of pitch within which a foot in contact is flat."""

FLAT = 0.25
"""rad of pitch up to which a foot counts for the direction of its contact."""

WALK_CLEARANCE, RUN_CLEARANCE = 0.018, 0.045
"""m that a swinging foot keeps above the floor, some time after it lifts off and before it comes down."""

WALK_FRAMES, RUN_FRAMES = 0.10, 0.06
"""s until then."""


def lock(
    feet: FootPoses,
    contact: Bool[np.ndarray, "T 2"],
    still: Bool[np.ndarray, "T"],
    running: Float[np.ndarray, "T"],
    robot: Robot,
    fps: float,
) -> FootPoses:
    """Feet that stand where they are in contact.

    Args:
      feet: where the feet would be, without roll.
      contact: whether a foot is on the floor.
      still: where the robot stands still; a contact that holds such a frame has its place from there.
      running: 0 walking to 1 running; a runner lifts the feet higher.
      robot: the robot.
      fps: frames per second.
    """
    shape = _feet.foot_shape(robot)
    position, yaw = feet.position.copy(), feet.yaw.copy()
    share = contact.astype(float)
    padded = np.pad(share, ((1, 1), (0, 0)), mode="edge")
    share = 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]
    level = feet.pitch * (1 - np.exp(-np.square(feet.pitch / PLAY)))
    pitch = share * level + (1 - share) * feet.pitch
    for foot in range(2):
        fixes = []
        for first, last in _clips.runs(contact[:, foot], 1):
            part = slice(first, last)
            placed, turn = _standing(position[part, foot], yaw[part, foot], pitch[part, foot], still[part], shape, foot)
            fix = np.concatenate([placed - position[part, foot], (turn - yaw[part, foot])[:, None]], axis=-1)
            fixes.append((first, last, fix))
        correction = _bridge(fixes, len(contact))
        position[:, foot] += correction[:, :3]
        yaw[:, foot] += correction[:, 3]
    locked = FootPoses(position, pitch, yaw)
    position[..., 2] += _lift(locked, contact, running, robot, fps)
    return locked


def _standing(
    position: np.ndarray, yaw: np.ndarray, pitch: np.ndarray, still: np.ndarray, shape: _feet.FootShape, foot: int
) -> tuple[np.ndarray, float]:
    """Positions [n, 3] of a foot that rolls on the floor over a fixed heel and toe, and its yaw."""
    weight = still.astype(float) if still.any() else np.ones(len(pitch))
    turn = float(np.average(yaw, weights=weight * (np.exp(-np.square(pitch / FLAT)) + 1e-3)))
    heading = np.array([np.cos(turn), np.sin(turn)])
    toe, heel, radius = shape.toe[foot], shape.heel[foot], shape.radius[foot].mean()
    over_toe = pitch > 0
    pivot = np.where(over_toe[:, None], toe, heel)
    cos, sin = np.cos(pitch), np.sin(pitch)
    ahead = cos * pivot[:, 0] + sin * pivot[:, 2]
    up = cos * pivot[:, 2] - sin * pivot[:, 0]
    # From the toe, which stays, back to the pivot and on to the foot body.
    back = np.where(over_toe, 0.0, toe[0] - heel[0]) + ahead
    toes = position[:, :2] + back[:, None] * heading
    place = np.average(toes, axis=0, weights=weight)
    return np.concatenate([place - back[:, None] * heading, (radius - up)[:, None]], axis=-1), turn


def _bridge(fixes: list[tuple[int, int, np.ndarray]], frames: int) -> np.ndarray:
    """Corrections [T, 4] that are given on runs of frames; between them, cubics with the slopes at their ends."""
    if not fixes:
        return np.zeros((frames, 4))
    out = np.empty((frames, fixes[0][2].shape[1]))
    out[: fixes[0][0]] = fixes[0][2][0]
    for (_, end, before), (begin, _, after) in zip(
        fixes, [*fixes[1:], (frames + 1, 0, fixes[-1][2][-1:])], strict=True
    ):
        out[end - len(before) : end] = before
        length = begin - end + 1
        t = (np.arange(1, length) / length)[: frames - end, None]
        if begin > frames:  # after the last contact
            out[end:] = before[-1]
            continue
        slopes = [fix[1] - fix[0] if len(fix) > 1 else np.zeros(fix.shape[1]) for fix in (before[-2:], after[:2])]
        a, b = before[-1], after[0]
        out[end:begin] = (
            (2 * t**3 - 3 * t**2 + 1) * a
            + (t**3 - 2 * t**2 + t) * length * slopes[0]
            + (3 * t**2 - 2 * t**3) * b
            + (t**3 - t**2) * length * slopes[1]
        )
    return out


def _lift(feet: FootPoses, contact: np.ndarray, running: np.ndarray, robot: Robot, fps: float) -> np.ndarray:
    """How much higher [T, 2] m feet must be to clear the floor in their swings."""
    frames, index = len(contact), np.arange(len(contact))
    radius = _feet.foot_shape(robot).radius
    lowest = (_feet.sole_points(feet, robot)[..., 2] - radius).min(axis=-1)
    clearance = WALK_CLEARANCE + running * (RUN_CLEARANCE - WALK_CLEARANCE)
    seconds = WALK_FRAMES + running * (RUN_FRAMES - WALK_FRAMES)
    out = np.zeros((frames, 2))
    for foot in range(2):
        down = np.flatnonzero(contact[:, foot])
        if not len(down):
            continue
        at = np.searchsorted(down, index)
        away = np.minimum(
            np.where(at < len(down), np.abs(down[np.minimum(at, len(down) - 1)] - index), frames),
            np.where(at > 0, np.abs(index - down[np.maximum(at - 1, 0)]), frames),
        )
        part = np.clip(away / (seconds * fps), 0, 1)
        short = clearance * part**1.3 - lowest[:, foot]
        soft = 0.5 * (short + np.sqrt(np.square(short) + 0.004**2))
        out[:, foot] = np.where(away > 0, soft * np.clip(away / 2, 0, 1), 0.0)
    return out
