"""`Clip`, one uninterrupted recording of a robot, and the functions that check it, cut it and change its rate.

A clip is what a file holds: it may lack velocities and commands, and it may be wrong, until `check` has passed it. A
`Motion`, which is written, is complete, and may be of many environments; so they are two types.
"""

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.robot import Robot, _g1, _odometry
from cmg_jax.robot._joints import indices

FPS_TOLERANCE = 0.15
"""Largest relative error of a declared frame rate against the one that positions and velocities imply."""

ROOT_JUMP_SPEED = 8.0
"""Speed in m/s above which a root has jumped from one frame to the next."""

STILL, UPRIGHT = 1e-6, 1e-4
"""m that a recorded root moves at least while the joints do, and rad that it leans at least in some frame."""


class Clip(NamedTuple):
    """One uninterrupted recording of T frames and J joints."""

    name: str
    fps: float
    """Frames per second."""
    robot: Robot
    """Its joints are those of the recording. For some robots only the joint names are known."""
    joint_pos: np.ndarray  # [T, J] rad
    joint_vel: np.ndarray | None  # [T, J] rad/s; None if the file has none
    root_pos: np.ndarray  # [T, 3] m, world
    root_quat: np.ndarray  # [T, 4] wxyz
    command: np.ndarray | None = None  # [T, 3] vx, vy [m/s] and yaw rate [rad/s], as commanded, if known

    @property
    def joint_names(self) -> tuple[str, ...]:
        return self.robot.joint_names


class MotionFileError(InputError):
    """A file or a clip cannot be used. `reason` says why, without the name of the file."""

    def __init__(self, reason: str, path: Path | None = None):
        super().__init__(reason if path is None else f"{path}: {reason}")
        self.reason = reason


def check(clip: Clip) -> None:
    """Refuse a clip that a network must not be trained on.

    Raises:
      MotionFileError: a number is not finite, arrays differ in length, there are too few frames, a quaternion is not a
        rotation, or positions and velocities do not agree with the declared frame rate.
    """
    arrays = {field: value for field, value in clip._asdict().items() if isinstance(value, np.ndarray)}
    frames = len(clip.joint_pos)
    if frames < 3:
        raise MotionFileError(f"only {frames} frames")
    for name, array in arrays.items():
        if len(array) != frames:
            raise MotionFileError(f"{name} has {len(array)} frames, joint_pos {frames}")
        bad = ~np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
        if bad.any():
            raise MotionFileError(f"{name} is not finite in frame {int(bad.argmax())}")
    if np.abs(np.linalg.norm(clip.root_quat, axis=-1) - 1).max() > 1e-2:
        raise MotionFileError("root_quat is not of length 1")
    check_rate(clip)


def is_rate(fps: float) -> bool:
    """Whether `fps` is a plausible frame rate of a recording."""
    return 1 <= fps <= 10_000


def check_rate(clip: Clip) -> None:
    """Refuse a clip whose positions and velocities do not agree with its frame rate.

    Raises:
      MotionFileError: they do not agree, or the rate is not plausible.
    """
    if not is_rate(clip.fps):
        raise MotionFileError(f"fps {clip.fps:g} is not a plausible frame rate")
    implied = implied_fps(clip)
    if implied is not None and abs(implied / clip.fps - 1) > FPS_TOLERANCE:
        raise MotionFileError(
            f"declares {clip.fps:g} fps, but its velocities agree with its positions at {implied:.1f} "
            f"(--assume fps={implied:.3g} reads it at that rate)"
        )


def implied_fps(clip: Clip) -> float | None:
    """The frame rate at which the differences of the positions come nearest to the velocities, by least squares.

    None if there are no velocities, or hardly any motion to compare.
    """
    if clip.joint_vel is None:
        return None
    step = (clip.joint_pos[2:] - clip.joint_pos[:-2]) / 2
    square = float(np.square(step).sum())
    if square < 1e-6 * step.size:
        return None
    return float((step * clip.joint_vel[1:-1]).sum()) / square


def take_joints(clip: Clip, robot: Robot, fill: bool = False) -> Clip:
    """The clip with the joints of `robot`, in its order; with `fill`, missing joints are at zero.

    Raises:
      MotionFileError: the clip lacks one of them, and `fill` is false.
    """
    names, same = robot.joint_names, clip.robot.has_mjcf and clip.robot.mjcf == robot.mjcf
    missing = [name for name in names if name not in clip.joint_names]
    if missing and not (fill and same):
        others = f" and {len(missing) - 1} more" if missing[1:] else ""
        remedy = "; --assume missing=zero keeps them at zero" if same else ""
        raise MotionFileError(f"has no joint {missing[0]}{others}{remedy}")
    present = [name for name in names if name in clip.joint_names]
    source, target = indices(present, clip.joint_names), indices(present, names)

    def take(values: np.ndarray) -> np.ndarray:
        out = np.zeros((len(values), len(names)), values.dtype)
        out[:, target] = values[:, source]
        return out

    velocity = None if clip.joint_vel is None else take(clip.joint_vel)
    return clip._replace(robot=robot, joint_pos=take(clip.joint_pos), joint_vel=velocity)


def split_at_jumps(clip: Clip) -> list[Clip]:
    """The clip in pieces, cut where it jumps."""
    limits = _g1.joint_speeds(clip.robot)
    joint_speed = np.abs(np.diff(clip.joint_pos, axis=0)) * clip.fps
    root_speed = np.linalg.norm(np.diff(clip.root_pos, axis=0), axis=-1) * clip.fps
    jumps = np.flatnonzero((joint_speed > limits).any(axis=-1) | (root_speed > ROOT_JUMP_SPEED)) + 1
    edges = [0, *jumps.tolist(), len(clip.joint_pos)]
    return [cut(clip, first, last) for first, last in pairwise(edges)]


def cut(clip: Clip, first: int, last: int) -> Clip:
    """Frames `first` to `last` of the clip, the latter not included."""
    arrays = {field: value[first:last] for field, value in clip._asdict().items() if isinstance(value, np.ndarray)}
    return clip._replace(**arrays)


def runs(mask: np.ndarray, least: float) -> list[tuple[int, int]]:
    """First frame, and frame after the last, of each run of at least `least` frames in which `mask` [T] is true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return [(first, last) for first, last in edges.reshape(-1, 2).tolist() if last - first >= least]


def resample(clip: Clip, fps: float) -> Clip:
    """The clip at another rate, interpolated linearly between frames and along great circles between rotations.

    Commands are not interpolated: a frame has the command of the last frame at or before it. Missing
    velocities become the central differences of the positions.
    """
    frames = len(clip.joint_pos)
    count = int(np.floor((frames - 1) * fps / clip.fps + 1e-6)) + 1
    position = np.minimum(np.arange(count) * (clip.fps / fps), frames - 1)
    before = np.minimum(np.floor(position + 1e-9).astype(int), frames - 2)
    weight = np.clip(position - before, 0.0, 1.0)

    def lines(values: np.ndarray) -> np.ndarray:
        return values[before] * (1 - weight[:, None]) + values[before + 1] * weight[:, None]

    joint_pos = lines(clip.joint_pos)
    velocity = np.gradient(joint_pos, 1 / fps, axis=0) if clip.joint_vel is None else lines(clip.joint_vel)
    nearest = np.minimum(np.floor(position + 1e-9).astype(int), frames - 1)
    return clip._replace(
        fps=fps,
        joint_pos=joint_pos,
        joint_vel=velocity,
        root_pos=lines(clip.root_pos),
        root_quat=slerp(clip.root_quat[before], clip.root_quat[before + 1], weight),
        command=None if clip.command is None else clip.command[nearest],
    )


def slerp(first: np.ndarray, second: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Spherical interpolation of quaternions [N, 4] with weights [N] (Shoemake 1985), the shorter way round."""
    dot = (first * second).sum(-1)
    second = np.where(dot[:, None] < 0, -second, second)
    angle = np.arccos(np.clip(np.abs(dot), 0, 1))
    near = angle < 1e-4
    sine = np.where(near, 1.0, np.sin(angle))
    a = np.where(near, 1 - weight, np.sin((1 - weight) * angle) / sine)
    b = np.where(near, weight, np.sin(weight * angle) / sine)
    out = a[:, None] * first + b[:, None] * second
    return out / np.linalg.norm(out, axis=-1, keepdims=True)


def yaw(root_quat: np.ndarray) -> np.ndarray:
    """Heading [T] rad of rotations [T, 4] wxyz, without jumps of a full turn."""
    w, x, y, z = root_quat.T
    return np.unwrap(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))


def unrecorded_root(clip: Clip) -> str:
    """What shows that the root of a clip was made up, and not recorded; empty where it was recorded."""
    if root_is_still(clip):
        return "its root never moves"
    if tilt(clip.root_quat).max() < UPRIGHT:
        return "its root is exactly upright in every frame, as if made up"
    return ""


def root_is_still(clip: Clip) -> bool:
    """Whether the root never moves while the joints do."""
    return bool(np.ptp(clip.root_pos, axis=0).max() < STILL < np.ptp(clip.joint_pos, axis=0).max())


def tilt(root_quat: np.ndarray) -> np.ndarray:
    """Angle [T] rad between the vertical and the z axis of rotations [T, 4] wxyz."""
    # By the sine of half of it, which loses nothing near upright.
    return 2 * np.arcsin(np.clip(np.linalg.norm(root_quat[:, 1:3], axis=-1), 0, 1))


def yaw_frame_velocity(clip: Clip, seconds: float) -> np.ndarray:
    """Velocity of the root in its smoothed heading: vx, vy [m/s] and yaw rate [rad/s], [T, 3].

    Within a stride the root sways and turns far more than any command does. So both the heading and the velocity in it
    are averaged over `seconds`, centred on each frame.
    """
    return _odometry.smooth(_root_velocity(clip, seconds), max(round(seconds * clip.fps), 1))


def _root_velocity(clip: Clip, seconds: float) -> np.ndarray:
    """Velocity of the root from frame to frame, [T, 3], in its heading averaged over `seconds`."""
    heading, width = yaw(clip.root_quat), round(seconds * clip.fps) | 1  # odd, and so symmetric
    vx, vy = np.gradient(clip.root_pos[:, :2], 1 / clip.fps, axis=0).T
    turn = np.gradient(heading, 1 / clip.fps)
    # Continued at its ends as it is turning there.
    heading = np.pad(heading, width // 2, mode="reflect", reflect_type="odd")
    heading = np.convolve(heading, np.full(width, 1 / width), mode="valid")
    cos, sin = np.cos(heading), np.sin(heading)
    return np.stack([vx * cos + vy * sin, vy * cos - vx * sin, turn], axis=-1)


def walked_velocity(clip: Clip, seconds: float) -> np.ndarray:
    """As `yaw_frame_velocity`, of the stance feet instead of the root: for a clip whose root never moves."""
    return _odometry.smooth(_stance_velocity(clip), max(round(seconds * clip.fps), 1))


def _stance_velocity(clip: Clip) -> np.ndarray:
    velocity = np.asarray(_odometry.stance_velocity(clip.joint_pos, clip.robot, clip.fps))
    return np.concatenate([velocity, velocity[-1:]])


def measured_command(clip: Clip, stride: float, *, by_root: bool) -> np.ndarray:
    """The recorded command [T, 3], replaced by the measured velocity wherever it is held for two strides or more.

    A robot does not quite walk as it is commanded, and a network that learns the recorded command would make the same
    error; a network that learns the measured velocity obeys. The measured velocity is the mean over the last whole
    strides of `stride` seconds, once the robot has got under way. A command of zero stays, and so does one that is held
    for less than two strides.

    Args:
      clip: the clip.
      stride: seconds.
      by_root: whether the velocity is that of the root, or that of the stance feet (`odometry.stance_velocity`).
    """
    assert clip.command is not None
    velocity = _root_velocity(clip, stride) if by_root else _stance_velocity(clip)
    changes = np.flatnonzero((np.diff(clip.command, axis=0) != 0).any(axis=-1)) + 1
    frames = max(round(stride * clip.fps), 1)
    out = clip.command.copy()
    for first, last in pairwise([0, *changes.tolist(), len(clip.command)]):
        if clip.command[first].any() and last - first >= 2 * frames:
            settled = (last - first) * 2 // 3 // frames * frames
            out[first:last] = velocity[last - settled : last].mean(axis=0)
    return out


def check_fps(fps: float) -> float:
    """`fps`, or an InputError if it is not a positive number."""
    if not (np.isfinite(fps) and fps > 0):
        raise InputError(f"fps {fps:g} is not a positive number of frames per second")
    return fps
