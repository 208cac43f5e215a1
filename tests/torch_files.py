"""Write files as `torch.save` does, without torch: for content that no real checkpoint has."""

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

from converters import _torch_file

STORAGES = {
    "float16": "HalfStorage",
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "int64": "LongStorage",
    "complex64": "ComplexFloatStorage",
    "void32": "QuarterStorage",  # of a future version of torch
}


class Tensor:
    """Stands for a torch tensor in the content to write."""

    def __init__(self, array: Any, *, repeat: int | None = None):
        """With `repeat`, an expanded tensor as `torch.Tensor.expand` makes it, whose storage holds the array once."""
        self.array = np.array(array, order="C")
        self.repeat = repeat


class OtherTensor:
    """Stands for a torch tensor that another function of `torch._utils` makes."""

    def __init__(self, function: str, dtype: str = ""):
        self.function = function
        self.dtype = dtype


class Module:
    """A torch.nn.Module in the content to write; the older format names its class with the source."""

    def __init__(self, parameters: dict[str, Any], modules: dict[str, Any]):
        self._parameters, self._modules, self._buffers = parameters, modules, {}


class _Storage:
    """The storage of a tensor, from which its persistent id is made."""

    def __init__(self, array: np.ndarray):
        self.array = array


def _global(module: str, name: str) -> Any:
    """A function of this name."""

    def function(*_: Any) -> None:
        raise AssertionError("never called")

    function.__module__, function.__qualname__ = module, name
    return function


def _fake_torch() -> dict[str, types.ModuleType]:
    """Modules whose names the pickle refers to."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    for name in ("tensor_v2", "tensor_v3", "sparse_tensor", "meta_tensor_no_storage", "qtensor"):
        setattr(utils, f"_rebuild_{name}", _global("torch._utils", f"_rebuild_{name}"))
    for name in (*STORAGES.values(), "float8_e4m3fn", "uint16"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    return {"torch": torch, "torch._utils": utils}


class _Pickler(pickle.Pickler):
    def __init__(self, stream: Any, modules: dict[str, Any], protocol: int, is_older: bool):
        super().__init__(stream, protocol=protocol)
        self.modules = modules
        self.classes = [Module] if is_older else []
        self.storages: list[np.ndarray] = []

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, type) and obj in self.classes:
            self.classes.remove(obj)
            return ("module", obj, "model.py", "class Module: ...")
        if not isinstance(obj, _Storage):
            return None
        name = STORAGES[obj.array.dtype.name]
        self.storages.append(obj.array)
        return ("storage", getattr(self.modules["torch"], name), str(len(self.storages) - 1), "cpu", obj.array.size)

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, OtherTensor):
            dtype = getattr(self.modules["torch"], obj.dtype) if obj.dtype else None
            arguments = (_Storage(np.zeros(4, np.float32)), 0, (4,), (1,), False, OrderedDict(), dtype, None)
            return getattr(self.modules["torch._utils"], f"_rebuild_{obj.function}"), arguments
        if not isinstance(obj, Tensor):
            return NotImplemented
        array = obj.array
        strides = tuple(stride // array.itemsize for stride in array.strides)
        shape, strides = (array.shape, strides) if obj.repeat is None else ((obj.repeat, *array.shape), (0, *strides))
        arguments = (_Storage(array), 0, shape, strides, False, OrderedDict())
        return self.modules["torch._utils"]._rebuild_tensor_v2, arguments


def _pickled(content: Any, protocol: int, *, is_older: bool = False) -> tuple[bytes, list[np.ndarray]]:
    modules = _fake_torch()
    stream = io.BytesIO()
    with mock.patch.dict(sys.modules, modules):
        pickler = _Pickler(stream, modules, protocol, is_older)
        pickler.dump(content)
    return stream.getvalue(), pickler.storages


def write(path: Path, content: Any, *, protocol: int = 2, byteorder: str = "little") -> Path:
    """A torch zip file of `content`."""
    pickled, storages = _pickled(content, protocol)
    write_pickle(path, pickled, byteorder)
    with zipfile.ZipFile(path, "a") as archive:
        for index, array in enumerate(storages):
            raw = array.byteswap() if byteorder == "big" else array
            archive.writestr(f"archive/data/{index}", raw.tobytes())
    return path


def write_older(path: Path, content: Any, *, protocol: int = 2) -> Path:
    """The same as written by torch before 1.6: pickles one after the other, and the storages."""
    pickled, storages = _pickled(content, protocol, is_older=True)
    system = {"protocol_version": 1001, "little_endian": True}
    parts = [pickle.dumps(part, protocol) for part in (0x1950A86A20F9469CFC6C, 1001, system)]
    parts += [pickled, pickle.dumps([str(index) for index in range(len(storages))], protocol)]
    parts += [array.size.to_bytes(8, "little") + array.tobytes() for array in storages]
    path.write_bytes(b"".join(parts))
    return path


def write_pickle(path: Path, pickled: bytes, byteorder: str = "little") -> Path:
    """A torch zip file around a pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", byteorder)
    return path


def read_tensors(content: Any) -> Any:
    """The content from `torch_file.load` with its tensors read, ready to be changed and written again."""
    if isinstance(content, _torch_file.Tensor):
        return Tensor(content.numpy())
    if isinstance(content, dict):
        return {key: read_tensors(value) for key, value in content.items()}
    return content
