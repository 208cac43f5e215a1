"""From recorded clips to what a library needs of them: tables of strides, standing, the reach of the legs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.gaits import _feet, _strides, _table
from cmg_jax.gaits._plan import TO_WALK
from cmg_jax.gaits._strides import FOOT, Strides
from cmg_jax.gaits._synthesis import Library, hips
from cmg_jax.motion_files import Clip, _clips
from cmg_jax.robot import Robot, _rotation

STANDING = 0.05, 0.25
"""m/s of the root and rad/s of the fastest joint, below which a robot stands still."""

STANDING_SECONDS = 0.3

REACH_QUANTILE = 0.95
"""Of the distances from hip to foot: with a straight knee a leg has no way to give."""

BEYOND = 0.1
"""rad that joints may go beyond what was recorded."""

LIMIT_MARGIN = 0.07
"""rad between the joints of a library and their limits."""


class Learnt(NamedTuple):
    """A library and the strides behind it."""

    library: Library
    walking: Strides
    running: Strides
    standing_frames: int


def learn(clips: Sequence[Clip], groups: Sequence[int]) -> Learnt:
    """Learn a library from clips of one robot at one rate.

    Args:
      clips: the clips.
      groups: for each clip a number that tells whose motion it is.

    Raises:
      InputError: there is no steady stride of walking in them.
    """
    robot = clips[0].robot
    strides = _strides.find_strides(clips)
    is_run = strides.duty < _table.RUNNING
    walking, running = strides.take(~is_run), strides.take(is_run & (strides.speed > 0))
    if not (walking.speed > 0).any():
        names = ", ".join(clip.name for clip in clips[:3])
        raise InputError(
            f"no steady stride of walking in {len(clips)} clips ({names}): one must show a foot come down twice while "
            "it walks forward at even speed"
        )
    walk = _table.walking_table(walking, groups, robot)
    run = _table.running_table(running, groups, robot, TO_WALK) if len(running.speed) else None
    stand, frames = _standing(clips, walk)
    return Learnt(
        Library(walk, run, stand, _reach(clips, robot), _limits(clips, robot), robot), walking, running, frames
    )


def _standing(clips: Sequence[Clip], walk: _table.Table) -> tuple[np.ndarray, int]:
    """Channels [C] of standing: the mean of all frames that stand, and of their mirror images; how many they are.

    Without such frames, the mean of a stride on the spot.
    """
    robot, found = clips[0].robot, []
    for clip in clips:
        speed = np.linalg.norm(np.gradient(clip.root_pos, 1 / clip.fps, axis=0), axis=-1)
        fastest = np.abs(np.gradient(clip.joint_pos, 1 / clip.fps, axis=0)).max(axis=-1)
        calm = _strides.contacts(clip).all(axis=-1) & (speed < STANDING[0]) & (fastest < STANDING[1])
        for first, last in _clips.runs(calm, STANDING_SECONDS * clip.fps):
            part = _clips.cut(clip, first, last)
            feet = _feet.foot_poses(part.joint_pos, part.root_pos, part.root_quat, robot)
            angles = _strides.euler(part.root_quat)
            heading = angles[:, 0]
            about = _strides.turned(feet.position[..., :2] - part.root_pos[:, None, :2], -heading[:, None])
            zero = np.zeros_like(heading)
            root = np.stack([zero, zero, part.root_pos[:, 2], zero, angles[:, 1], angles[:, 2]], axis=-1)
            yaw = feet.yaw - heading[:, None]
            yaw = yaw - 2 * np.pi * np.round(yaw / (2 * np.pi))
            soles = np.concatenate([about, feet.position[..., 2:], feet.pitch[..., None], yaw[..., None]], axis=-1)
            found.append(_strides.channels_of(root, part.joint_pos, soles))
    if found:
        frames = np.concatenate(found)
        stand = np.median([rows.mean(axis=0) for rows in found], axis=0)
    else:
        frames = np.zeros((0,))
        stand = walk.stride(
            np.zeros(walk.channels.shape[1]), np.arange(walk.channels.shape[1]) / walk.channels.shape[1]
        ).mean(axis=0)
    stand = (stand + _strides.mirror_channels(stand, robot)) / 2
    shape = _feet.foot_shape(robot)
    for foot in range(2):
        at = len(stand) - (2 - foot) * FOOT
        stand[at + 2] = shape.radius[foot].mean() - shape.toe[foot, 2]  # flat on the floor
        stand[at + 3] = 0.0
    return stand, len(frames)


def _limits(clips: Sequence[Clip], robot: Robot) -> np.ndarray:
    """The least and greatest joint positions [J, 2] of the recordings and of their mirror images, and a little more.

    A joint that never reached zero, as a knee, does not get there.
    """
    source, sign = robot.mirror
    both = [joint_pos for clip in clips for joint_pos in (clip.joint_pos, clip.joint_pos[:, source] * sign)]
    low, high = np.min([part.min(axis=0) for part in both], axis=0), np.max([part.max(axis=0) for part in both], axis=0)
    low = np.where(low > 0, np.maximum(low - BEYOND, low / 2), low - BEYOND)
    high = np.where(high < 0, np.minimum(high + BEYOND, high / 2), high + BEYOND)
    return np.clip(
        np.stack([low, high], axis=-1),
        robot.joint_limits[:, :1] + LIMIT_MARGIN,
        robot.joint_limits[:, 1:] - LIMIT_MARGIN,
    )


def _reach(clips: Sequence[Clip], robot: Robot) -> np.ndarray:
    """How far [2] m a foot gets from its hip in the recordings."""
    from_root, longest = hips(robot), []
    for clip in clips:
        feet = _feet.foot_poses(clip.joint_pos, clip.root_pos, clip.root_quat, robot)
        quat = clip.root_quat.astype(np.float64)
        hip = np.stack(
            [
                clip.root_pos + _rotation.rotate(quat, np.broadcast_to(place, clip.root_pos.shape))
                for place in from_root
            ],
            axis=1,
        )
        longest.append(np.linalg.norm(feet.position - hip, axis=-1))
    reach = np.quantile(np.concatenate(longest), REACH_QUANTILE, axis=0)
    return np.full(2, reach.mean())
