"""Writing files and directories so that they appear complete or not at all."""

import contextlib
import ctypes
import errno
import io
import os
import re
import secrets
import shutil
import struct
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from cmg_jax._errors import InputError

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
"""All errors that zipfile, and NumPy in an archive, raise on damaged input."""

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def first_line(error: Exception) -> str:
    """The message of another library's error, shortened to one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def require_parent(path: Path) -> None:
    """Raise InputError unless the directory that `path` is to be written into exists."""
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: no directory {path.absolute().parent}; create it first")


def require_file_target(path: Path, reads: Iterable[Path] = ()) -> None:
    """Raise InputError unless a file may be written as `path`, which is not in `reads`. Call it before long work."""
    require_parent(path)
    if path.is_dir():
        raise InputError(f"{path}: is a directory, which is not replaced by a file; choose another name")
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is not a regular file; choose another name")
    if path.exists() and any(source.exists() and path.samefile(source) for source in reads):
        raise InputError(f"{path}: is also an input, which would be lost; choose another name")


def files_in(directory: Path, *, empty_directories: bool = False) -> list[str]:
    """Everything in `directory` at any depth except plain directories, as sorted paths relative to it.

    With `empty_directories`, also the directories that hold nothing, their names with a slash at the end.
    """
    found = []
    for path in directory.rglob("*"):
        name = path.relative_to(directory).as_posix()
        if path.is_symlink() or not path.is_dir():
            found.append(name)
        elif empty_directories and not any(path.iterdir()):
            found.append(f"{name}/")
    return sorted(found)


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
def atomic_path(path: Path) -> Iterator[Path]:
    """A path beside `path` to write a file to; it takes the name `path` if the block ends without an error.

    A file of this name is replaced, a directory never. A process that is killed inside the block leaves
    a hidden `.NAME.*.partial`, which may be deleted.

    Raises:
      InputError: no file may be written as `path`, or the disk refuses.
    """
    path = Path(os.path.realpath(path))  # the target of a link is replaced, not the link
    require_file_target(path)
    with _partial(path) as partial:
        yield partial
        partial.replace(path)  # the system refuses if a directory has taken the name


@contextlib.contextmanager
def atomic_directory(
    path: Path, *, require_ours: Callable[[Path], None] | None = None, once: bool = False
) -> Iterator[Path]:
    """A path beside `path` to make a directory at; it takes the name `path` if the block ends without an error.

    Args:
      path: must not exist, unless one of the following options is set.
      require_ours: called with an existing `path`, which is replaced with all that it holds; it raises InputError
        unless each of its files is ours. The two directories are exchanged in one system call if
        the system has one (Linux).
      once: several processes may make the directory at the same time; the first one is kept, the others are discarded.

    Raises:
      InputError: `path` exists, its parent does not, or the disk refuses.
    """
    path = Path(os.path.realpath(path))
    require_parent(path)
    with _partial(path) as partial:
        if path.exists() and not once:
            _require_replaceable(path, require_ours)
        yield partial
        if once:
            _rename_once(partial, path)
        elif path.exists():
            _require_replaceable(path, require_ours)
            _exchange(partial, path)
        else:
            partial.rename(path)


def _require_replaceable(path: Path, require_ours: Callable[[Path], None] | None) -> None:
    if require_ours is None:
        raise InputError(f"{path} exists; choose another name")
    require_ours(path)


@contextlib.contextmanager
def _partial(path: Path) -> Iterator[Path]:
    # Keep the suffix: writers choose the format by it.
    partial = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.partial{path.suffix}")
    try:
        with clear_write_errors(path):
            yield partial
    finally:
        # Under this name is now the unfinished new one, or the old one after the exchange. If it cannot be
        # deleted, the write has not failed.
        with contextlib.suppress(OSError):
            if partial.is_dir():
                shutil.rmtree(partial, ignore_errors=True)
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
    # The call does not exist here or on this file system. Between these two renames there is no directory.
    aside = old.with_name(f"{new.name}.old")
    old.rename(aside)
    try:
        new.rename(old)
    except OSError:
        aside.rename(old)
        raise
    aside.rename(new)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an NPZ file, each with its checksum compared.

    `numpy.load` compares a checksum only if an array ends with its member, so an array whose header has become
    that of a smaller one is read as such.

    Raises:
      OSError: the file cannot be opened.
      InputError: it is damaged, or not an NPZ file of plain arrays.
    """
    arrays = {}
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                for name in archive.namelist():
                    content = io.BytesIO(archive.read(name))
                    arrays[name.removesuffix(".npy")] = np.lib.format.read_array(content, allow_pickle=False)
                    if content.read(1):
                        raise ValueError(f"{name} is longer than its array")
        except (*ZIP_ERRORS, TypeError) as error:
            raise InputError(f"{path}: is damaged, or not an NPZ file of plain arrays ({first_line(error)})") from error
    return arrays
