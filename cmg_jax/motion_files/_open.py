"""Opens NPZ files, pickles (joblib's too) and tables as motions: dictionaries of arrays by their keys.

The first bytes say what a file is, not its name. Nothing in a file is ever executed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cmg_jax import pickles
from cmg_jax._file_kinds import file_kind
from cmg_jax.motion_files import _csv, _names
from cmg_jax.motion_files._clips import MotionFileError
from cmg_jax.motion_files._formats import SUFFIXES, is_motion_file
from cmg_jax.pickles import PickleError, Placeholder
from cmg_jax.robot import G1, Robot

MIN_FRAMES = 3
"""A list of fewer dictionaries is a list of motions, not of frames."""


def load(path: Path, robot: Robot = G1) -> Mapping[str, Mapping[str, Any]]:
    """The motions of a file by name: the file's stem, with a number or key if there are several.

    Raises:
      MotionFileError: it is of another kind, or damaged.
      OSError: it cannot be opened.
    """
    kind = file_kind(path)
    if not is_motion_file(path):
        raise MotionFileError(f"unknown format {path.suffix!r}; known are {', '.join(SUFFIXES)} (it is {kind.text})")
    try:
        if kind.name == "npz":
            return {path.stem: pickles.load_npz(path)}
        if kind.name in ("pickle", "zlib", "gzip", "bzip2", "xz"):
            return _motions(path.stem, pickles.load(path.read_bytes()), robot)
    except PickleError as error:
        raise MotionFileError(str(error)) from None
    if path.suffix.lower() == ".csv" and kind.name in ("text", "unknown", "json"):
        return {path.stem: _csv.read(path, robot)}
    remedy = ": write its arrays with np.savez" if kind.name in ("torch", "npy", "safetensors") else ""
    raise MotionFileError(f"is {kind.text}{remedy}")


def _motions(name: str, content: Any, robot: Robot) -> Mapping[str, Mapping[str, Any]]:
    """One motion, a dictionary or list of motions, or a list of frames.

    Joint names and the rate may be stored beside the motions, names also in a dictionary beside the arrays of one.
    """
    if isinstance(content, np.ndarray) and content.dtype == object:
        content = content.tolist()
    if isinstance(content, list | tuple) and _are_frames(content):
        content = {key: np.array([frame[key] for frame in content]) for key in content[0]}
    items: list[tuple[Any, Any]] = []
    if isinstance(content, dict | list | tuple):
        items = list(content.items() if isinstance(content, dict) else enumerate(content))
    several = {f"{name}[{key}]": value for key, value in items if isinstance(value, dict)}
    beside = {str(key): value for key, value in items if not isinstance(value, dict)}
    # A motion may hold a dictionary of other things.
    if several and (len(several) == len(items) or not any(_is_table(value) for value in beside.values())):
        return {key: _names.with_shared(motion, beside, robot) for key, motion in several.items()}
    if not isinstance(content, dict):
        found = repr(content) if isinstance(content, Placeholder) else f"a {type(content).__name__}"
        raise MotionFileError(
            f"holds {found}, not a dictionary of arrays: write one such as {{'fps': ..., 'root_pos': ..., ...}}"
        )
    for described in several.values():
        # A rate in it may be that of something else, such as of the recording that was retargeted.
        names = {key: value for key, value in described.items() if key not in (*_names.RATES, *_names.STEPS)}
        content = _names.with_shared(content, names, robot)
    return {name: content}


def _are_frames(content: Sequence[Any]) -> bool:
    """Whether a list holds a dictionary of numbers for each frame, not one of arrays for each motion."""
    if len(content) < MIN_FRAMES or not all(isinstance(frame, dict) for frame in content):
        return False
    shapes = [{key: np.shape(value) for key, value in frame.items() if _is_numbers(value)} for frame in content]
    same = all(
        frame.keys() == content[0].keys() and shape == shapes[0] for frame, shape in zip(content, shapes, strict=True)
    )
    return same and len(shapes[0]) == len(content[0]) and max(map(len, shapes[0].values()), default=0) == 1


def _is_numbers(value: Any) -> bool:
    try:
        return np.asarray(value, np.float64).size > 0
    except (TypeError, ValueError, OverflowError):
        return False


def _is_table(value: Any) -> bool:
    try:
        return isinstance(value, np.ndarray | list) and np.ndim(value) >= 2
    except ValueError:  # lists of different lengths
        return False
