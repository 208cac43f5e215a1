"""How the feet of a motion meet the floor: whether they slide, float above it or sink into it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cmg_jax.robot import _bodies, _feet
from cmg_jax.robot._robot import Robot

NEAR = 0.025
"""m above the floor, up to which a point of a sole may carry the robot."""

OFF_FLOOR = 0.02
"""m between height 0 and where feet come down, from which on the floor is not at height 0. The feet of recordings that
were retargeted come down within 0.015 of it."""

STEP_SECONDS = 0.5
"""Within this time a robot that walks or runs touches the floor at least once."""


class FootFigures(NamedTuple):
    """Figures of one motion, or of several together."""

    slip: float
    """m/s: over the frames with points of soles within `NEAR` of the floor, the median of the smallest horizontal speed
    among these points; NaN where there is no such frame."""
    flight: float
    """Share of the frames in which no point of a sole is within `NEAR` of the floor."""
    floating: float
    """m between the floor and where the feet come down: the median, over all half-seconds, of the lowest point of the
    soles in it. Negative where feet sink into the floor; about 0 for a run, whose feet come down between flights."""
    penetration: float
    """m of the deepest point of a sole below the floor; 0 where none is."""


def foot_figures(
    joint_pos: np.ndarray, root_pos: np.ndarray, root_quat: np.ndarray, robot: Robot, fps: float
) -> FootFigures:
    """The figures of motions on a floor at height 0; those of leading axes together.

    Args:
      joint_pos: [..., T, J] rad, T at least 2.
      root_pos: [..., T, 3] m.
      root_quat: [..., T, 4] wxyz.
      robot: the robot.
      fps: frames per second.

    Raises:
      InputError: the robot's feet are not known, or its base is fixed.
    """
    return figures([soles(joint_pos, root_pos, root_quat, robot)], fps)


def soles(joint_pos: np.ndarray, root_pos: np.ndarray, root_quat: np.ndarray, robot: Robot) -> np.ndarray:
    """Points of the soles in the world, [..., T, 2, P, 3] m float32; about 10 us a frame."""
    flat = (np.asarray(array).reshape(-1, array.shape[-1]) for array in (joint_pos, root_pos, root_quat))
    points = _feet.sole_positions(robot, _bodies.qpos(robot, *flat))
    return points.reshape(*joint_pos.shape[:-1], *points.shape[1:])


def figures(motions: Sequence[np.ndarray], fps: float) -> FootFigures:
    """The figures of motions together, whose `soles` are each [..., T, 2, P, 3]."""
    slowest, lowest, stepped, near = [], [], [], []
    for points in motions:
        points = points.reshape(*points.shape[:-3], -1, 3)  # [..., T, 2 P, 3]
        low = points[..., 2] < NEAR
        speed = np.linalg.norm(np.gradient(points[..., :2], 1 / fps, axis=-3), axis=-1)
        near.append(low.any(axis=-1).ravel())
        slowest.append(np.where(low, speed, np.inf).min(axis=-1).ravel()[near[-1]])
        height = points[..., 2].min(axis=-1)
        lowest.append(height.ravel())
        width = min(max(round(STEP_SECONDS * fps), 1), height.shape[-1])
        stepped.append(np.lib.stride_tricks.sliding_window_view(height, width, axis=-1).min(axis=-1).ravel())
    slow, low, step, on_floor = map(np.concatenate, (slowest, lowest, stepped, near))
    return FootFigures(
        slip=float(np.median(slow)) if len(slow) else float("nan"),
        flight=float(1 - on_floor.mean()),
        floating=float(np.median(step)),
        penetration=max(float(-low.min()), 0.0),
    )
