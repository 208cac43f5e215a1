"""Files of `torch.save` read without torch and without executing anything: zip files, and those before torch 1.6.

Tensors come back as `Tensor` references; in a zip file their bytes are read on `numpy()`, so that the
optimizer state of a training checkpoint is never read.
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

from cmg_jax import pickles
from cmg_jax._errors import InputError
from cmg_jax._files import ZIP_ERRORS
from cmg_jax.pickles import PickleError, Placeholder

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
MAX_DIMENSIONS = 8
MAX_EXPANDED = 2**24
"""Largest number of elements of a tensor that repeats those of a smaller storage."""

MAX_UNPACKED = 64
"""Bytes that each byte of a compressed record may unpack to."""

DTYPES: dict[str, np.dtype] = {
    "Double": np.dtype(np.float64),
    "Float": np.dtype(np.float32),
    "Half": np.dtype(np.float16),
    "BFloat16": np.dtype(ml_dtypes.bfloat16),
    "Long": np.dtype(np.int64),
    "Int": np.dtype(np.int32),
    "Short": np.dtype(np.int16),
    "Char": np.dtype(np.int8),
    "Byte": np.dtype(np.uint8),
    "Bool": np.dtype(np.bool_),
    "ComplexFloat": np.dtype(np.complex64),
    "ComplexDouble": np.dtype(np.complex128),
    "QInt8": np.dtype(np.int8),
    "QUInt8": np.dtype(np.uint8),
    "QInt32": np.dtype(np.int32),
    "Untyped": np.dtype(np.uint8),
}
"""The dtype of a storage by the name of its class, without "Storage"."""


class Storage:
    """Consecutive elements in the file; `read` fetches their bytes."""

    def __init__(self, dtype: np.dtype, size: int, read: Callable[[], bytes] | None = None, big_endian: bool = False):
        self.dtype = dtype
        self.size = size
        self.read = read
        self.big_endian = big_endian

    def elements(self) -> np.ndarray:
        if self.read is None:
            raise InputError("a tensor's data is missing from the file")
        raw = np.frombuffer(self.read(), np.uint8)
        if self.big_endian and self.dtype.kind != "c":
            raw = raw.view(f"u{self.dtype.itemsize}").byteswap()
        elif self.big_endian:  # the two halves of a number on their own
            raw = raw.view(f"u{self.dtype.itemsize // 2}").byteswap()
        return raw.view(self.dtype)


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
        step = self.dtype.itemsize
        # `_rebuild_tensor` has checked that the last element lies inside the storage.
        view = np.lib.stride_tricks.as_strided(
            self.storage.elements()[self.offset :], self.shape, [n * step for n in self.strides], writeable=False
        )
        return view.copy()


def to_numpy(value: Any) -> np.ndarray | None:
    """A tensor or a NumPy array as a NumPy array; None for anything else."""
    if isinstance(value, Tensor):
        return value.numpy()
    numbers = isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufV"  # V: bfloat16
    return np.asarray(value) if numbers else None


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor | Placeholder:
    if isinstance(storage, Placeholder):
        return Placeholder(f"torch.Tensor of {storage.name}")
    if not isinstance(storage, Storage) or len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
        raise PickleError("holds a tensor without a storage or with odd axes")
    if not all(type(n) is int and n >= 0 for n in (offset, *shape, *strides)):
        raise PickleError("holds a tensor with sizes or strides that its storage does not have")
    # Elements along an axis that is empty do not multiply, but NumPy counts them.
    if math.prod(max(n, 1) for n in shape) > max(storage.size, MAX_EXPANDED):
        raise PickleError(f"holds a tensor of shape {tuple(shape)} that is larger than its storage")
    strides = tuple(stride if n > 1 and math.prod(shape) else 0 for n, stride in zip(shape, strides, strict=True))
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if math.prod(shape) and last >= storage.size:
        raise PickleError(f"holds a tensor of shape {tuple(shape)} that reaches past its storage")
    return Tensor(storage, min(offset, storage.size), tuple(shape), strides)


def _rebuild_newer(_storage: Any, _offset: Any, _shape: Any, _strides: Any, *rest: Any) -> Placeholder:
    """A tensor of a dtype that has no storage class of its own: float8, unsigned integers."""
    dtype = rest[2].name if len(rest) > 2 and isinstance(rest[2], Placeholder) else "an unknown dtype"
    return Placeholder(f"torch.Tensor of {dtype}")


def _first(data: Any, *_: Any) -> Any:
    """Read a parameter, or a tensor that was moved to another device, as its data."""
    return data


def _subclass(function: Any, _kind: Any, arguments: Any, _state: Any) -> Any:
    """Read an instance of a subclass of Tensor as the tensor."""
    handler = getattr(function, "handler", None)
    return Placeholder(f"torch.Tensor by {function.name}") if handler is None else handler(*arguments)


UNREAD = {
    "sparse_tensor": "a sparse torch.Tensor",
    "sparse_csr_tensor": "a sparse torch.Tensor",
    "nested_tensor": "a nested torch.Tensor",
    "meta_tensor_no_storage": "a torch.Tensor without numbers (on the device meta)",
    "qtensor": "a quantized torch.Tensor",
    "wrapper_subclass": "an instance of a subclass of torch.Tensor",
}
"""Kinds of tensors by the function of torch._utils that makes them."""


def _unread(kind: str) -> pickles.Handler:
    return lambda *_: Placeholder(kind)


TORCH_GLOBALS: dict[str, pickles.Handler] = {
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": _rebuild_newer,
    **{f"torch._utils._rebuild_{function}": _unread(kind) for function, kind in UNREAD.items()},
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._utils._rebuild_device_tensor_from_numpy": _first,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _first,
    "torch._tensor._rebuild_from_type_v2": _subclass,
    "torch.Size": lambda sizes=(): tuple(sizes),
}


def _storage_of(persistent_id: Any) -> Placeholder | tuple[np.dtype | None, str, int]:
    """dtype, None for an unknown one, key and number of elements from a storage's persistent id.

    The older format also has such ids for classes of modules, with their source; the class is the placeholder in it.
    """
    if isinstance(persistent_id, str):
        raise PickleError("is a pickle of protocol 0, which PyTorch itself cannot read; save it again with torch.save")
    kind, described, *rest = persistent_id if isinstance(persistent_id, tuple) and persistent_id[1:] else (None, None)
    if kind == "module" and isinstance(described, Placeholder):
        return described
    if kind != "storage" or not isinstance(described, Placeholder) or len(rest) < 3:
        raise PickleError("refers to data that is not a tensor storage")
    key, _location, size = rest[:3]
    if not isinstance(key, str) or type(size) is not int or size < 0:
        raise PickleError("refers to data that is not a tensor storage")
    return DTYPES.get(described.name.rpartition(".")[2].removesuffix("Storage")), key, size


def load(path: Path) -> Any:
    """The object saved in `path`, tensors as `Tensor`, and other objects as `pickles.Placeholder`.

    Raises:
      InputError: it is not a PyTorch file, or damaged.
      OSError: it cannot be opened.
    """
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            return _Archive(path).load() if is_zip else _load_legacy(file)
    except PickleError as error:
        raise InputError(f"{path}: {error}") from error


class _Archive:
    """A torch zip file: `data.pkl`, and one record for each storage."""

    def __init__(self, path: Path):
        self.path = path
        records = self._guarded(lambda archive: archive.infolist())
        self.names = {record.filename for record in records}
        self.checked = any(record.CRC for record in records)
        """False if torch has left out the checksums (`torch.serialization.set_crc32_options`)."""
        roots = [name for name in self.names if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise InputError(f"{path}: a zip file, but not a PyTorch checkpoint (it has no data.pkl)")
        self.root = roots[0].removesuffix("data.pkl")
        if f"{self.root}constants.pkl" in self.names:
            raise InputError(f"{path}: a TorchScript archive; save the model's state_dict with torch.save instead")
        order = self.record("byteorder") if f"{self.root}byteorder" in self.names else b"little"
        if order not in (b"little", b"big"):
            raise InputError(f"{path}: damaged: its byte order is neither little nor big")
        self.big_endian = order == b"big"

    def load(self) -> Any:
        return pickles.load(self.record("data.pkl"), allowed=TORCH_GLOBALS, persistent_load=self._persistent_load)

    def _persistent_load(self, persistent_id: Any) -> Storage | Placeholder:
        found = _storage_of(persistent_id)
        if isinstance(found, Placeholder):
            return found
        dtype, key, size = found
        if dtype is None:
            return Placeholder(persistent_id[1].name)
        return Storage(dtype, size, lambda: self.record(f"data/{key}", size * dtype.itemsize), self.big_endian)

    def record(self, name: str, expected_bytes: int | None = None) -> bytes:
        """The bytes of one record, after a comparison of its checksum."""
        full_name = self.root + name
        if full_name not in self.names:
            raise InputError(f"{self.path}: record {full_name} is missing; copy or save the file again")

        def read(archive: zipfile.ZipFile) -> bytes:
            info = archive.getinfo(full_name)
            if info.compress_size > self.path.stat().st_size:
                raise zipfile.BadZipFile(f"record {full_name} is larger than the file")
            if info.file_size > (
                info.compress_size if info.compress_type == zipfile.ZIP_STORED else info.compress_size * MAX_UNPACKED
            ):
                raise zipfile.BadZipFile(f"record {full_name} unpacks to far more than its size")
            if expected_bytes is not None and info.file_size != expected_bytes:
                raise zipfile.BadZipFile(f"record {full_name} has {info.file_size} bytes, not {expected_bytes}")
            if not self.checked:
                info.CRC = None  # pyright: ignore[reportAttributeAccessIssue]  # zipfile then checks none
            return archive.read(info)

        return self._guarded(read)

    def _guarded(self, read: Callable[[zipfile.ZipFile], Any]) -> Any:
        """The result of `read` on the open archive; every error of zipfile on a damaged one becomes an InputError."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                return read(archive)
        except ZIP_ERRORS as error:
            raise InputError(f"{self.path}: damaged or cut short ({error}); copy or save the file again") from error


def _load_legacy(file: BinaryIO) -> Any:
    """Read the older format: pickles of a magic number, protocol, system, object and storage keys, then the elements of
    each storage."""
    try:
        magic = pickles.load(file)
    except PickleError:
        magic = None
    if magic != LEGACY_MAGIC:
        raise PickleError("not a PyTorch checkpoint (neither a torch zip file nor the older format)")
    if pickles.load(file) != LEGACY_PROTOCOL:
        raise PickleError("an unknown version of the older PyTorch format; save it again with torch.save")
    pickles.load(file)  # about the machine; the numbers are little-endian on any
    storages: dict[str, Storage] = {}

    def persistent_load(persistent_id: Any) -> Storage | Placeholder:
        found = _storage_of(persistent_id)
        if isinstance(found, Placeholder):
            return found
        dtype, key, size = found
        if len(persistent_id) > 5 and persistent_id[5] is not None:
            raise PickleError("uses storage views of PyTorch < 0.4; save it again")
        if dtype is None:
            # Without the size of an element, what comes after it in the file cannot be found.
            raise PickleError(f"holds a {persistent_id[1].name}; save it again without it")
        return storages.setdefault(key, Storage(dtype, size))

    content = pickles.load(file, allowed=TORCH_GLOBALS, persistent_load=persistent_load)
    keys = pickles.load(file)
    if not isinstance(keys, list) or {str(key) for key in keys} != set(storages):
        raise PickleError("is damaged: its list of storages does not match its tensors")
    for key in keys:
        storage = storages[str(key)]
        header = file.read(8)
        if len(header) != 8 or struct.unpack("<q", header)[0] != storage.size:
            raise PickleError(f"is cut short or damaged at storage {key}")
        wanted = storage.size * storage.dtype.itemsize
        if wanted > os.fstat(file.fileno()).st_size - file.tell():
            raise PickleError(f"is cut short at storage {key}")
        data = file.read(wanted)
        storage.read = lambda data=data: data
    return content
