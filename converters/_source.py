"""Reads files of weights. The first bytes of a file determine its reader."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cmg_jax import pickles
from cmg_jax._errors import InputError
from cmg_jax._file_kinds import file_kind
from cmg_jax.pickles import PickleError
from converters import _safetensors_file, _torch_file


def load(path: Path) -> Any:
    """The content of the file: nested dictionaries of `_torch_file.Tensor`, NumPy arrays and plain data.

    Raises:
      InputError: the file is of another kind, or damaged.
      OSError: it cannot be opened.
    """
    kind = file_kind(path)
    if kind.name not in READERS:
        remedy = "" if ":" in kind.text else "; a checkpoint is a file of torch.save or .safetensors"
        raise InputError(f"{path} is {kind.text}{remedy}")
    return READERS[kind.name](path)


def _pickle(path: Path) -> Any:
    try:
        content = pickles.load(path.read_bytes())
        # The older format of torch.save begins with a pickle of a number.
        is_older = isinstance(content, int) and content == _torch_file.LEGACY_MAGIC
        return _torch_file.load(path) if is_older else content
    except PickleError as error:
        raise InputError(f"{path}: {error}") from error


def _npz(path: Path) -> Any:
    try:
        return pickles.load_npz(path)
    except PickleError as error:
        raise InputError(f"{path}: damaged ({error}); copy or save it again") from error


READERS: dict[str, Callable[[Path], Any]] = {
    "torch": _torch_file.load,
    "safetensors": _safetensors_file.load,
    "pickle": _pickle,
    "npz": _npz,
    "broken-zip": _torch_file.load,  # its message describes the damage
}
