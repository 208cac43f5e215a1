"""Write files as `torch.save` does, without torch: for inputs that no real checkpoint holds."""

import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from converters import torch_file


class Tensor:
    """Stands for a torch tensor in the content to write."""

    def __init__(self, array: Any):
        self.array = np.ascontiguousarray(array)


class _Storage:
    """A storage's persistent id is made of it."""

    def __init__(self, array: np.ndarray):
        self.array = array


def _fake_torch() -> dict[str, types.ModuleType]:
    """Modules whose names the pickle refers to."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2(*_: Any) -> None:
        raise AssertionError("never called")

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    for name in ("FloatStorage", "DoubleStorage", "LongStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    return {"torch": torch, "torch._utils": utils}


class _Pickler(pickle.Pickler):
    def __init__(self, stream: Any, modules: dict[str, Any]):
        super().__init__(stream, protocol=2)
        self.modules = modules
        self.storages: list[np.ndarray] = []

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, _Storage):
            return None
        name = {"float32": "FloatStorage", "float64": "DoubleStorage", "int64": "LongStorage"}[obj.array.dtype.name]
        self.storages.append(obj.array)
        return ("storage", getattr(self.modules["torch"], name), str(len(self.storages) - 1), "cpu", obj.array.size)

    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, Tensor):
            return NotImplemented
        array = obj.array
        strides = tuple(stride // array.itemsize for stride in array.strides)
        arguments = (_Storage(array), 0, array.shape, strides, False, OrderedDict())
        return self.modules["torch._utils"]._rebuild_tensor_v2, arguments


def write(path: Path, content: Any) -> Path:
    """A torch zip file of `content`."""
    modules = _fake_torch()
    stream = io.BytesIO()
    with mock.patch.dict(sys.modules, modules):
        pickler = _Pickler(stream, modules)
        pickler.dump(content)
    write_pickle(path, stream.getvalue())
    with zipfile.ZipFile(path, "a") as archive:
        for index, array in enumerate(pickler.storages):
            archive.writestr(f"archive/data/{index}", array.tobytes())
    return path


def write_pickle(path: Path, pickled: bytes) -> Path:
    """A torch zip file around a pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", b"little")
    return path


def read_tensors(content: Any) -> Any:
    """What `torch_file.load` gave, its tensors read and ready to be changed and written again."""
    if isinstance(content, torch_file.Tensor):
        return Tensor(content.numpy())
    if isinstance(content, dict):
        return {key: read_tensors(value) for key, value in content.items()}
    return content
