"""The recordings of `--library`."""

from collections.abc import Sequence
from pathlib import Path

from cmg_jax import data
from cmg_jax._errors import InputError
from cmg_jax.library import build_library
from cmg_jax.model import MotionLibrary
from cmg_jax.motion_files import Assume


def read_library(paths: Sequence[Path], assumed: Assume) -> MotionLibrary:
    """The library of one data set, or of motion files.

    Raises:
      InputError: there is no library in them.
    """
    try:
        try:
            recordings = data.load(paths[0]) if len(paths) == 1 and paths[0].suffix == ".npz" else None
        except InputError:
            recordings = None  # a motion file is an NPZ too
        if recordings is None:
            recordings, _ = data.build(paths, data.Options(assume=assumed, root="keep"))
        return build_library(recordings)
    except InputError as error:
        raise InputError(f"--library {paths[0]}{' ...' * (len(paths) > 1)}: {error}") from None
