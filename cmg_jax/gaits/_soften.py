"""Slows legs down that race through a swing: the feet that stand stay where they are."""

import numpy as np
from jaxtyping import Bool, Float

from cmg_jax.motion_files import _clips
from cmg_jax.robot import Robot, _feet, _foot_quality

FASTEST = 12.0
"""rad/s from which on a swing is smoothed."""

WEIGHTS = 0.3, 1.0, 3.0, 10.0, 30.0, 100.0
"""Of squared second differences against squared changes; the first one that is enough is taken."""

DEEPER = 0.001
"""m that a sole may get deeper into the floor by it."""


def soften(
    joint_pos: Float[np.ndarray, "T J"],
    root_pos: Float[np.ndarray, "T 3"],
    root_quat: Float[np.ndarray, "T 4"],
    contact: Bool[np.ndarray, "T 2"],
    limits: Float[np.ndarray, "J 2"],
    robot: Robot,
    fps: float,
) -> Float[np.ndarray, "T J"]:
    """Joint positions whose legs swing more evenly where a joint was faster than `FASTEST`.

    Args:
      joint_pos: rad.
      root_pos: m.
      root_quat: wxyz.
      contact: whether the left and the right foot is on the floor; joints do not change in these frames.
      limits: least and greatest joint positions, rad.
      robot: the robot.
      fps: frames per second.
    """
    out, changed = joint_pos.copy(), []
    for foot, leg in enumerate(_feet.leg_joints(robot)):
        joints = leg[leg >= 0]
        for first, last in _clips.runs(~contact[:, foot], 1):
            if first < 2 or last > len(contact) - 2:
                continue
            part = (slice(first - 2, last + 2), joints)
            if fps * np.abs(np.diff(joint_pos[part], axis=0)).max() > FASTEST:
                out[part] = np.clip(_evened(joint_pos[part], FASTEST / fps), *limits[joints].T)
                changed.append((foot, first, last, joints))
    if not changed:
        return out
    before, after = (
        _foot_quality.soles(array, root_pos, root_quat, robot)[..., 2].min(axis=-1) for array in (joint_pos, out)
    )
    for foot, first, last, joints in changed:
        low = after[first:last, foot]
        if (low < np.minimum(before[first:last, foot], 0) - DEEPER).any():
            out[first:last, joints] = joint_pos[first:last, joints]
    return out


def _evened(angles: np.ndarray, step: float) -> np.ndarray:
    """Angles [n, L] of a swing, smoothed until they change by at most `step` a frame; two at each end stay."""
    count = len(angles)
    second = np.diff(np.eye(count), 2, axis=0)
    inner = slice(2, count - 2)
    made = angles
    for weight in WEIGHTS:
        matrix = np.eye(count) + weight * second.T @ second
        fixed = angles.copy()
        fixed[inner] = 0.0
        wanted = (angles - matrix @ fixed)[inner]
        made = angles.copy()
        made[inner] = np.linalg.solve(matrix[inner, inner], wanted)
        if np.abs(np.diff(made, axis=0)).max() <= step:
            break
    return made
