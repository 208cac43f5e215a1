"""Arrays on disk: an orbax directory of zarr 3, one folder an array. It is data: nothing in it can name code."""

from pathlib import Path
from typing import Any

import jax
import numpy as np


def save(directory: Path, arrays: Any) -> None:
    """Write a pytree of arrays to `directory`, which must not exist."""
    with _checkpointer() as checkpointer:
        checkpointer.save(directory.absolute(), jax.tree.map(np.asarray, arrays))
    (directory / "commit_success.txt").unlink(missing_ok=True)  # names a path of this machine


def load(directory: Path, like: Any = None) -> Any:
    """Read the arrays into host memory. Orbax and tensorstore raise many kinds of errors.

    With `like`, a pytree of shapes, only its leaves are read; without it, all arrays.
    """
    import orbax.checkpoint as ocp

    with _checkpointer() as checkpointer:
        if like is None:
            return checkpointer.restore(directory.absolute())
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), like)
        return checkpointer.restore(directory.absolute(), restore_args=as_numpy)


def _checkpointer() -> Any:
    import orbax.checkpoint as ocp  # a slow import, needed only here

    handler = ocp.PyTreeCheckpointHandler(use_ocdbt=False, use_zarr3=True)
    # It would only merge the OCDBT files of several processes. There are none here, and it warns of that at every save.
    handler.finalize = lambda directory: None
    return ocp.Checkpointer(handler)
