"""Pickles, and NumPy's files with pickles in them, read without executing anything from the file."""

import io
import tokenize
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cmg_jax._files import ZIP_ERRORS, first_line
from cmg_jax.pickles._globals import GLOBALS
from cmg_jax.pickles._machine import Machine
from cmg_jax.pickles._placeholder import Handler, PickleError
from cmg_jax.pickles._unpack import max_unpacked, unpacked

DAMAGE = (ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
"""Errors that a damaged stream raises in the parser or in an operand."""


def load(
    stream: BinaryIO | bytes,
    *,
    allowed: Mapping[str, Handler] | None = None,
    persistent_load: Callable[[Any], Any] | None = None,
) -> Any:
    """The object in `stream`, read up to its STOP opcode, with a `Placeholder` for everything that is not plain data.

    Args:
      stream: an open binary file or the bytes themselves, which may be compressed (zlib, gzip, bz2, xz); a file is
        left at the end of the pickle.
      allowed: further globals: a mapping from "module.name" to the function that replaces it.
      persistent_load: called with the id of every external object (PyTorch's storages).

    Raises:
      PickleError: the stream is not a pickle, or is damaged or cut short.
    """
    stream = io.BytesIO(unpacked(stream)) if isinstance(stream, bytes) else stream
    try:
        with warnings.catch_warnings(action="ignore"):  # of odd escapes in names
            return Machine(stream, {**GLOBALS, **(allowed or {})}, persistent_load).load()
    except PickleError:
        raise
    except DAMAGE as error:
        raise PickleError(f"is damaged: {type(error).__name__} while unpickling") from error


def load_npy(data: bytes) -> Any:
    """The array in an `.npy` file or in a member of an `.npz` file; one of objects is read as `load` does.

    An array of objects without axes is the object in it.

    Raises:
      PickleError: it is damaged.
    """
    stream = io.BytesIO(data)
    header = {(1, 0): np.lib.format.read_array_header_1_0}
    try:
        version = np.lib.format.read_magic(stream)
        shape, _, dtype = header.get(version, np.lib.format.read_array_header_2_0)(stream)
        if not dtype.hasobject:
            stream.seek(0)
            return np.lib.format.read_array(stream, allow_pickle=False)
    except (*DAMAGE, tokenize.TokenError, SyntaxError) as error:
        raise PickleError(f"is damaged: {first_line(error)}") from error
    value = load(stream)
    if isinstance(value, np.ndarray) and value.shape != shape != ():
        raise PickleError(f"is damaged: an array of shape {value.shape} where its header says {shape}")
    return value


def load_npz(path: Path) -> dict[str, Any]:
    """The arrays of an `.npz` file under their names, each read as a whole: only then its checksum is compared.

    Arrays of objects are read as `load` reads them.

    Raises:
      PickleError: it is damaged, or unpacks to far more than its size.
      OSError: the file cannot be opened.
    """
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                if sum(member.file_size for member in archive.infolist()) > max_unpacked(path.stat().st_size):
                    raise PickleError("unpacks to far more than its size")
                return {name.removesuffix(".npy"): load_npy(archive.read(name)) for name in archive.namelist()}
        except PickleError:
            raise
        except ZIP_ERRORS as error:
            raise PickleError(f"is damaged: {first_line(error)}") from error
