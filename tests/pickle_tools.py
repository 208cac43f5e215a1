"""Content for the tests of pickles: plain data, objects of many kinds, and files as joblib writes them."""

import argparse
import collections
import datetime
import decimal
import functools
import io
import os
import pathlib
import pickle
import sys
import types
from typing import Any
from unittest import mock

import numpy as np
from hypothesis import strategies as st

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=12,
)
OBJECTS = {
    "path": pathlib.Path("/a/b"),
    "namespace": argparse.Namespace(a=1, b=[np.arange(3)]),
    "set": {1, "a"},
    "frozenset": frozenset([1.5]),
    "deque": collections.deque([1, 2], 3),
    "dtype": np.dtype("f4"),
    "structured array": np.zeros(2, [("a", "f4"), ("b", "O")]),
    "dates": np.array(["2026-01-02"], "M8[D]"),
    "complex array": np.zeros(3, complex),
    "masked array": np.ma.masked_array([1, 2], [True, False]),
    "generator": np.random.default_rng(0),
    "state of a generator": np.random.RandomState(1),
    "date": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
    "decimal": decimal.Decimal("1.5"),
    "function": os.getcwd,
    "class": pathlib.Path,
    "partial": functools.partial(max, 1),
    "error": ValueError("x"),
    "slice": slice(1, 2),
    "range": range(3),
    "complex": 1j,
    "bytearray": bytearray(b"ab"),
}


class NumpyArrayWrapper:
    """joblib's stand-in for an array."""

    numpy_array_alignment_bytes: int


NumpyArrayWrapper.__module__ = "joblib.numpy_pickle"


PythonPickler: Any = vars(pickle)["_Pickler"]  # unlike the C class, its `save` can be overridden


class JoblibPickler(PythonPickler):
    """Writes arrays after their description, as joblib does."""

    def __init__(self, stream, protocol):
        super().__init__(stream, protocol)
        self.stream = stream

    def save(self, obj, *arguments):
        if type(obj) is not np.ndarray:
            return super().save(obj, *arguments)
        wrapper = NumpyArrayWrapper()
        order = "F" if obj.flags.f_contiguous and not obj.flags.c_contiguous else "C"
        wrapper.__dict__.update(subclass=np.ndarray, shape=obj.shape, order=order, dtype=obj.dtype, allow_mmap=True)
        wrapper.numpy_array_alignment_bytes = 16
        super().save(wrapper)
        if self.proto >= 4:
            self.framer.commit_frame(force=True)
        if obj.dtype.hasobject:
            pickle.dump(obj, self.stream, protocol=5)
        else:
            padding = 16 - (self.stream.tell() + 1) % 16
            self.stream.write(bytes([padding]) + b"\xff" * padding + obj.tobytes(order))
        return None


def joblib_dump(content, protocol):
    module = types.ModuleType("joblib.numpy_pickle")
    module.NumpyArrayWrapper = NumpyArrayWrapper  # pyright: ignore[reportAttributeAccessIssue]
    stream = io.BytesIO()
    modules = {"joblib": types.ModuleType("joblib"), "joblib.numpy_pickle": module}
    with mock.patch.dict(sys.modules, modules):
        JoblibPickler(stream, protocol).dump(content)
    return stream.getvalue()
