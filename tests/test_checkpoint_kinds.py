"""Rare kinds of checkpoints: whole modules, old protocols, objects in archives, unusual tensors."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cmg_jax import InputError
from converters import load_model
from tests.test_checkpoints_found import NAMES, STATS, assert_same_model, tensors, weights
from tests.torch_files import Module, OtherTensor, Tensor, write, write_older, write_pickle


def module(arrays: dict[str, np.ndarray]) -> Module:
    """The module that has this state_dict."""
    parameters = {name: Tensor(array) for name, array in arrays.items() if "." not in name}
    below = {name.partition(".")[0] for name in arrays if "." in name}
    inside = {
        key: {name.removeprefix(f"{key}."): array for name, array in arrays.items() if name.startswith(f"{key}.")}
        for key in sorted(below)
    }
    return Module(parameters, {key: module(part) for key, part in inside.items()})


@pytest.mark.parametrize("protocol", [1, 2, 4])
@pytest.mark.parametrize("writer", [write, write_older])
def test_whole_modules_are_read_in_both_formats(writer, protocol, tmp_path):
    content = {"model": module(weights()), "stats": STATS}
    assert_same_model(writer(tmp_path / "a.pt", content, protocol=protocol))
    beside = module({"weight": np.zeros((2, 2), np.float32)})
    content = {"head": beside, "model": tensors(weights()), "stats": STATS, "tail": [beside]}
    assert_same_model(writer(tmp_path / "b.pt", content, protocol=protocol))


def test_the_older_format_is_read_in_protocol_1_and_refused_in_protocol_0(tmp_path):
    content = {"model": tensors(weights()), "stats": STATS}
    assert_same_model(write_older(tmp_path / "a.pt", content, protocol=1))
    old = [pickle.dumps(part, 0) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    (tmp_path / "b.pt").write_bytes(b"".join(old) + b"(dp0\nVmodel\np1\nP('storage', 'x', '0', 'cpu', 4)\ns.")
    with pytest.raises(InputError, match="protocol 0, which PyTorch itself cannot read"):
        load_model(tmp_path / "b.pt")


@pytest.mark.parametrize(
    "persistent_id",
    [None, 7, (), ("module",), ("module", "class"), ("storage", None, "0", "cpu", 1), ("storage", "x"), ["storage"]],
)
@pytest.mark.parametrize("older", [False, True])
def test_a_persistent_id_of_neither_storage_nor_module_is_one_clear_line(older, persistent_id, tmp_path):
    content = pickle.dumps(persistent_id, 2)[:-1] + b"Q."
    if older:
        head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
        (tmp_path / "a.pt").write_bytes(b"".join([pickle.dumps(part, 2) for part in head]) + content)
    else:
        write_pickle(tmp_path / "a.pt", content)
    with pytest.raises(InputError, match="refers to data that is not a tensor storage"):
        load_model(tmp_path / "a.pt")


def in_archive(path: Path, **content: object) -> Path:
    """Dictionaries as `np.savez` writes them: arrays of objects without axes."""
    with path.open("wb") as file:
        arrays: Any = {name: np.asarray(value) for name, value in content.items()}
        np.savez(file, **arrays)
    return path


def test_dictionaries_in_archives_and_arrays_are_read(tmp_path):
    assert_same_model(in_archive(tmp_path / "a.npz", **weights(), stats=STATS, epoch=None))
    assert_same_model(in_archive(tmp_path / "b.npz", model_state_dict=weights(), stats=STATS))
    assert_same_model(in_archive(tmp_path / "c.npz", checkpoint={"model": weights(), "stats": STATS}))
    assert_same_model(in_archive(tmp_path / "d.npz", **weights(), **STATS, joint_names="hip"))
    content = {"model": tensors(weights()), "stats": np.array(STATS, object)}
    for writer in (write, write_older):
        assert_same_model(writer(tmp_path / "e.pt", content))
    (tmp_path / "f.pkl").write_bytes(pickle.dumps({"model": weights(), "stats": np.array(STATS, object)}))
    assert_same_model(tmp_path / "f.pkl")


OTHER_TENSORS = {
    "torch.Tensor of torch.float8_e4m3fn": OtherTensor("tensor_v3", "float8_e4m3fn"),
    "torch.Tensor of torch.uint16": OtherTensor("tensor_v3", "uint16"),
    "a sparse torch.Tensor": OtherTensor("sparse_tensor"),
    "a torch.Tensor without numbers (on the device meta)": OtherTensor("meta_tensor_no_storage"),
    "a quantized torch.Tensor": OtherTensor("qtensor"),
    "torch.Tensor of torch.QuarterStorage": Tensor(np.zeros(4, "V4")),
    "list": [0.5],
}


@pytest.mark.parametrize("kind", OTHER_TENSORS)
def test_weights_of_an_unsupported_kind_are_named(kind, tmp_path):
    name = "layers.0.expert_weights.1"
    one = tensors(weights()) | {name: OTHER_TENSORS[kind]}
    for model, words in [
        (one, f"model.{name} is stored as {kind}, which is not read; save dense tensors of float32"),
        (dict.fromkeys(one, OTHER_TENSORS[kind]), f"and 11 more weights are stored as {kind}, which is not read"),
    ]:
        with pytest.raises(InputError) as raised:
            load_model(write(tmp_path / "a.pt", {"model": model, "stats": STATS}), names=NAMES)
        assert words in str(raised.value)
    # Beside supported weights they do not matter.
    content = {"model": tensors(weights()), "stats": STATS, "quantized": one, "names": dict.fromkeys(weights(), "x")}
    assert_same_model(write(tmp_path / "b.pt", content), chosen="model")


def test_safetensors_weights_of_an_unsupported_dtype_are_named(tmp_path):
    names = list(weights())
    header = {name: {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [at, at + 1]} for at, name in enumerate(names)}
    text = json.dumps(header).encode()
    (tmp_path / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(len(names)))
    with pytest.raises(InputError, match="and 11 more weights are stored as tensor of F8_E4M3, which is not read"):
        load_model(tmp_path / "a.safetensors")
