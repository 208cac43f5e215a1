"""The files of a data set."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from cmg_jax._errors import InputError
from cmg_jax.motion_files import SUFFIXES, is_motion_file


def list_files(sources: Sequence[Path]) -> list[Path]:
    """The files among `sources`, and all motion files in the directories among them, each once.

    Warns:
      UserWarning: a file is named more than once.

    Raises:
      InputError: a source does not exist, or a directory holds no motion file.
    """
    files: list[Path] = []
    for source in sources:
        if source.is_dir():
            found = sorted(path for path in source.rglob("*") if is_motion_file(path))
            if not found:
                raise InputError(f"{source}: holds no motion file ({', '.join(SUFFIXES)})")
            files += found
        elif source.is_file():
            files.append(source)
        else:
            raise InputError(f"{source}: no such file or directory")
    once = {path.resolve(): path for path in reversed(files)}
    if repeated := len(files) - len(once):
        warnings.warn(f"{repeated} of the {len(files)} files are named twice, and read once", stacklevel=2)
    return list(reversed(once.values()))
