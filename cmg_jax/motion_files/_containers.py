"""Motion files opened: NPZ, pickles (joblib's too) and tables, each as the motions that it holds, arrays by their keys.

The first bytes say what a file is, not its name. Nothing in a file is ever executed.
"""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cmg_jax._file_kinds import file_kind
from cmg_jax._files import ZIP_ERRORS, first_line
from cmg_jax.motion_files import _tables
from cmg_jax.motion_files._clips import Rejected
from cmg_jax.pickles import _read
from cmg_jax.pickles._numpy import Placeholder
from cmg_jax.robot import G1, Robot

SUFFIXES = (".npz", ".csv", ".pkl")
"""In upper case as well."""

MAX_UNPACKED = 8 << 30
"""Bytes that a compressed pickle may unpack to."""

_UNPACK: dict[str, Callable[[Path], Any]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}


def is_motion_file(path: Path) -> bool:
    """Whether its name says so."""
    return path.suffix.lower() in SUFFIXES


def load(path: Path, robot: Robot = G1) -> Mapping[str, Mapping[str, Any]]:
    """The motions of a file, by their names: its stem, with a number or key where it holds several.

    Raises:
      Rejected: of another kind, or damaged.
      OSError: it cannot be opened.
    """
    kind = file_kind(path)
    if not is_motion_file(path):
        raise Rejected(f"unknown format {path.suffix!r}; known are {', '.join(SUFFIXES)} (it is {kind.text})")
    if kind.name == "npz":
        return {path.stem: _load_npz(path)}
    if kind.name in ("pickle", "zlib", *_UNPACK):
        return _motions(path.stem, _load_pickle(path, kind.name))
    if path.suffix.lower() == ".csv" and kind.name in ("text", "unknown", "json"):
        return {path.stem: _tables.read(path, robot)}
    way_out = ": write its arrays with np.savez" if kind.name in ("torch", "npy", "safetensors") else ""
    raise Rejected(f"is {kind.text}{way_out}")


def _load_pickle(path: Path, kind: str) -> Any:
    try:
        if kind == "zlib":
            unpack = zlib.decompressobj()
            raw = unpack.decompress(path.read_bytes(), MAX_UNPACKED)
        elif kind in _UNPACK:
            with _UNPACK[kind](path) as file:
                raw = file.read(MAX_UNPACKED)
        else:
            raw = path.read_bytes()
        return _read.load(raw)
    except (zlib.error, EOFError, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise Rejected(f"is compressed and damaged: {first_line(error)}") from None
    except _read.PickleError as error:
        raise Rejected(str(error)) from None


def _motions(name: str, content: Any) -> Mapping[str, Mapping[str, Any]]:
    """One motion, or a dictionary or list of motions."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    items = list(items)
    several = {f"{name}[{key}]": value for key, value in items if isinstance(value, dict)}
    # A motion may hold a dictionary of other things.
    if several and (len(several) == len(content) or not any(_is_table(value) for _, value in items)):
        return several
    if not isinstance(content, dict):
        raise Rejected(f"holds {_what(content)}, no dictionary of arrays")
    return {name: content}


def _what(content: Any) -> str:
    return repr(content) if isinstance(content, Placeholder) else f"a {type(content).__name__}"


def _is_table(value: Any) -> bool:
    return isinstance(value, np.ndarray | list) and np.ndim(value) >= 2


def _load_npz(path: Path) -> Mapping[str, Any]:
    """The arrays; what cannot be read is in its place, with the reason."""
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                names = [name for name in archive.namelist() if name.endswith(".npy")]
                return {name.removesuffix(".npy"): _array(archive.read(name)) for name in names}
        except (*ZIP_ERRORS, TypeError) as error:
            raise Rejected(f"is damaged: {first_line(error)}") from None


def _array(member: bytes) -> Any:
    """The array of a member that was read as a whole: only then its checksum has been compared."""
    stream = io.BytesIO(member)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(np.lib.format.read_magic(stream))
    if read_header is not None and read_header(stream)[2].hasobject:
        try:  # a pickle: names as objects are common, and what else there is does no harm unread
            value = _read.load(stream.read())
        except _read.PickleError as error:
            return error
        return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    return np.lib.format.read_array(io.BytesIO(member), allow_pickle=False)
