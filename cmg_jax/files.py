"""Files and directories that appear whole or not at all."""

import contextlib
import ctypes
import errno
import os
import re
import secrets
import shutil
import struct
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from cmg_jax.errors import InputError

ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    OverflowError,
    MemoryError,
    LookupError,
    OSError,  # a seek to before the file
    SyntaxError,  # NumPy's, of an array's header
    tokenize.TokenError,
)
"""All that zipfile, and NumPy in an archive, raise on damaged input."""

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def first_line(error: Exception) -> str:
    """What an error of another library says, short enough for a line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def require_parent(path: Path) -> None:
    """Raise InputError unless the directory that `path` is to be written into exists."""
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: no directory {path.absolute().parent}; create it first")


@contextlib.contextmanager
def clear_write_errors(path: Path) -> Iterator[None]:
    """Turn the errors of a full or failing disk, Python's and tensorstore's, into one InputError that names `path`."""
    try:
        yield
    except (InputError, BrokenPipeError):
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    except ValueError as error:
        code = re.search(r"os_error_code='(\d+)'", str(error))
        if code is None:
            raise
        raise InputError(f"{path}: cannot be written: {os.strerror(int(code[1]))}") from error


@contextlib.contextmanager
def atomic_path(path: Path, *, once: bool = False) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the name `path` if the block ends without an error.

    Works for a file and for a directory, which must then be absent or may be replaced. An existing
    directory is exchanged for the new one in one system call where the system has it (Linux). A process
    that is killed inside the block leaves its hidden `.NAME.*.partial` behind, which may be deleted.

    With `once`, for a directory that several processes make at once, the first one stays and the others are dropped.

    Raises:
      InputError: the parent directory does not exist, or the disk refuses.
    """
    path = Path(path).resolve()  # what a link points to is replaced, not the link
    require_parent(path)
    # The suffix stays: writers choose the format by it.
    partial = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.partial{path.suffix}")
    try:
        with clear_write_errors(path):
            yield partial
            if once:
                _rename_once(partial, path)
            elif path.is_dir():
                _exchange(partial, path)
            else:
                partial.replace(path)
    finally:
        # What is left under the partial name is the unfinished new one, or the old one exchanged.
        if partial.is_dir():
            shutil.rmtree(partial)
        else:
            partial.unlink(missing_ok=True)


def _rename_once(new: Path, path: Path) -> None:
    try:
        new.rename(path)  # refused where `path` is a directory that holds something
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _exchange(new: Path, old: Path) -> None:
    """Swap two directories; afterwards `new` holds what `old` held."""
    if sys.platform == "linux":
        rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
        if rename and not rename(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE):
            return
    # No such call here, or none on this file system: between these two renames there is no directory.
    aside = old.with_name(f"{new.name}.old")
    old.rename(aside)
    try:
        new.rename(old)
    except OSError:
        aside.rename(old)
        raise
    aside.rename(new)
