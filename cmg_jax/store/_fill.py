"""Generation past memory: chunks of environments, each written to a store while the next one is made."""

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax import _rollout
from cmg_jax._blocks import row_blocks
from cmg_jax._errors import InputError
from cmg_jax._files import clear_write_errors
from cmg_jax.commands import _sampler
from cmg_jax.generators._base import first_frames
from cmg_jax.model._model import CMGModel
from cmg_jax.store._store import MotionStore


class Report(NamedTuple):
    """What a call of `fill` did."""

    envs: int
    bad_envs: int
    """Environments whose motion is not finite."""
    compile_seconds: float
    run_seconds: float


def draw(model: CMGModel, key: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
    """First frames [B, D] and commands [B, C] of the environments `index` [B] uint32.

    Each depends on the key and its own index alone, however the work is cut. Frames come from the model's pool,
    commands evenly from its trained range.
    """
    trained = _sampler.trained_range(model)

    def one(index: jax.Array) -> tuple[jax.Array, jax.Array]:
        frame_key, command_key = jax.random.split(jax.random.fold_in(key, index))
        return first_frames(model, frame_key, 1)[0], _sampler.uniform(command_key, trained, 1)[0]

    return jax.vmap(one)(index)


def fill(
    model: CMGModel,
    store: MotionStore,
    commands: np.ndarray | None,
    chunks: Iterable[int],
    advance: Callable[[int], Any] = lambda _: None,
) -> Report:
    """Make those of `chunks` that are not done. Memory holds two chunks, whatever the store's size.

    Args:
      model: the model.
      store: from `motion_store.create_or_open`.
      commands: [T, C] where all environments share them, None where each draws its own.
      chunks: to be made in this order; whoever else writes makes other ones.
      advance: called with the number of frames just made.

    Raises:
      InputError: the disk refuses. What is done stays done.
    """
    config = store.config
    block = row_blocks(config.chunk).size
    key = jax.random.key(config.seed)
    start = time.perf_counter()
    make_block = jax.jit(_make_block, static_argnames=("rows", "steps", "dtype"))
    sizes = {"rows": block, "steps": config.steps, "dtype": config.dtype}
    compiled = make_block.lower(model, key, np.uint32(0), commands, **sizes).compile()
    compiled_at = time.perf_counter()

    envs = bad = 0
    writing = None
    motion = np.empty((config.chunk, config.steps + 1, config.motion_dim), config.dtype)
    command = np.empty((config.chunk, config.command_dim), np.float32)
    with clear_write_errors(store.path):
        for chunk in chunks:
            if store.is_done(chunk):
                continue
            rows = store.rows(chunk)
            size = rows.stop - rows.start
            for first in range(0, size, block):
                # Every block has the compiled shape; what the last one has beyond the chunk is dropped.
                part = slice(first, min(first + block, size))
                made_motion, made_command, finite = compiled(model, key, np.uint32(rows.start + first), commands)
                count = part.stop - first
                motion[part], command[part] = made_motion[:count], made_command[:count]
                bad += count - int(np.asarray(finite)[:count].sum())
                advance(count * config.steps)
            if writing is not None:
                writing.result()
            writing = store.write(chunk, motion[:size], command[:size])
            envs += size
        if writing is not None:
            writing.result()
    return Report(envs, bad, compiled_at - start, time.perf_counter() - compiled_at)


def part_of(chunks: int, part: tuple[int, int]) -> range:
    """The chunks of the k-th of n parts, k from 1; parts are disjoint and hold all chunks together.

    Raises:
      InputError: k is not from 1 to n.
    """
    k, n = part
    if not 1 <= k <= n:
        raise InputError(f"part {k}/{n}: parts are numbered from 1/N to N/N")
    return range(chunks * (k - 1) // n, chunks * k // n)


def _make_block(
    model: CMGModel, key: jax.Array, first: jax.Array, commands: jax.Array | None, *, rows: int, steps: int, dtype: str
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Motion [rows, T+1, D], commands [rows, C] and whether a motion is finite [rows], from environment `first` on."""
    frame, command = draw(model, key, jnp.asarray(first, jnp.uint32) + jnp.arange(rows, dtype=jnp.uint32))
    held = command[:, None] if commands is None else commands[None]
    motion = _rollout.generate(model, frame, jnp.broadcast_to(held, (rows, steps, held.shape[-1])), block_rows=rows)
    motion = motion.astype(dtype)
    return motion, command, jnp.isfinite(motion).all(axis=(1, 2))
