"""Strides of recorded clips: cut from contact to contact of a foot, made cyclic and sampled by phase.

A stride is described in a frame that moves evenly along the path that the stride takes, an arc: how root, joints and
feet move about that frame. All quantities of a phase are one row of C numbers, the channels:

    root       x, y, z [m] and yaw, pitch, roll [rad], in the frame of the path
    joints     [rad]
    feet       for each foot x, y, z [m], pitch and yaw [rad], in the frame of the path; see `_feet`

Phase 0 is the touchdown of the left foot, phase 1/2 that of the right one.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from cmg_jax.gaits import _feet
from cmg_jax.motion_files import Clip, _clips
from cmg_jax.robot import Robot, _foot_quality

PHASES = 64
"""Samples of a stride."""

ROOT, FOOT = 6, 5
"""Channels of the root and of a foot."""

LOW, SLOW = 0.03, 0.5
"""A point of a sole in contact is at most this high [m] and this fast [m/s]."""

GAP, SHORTEST = 2, 3
"""Frames: contacts that are interrupted for less are one, and shorter ones are none."""

PERIODS = 0.4, 2.4
"""s; a stride of other duration is none."""

HALVES = 0.42, 0.58
"""Where in a stride the other foot comes down."""

ENDS, CHANGE, TURN, SIDEWAYS = 0.16, 0.15, 0.35, 0.15
"""A steady stride ends in the pose in which it began, to `ENDS` rad (root mean square over the joints), keeps its speed
to `CHANGE` (relative, or a third of that in m/s), and turns [rad/s] and goes sideways [m/s] no faster than these."""


class Strides(NamedTuple):
    """S steady strides, those that began with the right foot mirrored."""

    channels: np.ndarray  # [S, PHASES, C]
    period: np.ndarray  # [S] s
    duty: np.ndarray  # [S] share of the stride in which a foot is on the floor, the mean of both
    speed: np.ndarray  # [S] m/s forward
    clip: np.ndarray  # [S] index of the clip

    def take(self, which: np.ndarray) -> "Strides":
        return Strides(*(array[which] for array in self))


def channels_of(root: np.ndarray, joint_pos: np.ndarray, feet: np.ndarray) -> np.ndarray:
    """Channels [..., C] of root [..., 6], joints [..., J] and feet [..., 2, 5]."""
    return np.concatenate([root, joint_pos, feet.reshape(*feet.shape[:-2], 2 * FOOT)], axis=-1)


def split_channels(channels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Root [..., 6], joints [..., J] and feet [..., 2, 5] of channels [..., C]."""
    feet = channels[..., -2 * FOOT :]
    return channels[..., :ROOT], channels[..., ROOT : -2 * FOOT], feet.reshape(*feet.shape[:-1], 2, FOOT)


def mirror_channels(channels: np.ndarray, robot: Robot) -> np.ndarray:
    """The reflection of channels [..., C]; the feet change sides."""
    root, joint_pos, feet = split_channels(channels)
    source, sign = robot.mirror
    return channels_of(
        root * [1, -1, 1, -1, 1, -1], joint_pos[..., source] * sign, feet[..., ::-1, :] * [1, -1, 1, 1, -1]
    )


def contacts(clip: Clip) -> Bool[np.ndarray, "T 2"]:
    """Whether the feet are on the floor: whether a point of a sole is low and slow."""
    points = _foot_quality.soles(clip.joint_pos, clip.root_pos, clip.root_quat, clip.robot)
    speed = np.linalg.norm(np.gradient(points, 1 / clip.fps, axis=0), axis=-1)
    down = ((points[..., 2] < LOW) & (speed < SLOW)).any(axis=-1)
    for foot in range(2):
        for first, last in _clips.runs(~down[:, foot], 1):
            if last - first <= GAP and first and last < len(down):
                down[first:last, foot] = True
        for first, last in _clips.runs(down[:, foot], 1):
            if last - first < SHORTEST and first and last < len(down):
                down[first:last, foot] = False
    return down


def euler(root_quat: Float[np.ndarray, "T 4"]) -> Float[np.ndarray, "T 3"]:
    """Yaw, pitch and roll [rad] of rotations: yaw, then pitch, then roll, each about the turned axes."""
    w, x, y, z = root_quat.T
    pitch = np.arcsin(np.clip(2 * (w * y - x * z), -1, 1))
    roll = np.arctan2(2 * (y * z + w * x), 1 - 2 * (x * x + y * y))
    return np.stack([_clips.yaw(root_quat), pitch, roll], axis=-1)


def turned(vector: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Planar vectors [..., 2] rotated by `angle` [...] rad."""
    x, y, cos, sin = vector[..., 0], vector[..., 1], np.cos(angle), np.sin(angle)
    return np.stack([x * cos - y * sin, x * sin + y * cos], axis=-1)


def find_strides(clips: Sequence[Clip]) -> Strides:
    """All steady strides of clips of one robot at one rate; S may be 0."""
    found = []
    for index, clip in enumerate(clips):
        down = contacts(clip)
        feet = _feet.foot_poses(clip.joint_pos, clip.root_pos, clip.root_quat, clip.robot)
        begins = [np.flatnonzero(down[1:, foot] & ~down[:-1, foot]) + 1 for foot in range(2)]
        for foot in range(2):
            for first, last in pairwise(begins[foot].tolist()):
                middle = [at for at in begins[1 - foot].tolist() if first < at < last]
                if len(middle) == 1:
                    stride = _stride(clip, feet, down, (first, middle[0], last), foot)
                    if stride is not None:
                        found.append((*stride, index))
    size = ROOT + (clips[0].robot.num_joints if clips else 0) + 2 * FOOT
    if not found:
        none = np.zeros(0)
        return Strides(np.zeros((0, PHASES, size)), none, none, none, np.zeros(0, int))
    channels, period, duty, speed, clip = map(np.array, zip(*found, strict=True))
    return Strides(channels, period, duty, speed, clip)


def _stride(
    clip: Clip, feet: _feet.FootPoses, down: np.ndarray, at: tuple[int, int, int], foot: int
) -> tuple[np.ndarray, float, float, float] | None:
    """Channels, period, duty and speed of the stride between frames `at`, or None if it is not steady."""
    first, middle, last = at
    frames = last - first
    period, half = frames / clip.fps, (middle - first) / frames
    if not (PERIODS[0] <= period <= PERIODS[1] and HALVES[0] <= half <= HALVES[1]):
        return None
    part = slice(first, last + 1)
    angles = euler(clip.root_quat)[part]
    yaw_rate = (angles[-1, 0] - angles[0, 0]) / period
    time = np.arange(frames + 1) / clip.fps
    heading = yaw_rate * time + (angles[:, 0] - yaw_rate * time).mean()
    place = clip.root_pos[part, :2]
    chord = np.sinc(yaw_rate * period / (2 * np.pi)) * period
    velocity = turned(place[-1] - place[0], -(heading[0] + heading[-1]) / 2) / chord
    halves = [
        np.linalg.norm(place[b] - place[a]) / (b - a) * clip.fps
        for a, b in ((0, middle - first), (middle - first, -1 % len(place)))
    ]
    ends = np.sqrt(np.square(clip.joint_pos[last] - clip.joint_pos[first]).mean())
    speed = velocity[0]
    if ends > ENDS or abs(yaw_rate) > TURN or abs(velocity[1]) > SIDEWAYS:
        return None
    if abs(halves[1] - halves[0]) > CHANGE * max(abs(speed), 1 / 3):
        return None
    # The path: an arc from the first place of the root to the last one.
    arc = np.sinc(yaw_rate * time / (2 * np.pi)) * time
    path = place[0] + turned(velocity * arc[:, None], heading[0] + yaw_rate * time / 2)
    offset = turned(place - path, -heading)
    path = path + turned(np.broadcast_to(offset.mean(axis=0), offset.shape), heading)
    offset = offset - offset.mean(axis=0)
    root = np.concatenate([offset, clip.root_pos[part, 2:], angles[:, :1] - heading[:, None], angles[:, 1:]], axis=-1)
    about = turned(feet.position[part, :, :2] - path[:, None], -heading[:, None])
    soles = np.concatenate(
        [about, feet.position[part, :, 2:], feet.pitch[part, :, None], (feet.yaw[part] - heading[:, None])[..., None]],
        axis=-1,
    )
    soles[..., 4] -= 2 * np.pi * np.round(soles[..., 4].mean(axis=0) / (2 * np.pi))
    channels = channels_of(root, clip.joint_pos[part], soles)
    channels = channels - np.linspace(-0.5, 0.5, frames + 1)[:, None] * (channels[-1] - channels[0])  # cyclic
    phase = np.arange(PHASES) / PHASES
    when = np.where(phase < 0.5, 2 * phase * half, half + (2 * phase - 1) * (1 - half)) * frames
    sampled = cubic(channels, when)
    duty = down[first:last].mean()
    if foot == 1:
        sampled = mirror_channels(sampled, clip.robot)
    return sampled, period, duty, speed


def cubic(cycle: Float[np.ndarray, "n C"], when: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m C"]:
    """Values of a cycle, whose last row repeats the first one, at fractional rows (Catmull-Rom)."""
    period = len(cycle) - 1
    before = np.floor(when).astype(int)
    t = (when - before)[:, None]
    a, b, c, d = (cycle[(before + shift) % period] for shift in (-1, 0, 1, 2))
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
