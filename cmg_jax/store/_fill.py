"""Generation larger than memory: chunks of environments, each written to a store while the next one is made."""

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax import _rollout
from cmg_jax._blocks import CPU_BLOCK_ROWS, row_blocks
from cmg_jax._errors import InputError
from cmg_jax._files import clear_write_errors
from cmg_jax.commands import _sampler
from cmg_jax.generators._base import first_frames
from cmg_jax.model._model import CMGModel
from cmg_jax.store._store import MotionStore, check_model, read


class FillReport(NamedTuple):
    """The result of a call of `fill`."""

    num_envs: int
    num_bad_envs: int
    """Environments whose motion is not finite."""
    compile_seconds: float
    run_seconds: float


def draw(model: CMGModel, key: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
    """First frames [B, D] and commands [B, C] of the environments `index` [B] uint32.

    Each depends only on the key and on its own index, however the work is divided. Frames come from the model's
    pool, commands evenly from its trained range.
    """
    trained = _sampler.trained_range(model)

    def draw_one(index: jax.Array) -> tuple[jax.Array, jax.Array]:
        frame_key, command_key = jax.random.split(jax.random.fold_in(key, index))
        return first_frames(model, frame_key, 1)[0], _sampler.uniform(command_key, trained, 1)[0]

    return jax.vmap(draw_one)(index)


def fill(
    model: CMGModel,
    store: MotionStore,
    *,
    chunks: Iterable[int] | None = None,
    progress: Callable[[int], Any] = lambda _: None,
) -> FillReport:
    """Generate the chunks that are not done. Memory holds two chunks, whatever the size of the store.

    Args:
      model: the model that the store was created for.
      store: from `create_store`.
      chunks: to be made in this order; by default all. Other processes must be given disjoint chunks, for instance
        those of `chunks_of_part`.
      progress: called with the number of frames just made.

    Raises:
      InputError: the store is of another model, or the disk refuses to be written. Finished chunks remain.

    Examples:
      >>> from cmg_jax import store
      >>> made = store.create_store(Path("bank.zarr"), model, num_envs=8, num_frames=10)
      >>> report = store.fill(model, made)
      >>> made.missing()
      []
    """
    check_model(store, model)
    config = store.config
    commands = read(store, store.command) if store.shares_commands else None
    block_rows = CPU_BLOCK_ROWS if jax.default_backend() == "cpu" else config.chunk_envs
    block = row_blocks(config.chunk_envs, block_rows).size
    key = jax.random.key(config.seed)
    start = time.perf_counter()
    make_block = jax.jit(_make_block, static_argnames=("num_envs", "num_frames", "dtype"))
    sizes = {"num_envs": block, "num_frames": config.num_frames, "dtype": config.dtype}
    compiled = make_block.lower(model, key, np.uint32(0), commands, **sizes).compile()
    compiled_at = time.perf_counter()

    num_envs = num_bad_envs = 0
    writing = None
    motion = np.empty((config.chunk_envs, config.num_frames + 1, config.motion_dim), config.dtype)
    command = np.empty((config.chunk_envs, config.command_dim), np.float32)
    with clear_write_errors(store.path):
        for chunk in range(config.num_chunks) if chunks is None else chunks:
            if store.is_done(chunk):
                continue
            rows = store.rows(chunk)
            size = rows.stop - rows.start
            for first in range(0, size, block):
                # Every block has the compiled shape; the rows of the last one that are beyond the chunk are dropped.
                part = slice(first, min(first + block, size))
                new_motion, new_command, finite = compiled(model, key, np.uint32(rows.start + first), commands)
                count = part.stop - first
                motion[part], command[part] = new_motion[:count], new_command[:count]
                num_bad_envs += count - int(np.asarray(finite)[:count].sum())
                progress(count * config.num_frames)
            if writing is not None:
                writing.result()
            writing = store.write(chunk, motion[:size], command[:size])
            num_envs += size
        if writing is not None:
            writing.result()
    return FillReport(num_envs, num_bad_envs, compiled_at - start, time.perf_counter() - compiled_at)


def chunks_of_part(num_chunks: int, part: tuple[int, int]) -> range:
    """The chunks of the k-th of n parts, k from 1. Parts are disjoint, and together they are all chunks.

    Raises:
      InputError: k is not from 1 to n.

    Examples:
      >>> from cmg_jax import store
      >>> store.chunks_of_part(10, part=(2, 3))  # of the second of three processes
      range(3, 6)
    """
    k, n = part
    if not 1 <= k <= n:
        raise InputError(f"part {k}/{n}: parts are numbered from 1/N to N/N")
    return range(num_chunks * (k - 1) // n, num_chunks * k // n)


def _make_block(
    model: CMGModel,
    key: jax.Array,
    first: jax.Array,
    commands: jax.Array | None,
    *,
    num_envs: int,
    num_frames: int,
    dtype: str,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Motion [B, T+1, D], commands [B, C] and whether a motion is finite [B], of B environments from `first` on."""
    index = jnp.asarray(first, jnp.uint32) + jnp.arange(num_envs, dtype=jnp.uint32)
    frame, command = draw(model, key, index)
    held = command[:, None] if commands is None else commands[None]
    held = jnp.broadcast_to(held, (num_envs, num_frames, held.shape[-1]))
    motion = _rollout.generate(model, frame, held, block_rows=num_envs).astype(dtype)
    return motion, command, jnp.isfinite(motion).all(axis=(1, 2))
