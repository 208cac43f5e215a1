import argparse
import bz2
import collections
import datetime
import decimal
import functools
import gzip
import io
import lzma
import os
import pathlib
import pickle
import pickletools
import sys
import tracemalloc
import types
import zlib
from collections import OrderedDict
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cmg_jax import pickles
from cmg_jax.pickles import PickleError, Placeholder

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=12,
)
arrays = hnp.arrays(
    st.sampled_from(["f2", "f4", "f8", ">f4", "i1", "i8", "u2", "?", "U3", "S2"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0),
)


@given(content=plain, protocol=st.integers(0, 5))
def test_plain_data_comes_back(content, protocol):
    assert pickles.load(pickle.dumps(content, protocol)) == content


@given(array=arrays, protocol=st.integers(0, 5), fortran=st.booleans())
def test_arrays_come_back(array, protocol, fortran):
    array = np.asfortranarray(array) if fortran else array
    loaded = pickles.load(pickle.dumps({"a": array, "again": array}, protocol))
    np.testing.assert_array_equal(loaded["a"], array)
    np.testing.assert_array_equal(loaded["again"], array)
    assert loaded["a"].dtype == array.dtype.newbyteorder("=")


def test_scalars_and_ordered_dicts_come_back():
    content = OrderedDict(fps=np.float64(29.9), count=np.int32(7), nested=OrderedDict(a=[1, 2]))
    assert pickles.load(pickle.dumps(content, 2)) == content


def test_reading_stops_behind_the_pickle():
    stream = io.BytesIO(pickle.dumps([1], 2) + b"rest")
    assert pickles.load(stream) == [1]
    assert stream.read() == b"rest"


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


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_does_not_keep_what_is_beside_it_from_being_read(name, protocol):
    value = OBJECTS[name]
    content = pickles.load(pickle.dumps({"a": 1.5, "b": value, "c": [value, value], "d": np.arange(3)}, protocol))
    assert (content["a"], content["d"].tolist()) == (1.5, [0, 1, 2])
    if not (name == "bytearray" and protocol == 5):  # which that protocol knows
        assert isinstance(content["b"], Placeholder)
        assert content["b"].name
        assert [type(item) for item in content["c"]] == [type(content["b"])] * 2


@pytest.mark.parametrize("protocol", range(6))
def test_dictionaries_and_arrays_of_other_classes_are_read_as_plain_ones(protocol):
    content = [collections.defaultdict(list, a=[1]), collections.Counter("aab"), np.array([[1, 2]]).view(np.memmap)]
    content += [np.array([None, "hip", [1, 2], {"a": 1}], object), np.array({"a": np.arange(2)}, object)]
    defaults, counts, array, objects, single = pickles.load(pickle.dumps(content, protocol))
    assert (defaults, counts) == ({"a": [1]}, {"a": 2, "b": 1})
    assert array.tolist() == [[1, 2]]
    assert objects.tolist() == [None, "hip", [1, 2], {"a": 1}]
    assert (single.shape, single.item()["a"].tolist()) == ((), [0, 1])


def test_keys_that_are_not_plain_become_placeholders():
    keys = {(1, "a"): 1, pathlib.Path("a"): 2, ((1,), 2): 3, frozenset([1]): 4, np.int64(5): 6, tuple(range(99)): 7}
    loaded = pickles.load(pickle.dumps(keys))
    assert (loaded[1, "a"], loaded[5]) == (1, 6)
    assert sum(isinstance(key, Placeholder) for key in loaded) == 3
    assert list(loaded.values()) == list(keys.values())


def test_python_2_is_read():
    # {'fps': 30L, 'a': numpy.array([1., 2.], '<f4'), u'name': u'x'}, as Python 2 wrote it in protocol 0.
    head = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\ntcnumpy\ndtype\n"
    array = head + b"(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS'\\x00\\x00\\x80?\\x00\\x00\\x00@'\ntb"
    content = pickles.load(b"(dp0\nS'fps'\np1\nL30L\nsS'a'\n" + array + b"sVname\nVx\ns.")
    assert (content["fps"], content["a"].tolist(), content["name"]) == (30, [1.0, 2.0], "x")


class NumpyArrayWrapper:
    """joblib's: what it writes in an array's place."""

    numpy_array_alignment_bytes: int


NumpyArrayWrapper.__module__ = "joblib.numpy_pickle"


PythonPickler: Any = vars(pickle)["_Pickler"]  # the one that may be changed


class JoblibPickler(PythonPickler):
    """Writes arrays behind their description, as joblib does."""

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


PACKERS = {"plain": bytes, "zlib": zlib.compress, "gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("protocol", range(6))
def test_joblib_files_are_read(protocol, packer):
    rng = np.random.default_rng(protocol)
    content = {
        "walk": {"dof": rng.normal(size=(7, 23)).astype("f4"), "root_rot": np.asfortranarray(rng.normal(size=(7, 4)))},
        "fps": 30,
        "empty": np.zeros((0, 3)),
        "names": np.array(["hip", "knee"], object),
        "dates": np.array(["2026-01-02"], "M8[D]"),
        "pairs": np.zeros(2, [("a", "f4"), ("b", "O")]),
        "after": np.arange(protocol + 1),
    }
    loaded = pickles.load(PACKERS[packer](joblib_dump(content, protocol)))
    assert isinstance(loaded.pop("dates"), Placeholder)
    assert isinstance(loaded.pop("pairs"), Placeholder)
    np.testing.assert_equal(loaded, {key: value for key, value in content.items() if key in loaded})
    assert len(loaded) == 5


def test_an_array_of_an_npy_file_is_read_whatever_is_in_it():
    for array in (np.arange(6).reshape(2, 3), np.array(["hip", None, [1]], object), np.array({"a": 1}, object)):
        stream = io.BytesIO()
        np.save(stream, array, allow_pickle=True)
        loaded = pickles.load_npy(stream.getvalue())
        assert (loaded.shape, loaded.tolist()) == (array.shape, array.tolist())
        with pytest.raises(PickleError):
            pickles.load_npy(stream.getvalue()[:-9])


def test_arrays_nested_so_deep_that_freeing_them_would_end_the_process_are_refused():
    # NumPy frees an array of objects by recursion.
    head = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x000cnumpy\nndarray\nK\x00\x85C\x01b\x87q\x010"
    head += b"cnumpy\ndtype\nX\x02\x00\x00\x00O8\x85Rq\x020K\x01\x85q\x030"
    begin, end = b"h\x00h\x01R(K\x01h\x03h\x02\x89]", b"atb"
    few = pickles.load(head + begin * 5 + b"N" + end * 5 + b".")
    assert few[0][0][0][0].tolist() == [None]
    with pytest.raises(PickleError, match="arrays in arrays"):
        pickles.load(head + begin * 30_000 + b"N" + end * 30_000 + b".")
    lists = pickles.load(head + (begin + b"]") * 3_000 + b"N" + (b"a" + end) * 3_000 + b".")  # freed in turns
    assert lists.shape == (1,)


def test_a_packed_file_unpacks_only_so_far():
    with pytest.raises(PickleError, match="far more than its size"):
        pickles.load(zlib.compress(b"\x80\x02" + b"N0" * 2**24))
    with pytest.raises(PickleError, match="cut short"):
        pickles.load(zlib.compress(pickle.dumps(list(range(999))))[:-20])
    with pytest.raises(PickleError, match="decompressing"):
        pickles.load(b"\x78\x9c" + bytes(40))


class Evil:
    def __init__(self, function, *arguments):
        self.reduced = (function, arguments)

    def __reduce__(self):
        return self.reduced


HOSTILE = {
    "system": Evil(os.system, "touch owned"),
    "eval": Evil(eval, "open('owned', 'w')"),
    "exec": Evil(exec, "open('owned', 'w')"),
    "open": Evil(open, "owned", "w"),
    "getattr": Evil(getattr, Evil(__import__, "os"), "system"),
    "builtin type": Evil(type, "X", (), {}),
    "partial": Evil(__import__("functools").partial, os.system, "touch owned"),
    "object array": np.array([Evil(os.system, "touch owned")], dtype=object),
    "numpy load": Evil(np.load, "owned", None, True),
    "structured dtype": np.zeros(2, dtype=[("a", "f4")]),
    "a class": Evil,
    "an instance": pytest.approx(1),
}


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_of_a_hostile_pickle_runs_and_what_is_beside_it_is_read(name, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps({"before": 1, "weights": HOSTILE[name], "after": np.arange(3)}, protocol)
    content = pickles.load(data)
    assert (content["before"], content["after"].tolist()) == (1, [0, 1, 2])
    weights = content["weights"][0] if name == "object array" else content["weights"]
    assert type(weights).__mro__[-2] is Placeholder
    assert not list(tmp_path.iterdir())


INERT = [
    b"cos\nsystem\n(S'touch owned'\ntR.",
    b"(S'touch owned'\nios\nsystem\n.",
    b"(cos\nsystem\nS'touch owned'\no.",
    b"cos\nsystem\n(S'touch owned'\nt}\x92.",
    b"cos\nsystem\n(S'touch owned'\nt\x81.",
    b"cos\nsystem\ncos\nsystem\nR.",
    b"cos\nsystem\n)R)R.",
    b"ccopyreg\n_reconstructor\n(cos\nsystem\nc__builtin__\nobject\nNtR.",
    b"\x80\x02c_codecs\nencode\n}X\x08\x00\x00\x00__code__K\x01sb.",
    b"\x80\x02\x82\x01.",
    b"\x80\x02cnumpy\nndarray\n)R.",
    b"\x80\x02cnumpy\ndtype\nX\x01\x00\x00\x00O\x85R.",
    b"Pcos.system\n.",
    b"\x8f(K\x01\x90.",
    b"(K\x01\x91.",
]


@pytest.mark.parametrize("program", INERT)
def test_an_object_of_any_kind_is_a_placeholder_that_does_nothing(program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value = pickles.load(program)
    assert isinstance(value, Placeholder)
    assert value.name
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00f4\x85R}b.",
        b"\x80\x02K\x01K\x02a.",
        b"\x80\x02K\x01K\x02K\x03s.",
        b"\x80\x02K\x01)R.",
        b"\x80\x02(.",
        b"\x80\x02a.",
        b"\x80\x02h\x07.",
        b"\x80\x02\x97.",
        b"S'open\n.",
        b".",
        b"",
    ],
)
def test_programs_that_no_pickler_writes_end_in_one_error(program):
    with pytest.raises(PickleError) as raised:
        pickles.load(program)
    assert "\n" not in str(raised.value)


def test_an_array_larger_than_its_bytes_is_refused_without_taking_memory():
    state = pickletools.optimize(pickle.dumps(np.zeros(3, np.float32), 2))
    assert state.count(b"K\x03\x85") == 1
    with pytest.raises(PickleError, match="do not fill"):
        pickles.load(state.replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85"))


def pickled(*parts):
    return b"\x80\x02" + b"".join(parts) + b"."


def nested_tuples(depth):
    return b"K\x01" + b"\x85" * depth


def doubled_tuple(times):
    return b"K\x01" + b"q\x00h\x00\x86" * times


def array_of(dtype, shape, raw=b"U\x00"):
    head = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    return head + b"(K\x01" + shape + dtype + b"\x89C\x00tb"


@pytest.mark.parametrize(
    "program",
    [
        pickled(b"cnumpy\ndtype\n", nested_tuples(100_000), b"\x85R"),
        pickled(b"cnumpy\ndtype\n", doubled_tuple(22), b"\x85R"),
        pickled(array_of(b"cnumpy\ndtype\nX\x02\x00\x00\x00S0\x85R", b"J\x00\x00\x00\x10K\x10\x86")),
        pickled(array_of(b"cnumpy\ndtype\nX\x02\x00\x00\x00f4\x85R", doubled_tuple(22))),
        pickled(b"c_codecs\nencode\nq\x01X", (50_000).to_bytes(4, "little"), b"a" * 50_000,
                b"X\x06\x00\x00\x00latin1\x86q\x02R0", b"h\x01h\x02R0" * 5_000, b"N"),
        pickled(b"c" + b"x" * 10_000 + b"\ny\n"),
        pickled(b"\x8c\x03a\nb\x8c\x03c\nd\x93"),
    ],
    ids=["deep dtype", "wide dtype", "empty strings", "wide shape", "encode again and again", "long name", "newlines"],
)  # fmt: skip
def test_a_small_file_neither_takes_memory_nor_fills_the_screen(program):
    tracemalloc.start()
    try:
        line = str(pickles.load(program))
    except PickleError as error:
        line = str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6
    assert len(line) < 400
    assert "\n" not in line


@settings(max_examples=400)
@given(data=st.binary(max_size=60))
def test_any_bytes_end_in_data_or_one_error(data):
    try:
        pickles.load(b"\x80\x02" + data)
    except PickleError as error:
        assert "\n" not in str(error)


@settings(max_examples=400)
@given(content=plain, position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_ends_in_data_or_one_error(content, position, bit):
    data = bytearray(pickle.dumps([content, np.arange(3.0)], 2))
    data[position % len(data)] ^= 1 << bit
    try:
        pickles.load(bytes(data))
    except PickleError as error:
        assert "\n" not in str(error)


RAN = []


def canary(*_):
    RAN.append(1)
    return 1


@pytest.mark.parametrize("protocol", range(6))
def test_damaged_pickles_of_objects_end_in_data_or_one_error_and_run_nothing(protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    objects = {name: value for name, value in OBJECTS.items() if name != "masked array"}
    content = [1, Evil(canary, 2), Evil(os.system, "touch owned"), objects, np.arange(4.0), (1, 2)]
    originals = [pickle.dumps(content, protocol), joblib_dump(content, protocol)]
    rng = np.random.default_rng(protocol)
    read = 0
    for trial in range(400):
        data = bytearray(originals[trial % 2])
        for _ in range(int(rng.integers(1, 4))):
            at, kind = int(rng.integers(len(data))), trial % 3
            if kind == 0:
                data[at] ^= 1 << int(rng.integers(8))
            elif kind == 1:
                data[at] = int(rng.choice(np.frombuffer(b"(0Ra]bcdesu}tq)Nh.\x81\x82\x85\x92\x93\x94", np.uint8)))
            else:
                del data[at : at + int(rng.integers(1, 6))]
        try:
            pickles.load(bytes(data))
            read += 1
        except PickleError as error:
            assert "\n" not in str(error)
    assert 0 < read < 400
    assert not RAN
    assert not list(tmp_path.iterdir())
