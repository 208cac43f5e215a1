"""Which stretches of synthetic motion are good enough to keep, by the measures that recordings have to pass."""

import numpy as np
from jaxtyping import Bool

from cmg_jax.motion_files import _clips
from cmg_jax.robot import Robot, _foot_quality, _g1

DEEPEST = 0.005
"""m that a sole may be below the floor."""

FASTEST = 0.7
"""Share of a motor's speed limit that a joint may reach."""

AROUND = 0.4
"""s that are cut out before and after a fault."""

SHORTEST = 1.5
"""s of a stretch that is kept."""


def good_parts(
    joint_pos: np.ndarray, root_pos: np.ndarray, root_quat: np.ndarray, robot: Robot, fps: float, fastest: float
) -> list[tuple[int, int]]:
    """First frame, and frame after the last, of the stretches to keep.

    Args:
      joint_pos: [T, J] rad.
      root_pos: [T, 3] m.
      root_quat: [T, 4] wxyz.
      robot: the robot.
      fps: frames per second.
      fastest: rad/s, of any joint of the recordings.
    """
    soles = _foot_quality.soles(joint_pos, root_pos, root_quat, robot)
    bad = soles[..., 2].min(axis=(1, 2)) < -DEEPEST
    speed = np.abs(np.diff(joint_pos, axis=0)) * fps
    share = (speed / _g1.joint_speeds(robot)).max(axis=1)
    bad[1:] |= (share > FASTEST) | (speed.max(axis=1) > fastest)
    return _clips.runs(~_widened(bad, round(AROUND * fps)), SHORTEST * fps)


def _widened(mask: Bool[np.ndarray, "T"], frames: int) -> Bool[np.ndarray, "T"]:
    """A mask that holds also `frames` before and after each frame in which `mask` does."""
    return np.convolve(mask, np.ones(2 * frames + 1), mode="same") > 0.5 if frames else mask
