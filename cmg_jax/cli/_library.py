"""`--library`: recordings in place of a model, which motion matching plays."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cmg_jax import data
from cmg_jax._errors import InputError
from cmg_jax.cli import _options
from cmg_jax.library import build_library
from cmg_jax.model import MotionLibrary, model_of_library
from cmg_jax.model._model import CMGModel
from cmg_jax.motion_files import Assume


def add_options(parser: Any) -> None:
    """`--model` or `--library`."""
    source = parser.add_mutually_exclusive_group()
    _options.add_model(source)
    source.add_argument(
        "--library",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="recordings to play by motion matching, without a network: motion files, or one data set of cmg-jax data",
    )


def load(model: Path | None, library: Sequence[Path] | None) -> tuple[CMGModel, str]:
    """The model and its name."""
    if library:
        return model_of_library(read_library(library, Assume())), f"motion matching, {library[0].stem}"
    return _options.load_model(model), str(model or _options.model_path(None).name)


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
