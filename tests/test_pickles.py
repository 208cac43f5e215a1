"""Pickles of plain data, of arrays and of other objects, as every protocol and joblib write them."""

import bz2
import collections
import gzip
import io
import lzma
import pathlib
import pickle
import zipfile
import zlib
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cmg_jax import pickles
from cmg_jax.pickles import PickleError, Placeholder
from tests.pickle_tools import OBJECTS, PLAIN, joblib_dump

arrays = hnp.arrays(
    st.sampled_from(["f2", "f4", "f8", ">f4", "i1", "i8", "u2", "?", "U3", "S2"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0),
)


@given(content=PLAIN, protocol=st.integers(0, 5))
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


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", OBJECTS)
def test_data_beside_an_object_is_still_read(name, protocol):
    value = OBJECTS[name]
    content = pickles.load(pickle.dumps({"a": 1.5, "b": value, "c": [value, value], "d": np.arange(3)}, protocol))
    assert (content["a"], content["d"].tolist()) == (1.5, [0, 1, 2])
    if not (name == "bytearray" and protocol == 5):  # this protocol has an opcode for it
        assert isinstance(content["b"], Placeholder)
        assert content["b"].name
        assert [type(item) for item in content["c"]] == [type(content["b"])] * 2


@pytest.mark.parametrize("protocol", range(6))
def test_dictionaries_and_arrays_of_other_classes_are_read_as_plain_ones(protocol):
    content = [collections.defaultdict(list, a=[1]), collections.Counter("aab"), np.array([[1, 2]]).view(np.memmap)]
    content += [np.array([None, "hip", [1, 2], {"a": 1}], object), np.array({"a": np.arange(2)}, object)]
    content += [np.array(None, object), np.array(np.float32(2.5), object)]
    defaults, counts, array, objects, dictionary, nothing, number = pickles.load(pickle.dumps(content, protocol))
    assert (defaults, counts) == ({"a": [1]}, {"a": 2, "b": 1})
    assert array.tolist() == [[1, 2]]
    assert objects.tolist() == [None, "hip", [1, 2], {"a": 1}]
    assert dictionary["a"].tolist() == [0, 1]
    assert (nothing, number) == (None, 2.5)


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


def test_npy_files_of_any_dtype_are_read():
    for array in (np.arange(6).reshape(2, 3), np.array(["hip", None, [1]], object), np.array({"a": 1}, object), None):
        stream = io.BytesIO()
        np.save(stream, np.asarray(array), allow_pickle=True)
        loaded = pickles.load_npy(stream.getvalue())
        if array is None or array.ndim == 0:
            assert loaded == (None if array is None else array.item())
        else:
            assert (loaded.shape, loaded.tolist()) == (array.shape, array.tolist())
        with pytest.raises(PickleError):
            pickles.load_npy(stream.getvalue()[:-9])


def test_arrays_nested_so_deep_that_freeing_them_would_crash_are_refused():
    # NumPy frees an array of objects by recursion.
    head = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x000cnumpy\nndarray\nK\x00\x85C\x01b\x87q\x010"
    head += b"cnumpy\ndtype\nX\x02\x00\x00\x00O8\x85Rq\x020K\x01\x85q\x030"
    begin, end = b"h\x00h\x01R(K\x01h\x03h\x02\x89]", b"atb"
    few = pickles.load(head + begin * 5 + b"N" + end * 5 + b".")
    assert few[0][0][0][0].tolist() == [None]
    with pytest.raises(PickleError, match="arrays in arrays"):
        pickles.load(head + begin * 30_000 + b"N" + end * 30_000 + b".")
    lists = pickles.load(head + (begin + b"]") * 3_000 + b"N" + (b"a" + end) * 3_000 + b".")  # freed in parts
    assert lists.shape == (1,)


def test_a_compressed_file_has_a_bound_on_unpacking():
    with pytest.raises(PickleError, match="far more than its size"):
        pickles.load(zlib.compress(b"\x80\x02" + b"N0" * 2**24))
    with pytest.raises(PickleError, match="cut short"):
        pickles.load(zlib.compress(pickle.dumps(list(range(999))))[:-20])
    with pytest.raises(PickleError, match="decompressing"):
        pickles.load(b"\x78\x9c" + bytes(40))


def test_an_archive_has_a_bound_on_unpacking(tmp_path):
    with zipfile.ZipFile(tmp_path / "walk.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(2**25))
    with pytest.raises(PickleError, match="far more than its size"):
        pickles.load_npz(tmp_path / "walk.npz")
