"""The kind of a file, independent of its name."""

import gzip
import io
import pickle
import zipfile

import numpy as np
import pytest

from cmg_jax._file_kinds import file_kind
from tests.conftest import refused_line


def npz(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.arange(12.0))
    return stream.getvalue()


def archive(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name in names:
            file.writestr(name, b"content")
    return stream.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 100\n"
KINDS = {
    "git-lfs": (LFS, "git lfs pull"),
    "npz": (npz(a=np.arange(3)), ""),
    "broken-zip": (npz(a=np.arange(3))[:200], "cut short or damaged"),
    "torch": (archive("model/data.pkl", "model/version"), "PyTorch"),
    "zip": (archive("walk.npz", "notes.txt"), "walk.npz, notes.txt"),
    "npy": (npy(), "single NumPy array"),
    "gzip": (gzip.compress(b"text"), "gunzip"),
    "html": (b"\n<!DOCTYPE html>\n<html><body>404", "web page"),
    "xml": (b"<?xml version='1.0'?><mujoco/>", "MJCF"),
    "json": (b'{"joints": []}', "JSON"),
    "mcap": (b"\x89MCAP0\r\n" + b"\0" * 20, "np.savez"),
    "rosbag": (b"#ROSBAG V2.0\n", "np.savez"),
    "not-found": (b"404: Not Found", "check its address"),
    "text": (b"walk of today", "walk of today"),
    "png": (b"\x89PNG\r\n\x1a\n" + b"0" * 20, "picture"),
    "zeros": (b"\0" * 5000, "zeros"),
    "empty": (b"", "0 bytes"),
    "safetensors": ((16).to_bytes(8, "little") + b'{"a":{}}        ', "safetensors"),
    "unknown": (bytes(range(200, 256)), "c8 c9"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_recognised_by_its_first_bytes(kind, tmp_path):
    content, words = KINDS[kind]
    (tmp_path / "file.bin").write_bytes(content)
    found = file_kind(tmp_path / "file.bin")
    assert found.name == kind
    assert words in found.text


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_all_protocols_are_pickles(protocol, tmp_path):
    (tmp_path / "file").write_bytes(pickle.dumps({"a": np.arange(5.0), "b": "x"}, protocol))
    assert file_kind(tmp_path / "file").name == "pickle"


def test_a_directory_is_recognised(tmp_path):
    assert file_kind(tmp_path).name == "directory"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("walk.npz", LFS, "is a Git LFS pointer, not the file itself: run git lfs pull"),
        ("walk.npz", npy(), "is a single NumPy array (.npy), not an archive of named arrays (.npz)"),
        ("walk.pkl", archive("walk/data.pkl"), "is a PyTorch file (torch.save): write its arrays with np.savez"),
        ("walk.csv", b"<html><head>", "is a web page"),
        ("walk.pkl", b"", "is empty"),
        ("walk.npz", npz(a=np.arange(3))[:100], "cut short or damaged"),
        ("walk.npz", archive("a\nb\x1b[0m\x85.npy", "c"), r"is a zip archive of a\nb\x1b[0m\x85.npy, c: unpack it"),
        ("walk\nb.npz", b"", r"walk\nb.npz"),
    ],
    ids=["lfs", "npy", "torch", "html", "empty", "cut", "names with line breaks", "a name with a line break"],
)
@pytest.mark.parametrize("command", ["inspect", "view", "data"])
def test_a_motion_file_of_another_kind_is_reported_as_that_kind(command, name, content, words, tmp_path, capsys):
    (tmp_path / name).write_bytes(content)
    arguments = {"view": ["--motion"], "data": ["--out", tmp_path / "set.npz"], "inspect": []}[command]
    assert words in refused_line(capsys, command, *arguments, tmp_path / name)


def test_training_data_of_another_kind(tmp_path, capsys):
    (tmp_path / "set.npz").write_bytes(LFS)
    line = refused_line(capsys, "train", "--data", tmp_path / "set.npz", "--out", tmp_path / "run")
    assert "not a data set: it is a Git LFS pointer" in line
