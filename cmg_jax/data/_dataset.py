"""A data set: the frames of all clips in a row, as one NPZ file without pickles."""

import dataclasses
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from cmg_jax._errors import InputError
from cmg_jax._file_kinds import file_kind
from cmg_jax._files import atomic_path, first_line, read_npz
from cmg_jax.commands._region import region_of
from cmg_jax.model._normalization import MotionStats
from cmg_jax.motion_files import _evidence
from cmg_jax.robot import Robot, _frame, _saved

STD_FLOOR = 0.1
"""Least standard deviation that normalizes, as in the PyTorch original: a joint that hardly moves would
otherwise turn its noise into large numbers."""

ROOT_STD_FLOORS = {"root height": 0.02, "root gravity x, y": 0.02}
"""Those of parts that vary less than joints do: a walker's height by 1 to 3 cm, its lean by 0.05."""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """N frames of clips that follow one another; no clip is interrupted.

    Examples:
      >>> from cmg_jax import data
      >>> dataset = data.load(Path("walks.npz"))
      >>> dataset.seconds, dataset.clip_names, dataset.has_root
      (6.02, ('walk',), True)
      >>> first, end = dataset.clip_edges()[0]
      >>> dataset.motion[first:end].shape
      (301, 64)
    """

    motion: np.ndarray  # [N, D] float32, joint positions [rad], velocities [rad/s] and, if `has_root`, the root channel
    command: np.ndarray  # [N, 3] float32, vx, vy [m/s] and yaw rate [rad/s]; command[i] leads from frame i to i+1
    clip: np.ndarray  # [N] int32, ascending
    first_foot: np.ndarray  # [N] int8: LEFT or RIGHT where a start from standing begins, else 0
    clip_names: tuple[str, ...]
    robot: Robot
    fps: float
    """Frames per second."""

    @property
    def has_root(self) -> bool:
        """Whether the frames have a root channel."""
        return _frame.has_root(self.motion.shape[-1], self.robot.num_joints)

    @property
    def seconds(self) -> float:
        """Length of all clips together."""
        return len(self.motion) / self.fps

    def clip_edges(self) -> list[tuple[int, int]]:
        """For each clip its first frame, and the frame after its last."""
        edges = [0, *(np.flatnonzero(np.diff(self.clip)) + 1).tolist(), len(self.clip)]
        return list(pairwise(edges))

    def stats(self) -> MotionStats:
        """The normalization of these frames and their mirror images, which training draws with equal probability."""
        mirrored = np.asarray(_frame.mirror_motion(self.motion, self.robot))
        frames = np.concatenate([self.motion, mirrored]).astype(np.float64)
        low, high = self.command.min(axis=0), self.command.max(axis=0)
        sideways = np.maximum(np.abs(low), np.abs(high))[1:]  # vy and yaw rate change sign in the mirror
        # A command that never varies would divide by zero.
        low, high = np.append(low[:1], -sideways), np.append(high[:1], sideways)
        high = np.maximum(high, low + 1e-3)
        parts = _frame.frame_parts(self.robot.num_joints, root=self.has_root)
        floors = np.repeat([ROOT_STD_FLOORS.get(part.name, STD_FLOOR) for part in parts], [part.size for part in parts])
        mean, std = frames.mean(axis=0), np.maximum(frames.std(axis=0), floors)
        region = region_of(self.command)
        return MotionStats(*(np.asarray(array, np.float32) for array in (mean, std, low, high, region)))  # pyright: ignore


FEET = LEFT, RIGHT = 1, 2
"""Values of `Dataset.first_foot`."""

_ARRAYS = ("motion", "command", "clip", "first_foot")


def save(path: Path, dataset: Dataset) -> None:
    """Write a data set to one NPZ file without pickles, whole or not at all.

    Raises:
      InputError: no file may be written as `path`, or the disk refuses.

    Examples:
      >>> from cmg_jax import data
      >>> dataset = data.load(Path("walks.npz"))
      >>> data.save(Path("copy.npz"), dataset)
      >>> data.load(Path("copy.npz")).seconds == dataset.seconds
      True
    """
    arrays = {name: np.asarray(getattr(dataset, name)) for name in (*_ARRAYS, "clip_names", "fps")}
    robot = _saved.to_json(dataset.robot)
    arrays["joint_names"] = np.asarray(robot.pop("joint_names"))
    if robot:
        arrays["robot"] = np.asarray(json.dumps(robot["robot"]))
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]


def load(path: Path) -> Dataset:
    """Read a data set.

    Raises:
      InputError: it is not a data set of `save`, is damaged or inconsistent, or its joints are not in the order of
        their names.
      OSError: it cannot be opened.

    Examples:
      >>> from cmg_jax import data
      >>> dataset = data.load(Path("walks.npz"))
      >>> dataset.motion.shape, dataset.command.shape  # frames
      ((301, 64), (301, 3))
    """
    kind = file_kind(path)
    if kind.name != "npz":
        raise InputError(f"{path}: not a data set: it is {kind.text}; make one with cmg-jax data")
    try:
        arrays = read_npz(path)
    except InputError as error:
        raise InputError(f"{error}, so it is not a data set; make one with cmg-jax data") from None
    names = (*_ARRAYS, "clip_names", "joint_names", "fps")
    if missing := [name for name in names if name not in arrays]:
        raise InputError(f"{path}: not a data set: it lacks {', '.join(missing)}; make one with cmg-jax data")
    robot = _robot(path, arrays)
    try:
        dataset = Dataset(
            *(arrays[name] for name in _ARRAYS),
            clip_names=tuple(map(str, arrays["clip_names"])),
            robot=robot,
            fps=float(arrays["fps"]),
        )
        frames = len(dataset.motion)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: not a data set: {first_line(error)}; make one with cmg-jax data") from None
    if not (frames and np.isfinite(dataset.fps) and dataset.fps > 0):
        raise InputError(f"{path}: {frames} frames at {dataset.fps:g} a second; make a data set with cmg-jax data")
    sizes = [_frame.frame_size(dataset.robot.num_joints, root=root) for root in (False, True)]
    shapes = {"motion": [(frames, size) for size in sizes], "command": [(frames, 3)]}
    for name in _ARRAYS:
        array, allowed = getattr(dataset, name), shapes.get(name, [(frames,)])
        if array.shape not in allowed:
            words = " or, with a root, ".join(map(str, allowed))
            raise InputError(f"{path}: {name} has shape {array.shape}; it must be {words}")
        if array.dtype.kind not in "fiu":
            raise InputError(f"{path}: {name} is of {array.dtype}; it must be numbers")
        bad = ~np.isfinite(array).reshape(frames, -1).all(axis=-1)
        if bad.any():
            raise InputError(f"{path}: {name} is not finite in frame {int(bad.argmax())}")
    _check_order(path, dataset)
    return dataset


def _check_order(path: Path, dataset: Dataset) -> None:
    """Refuse data from files in Isaac Lab's order that were read as MuJoCo's: joints exceed their limits."""
    robot = dataset.robot
    if not robot.has_mjcf or set(robot.joint_names) != set(robot.hinge_names):
        return
    joint_pos = dataset.motion[:: max(len(dataset.motion) // 1000, 1), : robot.num_joints]
    orders = (robot, _evidence.breadth_first(robot))
    as_named, as_isaac_lab = (_evidence.beyond(joint_pos, order).mean() for order in orders)
    if as_named > 5 * as_isaac_lab + 0.001:
        raise InputError(f"{path}: its joints are in Isaac Lab's order under MuJoCo's names; make it with cmg-jax data")


def _robot(path: Path, arrays: dict[str, np.ndarray]) -> Robot:
    content: dict[str, Any] = {"joint_names": np.ravel(arrays["joint_names"]).tolist()}
    if "robot" in arrays:
        try:
            content["robot"] = json.loads(str(arrays["robot"]))
        except ValueError:
            content["robot"] = str(arrays["robot"])  # refused as damaged
    return _saved.from_json(content, str(path))
