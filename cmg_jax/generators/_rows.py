"""Work on a few rows of a batch at a cost that follows their number. All modes use this one mechanism."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax

Carry = TypeVar("Carry")

CHUNK_ROWS = (512, 128, 32, 16)
"""Numbers of rows that are worked on together on a CPU. A chunk is used if more than half of it would be filled; the
smallest takes the rest. Small chunks cost latency, large ones padding: with 8 instead of 16, a rollout of
`realtime(100)` with events took 1.16 times as long (4096 rows, `cmg-jax bench --mode rollout`).

On an accelerator all chunks have the first size: few rows take it about as long, and whether there is another chunk is
a number that the host waits for."""


_shard_axis: ContextVar[str | None] = ContextVar("shard_axis", default=None)


@contextmanager
def shards_of(axis: str) -> Iterator[None]:
    """While a function is traced, its rows are one device's part of a batch, along this axis of `shard_map`."""
    token = _shard_axis.set(axis)
    try:
        yield
    finally:
        _shard_axis.reset(token)


def draw_rows(draw: Callable[[jax.Array, tuple[int]], jax.Array], key: jax.Array, num_envs: int) -> jax.Array:
    """draw(key, (B,)), the same numbers on any number of devices: each takes its part of one draw for all rows."""
    axis = _shard_axis.get()
    if axis is None:
        return draw(key, (num_envs,))
    shard, shards = lax.axis_index(axis), lax.axis_size(axis)
    return lax.dynamic_slice_in_dim(draw(key, (num_envs * shards,)), shard * num_envs, num_envs)


def update_rows(mask: jax.Array, carry: Carry, update: Callable[[Carry, jax.Array], Carry]) -> Carry:
    """Apply `update` to chunks of the rows where `mask` [B], and to nothing where there are none.

    Args:
      mask: rows concerned, [B] bool.
      carry: any pytree; large arrays in it are updated in place.
      update: (carry, rows [R] int32) -> carry. Rows beyond the last one concerned have the index B: read
        them with `mode="clip"` and write them with `mode="drop"`.

    Returns:
      carry after all chunks.
    """
    batch = mask.shape[0]

    def run(sizes: Sequence[int], carry: Carry) -> Carry:
        sizes = [size for size in sizes if size <= batch] or [batch]
        count = mask.sum()
        rows = jnp.nonzero(mask, size=batch + sizes[0], fill_value=batch)[0].astype(jnp.int32)
        start = jnp.zeros((), count.dtype)
        for size in sizes:
            least = 0 if size == sizes[-1] else size // 2

            def body(state, size=size):
                start, carry = state
                return start + size, update(carry, lax.dynamic_slice_in_dim(rows, start, size))

            start, carry = lax.while_loop(lambda state, least=least: count - state[0] > least, body, (start, carry))
        return carry

    return lax.platform_dependent(
        carry,
        cpu=lambda carry: update_if(mask.any(), partial(run, CHUNK_ROWS), carry),
        default=partial(run, CHUNK_ROWS[:1]),
    )


def update_if(needed: jax.Array, update: Callable[[Carry], Carry], carry: Carry) -> Carry:
    """update(carry) if `needed` [], otherwise carry; arrays in it stay where they are.

    A loop of at most one turn, because XLA copies every array that passes through a conditional on a GPU. On a CPU a
    loop of no turn takes as long as a conditional, and neither copies.
    """
    return lax.while_loop(lambda state: state[0], lambda state: (~state[0], update(state[1])), (needed, carry))[1]
