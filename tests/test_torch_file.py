import io
import pickle
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmg_jax import InputError
from converters import _torch_file
from tests.conftest import DATA, SHARED, needs_shared
from tests.torch_files import Tensor, write

ALL = ["best.pt", "best_data_parallel.pt", "ckpt_4.pt", "final.pt", "final_legacy.pt", "training_data.pt"]


def values(content: Any) -> Any:
    """All arrays of a file, with its tensors read."""
    if isinstance(content, _torch_file.Tensor):
        return content.numpy()
    if isinstance(content, dict):
        return {key: values(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [values(value) for value in content]
    return content


def test_zip_and_older_format_hold_the_same():
    new, old = values(_torch_file.load(DATA / "final.pt")), values(_torch_file.load(DATA / "final_legacy.pt"))
    np.testing.assert_equal(new, old)
    assert new["stats"]["num_joints"] == 2
    assert new["model_state_dict"]["gating.gating_network.0.weight"].shape == (6, 6)


@pytest.mark.parametrize(("name", "tolerance"), [("float16", 2e-3), ("bfloat16", 1e-2)])
def test_half_precision_is_the_rounded_weight(name, tolerance):
    full = values(_torch_file.load(DATA / "final.pt"))["model_state_dict"]
    half = _torch_file.load(DATA / f"final_{name}.pt")["model_state_dict"]
    for key, tensor in half.items():
        assert tensor.dtype == name
        np.testing.assert_allclose(tensor.numpy().astype(np.float32), full[key], rtol=tolerance, atol=1e-6)


def test_optimizer_state_of_a_checkpoint_is_readable_but_not_read(monkeypatch):
    read = []
    record = _torch_file._Archive.record
    monkeypatch.setattr(_torch_file._Archive, "record", lambda *a: read.append(a[1]) or record(*a))
    content = _torch_file.load(DATA / "ckpt_4.pt")
    assert sorted(read) == ["byteorder", "data.pkl"]
    momentum = content["optimizer_state_dict"]["state"][0]["exp_avg"].numpy()
    assert momentum.shape == content["model_state_dict"]["gating.gating_network.0.weight"].shape


def test_strided_views_are_read_as_torch_sees_them(tmp_path):
    base = np.arange(12, dtype=np.float32).reshape(3, 4)
    content = _torch_file.load(write(tmp_path / "a.pt", {"x": Tensor(base)}))
    storage = content["x"].storage
    transposed = _torch_file._rebuild_tensor(storage, 1, (2, 3), (1, 4))
    np.testing.assert_array_equal(_torch_file.to_numpy(transposed), base.T[1:3])
    possible = {
        ((1, 4), (2**70, 1)): base[:1],  # the stride of an axis of one element does not matter
        ((5, 3), (0, 4)): np.broadcast_to(base[:, 0], (5, 3)),
        ((0, 5), (5, 1)): np.zeros((0, 5)),
        ((), ()): base[0, 0],
    }
    for (shape, strides), expected in possible.items():
        tensor = _torch_file._rebuild_tensor(storage, 0, shape, strides)
        np.testing.assert_array_equal(_torch_file.to_numpy(tensor), expected)
    impossible = [
        (0, (4, 4), (4, 1)),
        (11, (2,), (1,)),
        (-1, (2,), (1,)),
        (0, (2, 2), (12, 1)),
        (0, (2**25,), (0,)),
        (0, (2, 2), (2**70, 1)),
        (0, (0, 2**70), (1, 1)),
        (0, (1,) * 70, (1,) * 70),
    ]
    for offset, shape, strides in impossible:
        with pytest.raises(InputError):
            _torch_file._rebuild_tensor(storage, offset, shape, strides)


def rewrite(source: Path, target: Path, change=lambda name, data: data, **options) -> Path:
    """A copy of a zip file, each record passed through `change`, which drops it by returning None."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", **options) as new:
        for name in old.namelist():
            if (data := change(name, old.read(name))) is not None:
                new.writestr(name, data)
    return target


def torchscript(path):
    rewrite(DATA / "final.pt", path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("final/constants.pkl", pickle.dumps(()))


BAD_FILES = {
    "text": (lambda path: path.write_text("hello"), "cut short|damaged|not a PyTorch"),
    "npz": (lambda path: shutil.copy(DATA / "expected.npz", path), "no data.pkl"),
    "torchscript": (torchscript, "TorchScript"),
    "truncated": (lambda path: path.write_bytes((DATA / "final.pt").read_bytes()[:5000]), "cut short"),
    "missing storage": (
        lambda path: rewrite(DATA / "final.pt", path, lambda n, d: None if n.endswith("data/3") else d),
        "data/3 is missing",
    ),
    "short storage": (
        lambda path: rewrite(DATA / "final.pt", path, lambda n, d: d[:-4] if n.endswith("data/3") else d),
        "bytes",
    ),
    "neither endian": (
        lambda path: rewrite(DATA / "final.pt", path, lambda n, d: b"middle" if n.endswith("byteorder") else d),
        "byte order",
    ),
    "older format truncated": (
        lambda path: path.write_bytes((DATA / "final_legacy.pt").read_bytes()[:-100]),
        "cut short",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_is_not_a_checkpoint_is_one_clear_line(name, tmp_path):
    make, words = BAD_FILES[name]
    make(tmp_path / "bad.pt")
    with pytest.raises(InputError, match=words) as raised:
        values(_torch_file.load(tmp_path / "bad.pt"))
    assert str(raised.value).startswith(str(tmp_path / "bad.pt"))
    assert "\n" not in str(raised.value)


def check_damaged(original: Path, data: bytes, expected, directory: Path) -> None:
    """Reading a damaged copy gives one clear line, or exactly the content of the original."""
    path = directory / "damaged.pt"
    path.write_bytes(data)
    try:
        content = _torch_file.load(path)
        found = {key: values(content[key]) for key in expected}
    except InputError as error:
        assert "\n" not in str(error)
        return
    except KeyError:
        raise AssertionError(f"a damaged {original.name} lost an entry without an error") from None
    np.testing.assert_equal(found, expected)


def flip(data: bytes, bits: list[int]) -> bytes:
    damaged = bytearray(data)
    for bit in bits:
        damaged[bit // 8 % len(data)] ^= 1 << bit % 8
    return bytes(damaged)


fuzz = settings(max_examples=600, suppress_health_check=[HealthCheck.function_scoped_fixture])
few_bits = st.lists(st.integers(0, 2**32), min_size=1, max_size=3)


@fuzz
@given(bits=few_bits)
def test_flipped_bits_end_in_an_error_or_the_same_model(bits, tmp_path):
    original = DATA / "final.pt"
    expected = values(_torch_file.load(original))
    check_damaged(original, flip(original.read_bytes(), bits), expected, tmp_path)


@fuzz
@given(length=st.integers(0, 9_640))
def test_truncations_end_in_an_error_or_the_same_model(length, tmp_path):
    original = DATA / "final.pt"
    check_damaged(original, original.read_bytes()[:length], values(_torch_file.load(original)), tmp_path)


@fuzz
@given(bits=few_bits)
def test_flipped_bits_of_the_older_format_end_in_an_error_or_numbers(bits, tmp_path):
    # This format has no checksums: a flipped weight looks like any weight.
    path = tmp_path / "damaged.pt"
    path.write_bytes(flip((DATA / "final_legacy.pt").read_bytes(), bits))
    try:
        values(_torch_file.load(path))
    except InputError as error:
        assert "\n" not in str(error)


@needs_shared
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_real_checkpoint_damaged(data, tmp_path):
    original = SHARED / "torch_cmg" / "cmg_final.pt"
    content = original.read_bytes()
    expected = values(_torch_file.load(original))
    if data.draw(st.booleans()):
        check_damaged(original, content[: data.draw(st.integers(0, len(content)))], expected, tmp_path)
    else:
        # Half of the flips in the last 8 kB, where the archive's directory is.
        tail = st.integers((len(content) - 8192) * 8, len(content) * 8 - 1)
        bits = data.draw(st.lists(tail | st.integers(0, len(content) * 8 - 1), min_size=1, max_size=3))
        check_damaged(original, flip(content, bits), expected, tmp_path)


@pytest.mark.parametrize("size", [2**33, 2**45, 2**61])
def test_an_older_file_that_claims_a_huge_storage_takes_no_memory(size, tmp_path):
    data = (DATA / "final_legacy.pt").read_bytes()
    bias = b"K\x06N"  # the gate's first bias: 6 elements, no view
    assert data.count(bias) == 1
    claimed = data.replace(bias, b"\x8a\x08" + size.to_bytes(8, "little") + b"N")
    claimed = claimed.replace(struct.pack("<q", 6), struct.pack("<q", size), 1)
    path = tmp_path / "huge.pt"
    path.write_bytes(claimed)
    with pytest.raises(InputError, match="cut short"):
        _torch_file.load(path)


def test_deeply_nested_lists_are_read_without_recursion(tmp_path):
    stream = io.BytesIO()
    stream.write(b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".")
    path = tmp_path / "deep.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("deep/data.pkl", stream.getvalue())
    content = _torch_file.load(path)
    assert isinstance(content, list)
    while content:  # unnested here: freeing it at once would recurse
        content = content[0]


def test_a_header_that_claims_a_huge_record_takes_no_memory(tmp_path):
    data = bytearray((DATA / "final.pt").read_bytes())
    entry = data.find(b"PK\x01\x02")  # of data.pkl in the archive's directory; its sizes are 20 bytes further
    assert data[entry + 46 : entry + 60] == b"final/data.pkl"
    data[entry + 20 : entry + 28] = struct.pack("<II", 0xFFFFFFF0, 0xFFFFFFF0)
    path = tmp_path / "huge.pt"
    path.write_bytes(data)
    with pytest.raises(InputError):
        values(_torch_file.load(path))


@pytest.mark.parametrize("moved", [1, 2**31, -60, -(2**20)])
def test_a_directory_that_points_outside_the_file_is_one_clear_line(moved, tmp_path):
    data = bytearray((DATA / "final.pt").read_bytes())
    end = data.rfind(b"PK\x06\x06")  # torch writes the 64-bit record, which comes first
    offset = struct.unpack_from("<Q", data, end + 48)[0]
    struct.pack_into("<Q", data, end + 48, (offset + moved) % 2**64)
    path = tmp_path / "moved.pt"
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        values(_torch_file.load(path))
