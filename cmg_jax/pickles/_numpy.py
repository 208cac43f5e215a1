"""Replacements for the arrays, dtypes and scalars of NumPy in a pickle, and for joblib's arrays."""

import math
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np

from cmg_jax.pickles._placeholder import Handler, PickleError, Placeholder

MAX_CODE = 32  # characters of a dtype's code
NUMBERS_AND_TEXT = "biufSU"
UNSET = object()
"""The value of an array before its state."""


class Dtype(Placeholder):
    """`numpy.dtype` under construction: the byte order comes with its state."""

    __slots__ = ("dtype", "holds_objects", "itemsize")

    def __init__(self, code: Any, *_: Any):
        super().__init__(f"numpy.dtype {code if isinstance(code, str) else ''}")
        self.dtype: np.dtype | None = None
        """None unless it is a dtype of numbers, text or objects."""
        self.itemsize, self.holds_objects = 0, False
        if isinstance(code, str) and len(code) <= MAX_CODE:
            dtype = np.dtype(code)
            self.itemsize, self.holds_objects = dtype.itemsize, dtype.hasobject
            if dtype.kind == "O" or (dtype.kind in NUMBERS_AND_TEXT and dtype.itemsize):
                self.dtype = dtype

    def set_state(self, state: Any) -> None:
        _version, order, *rest = state
        if self.dtype is None:
            self.holds_objects |= len(rest) > 5 and bool(rest[5] & 1)  # one of NumPy's flags of structured dtypes
        elif order in ("<", ">", "|", "="):
            self.dtype = self.dtype.newbyteorder(order)
        else:
            raise PickleError("is damaged: a dtype of an unknown byte order")


class Array:
    """`numpy.ndarray` under construction: shape and bytes come with its state."""

    value: Any = UNSET

    def set_state(self, state: Any) -> None:
        _, shape, dtype, is_fortran, raw = state
        self.value = array(raw, dtype, shape, "F" if is_fortran else "C")


class JoblibArray(Array):
    """joblib's stand-in for an array, whose bytes, or a pickle of an array of objects, follow in the file."""

    def read(self, state: Any, stream: BinaryIO, load: Callable[[], Any]) -> None:
        shape, dtype = state["shape"], state["dtype"]
        if not isinstance(dtype, Dtype) or not (dtype.itemsize or dtype.holds_objects):
            # Without the size of an element, what comes after it in the file cannot be found.
            raise PickleError(f"is a joblib file with an array of {getattr(dtype, 'name', 'no dtype')}")
        if dtype.holds_objects:
            self.value = load()
            return
        if state.get("numpy_array_alignment_bytes") is not None:
            stream.read(stream.read(1)[0])
        size = count(shape) * dtype.itemsize
        raw = stream.read(size)
        if len(raw) != size:
            raise PickleError("is cut short")
        self.value = array(raw, dtype, shape, state["order"])


def count(shape: Any) -> int:
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise PickleError("is damaged: an array whose shape is not whole numbers")
    return math.prod(shape)


def array(raw: Any, dtype: Any, shape: Any, order: str) -> Any:
    """The array of these bytes or, of dtype object, of this list; a placeholder for any other dtype.

    An array without axes of dtype object, as NumPy makes one of a dictionary or of None, is the object in it.
    """
    if not isinstance(dtype, Placeholder):
        raise PickleError("is damaged: an array without a dtype")
    if not isinstance(dtype, Dtype) or dtype.dtype is None:
        return Placeholder(f"numpy.ndarray of {dtype.name}")
    size, layout = count(shape), "F" if order == "F" else "C"
    if dtype.dtype.kind == "O":
        if not isinstance(raw, list) or len(raw) != size:
            raise PickleError(f"is damaged: an array of objects that do not fill shape {shape}")
        if shape == ():
            return raw[0]
        objects = np.empty(size, object)
        for index, item in enumerate(raw):
            objects[index] = item
        return objects.reshape(shape, order=layout)
    if isinstance(raw, str):  # how Python 2 writes bytes
        raw = raw.encode("latin-1")
    if not isinstance(raw, bytes | bytearray):
        raise PickleError("is damaged: an array without bytes")
    if size * dtype.dtype.itemsize != len(raw):
        raise PickleError(f"is damaged: an array whose {len(raw)} bytes do not fill shape {shape}")
    view = np.ndarray(shape, dtype.dtype, raw, order=layout)
    return view.astype(dtype.dtype.newbyteorder("="))


def _scalar(dtype: Any, raw: Any) -> Any:
    if isinstance(dtype, Dtype) and dtype.dtype is not None and dtype.dtype.kind == "O":
        return raw
    value = array(raw, dtype, (), "C")
    return value[()] if isinstance(value, np.ndarray) else value


def numpy_globals() -> Mapping[str, Handler]:
    """Names of NumPy and joblib in a pickle, and our functions that replace them."""
    allowed: dict[str, Handler] = {
        "numpy.dtype": Dtype,
        "joblib.numpy_pickle.NumpyArrayWrapper": lambda *_: JoblibArray(),
        "sklearn.externals.joblib.numpy_pickle.NumpyArrayWrapper": lambda *_: JoblibArray(),
    }
    for core in ("numpy.core", "numpy._core"):
        allowed[f"{core}.multiarray._reconstruct"] = lambda *_: Array()
        allowed[f"{core}.multiarray.scalar"] = _scalar
        allowed[f"{core}.numeric._frombuffer"] = array
    return allowed
