"""A pool of motions, made once, that all rows of a batch can play from."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax import normalization
from cmg_jax.errors import InputError
from cmg_jax.generators import base, ring
from cmg_jax.generators.rows import draw_rows
from cmg_jax.model import CMGModel

Sampler = Callable[[jax.Array, int], jax.Array]
"""(key, number) -> commands [number, C]."""


class MotionBank(NamedTuple):
    """M motions of F frames, each under one command."""

    frames: jax.Array  # [F, M, D] normalized
    command: jax.Array  # [M, C] physical
    command_low: jax.Array  # [C] draws take motions whose command lies between these two;
    command_high: jax.Array  # [C] replace them with `_replace` at any time (curriculum)


def build_bank(
    model: CMGModel,
    key: jax.Array,
    num_motions: int,
    num_frames: int,
    sampler: Sampler,
    *,
    chunk: int = 512,
    dtype: Any = "float32",
    progress: Callable[[int], Any] = lambda _: None,
) -> MotionBank:
    """Make a pool of motions. A host loop over chunks: call it outside `jit`, once.

    Args:
      model: the model.
      key: draws first frames and commands; consumed.
      num_motions: M.
      num_frames: F, frames of each motion, the first frame not counted.
      sampler: draws M commands.
      chunk: motions made together.
      dtype: of the stored frames: float32, bfloat16 or float16.
      progress: called with the number of motions just finished.

    Returns:
      the pool, with all of its motions open to draws.

    Raises:
      InputError: a number below 1, another dtype, or commands that are not [M, C] and finite.
    """
    if min(num_motions, num_frames, chunk) < 1:
        raise InputError(f"num_motions {num_motions}, num_frames {num_frames}, chunk {chunk}: all must be at least 1")
    store_dtype = ring.check_store_dtype(dtype)
    command_key, frame_key = jax.random.split(key)
    command_shape = (num_motions, model.config.command_dim)
    command = base.check_array("the sampler's command", sampler(command_key, num_motions), command_shape)
    motion = base.first_frames(model, frame_key, num_motions, None)

    @jax.jit
    def make(model: CMGModel, motion: jax.Array, command: jax.Array) -> jax.Array:
        frames = ring.create(model, num_frames + 1, motion, 0, store_dtype)
        return ring.extend(model, frames, command, jnp.int32(0), num_frames)[1:]

    chunk = min(chunk, num_motions)
    out = np.empty((num_frames, num_motions, model.config.motion_dim), store_dtype)
    for row in range(0, num_motions, chunk):
        first = min(row, num_motions - chunk)  # the last chunk begins early: every chunk has the compiled shape
        rows = slice(first, first + chunk)
        out[:, rows] = make(model, motion[rows], command[rows])
        progress(min(chunk, num_motions - row))
    return MotionBank(jnp.asarray(out), command, command.min(axis=0), command.max(axis=0))


def check_room(motions: MotionBank, frames: int) -> None:
    """Raises InputError unless every motion holds at least `frames` frames."""
    if frames > motions.frames.shape[0]:
        raise InputError(f"the motions have {motions.frames.shape[0]} frames each; {frames} are needed")


def own_copy(motions: MotionBank) -> MotionBank:
    """For a state: a donated state must not take the caller's pool with it."""
    return jax.tree.map(jnp.copy, motions)


def choose(model: CMGModel, motions: MotionBank, key: jax.Array, command: Any, batch: int) -> jax.Array:
    """A motion for each row, [B] int32: nearest to `command` [B, C], or drawn from the range where that is None."""
    if command is None:
        return _draw(motions, key, batch)
    return nearest_motion(model, motions, base.check_command(model, command, batch))


def nearest_motion(model: CMGModel, motions: MotionBank, command: jax.Array) -> jax.Array:
    """The motion [B] whose command is nearest to each of `command` [B, C], in units of the trained range."""
    wanted, available = (normalization.normalize_command(model.stats, c) for c in (command, motions.command))
    return jnp.argmin(jnp.square(wanted[:, None] - available[None]).sum(-1), axis=-1).astype(jnp.int32)


def nearest_frame(motions: MotionBank, motion_index: jax.Array, frame: jax.Array, end: int) -> jax.Array:
    """Where each row's motion [B] comes nearest to `frame` [B, D] normalized: an index [B] int32 below `end`."""

    def compare(best: tuple[jax.Array, jax.Array], index: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
        candidate = motions.frames[index, motion_index].astype(jnp.float32)
        distance = jnp.square(candidate - frame).sum(-1)
        nearer = distance < best[0]
        return (jnp.where(nearer, distance, best[0]), jnp.where(nearer, index, best[1])), None

    start = (jnp.full(frame.shape[:1], jnp.inf), jnp.zeros(frame.shape[:1], jnp.int32))
    return jax.lax.scan(compare, start, jnp.arange(end, dtype=jnp.int32))[0][1]


def _draw(motions: MotionBank, key: jax.Array, batch: int) -> jax.Array:
    """Motions [B] whose command lies within the range; any, where none does."""
    inside = (motions.command >= motions.command_low[None]) & (motions.command <= motions.command_high[None])
    allowed = inside.all(axis=-1)
    count = jnp.cumsum(allowed | ~allowed.any())
    nth = draw_rows(lambda key, shape: jax.random.randint(key, shape, 1, count[-1] + 1), key, batch)
    return jnp.searchsorted(count, nth).astype(jnp.int32)
