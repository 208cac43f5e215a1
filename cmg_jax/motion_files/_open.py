"""Motion files opened: NPZ, pickles (joblib's too) and tables, each as the motions that it holds, arrays by their keys.

The first bytes say what a file is, not its name. Nothing in a file is ever executed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cmg_jax import pickles
from cmg_jax._file_kinds import file_kind
from cmg_jax.motion_files import _csv
from cmg_jax.motion_files._clips import MotionFileError
from cmg_jax.motion_files._formats import SUFFIXES, is_motion_file
from cmg_jax.pickles import PickleError, Placeholder
from cmg_jax.robot import G1, Robot


def load(path: Path, robot: Robot = G1) -> Mapping[str, Mapping[str, Any]]:
    """The motions of a file by their names: its stem, with a number or key where it holds several.

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
            return _motions(path.stem, pickles.load(path.read_bytes()))
    except PickleError as error:
        raise MotionFileError(str(error)) from None
    if path.suffix.lower() == ".csv" and kind.name in ("text", "unknown", "json"):
        return {path.stem: _csv.read(path, robot)}
    remedy = ": write its arrays with np.savez" if kind.name in ("torch", "npy", "safetensors") else ""
    raise MotionFileError(f"is {kind.text}{remedy}")


def _motions(name: str, content: Any) -> Mapping[str, Mapping[str, Any]]:
    """One motion, or a dictionary or list of motions."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    items = list(items)
    several = {f"{name}[{key}]": value for key, value in items if isinstance(value, dict)}
    # A motion may hold a dictionary of other things.
    if several and (len(several) == len(content) or not any(_is_table(value) for _, value in items)):
        return several
    if not isinstance(content, dict):
        found = repr(content) if isinstance(content, Placeholder) else f"a {type(content).__name__}"
        raise MotionFileError(f"holds {found}, no dictionary of arrays")
    return {name: content}


def _is_table(value: Any) -> bool:
    return isinstance(value, np.ndarray | list) and np.ndim(value) >= 2
