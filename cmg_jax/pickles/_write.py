"""Plain data and NumPy arrays written as a pickle that every NumPy reads.

`pickle.dumps` names the module of the NumPy that writes, and that of NumPy 2 is unknown to NumPy 1, which
simulators still need. These pickles name `numpy.core.multiarray`, which both have, and are the same, byte for
byte, on every machine.
"""

import pickle
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def dumps(value: Any, *, protocol: int = 3, save: Callable[["Writer", Any], bool] = lambda *_: False) -> bytes:
    """The pickle of None, bool, int, float, str, bytes, list, tuple, dict, NumPy arrays and scalars, of any depth.

    Args:
      value: what to write; arrays must be of numbers.
      protocol: 2, in which bytes are written as text with a call that encodes it, or 3.
      save: called with the writer and each value first; it writes the value and returns True, or returns False.

    Raises:
      TypeError: a value of another type.
    """
    writer = Writer(protocol, save)
    writer.value(value)
    return pickle.PROTO + bytes([protocol]) + b"".join(writer.out) + pickle.STOP


class Writer:
    """The opcodes written so far. Nothing is memoized: a value that is used twice is written twice."""

    def __init__(self, protocol: int, save: Callable[["Writer", Any], bool]):
        self.protocol, self.save = protocol, save
        self.out: list[bytes] = []

    def value(self, value: Any) -> None:
        if self.save(self, value):
            return
        if value is None:
            self.out.append(pickle.NONE)
        elif isinstance(value, bool):
            self.out.append(pickle.NEWTRUE if value else pickle.NEWFALSE)
        elif isinstance(value, np.ndarray | np.generic):
            self._numpy(value)
        elif isinstance(value, int):
            # LONG1 holds any int; protocol 2 readers that allow little know BININT.
            small = -(2**31) <= value < 2**31
            long = pickle.encode_long(value)
            self.out.append(
                pickle.BININT + struct.pack("<i", value) if small else pickle.LONG1 + bytes([len(long)]) + long
            )
        elif isinstance(value, float):
            self.out.append(pickle.BINFLOAT + struct.pack(">d", value))
        elif isinstance(value, str):
            text = value.encode()
            self.out.append(pickle.BINUNICODE + struct.pack("<I", len(text)) + text)
        elif isinstance(value, bytes):
            self._bytes(value)
        elif isinstance(value, tuple):
            self.sequence(pickle.MARK, value, pickle.TUPLE)
        elif isinstance(value, list):
            self.sequence(pickle.EMPTY_LIST + pickle.MARK, value, pickle.APPENDS)
        elif isinstance(value, Mapping):
            items = [part for item in value.items() for part in item]
            self.sequence(pickle.EMPTY_DICT + pickle.MARK, items, pickle.SETITEMS)
        else:
            raise TypeError(f"a {type(value).__name__} is not plain data")

    def sequence(self, begin: bytes, values: Any, end: bytes) -> None:
        """Write `values` between two opcodes."""
        self.out.append(begin)
        for value in values:
            self.value(value)
        self.out.append(end)

    def name(self, module: str, name: str) -> None:
        """Refer to `module.name`, a name that is resolved where the pickle is read."""
        self.out.append(pickle.GLOBAL + f"{module}\n{name}\n".encode())

    def call(self, module: str, name: str, *arguments: Any) -> None:
        """Call `module.name(*arguments)` where the pickle is read."""
        self.name(module, name)
        self.value(arguments)
        self.out.append(pickle.REDUCE)

    def _bytes(self, value: bytes) -> None:
        if self.protocol >= 3:
            self.out.append(pickle.BINBYTES + struct.pack("<I", len(value)) + value)
        else:
            self.call("_codecs", "encode", value.decode("latin-1"), "latin1")

    def _numpy(self, value: np.ndarray | np.generic) -> None:
        if value.dtype.kind not in "biuf":
            raise TypeError(f"an array of {value.dtype} is not numbers")
        value = value.astype(value.dtype.newbyteorder("<"), order="C")
        if isinstance(value, np.generic):
            self.name("numpy.core.multiarray", "scalar")
            self.out.append(pickle.MARK)
            self._dtype(value.dtype)
            self._bytes(value.tobytes())
            self.out.append(pickle.TUPLE + pickle.REDUCE)
            return
        self.name("numpy.core.multiarray", "_reconstruct")
        self.out.append(pickle.MARK)
        self.name("numpy", "ndarray")
        self.value((0,))
        self.value(b"b")
        self.out.append(pickle.TUPLE + pickle.REDUCE + pickle.MARK)
        self.value(1)
        self.value(value.shape)
        self._dtype(value.dtype)
        self.value(False)
        self._bytes(value.tobytes())
        self.out.append(pickle.TUPLE + pickle.BUILD)

    def _dtype(self, dtype: np.dtype) -> None:
        order = "<" if dtype.itemsize > 1 else "|"
        self.call("numpy", "dtype", f"{dtype.kind}{dtype.itemsize}", False, True)
        self.value((3, order, None, None, None, -1, -1, 0))
        self.out.append(pickle.BUILD)
