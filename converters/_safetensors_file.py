"""`.safetensors` files read: eight bytes with the length of a JSON header, the header, and the raw numbers."""

import json
import math
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.pickles import Placeholder

DTYPES: dict[str, np.dtype] = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}


def load(path: Path) -> dict[str, Any]:
    """The arrays of a file under their names; arrays of an unusual dtype become placeholders.

    Raises:
      InputError: the file is damaged or cut short.
    """
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    if len(data) < 8 or start > len(data):
        raise InputError(f"{path}: cut short: its header is longer than the file; copy or download it again")
    try:
        header = json.loads(data[8:start].decode(), object_pairs_hook=_unique)
        if not isinstance(header, dict):
            raise ValueError("its header is not a dictionary")
        header.pop("__metadata__", None)
        entries = {name: _Entry(entry) for name, entry in header.items()}
        _check_layout(list(entries.values()), len(data) - start)
        return {name: entry.read(data, start) for name, entry in entries.items()}
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: damaged safetensors file ({str(error)[:200]}); copy or download it again") from error


class _Entry:
    """One tensor of the header."""

    def __init__(self, entry: Any):
        self.code, self.shape = entry["dtype"], entry["shape"]
        self.begin, self.end = entry["data_offsets"]
        if not isinstance(self.shape, list) or not all(
            type(n) is int and 0 <= n < 2**48 for n in (*self.shape, self.begin, self.end)
        ):
            raise ValueError("sizes that are not whole numbers")
        self.dtype = DTYPES.get(str(self.code))
        size = None if self.dtype is None else math.prod(self.shape) * self.dtype.itemsize
        if self.end < self.begin or size not in (None, self.end - self.begin):
            raise ValueError(f"{self.end - self.begin} bytes for {self.code} of shape {self.shape[:8]}")

    def read(self, data: bytes, start: int) -> Any:
        if self.dtype is None:
            return Placeholder(f"tensor of {self.code}")
        return np.ndarray(self.shape, self.dtype, data, start + self.begin)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a name occurs twice in its header")
    return dict(pairs)


def _check_layout(entries: list[_Entry], size: int) -> None:
    """Raise ValueError unless the tensors fill the bytes behind the header, one after the other."""
    position = 0
    for entry in sorted(entries, key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != position:
            raise ValueError(f"its tensors overlap or leave a gap at byte {position}")
        position = entry.end
    if position != size:
        raise ValueError(f"its tensors need {position} bytes; it has {size}")
