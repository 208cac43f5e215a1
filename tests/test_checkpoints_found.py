"""Weights and stats in every place where files hold them, beside other content."""

import argparse
import collections
import dataclasses
import datetime
import enum
import functools
import json
import os
import pathlib
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from cmg_jax import InputError
from cmg_jax.cli import _options
from converters import _safetensors_file, _source, load_model
from converters._stats import FIELDS
from converters.cli import main
from tests.conftest import DATA
from tests.torch_files import Tensor, write, write_older

NAMES = ("hip", "knee", "ankle")


def weights(seed=0):
    """A CMG of three joints and one command, two experts."""
    rng = np.random.default_rng(seed)
    shapes = {"gating.gating_network.0": (5, 7), "gating.gating_network.2": (2, 5)}
    out = {f"{name}.weight": rng.normal(size=shape) for name, shape in shapes.items()}
    out |= {f"{name}.bias": rng.normal(size=shape[:1]) for name, shape in shapes.items()}
    for layer, (width, features) in enumerate([(7, 4), (4, 6)]):
        for expert in range(2):
            out[f"layers.{layer}.expert_weights.{expert}"] = rng.normal(size=(width, features))
            out[f"layers.{layer}.expert_biases.{expert}"] = rng.normal(size=features)
    return {name: array.astype(np.float32) for name, array in out.items()}


STATS = {
    "motion_mean": np.linspace(-1, 1, 6, dtype=np.float32),
    "motion_std": np.linspace(0.5, 2, 6, dtype=np.float32),
    "command_min": np.array([-1.5], np.float32),
    "command_max": np.array([0.75], np.float32),
    "num_joints": 3,
}


def tensors(arrays, prefix=""):
    return {prefix + name: Tensor(array) for name, array in arrays.items()}


def assert_same_model(path, expected=None, stats=STATS, chosen=None):
    model, _, found = load_model(path, weights=chosen, names=NAMES)
    expected = expected or weights()
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
    for name, array in zip(FIELDS, model.stats, strict=False):
        np.testing.assert_array_equal(array, np.asarray(stats[name], np.float32).reshape(-1))


def nested(arrays):
    """Nested dictionaries, one for each module."""
    out = {}
    for name, array in arrays.items():
        *modules, last = name.split(".")
        node = out
        for module in modules:
            node = node.setdefault(int(module) if module.isdigit() else module, {})
        node[last] = Tensor(array)
    return out


PLACES = {
    "the file itself": lambda w: tensors(w),
    "state_dict": lambda w: {"state_dict": tensors(w), "epoch": 4},
    "network": lambda w: {"network": tensors(w)},
    "ema_model": lambda w: {"ema_model": tensors(w, "module."), "loss": 0.5},
    "AveragedModel": lambda w: {"model": {"n_averaged": Tensor(np.int64(7)), **tensors(w, "module.")}},
    "compiled": lambda w: {"model": tensors(w, "module._orig_mod.")},
    "lightning": lambda w: {"state_dict": {"loss.scale": Tensor([1.0]), **tensors(w, "net.cmg.")}},
    "deep": lambda w: {"run": {"agent": [{"actor": tensors(w)}, {"critic": {"0.weight": Tensor([[1.0]])}}]}},
    "numpy": lambda w: {"model": w},
    "numpy in float64": lambda w: {"model": {name: array.astype(np.float64) for name, array in w.items()}},
    "nested": lambda w: {"params": nested(w)},
    "counters": lambda w: {"model": {**tensors(w), "steps": Tensor(np.int64(9)), "names": np.array(["a"])}},
    "twice the same": lambda w: dict.fromkeys(("best", "last"), tensors(w)),
}


@pytest.mark.parametrize("place", PLACES)
def test_weights_are_found_wherever_they_are(place, tmp_path):
    content = {**PLACES[place](weights()), "stats": STATS}
    assert_same_model(write(tmp_path / "a.pt", content))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("writer", [write, write_older])
def test_every_protocol_in_both_formats_is_the_same_model(writer, protocol, tmp_path):
    content = {"model": tensors(weights(protocol)), "stats": STATS, "path": pathlib.Path("runs/1")}
    assert_same_model(writer(tmp_path / "a.pt", content, protocol=protocol), weights(protocol))


def test_one_of_several_networks_is_chosen_by_name(tmp_path, capsys):
    content = {"model": tensors(weights(1)), "ema_model": tensors(weights(2), "module."), "stats": STATS}
    path = write(tmp_path / "a.pt", content)
    assert main([str(path), "--out", str(tmp_path / "out")]) == 2
    assert "'model', 'ema_model.module'; choose one with --weights NAME" in capsys.readouterr().err
    assert_same_model(path, weights(1), chosen="model")
    assert_same_model(path, weights(2), chosen="ema_model")
    assert_same_model(path, weights(2), chosen="ema_model.module")
    with pytest.raises(InputError, match=r"'ema_model\.module'; choose"):
        load_model(path, weights="actor", names=NAMES)


def test_an_error_lists_the_content_of_a_file_without_a_network(tmp_path):
    content = {"epoch": 3, "sd": {"fc.weight": Tensor(np.zeros((2, 5)))}, "config": argparse.Namespace(lr=1)}
    content |= {f"x{index}": index for index in range(9)}
    with pytest.raises(InputError) as raised:
        load_model(write(tmp_path / "a.pt", content))
    line = str(raised.value)
    assert "epoch (int), config (argparse.Namespace), x0 (int)" in line
    assert "and 4 more" in line
    with pytest.raises(InputError, match=r"it holds sd\.fc\.weight \[2, 5\]"):
        load_model(write(tmp_path / "b.pt", {"sd": content["sd"]}))


@dataclasses.dataclass
class Config:
    rate: float = 0.1


class Mode(enum.Enum):
    TRAIN = 1


BESIDE = {
    "path": pathlib.Path("/some/run"),
    "namespace": argparse.Namespace(lr=0.1, dims=[1, 2]),
    "dataclass": Config(),
    "enum": Mode.TRAIN,
    "set": {1, 2},
    "frozenset": frozenset("ab"),
    "defaultdict": collections.defaultdict(list, loss=[1.0]),
    "dtype": np.dtype("f4"),
    "datetime": datetime.datetime(2026, 1, 2),
    "function": os.getcwd,
    "partial": functools.partial(max, 1),
    "generator": np.random.default_rng(0),
    "object array": np.array([{1}, "x"], object),
    "structured array": np.zeros(2, [("a", "f4")]),
    "dates": np.array(["2026-01-02"], "M8[D]"),
    "keys": {Mode.TRAIN: 1, (1, 2): 2, frozenset("a"): 3},
    "complex tensor": Tensor(np.zeros(3, np.complex64)),
    "tensor of an unknown dtype": Tensor(np.zeros(3, "V4")),
}


@pytest.mark.parametrize("what", BESIDE)
def test_objects_beside_the_weights_do_not_matter(what, tmp_path):
    content = {"before": BESIDE[what], "model": tensors(weights()), "stats": STATS, "after": BESIDE[what]}
    assert_same_model(write(tmp_path / "a.pt", content))
    if "tensor of" not in what:  # the older format cannot hold it
        assert_same_model(write_older(tmp_path / "b.pt", content))


def test_a_needed_value_that_is_not_read_is_named(tmp_path):
    for stats, words in [
        (argparse.Namespace(**STATS), "its stats are stored as argparse.Namespace, which is not read"),
        (STATS | {"motion_std": Config()}, "motion_std is stored as tests.test_checkpoints_found.Config"),
        (STATS | {"command_min": ["low"]}, "command_min is not a list of numbers"),
    ]:
        with pytest.raises(InputError, match=words):
            load_model(write(tmp_path / "a.pt", {"model": tensors(weights()), "stats": stats}), names=NAMES)


STATS_AS = {
    "tuples": lambda array: tuple(map(float, array)),
    "lists of numpy numbers": list,
    "tuples of tensors": lambda array: tuple(map(Tensor, array)),
    "tensors": Tensor,
    "float64 tensors": lambda array: Tensor(array.astype(np.float64)),
    "rows": lambda array: array[None],
    "object arrays": lambda array: np.array(array.tolist(), object),
    "half": lambda array: array.astype(np.float16),
}


@pytest.mark.parametrize("how", STATS_AS)
def test_stats_are_numbers_of_any_kind(how, tmp_path):
    stats = {name: STATS_AS[how](value) if isinstance(value, np.ndarray) else value for name, value in STATS.items()}
    exact = {name: np.float16(value) for name, value in STATS.items()} if how == "half" else STATS
    assert_same_model(write(tmp_path / "a.pt", {"model": tensors(weights()), "stats": stats}), stats=exact)


def test_stats_are_found_wherever_they_are(tmp_path):
    buffers = {name: Tensor(value) for name, value in STATS.items()}
    for content in (
        {"model": tensors(weights()), "normalization": {"cmg": STATS}},
        {"model": tensors(weights()) | buffers},
        tensors(weights()) | STATS,
    ):
        assert_same_model(write(tmp_path / "a.pt", content))
    with pytest.raises(InputError, match="stats in 'a', 'b'"):
        load_model(write(tmp_path / "a.pt", {"m": tensors(weights()), "a": STATS, "b": STATS | {}}), names=NAMES)


def test_expanded_weights_are_read_as_torch_reads_them(tmp_path):
    expected = weights()
    expected["layers.0.expert_biases.1"] = np.full(4, 0.25, np.float32)
    expected["layers.1.expert_weights.0"] = np.tile(np.array([1, 2, 3, 4, 5, 6], np.float32), (4, 1))
    content = tensors(expected)
    content["layers.0.expert_biases.1"] = Tensor(np.float32(0.25), repeat=4)
    content["layers.1.expert_weights.0"] = Tensor(np.array([1, 2, 3, 4, 5, 6], np.float32), repeat=4)
    for writer in (write, write_older):
        assert_same_model(writer(tmp_path / "a.pt", {"model": content, "stats": STATS}), expected)


def test_the_byte_order_of_the_file_is_respected(tmp_path):
    assert_same_model(write(tmp_path / "a.pt", {"model": tensors(weights()), "stats": STATS}, byteorder="big"))


def without_checksums(path: Path) -> None:
    """Set every CRC-32 to zero, as torch writes them when it computes none."""
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        entry = archive.start_dir
        for record in archive.infolist():
            data[record.header_offset + 14 : record.header_offset + 18] = bytes(4)
            data[entry + 16 : entry + 20] = bytes(4)
            entry += 46 + sum(int.from_bytes(data[entry + at : entry + at + 2], "little") for at in (28, 30, 32))
    path.write_bytes(data)


def test_a_file_without_checksums_is_read_and_one_with_a_wrong_one_is_not(tmp_path):
    path = write(tmp_path / "a.pt", {"model": tensors(weights()), "stats": STATS})
    data = bytearray(path.read_bytes())
    without_checksums(path)
    assert_same_model(path)
    data[data.index(weights()["layers.0.expert_weights.0"].tobytes())] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="Bad CRC-32"):
        load_model(path, names=NAMES)


def test_a_repacked_zip_file_is_read(tmp_path):
    path = write(tmp_path / "a.pt", {"model": tensors(weights()), "stats": STATS})
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert_same_model(tmp_path / "b.pt")


# Other kinds of files.


def write_safetensors(path, arrays, change=lambda header: None):
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    raw = b""
    codes = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64"}
    for name, array in arrays.items():
        offsets = [len(raw), len(raw) + array.nbytes]
        header[name] = {"dtype": codes[array.dtype.name], "shape": list(array.shape), "data_offsets": offsets}
        raw += array.tobytes()
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw)
    return path


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_safetensors_are_read(dtype, tmp_path):
    rounded = {name: array.astype(dtype) for name, array in weights().items()}
    arrays = {f"model.{name}": array for name, array in rounded.items()}
    arrays |= {f"norm.{name}": np.asarray(value) for name, value in STATS.items()}
    expected = {name: array.astype(np.float32) for name, array in rounded.items()}
    assert_same_model(write_safetensors(tmp_path / "a.safetensors", arrays), expected)


BROKEN_SAFETENSORS = {
    "gap": lambda h: h["b"].update(data_offsets=[16, 24]),
    "overlap": lambda h: h["b"].update(data_offsets=[4, 12]),
    "short": lambda h: h.pop("b"),
    "other size": lambda h: h["a"].update(shape=[3]),
    "negative": lambda h: h["a"].update(shape=[-1, -2]),
    "fraction": lambda h: h["a"].update(shape=[2.0]),
    "huge": lambda h: h["a"].update(shape=[2**40, 2**40, 0]),
    "no dtype": lambda h: h["a"].pop("dtype"),
    "deep": lambda h: h.update(a=[[[[]]]]),
}


@pytest.mark.parametrize("how", BROKEN_SAFETENSORS)
def test_a_damaged_safetensors_file_is_one_clear_line(how, tmp_path):
    arrays = {"a": np.array([1, 2], np.float32), "b": np.array([3, 4], np.float32)}
    path = write_safetensors(tmp_path / "a.safetensors", arrays, BROKEN_SAFETENSORS[how])
    with pytest.raises(InputError, match="damaged safetensors file") as raised:
        _safetensors_file.load(path)
    assert "\n" not in str(raised.value)


def test_a_safetensors_file_cut_short_or_with_flipped_bits_is_data_or_one_clear_line(tmp_path):
    path = write_safetensors(tmp_path / "a.safetensors", weights())
    data, rng = path.read_bytes(), np.random.default_rng(5)
    for trial in range(300):
        damaged = bytearray(data)
        damaged[int(rng.integers(500))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged if trial % 3 else data[: int(rng.integers(len(data)))])
        try:
            _safetensors_file.load(path)
        except InputError as error:
            assert "\n" not in str(error)


def test_plain_pickles_and_archives_of_arrays_are_read(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"weights": weights(), "stats": STATS}))
    assert_same_model(tmp_path / "a.pkl")
    np.savez_compressed(tmp_path / "a.npz", **weights(), **STATS, note=np.array([None, "x"], object))
    assert_same_model(tmp_path / "a.npz")


KINDS = {
    "git lfs pull": lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
    "compressed by gzip: unpack it first": lambda path: path.write_bytes(b"\x1f\x8b\x08" + bytes(40)),
    "an ONNX model": lambda path: path.write_bytes(b"\x08\x07\x12\x07pytorch" * 30),
    "a web page": lambda path: path.write_text("<!DOCTYPE html><html></html>"),
    "empty": lambda path: path.write_bytes(b""),
    "a directory": lambda path: path.mkdir(),
    "a single NumPy array": lambda path: path.write_bytes(b"\x93NUMPY" + bytes(99)),
    "a text": lambda path: path.write_text("0.1,0.2,0.3\n"),
    "it holds x [5, 6]": lambda path: shutil.copy(DATA / "expected.npz", path),
    "it holds a (int)": lambda path: path.write_bytes(pickle.dumps({"a": 1})),
}


@pytest.mark.parametrize("words", KINDS)
def test_an_error_names_the_kind_of_another_file(words, tmp_path):
    KINDS[words](tmp_path / "a.pt")
    with pytest.raises(InputError) as raised:
        load_model(tmp_path / "a.pt")
    assert words in str(raised.value)
    assert "damaged" not in str(raised.value)
    assert "\n" not in str(raised.value)


# Names of joints.


def test_unnamed_joints_must_be_named_by_an_option(tmp_path, capsys):
    path = write(tmp_path / "a.pt", {"model": tensors(weights()), "stats": STATS})
    assert main([str(path), "--out", str(tmp_path / "out")]) == 2
    assert "3 joints, and nothing names them; pass --joint-names" in capsys.readouterr().err
    (tmp_path / "names.txt").write_text("hip\nknee\nankle\n")
    for text in ("hip,knee,ankle", " hip , knee, ankle ", str(tmp_path / "names.txt")):
        assert _options.joint_names(text) == NAMES
    assert main([str(path), "--out", str(tmp_path / "out"), "--joint-names", str(tmp_path / "names.txt")]) == 0
    assert "joints: as given" in capsys.readouterr().out
    for text, words in (
        ("hip,knee", "a frame of 6 numbers does not add up: 2 joint positions"),
        ("g1-23", "does not add up: 23 joint positions"),
    ):
        with pytest.raises(InputError, match=words):
            load_model(path, names=_options.joint_names(text))
    with pytest.raises(InputError, match="no such file"):
        _options.joint_names(str(tmp_path / "absent.txt"))


@pytest.mark.parametrize("key", ["joint_names", "dof_names"])
def test_joints_are_named_by_the_checkpoint_or_its_data_set(key, tmp_path):
    named = write(tmp_path / "a.pt", {"model": tensors(weights()), "stats": STATS | {key: np.array(NAMES, object)}})
    assert load_model(named)[0].config.joint_names == NAMES
    bare = write(tmp_path / "b.pt", {"model": tensors(weights())})
    data = write(tmp_path / "data.pt", {"stats": STATS, "meta": {key: [*NAMES]}})
    assert load_model(bare, data)[0].config.joint_names == NAMES
    assert load_model(named, names=("a", "b", "c"))[0].config.joint_names == ("a", "b", "c")


def test_every_reader_is_of_a_kind_that_there_is():
    assert {"torch", "safetensors", "pickle", "npz"} <= set(_source.READERS)
