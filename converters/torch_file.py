"""Read what `torch.save` wrote, without torch and without executing anything: zip and pre-1.6 files.

Tensors come back as `Tensor` references; in a zip file their bytes are read on `numpy()`, so that the
optimiser state of a training checkpoint is left where it is.
"""

import math
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from cmg_jax import safe_pickle
from cmg_jax.errors import InputError
from cmg_jax.files import ZIP_ERRORS

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
MAX_DIMENSIONS = 8

STORAGE_DTYPES: dict[str, np.dtype] = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}


class Storage:
    """A run of elements in the file; `read` fetches its bytes."""

    def __init__(self, dtype: np.dtype, size: int, read: Callable[[], bytes] | None = None):
        self.dtype = dtype
        self.size = size
        self.read = read


class Tensor:
    """A strided view of a storage, as the checkpoint describes it."""

    def __init__(self, storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]):
        self.storage = storage
        self.offset = offset
        self.shape = shape
        self.strides = strides

    @property
    def dtype(self) -> np.dtype:
        return self.storage.dtype

    def numpy(self) -> np.ndarray:
        """A copy of the tensor in its own dtype."""
        if self.storage.read is None:
            raise InputError("a tensor's data is missing from the file")
        elements = np.frombuffer(self.storage.read(), self.dtype)
        step = self.dtype.itemsize
        # `_rebuild_tensor` has checked that the last element lies inside the storage.
        view = np.lib.stride_tricks.as_strided(
            elements[self.offset :], self.shape, [n * step for n in self.strides], writeable=False
        )
        return view.copy()


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor | safe_pickle.Placeholder:
    if isinstance(storage, safe_pickle.Placeholder):
        return safe_pickle.Placeholder(f"torch.Tensor of {storage.name}")
    if not isinstance(storage, Storage) or len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
        raise safe_pickle.PickleError("holds a tensor without a storage or with odd axes")
    if not all(type(n) is int and 0 <= n <= storage.size for n in (offset, *shape, *strides)):
        raise safe_pickle.PickleError("holds a tensor with sizes or strides that its storage does not have")
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if math.prod(shape) > storage.size or (math.prod(shape) and last >= storage.size):
        raise safe_pickle.PickleError(f"holds a tensor of shape {tuple(shape)} that reaches past its storage")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


TORCH_GLOBALS: dict[str, safe_pickle.Handler] = {
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch.Size": lambda sizes=(): tuple(sizes),
}


def _storage_of(persistent_id: Any) -> tuple[np.dtype | None, str, int]:
    """dtype, None for an unusual one, key and number of elements from a storage's persistent id."""
    kind, storage_type, key, _location, size = persistent_id[:5]
    fits = isinstance(storage_type, safe_pickle.Placeholder) and isinstance(key, str) and type(size) is int
    if kind != "storage" or not fits or size < 0:
        raise safe_pickle.PickleError("refers to data that is no tensor storage")
    return STORAGE_DTYPES.get(storage_type.name.removeprefix("torch.")), key, size


def load(path: Path) -> Any:
    """The object saved in `path`, tensors as `Tensor`.

    Raises:
      InputError: not a PyTorch file, damaged, or holding anything but plain data and tensors.
    """
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            return _Archive(path).load() if is_zip else _load_legacy(file)
    except safe_pickle.PickleError as error:
        raise InputError(f"{path}: {error}") from error


class _Archive:
    """A torch zip file: `data.pkl`, and one stored (never compressed) record a storage."""

    def __init__(self, path: Path):
        self.path = path
        self.names = self._guarded(lambda archive: archive.namelist())
        pickles = [name for name in self.names if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise InputError(f"{path}: a zip file, but not a PyTorch checkpoint (it has no data.pkl)")
        self.root = pickles[0].removesuffix("data.pkl")
        if f"{self.root}constants.pkl" in self.names:
            raise InputError(f"{path}: a TorchScript archive; save the model's state_dict with torch.save instead")
        if f"{self.root}byteorder" in self.names and self.record("byteorder") != b"little":
            raise InputError(f"{path}: saved on a big-endian machine; save it again on a little-endian one")

    def load(self) -> Any:
        return safe_pickle.load(self.record("data.pkl"), allowed=TORCH_GLOBALS, persistent_load=self._persistent_load)

    def _persistent_load(self, persistent_id: Any) -> Storage | safe_pickle.Placeholder:
        dtype, key, size = _storage_of(persistent_id)
        if dtype is None:
            return safe_pickle.Placeholder(persistent_id[1].name)
        return Storage(dtype, size, lambda: self.record(f"data/{key}", size * dtype.itemsize))

    def record(self, name: str, expected_bytes: int | None = None) -> bytes:
        """One record, its checksum verified."""
        full_name = self.root + name
        if full_name not in self.names:
            raise InputError(f"{self.path}: record {full_name} is missing; copy or save the file again")

        def read(archive: zipfile.ZipFile) -> bytes:
            info = archive.getinfo(full_name)
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
                raise zipfile.BadZipFile(f"record {full_name} is compressed, which torch.save never does")
            if info.file_size > self.path.stat().st_size:
                raise zipfile.BadZipFile(f"record {full_name} is larger than the file")
            if expected_bytes is not None and info.file_size != expected_bytes:
                raise zipfile.BadZipFile(f"record {full_name} has {info.file_size} bytes, not {expected_bytes}")
            return archive.read(info)

        return self._guarded(read)

    def _guarded(self, read: Callable[[zipfile.ZipFile], Any]) -> Any:
        """`read` on the open archive; whatever a damaged one makes zipfile raise is one line."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                return read(archive)
        except ZIP_ERRORS as error:
            raise InputError(f"{self.path}: damaged or cut short ({error}); copy or save the file again") from error


def _load_legacy(file: BinaryIO) -> Any:
    """Pickles of magic number, protocol, system, object, storage keys; then each storage's elements."""
    try:
        magic = safe_pickle.load(file)
    except safe_pickle.PickleError:
        magic = None
    if magic != LEGACY_MAGIC:
        raise safe_pickle.PickleError("not a PyTorch checkpoint (neither a torch zip file nor the older format)")
    if safe_pickle.load(file) != LEGACY_PROTOCOL:
        raise safe_pickle.PickleError("an unknown version of the older PyTorch format; save it again with torch.save")
    system = safe_pickle.load(file)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise safe_pickle.PickleError("saved on a big-endian machine in the older format; save it again")
    storages: dict[str, Storage] = {}

    def persistent_load(persistent_id: Any) -> Storage:
        dtype, key, size = _storage_of(persistent_id)
        if len(persistent_id) > 5 and persistent_id[5] is not None:
            raise safe_pickle.PickleError("uses storage views of PyTorch < 0.4; save it again")
        if dtype is None:
            raise safe_pickle.PickleError(f"holds a {persistent_id[1].name}; save it again without it")
        return storages.setdefault(key, Storage(dtype, size))

    content = safe_pickle.load(file, allowed=TORCH_GLOBALS, persistent_load=persistent_load)
    keys = safe_pickle.load(file)
    if not isinstance(keys, list) or {str(key) for key in keys} != set(storages):
        raise safe_pickle.PickleError("is damaged: its list of storages does not match its tensors")
    for key in keys:
        storage = storages[str(key)]
        header = file.read(8)
        if len(header) != 8 or struct.unpack("<q", header)[0] != storage.size:
            raise safe_pickle.PickleError(f"is cut short or damaged at storage {key}")
        wanted = storage.size * storage.dtype.itemsize
        if wanted > os.fstat(file.fileno()).st_size - file.tell():
            raise safe_pickle.PickleError(f"is cut short at storage {key}")
        data = file.read(wanted)
        storage.read = lambda data=data: data
    return content
