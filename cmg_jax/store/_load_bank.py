"""A motion bank from a store on disk, made once by `fill` or by `cmg-jax generate --out DIR.zarr`."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

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
    dtype: DTypeLike = "float32",
) -> MotionBank:
    """Load the first motions of a finished store as a bank. It reads files: call it once, outside `jit`.

    Args:
      path: the directory of the store.
      model: the model that generated it, in the same precision.
      num_motions: M; all by default. Every environment is an independent draw, so any number is a fair sample.
      num_frames: F, frames of each motion, the first frame not counted; all by default.
      dtype: of the frames in memory: float32, bfloat16 or float16.

    Returns:
      The bank, all of whose motions may be drawn, as `build_bank` makes it.

    Raises:
      InputError: the store does not exist, is not finished, is damaged or is of another model; its commands change
        within a motion; a motion is not finite; or it has fewer motions or frames.

    Examples:
      >>> from cmg_jax import store
      >>> made = store.create_store(Path("bank.zarr"), model, num_envs=8, num_frames=10)
      >>> _ = store.fill(model, made)
      >>> cmg_jax.load_bank("bank.zarr", model, num_motions=4).frames.shape  # [F, M, D]
      (10, 4, 64)
    """
    store_dtype = _ring.check_store_dtype(dtype)
    store = _store.open_store(Path(path))
    config = store.config
    _store.check_model(store, model)
    if missing := len(store.missing()):
        raise InputError(
            f"{path} is not finished ({missing} of {config.num_chunks} chunks are missing); run its command again"
        )
    num_motions = _number("num_motions", num_motions, config.num_envs)
    num_frames = _number("num_frames", num_frames, config.num_frames)
    command = _commands(store, num_motions)

    out = np.empty((num_frames, num_motions, config.motion_dim), store_dtype)
    for chunk in range(-(-num_motions // config.chunk_envs)):
        rows = store.rows(chunk)
        rows = slice(rows.start, min(rows.stop, num_motions))
        motion = _store.read(store, store.motion[rows, 1 : num_frames + 1])
        finite = np.isfinite(motion).all(axis=(1, 2))
        if not finite.all():
            bad = rows.start + int(np.argmin(finite))
            raise InputError(f"{path}: motion {bad} is not finite; a bank must not hold it, load at most {bad} motions")
        normalized = _normalization.normalize_motion(model.stats, jnp.asarray(motion, jnp.float32))
        out[:, rows] = np.asarray(normalized).swapaxes(0, 1)
    command = jnp.asarray(command)
    return MotionBank(jnp.asarray(out), command, command.min(axis=0), command.max(axis=0))


def _number(name: str, wanted: int | None, available: int) -> int:
    if wanted is None:
        return available
    if not 1 <= wanted <= available:
        raise InputError(f"{name} {wanted}: the store has {available}")
    return wanted


def _commands(store: MotionStore, num_motions: int) -> np.ndarray:
    """[M, C]"""
    if not store.shares_commands:
        return _store.read(store, store.command[:num_motions])
    commands = _store.read(store, store.command)
    if (commands != commands[0]).any():
        raise InputError(
            f"{store.path} follows a schedule of changing commands; a bank's motions hold one command each"
        )
    return np.tile(commands[0], (num_motions, 1))
