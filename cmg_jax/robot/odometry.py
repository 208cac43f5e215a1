"""What the feet tell of a motion without a root: of two feet, the lower one stands still on the floor."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cmg_jax.robot import g1

CONTACT_HEIGHT = 0.01
"""m above the lowest point of both feet up to which a point of a sole is on the floor."""


def stance_velocity(
    joint_pos: np.ndarray, joint_names: Sequence[str], fps: float, progress: g1.Progress = lambda _: None
) -> np.ndarray:
    """Velocity of the root between frames, from joint positions alone.

    The pelvis is taken as upright. Between two frames the foot whose sole is lower over both of them stays
    where it is; the planar motion that takes its four contact points from where they were to where
    they are (Procrustes) is the opposite of the root's.

    Args:
      joint_pos: [..., T, J] rad, of the G1.
      joint_names: names of the J joints.
      fps: frames per second.
      progress: called with the number of frames just finished.

    Returns:
      vx, vy [m/s] in the robot's yaw frame and yaw rate [rad/s], [..., T-1, 3].
    """
    soles = _soles(joint_pos, joint_names, progress)
    displacement, turn = _root_motion(soles)
    # In the direction half-way through the turn.
    return np.concatenate([_rotate(displacement, -turn / 2), turn[..., None]], axis=-1) * fps


class Contacts(NamedTuple):
    sliding: float
    """m/s, mean speed over the floor of the points of the soles that are on it."""
    steps_per_second: float
    """Changes of the stance foot."""


def contacts(joint_pos: np.ndarray, joint_names: Sequence[str], fps: float) -> Contacts:
    """Sliding and step rate of motions [..., T, J], the root moving as `stance_velocity` says."""
    soles = _soles(joint_pos, joint_names, lambda _: None)
    displacement, turn = _root_motion(soles)
    points = soles.reshape(*soles.shape[:-3], 8, 3)
    before, after = points[..., :-1, :, :], points[..., 1:, :, :]
    moved = _rotate(after[..., :2], turn[..., None]) + displacement[..., None, :] - before[..., :2]
    height = np.maximum(before[..., 2], after[..., 2])
    down = height - height.min(axis=-1, keepdims=True) < CONTACT_HEIGHT
    foot = _stance(soles)
    changes = (np.diff(foot, axis=-1) != 0).mean() * fps
    return Contacts(float((np.linalg.norm(moved, axis=-1) * down).sum() / down.sum() * fps), float(changes))


def smooth(values: np.ndarray, width: int) -> np.ndarray:
    """Centred moving average over `width` frames of [..., T, n]; over fewer at the ends."""
    total = np.cumsum(np.concatenate([np.zeros_like(values[..., :1, :]), values], axis=-2), axis=-2)
    frames = values.shape[-2]
    low = np.maximum(np.arange(frames) - width // 2, 0)
    high = np.minimum(np.arange(frames) - width // 2 + width, frames)
    return (total[..., high, :] - total[..., low, :]) / (high - low)[:, None]


def _soles(joint_pos: np.ndarray, joint_names: Sequence[str], progress: g1.Progress) -> np.ndarray:
    """[..., T, 2 feet, 4 points, 3] m, in the frame of an upright pelvis."""
    flat = joint_pos.reshape(-1, joint_pos.shape[-1])
    return g1.sole_points(g1.qpos(flat, joint_names), progress).reshape(*joint_pos.shape[:-1], 2, 4, 3)


def _stance(soles: np.ndarray) -> np.ndarray:
    """The foot [..., T-1] that is lower between frames."""
    return (soles[..., :-1, :, :, 2] + soles[..., 1:, :, :, 2]).mean(axis=-1).argmin(axis=-1)


def _root_motion(soles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Displacement [..., T-1, 2] m in the frame before it, and turn [..., T-1] rad, of the root."""
    stance = _stance(soles)[..., None, None, None]
    frames = soles[..., :-1, :, :, :], soles[..., 1:, :, :, :]
    p, q = (np.take_along_axis(points, stance, axis=-3)[..., 0, :, :2] for points in frames)
    p_mean, q_mean = p.mean(axis=-2), q.mean(axis=-2)
    p0, q0 = p - p_mean[..., None, :], q - q_mean[..., None, :]
    # The rotation a and shift d of p = R(a) q + d.
    turn = np.arctan2((q0[..., 0] * p0[..., 1] - q0[..., 1] * p0[..., 0]).sum(-1), (q0 * p0).sum((-1, -2)))
    return p_mean - _rotate(q_mean, turn), turn


def _rotate(vector: np.ndarray, angle: np.ndarray) -> np.ndarray:
    x, y, cos, sin = vector[..., 0], vector[..., 1], np.cos(angle), np.sin(angle)
    return np.stack([x * cos - y * sin, x * sin + y * cos], axis=-1)
