"""Read a file of weights, whatever wrote it: its first bytes say which reader it needs."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cmg_jax._errors import InputError
from cmg_jax._file_kinds import file_kind
from cmg_jax._files import ZIP_ERRORS
from cmg_jax.pickles import _read
from converters import safetensors_file, torch_file
from converters.torch_file import MAX_UNPACKED


def load(path: Path) -> Any:
    """What the file holds: nested dictionaries with `torch_file.Tensor`, NumPy arrays and plain data.

    Raises:
      InputError: a file of another kind, damaged, or not there.
    """
    kind = file_kind(path)
    if kind.name not in READERS:
        remedy = "" if ":" in kind.text else "; a checkpoint is a file of torch.save or .safetensors"
        raise InputError(f"{path} is {kind.text}{remedy}")
    return READERS[kind.name](path)


def _pickle(path: Path) -> Any:
    try:
        content = _read.load(path.read_bytes())
        # The older format of torch.save begins with a pickle of a number.
        is_older = isinstance(content, int) and content == torch_file.LEGACY_MAGIC
        return torch_file.load(path) if is_older else content
    except _read.PickleError as error:
        raise InputError(f"{path}: {error}") from error


def _npz(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_UNPACKED * path.stat().st_size:
                raise _read.PickleError("unpacks to far more than its size")
            return {name.removesuffix(".npy"): _read.load_npy(archive.read(name)) for name in archive.namelist()}
    except (_read.PickleError, *ZIP_ERRORS) as error:
        raise InputError(f"{path}: damaged ({error}); copy or save it again") from error


READERS: dict[str, Callable[[Path], Any]] = {
    "torch": torch_file.load,
    "safetensors": safetensors_file.load,
    "pickle": _pickle,
    "npz": _npz,
    "broken-zip": torch_file.load,  # whose message says what is wrong with it
}
