"""`Format`: one layout of motion files, how it is recognised and read and, for some, written."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from cmg_jax.motion_files import _names
from cmg_jax.motion_files._clips import MotionFileError
from cmg_jax.motion_files._names import RATES, STEPS, TIMES
from cmg_jax.pickles import Placeholder
from cmg_jax.robot import Robot

MAX_NUMBER = 1e9
"""Largest plausible number of a motion; larger ones are damage and are read as NaN."""

TIME_TOLERANCE = 0.5
"""Fraction of a time step by which times may deviate from an even grid, because programs round them."""


class Table(dict[str, Any]):
    """Arrays by key that come from a text table. Only table formats match them."""


class Columns(NamedTuple):
    """The joints and the root of a motion, as the file holds them."""

    joint_pos: np.ndarray  # [..., T, J]
    joint_vel: np.ndarray | None
    root_pos: np.ndarray  # [..., T, 3]
    root_quat: np.ndarray  # [..., T, 4] in the file's order
    note: str = ""
    command: np.ndarray | None = None  # [..., T, 3]


class Writer(NamedTuple):
    """One way to write a format, as `--format` names it."""

    suffix: str
    write: Callable[..., None]
    """write(path, motion, *, bodies, progress)"""
    environments: bool = False
    """Whether it holds several environments, and robots of which only the joint names are known."""
    robot: Robot | None = None
    """The only robot whose links the format lists; None if it holds any robot."""


@dataclasses.dataclass(frozen=True, eq=False)
class Format:
    """The keys of a format, each as the spellings that are known for it, and the functions that read and write it."""

    title: str
    joint_pos: tuple[str, ...]
    root_pos: tuple[str, ...] = ()
    """Without keys for the root, one of the bodies is the root, or the root precedes the joints in one array."""
    root_quat: tuple[str, ...] = ()
    quaternion_order: str = "wxyz"
    """The order that the format defines; it is corrected if the robot proves another one."""
    joint_vel: tuple[str, ...] = ()
    body_pos: str = ""
    body_quat: str = ""
    local: bool = False
    """Whether body positions are in the frame of the root instead of the world."""
    is_table: bool = False
    quaternion_by: Literal["format", "names", "proof"] = "format"
    """What determines the order of the quaternions: the format; names of w, x, y and z in the file; or, for files of an
    unknown program, only the robot's kinematics or the user."""
    fewer_joints: tuple[str, ...] = ()
    """Robot variants with fewer joints that programs write in this format without naming the joints."""
    read: Callable[["Content"], Columns] | None = None
    """Finds joints and root; None if the keys above are enough."""
    writers: Mapping[str, Writer] = dataclasses.field(default_factory=dict)
    """The writers, by the name that `--format` takes."""

    def matches(self, arrays: Mapping[str, Any]) -> bool:
        """Whether `arrays` holds a motion in this format."""
        needed = [keys for keys in (self.joint_pos, self.root_pos, self.root_quat) if keys]
        if self.body_quat and not self.root_pos:
            needed.append((self.body_quat,))
        return isinstance(arrays, Table) == self.is_table and all(first_key(arrays, keys) for keys in needed)


def first_key(arrays: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    """The first of `keys` that has a value."""
    return next((key for key in keys if arrays.get(key) is not None), None)


class Content(NamedTuple):
    """A motion as a file holds it."""

    name: str
    format: Format
    arrays: Mapping[str, Any]
    robot: Robot
    """The robot of the motion if the file does not name the joints."""

    def key(self, keys: Sequence[str]) -> str | None:
        """The first of `keys` that the motion has."""
        return first_key(self.arrays, keys)

    def array(self, key: str, dims: int) -> np.ndarray:
        """The numbers under `key`, an array of `dims` axes.

        Raises:
          MotionFileError: they are missing, are not numbers, or have another number of axes.
        """
        if self.arrays.get(key) is None:
            raise MotionFileError(f"has no {key}")
        value = self.arrays[key]
        if isinstance(value, np.ndarray) and value.dtype.kind == "c":
            raise MotionFileError(f"{key} holds complex numbers; write its real part")
        try:
            with np.errstate(all="ignore"):
                array = np.asarray(value, np.float64)
        except (TypeError, ValueError, OverflowError):
            raise MotionFileError(f"{key} is not an array of numbers{_description(value)}") from None
        if array.ndim == dims + 1 and array.shape[-1] == 1:
            array = array[..., 0]
        if array.ndim != dims:
            raise MotionFileError(f"{key} has {array.ndim} axes; {dims} are expected")
        if not array.size:
            raise MotionFileError(f"{key} is empty")
        return np.where(np.abs(array) < MAX_NUMBER, array, np.nan)

    def names(self, keys: Sequence[str], kind: str) -> tuple[str, ...] | None:
        """Names of joints or bodies; None if there are none, or if joints or bodies are only numbered."""
        key = self.key(keys)
        names = None if key is None else _names.listed(self.arrays[key])
        if names is None:
            return None
        numbered = all(name.strip().lower().removeprefix(kind).strip("_ ").isdigit() for name in names)
        return None if numbered else names

    @property
    def states_fps(self) -> bool:
        """Whether the file states its rate. Tables often do not; all other formats must."""
        return not self.format.is_table or self.key(RATES) is not None

    def fps(self) -> float:
        """The rate in frames per second.

        Raises:
          MotionFileError: the file does not state it.
        """
        if key := self.key(RATES):
            fps = self._number(key)
            return 1 / fps if 0 < fps < 1 else fps  # some programs write the duration of a frame there
        if key := self.key(STEPS):
            step = self._number(key)
            return 1 / step if step else 0.0
        if (key := self.key(TIMES)) and np.ndim(self.arrays[key]) == 1:
            return rate(self._times(key))
        metadata = self.arrays.get("metadata")
        if isinstance(metadata, np.ndarray | str) and np.ndim(metadata) == 0:
            try:
                return float(json.loads(str(metadata))["motion_fps"])
            except (ValueError, TypeError, LookupError):
                pass
        raise MotionFileError("has no fps; state it with --assume fps=50")

    def _number(self, key: str) -> float:
        """The number under `key`, or the one that an array repeats for every frame."""
        try:
            values = np.asarray(self.arrays[key], np.float64).ravel()
        except (TypeError, ValueError, OverflowError):
            values = np.zeros(0)
        if not values.size:
            raise MotionFileError(f"{key} is not a number; state the rate with --assume fps=50")
        if not np.isfinite(values).all() or np.ptp(values) > 1e-6 * abs(values[0]):
            text = f"{values[0]:g}" if values.size == 1 else f"{values.min():g} .. {values.max():g}"
            raise MotionFileError(f"{key} is {text}, which is not a plausible rate; state it with --assume fps=50")
        return float(values[0])

    def _times(self, key: str) -> np.ndarray:
        """Times since the first one. The file may count them from 1970, and in nanoseconds."""
        try:
            times = np.asarray(self.arrays[key])
            return (times - times[0]).astype(np.float64) if times.size else np.zeros(0)
        except (TypeError, ValueError, OverflowError):
            raise MotionFileError(f"{key} is not an array of numbers; state the rate with --assume fps=50") from None


def _description(value: Any) -> str:
    """A description of a value that is not an array of numbers."""
    first = value.ravel()[0] if isinstance(value, np.ndarray) and value.size else value
    return f": {first}" if isinstance(first, Placeholder) else ""


def rate(time: np.ndarray) -> float:
    """Frames per second of times in s, ms, us or ns: the first of these units that gives a plausible rate."""
    step = np.diff(time)
    if len(step) < 1 or not (step > 0).all():
        raise MotionFileError("its times do not rise from row to row")
    even = (time[-1] - time[0]) / len(step)
    if np.abs(time - time[0] - even * np.arange(len(time))).max() > TIME_TOLERANCE * even:
        raise MotionFileError(
            f"its times are not evenly spaced (steps of {step.min():.4g} .. {step.max():.4g}); "
            "resample it, or drop the column"
        )
    for unit in (1.0, 1e3, 1e6, 1e9):
        fps = unit / even
        if 5 <= fps <= 2000:
            return float(round(fps)) if abs(fps - round(fps)) < 2e-3 * fps else fps
    raise MotionFileError(f"its times step by {even:.4g}, which is not a plausible frame rate")
