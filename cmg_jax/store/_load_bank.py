"""A pool of motions from a store on disk, made once by `cmg-jax generate --out DIR.zarr`."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.generators import _ring
from cmg_jax.model import _normalization
from cmg_jax.model._model import CMGModel, MotionBank
from cmg_jax.store import _store
from cmg_jax.store._store import MotionStore


def load_bank(
    path: str | Path,
    model: CMGModel,
    num_motions: int | None = None,
    num_frames: int | None = None,
    *,
    dtype: Any = "float32",
) -> MotionBank:
    """The first motions of a finished store as a pool. Reads on the host: call it outside `jit`, once.

    Args:
      path: a directory that `cmg-jax generate --out DIR.zarr` made.
      model: the model that made it, in the precision in which it did.
      num_motions: M; all by default. Every environment is a draw of its own, so any number of them is a fair sample.
      num_frames: F, frames of each motion, the first frame not counted; all by default.
      dtype: of the frames in memory: float32, bfloat16 or float16.

    Returns:
      the pool, with all of its motions open to draws, as `build_bank` makes it.

    Raises:
      InputError: a store that is not there, not finished, damaged, or of another model; commands that change
        within a motion; motions that are not finite; more motions or frames than there are.
    """
    store_dtype = _ring.check_store_dtype(dtype)
    store = _store.open_store(Path(path))
    config = store.config
    _check_model(store, model)
    if missing := len(store.missing()):
        raise InputError(
            f"{path} is not finished ({missing} of {config.num_chunks} chunks are missing); run its command again"
        )
    motions = _number("num_motions", num_motions, config.envs)
    frames = _number("num_frames", num_frames, config.steps)
    command = _commands(store, motions)

    out = np.empty((frames, motions, config.motion_dim), store_dtype)
    for chunk in range(-(-motions // config.chunk)):
        rows = store.rows(chunk)
        rows = slice(rows.start, min(rows.stop, motions))
        motion = _store.read(store, store.motion[rows, 1 : frames + 1])
        finite = np.isfinite(motion).all(axis=(1, 2))
        if not finite.all():
            bad = rows.start + int(np.argmin(finite))
            raise InputError(f"{path}: motion {bad} is not finite; a bank must not hold it, load at most {bad} motions")
        normalized = _normalization.normalize_motion(model.stats, jnp.asarray(motion, jnp.float32))
        out[:, rows] = np.asarray(normalized).swapaxes(0, 1)
    command = jnp.asarray(command)
    return MotionBank(jnp.asarray(out), command, command.min(axis=0), command.max(axis=0))


def _check_model(store: MotionStore, model: CMGModel) -> None:
    there, here = store.config, model.config
    if there.joint_names != here.joint_names:
        raise InputError(f"{store.path} holds motions of {len(there.joint_names)} joints that are not the model's")
    if there.fps != here.fps:
        raise InputError(f"{store.path} is of {there.fps:g} frames per second, the model of {here.fps:g}")
    if there.model != _store.fingerprint(model):
        raise InputError(f"{store.path} was made by another model; load that one, or make the store again")


def _number(name: str, wanted: int | None, available: int) -> int:
    if wanted is None:
        return available
    if not 1 <= wanted <= available:
        raise InputError(f"{name} {wanted}: the store has {available}")
    return wanted


def _commands(store: MotionStore, motions: int) -> np.ndarray:
    """[M, C]"""
    if store.config.commands == _store.DRAWN:
        return _store.read(store, store.command[:motions])
    commands = _store.read(store, store.command)
    if (commands != commands[0]).any():
        raise InputError(
            f"{store.path} follows a schedule of changing commands; a bank's motions hold one command each"
        )
    return np.tile(commands[0], (motions, 1))
