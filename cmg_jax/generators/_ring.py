"""Frames of all rows in a ring of N slots with one clock: the store of every mode that runs the network.

The frame of absolute index i lies in slot i % N, the same slot for all rows, so that a read is one contiguous
slice. Frames are kept normalized, in float32 or half precision, time-major.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from cmg_jax._blocks import over_blocks
from cmg_jax._errors import InputError
from cmg_jax.generators._rows import update_rows
from cmg_jax.model import _normalization
from cmg_jax.model._model import CMGModel, apply_normalized

STORE_DTYPES = ("float32", "bfloat16", "float16")


def check_store_dtype(dtype: DTypeLike) -> jnp.dtype:
    if jnp.dtype(dtype).name not in STORE_DTYPES:
        raise InputError(f"store dtype {dtype}: it must be one of {', '.join(STORE_DTYPES)}")
    return jnp.dtype(dtype)


def create(model: CMGModel, slots: int, motion: jax.Array, index: int, dtype: jnp.dtype) -> jax.Array:
    """An empty ring [N, B, D] that holds first frames `motion` [B, D], physical, at `index`."""
    frames = jnp.zeros((slots, *motion.shape), dtype)
    return write(frames, index, _normalization.normalize_motion(model.stats, motion))


def read(frames: jax.Array, index: jax.Array | int) -> jax.Array:
    """The frame at an absolute index, [B, D] normalized, float32."""
    return lax.dynamic_index_in_dim(frames, index % frames.shape[0], keepdims=False).astype(jnp.float32)


def write(frames: jax.Array, index: jax.Array | int, motion_normalized: jax.Array) -> jax.Array:
    """Put [B, D] at an absolute index, in place."""
    return lax.dynamic_update_index_in_dim(frames, motion_normalized.astype(frames.dtype), index % frames.shape[0], 0)


def write_rows(
    model: CMGModel, frames: jax.Array, index: jax.Array | int, mask: jax.Array, motion: jax.Array
) -> jax.Array:
    """Put physical `motion` [B, D] at an absolute index, in the rows where `mask` [B]."""
    motion = _normalization.normalize_motion(model.stats, motion)
    return write(frames, index, jnp.where(mask[:, None], motion, read(frames, index)))


def read_rows(frames: jax.Array, index: jax.Array) -> jax.Array:
    """Frames at absolute indices [n, B] that differ from row to row, [B, n, D] normalized."""
    rows = jnp.arange(frames.shape[1])[:, None]
    return frames[(index % frames.shape[0]).swapaxes(0, 1), rows].astype(jnp.float32)


def extend(model: CMGModel, frames: jax.Array, command: jax.Array, index: jax.Array | int, steps: int) -> jax.Array:
    """Generate the `steps` frames that follow `index`, for all rows under `command` [B, C], in place."""
    slots, batch = frames.shape[:2]
    last = read(frames, index)
    normalized_command = _normalization.normalize_command(model.stats, command)

    def block(frames: jax.Array, start: jax.Array, size: int) -> jax.Array:
        block_command = lax.dynamic_slice_in_dim(normalized_command, start, size)

        def step(offset: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            frames, motion = carry
            motion = apply_normalized(model, motion, block_command)
            slot = (index + 1 + offset.astype(jnp.int32)) % slots
            place = (slot, start, jnp.int32(0))
            return lax.dynamic_update_slice(frames, motion[None].astype(frames.dtype), place), motion

        motion = lax.dynamic_slice_in_dim(last, start, size)
        return lax.fori_loop(0, steps, step, (frames, motion))[0]

    return over_blocks(batch, block, frames)


def replan(
    model: CMGModel, frames: jax.Array, command: jax.Array, mask: jax.Array, index: jax.Array, steps: jax.Array | int
) -> jax.Array:
    """Generate the `steps` frames that follow `index` [B] again, only in the rows where `mask` [B].

    `steps` network calls in sequence, on chunks of the rows concerned.
    """
    slots, normalized_command = frames.shape[0], _normalization.normalize_command(model.stats, command)

    def update(frames: jax.Array, rows: jax.Array) -> jax.Array:
        row_index, row_command = (array.at[rows].get(mode="clip") for array in (index, normalized_command))

        def step(offset: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            frames, motion = carry
            motion = apply_normalized(model, motion, row_command)
            slot = (row_index + 1 + offset.astype(jnp.int32)) % slots
            return frames.at[slot, rows].set(motion.astype(frames.dtype), mode="drop"), motion

        motion = frames.at[row_index % slots, rows].get(mode="clip").astype(jnp.float32)
        return lax.fori_loop(0, steps, step, (frames, motion))[0]

    return update_rows(mask, frames, update)
