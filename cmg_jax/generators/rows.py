"""Work on a few rows of a batch at a cost that follows their number: the one mechanism for all modes."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax

Carry = TypeVar("Carry")

CHUNK_ROWS = (512, 128, 32, 16)
"""Rows that are worked on together. A chunk is used if more than half of it would be filled; the
smallest takes the rest. Small chunks cost latency, large ones padding: with 8 in the place of 16, a rollout of
`realtime(100)` with events took 1.16 times as long (4096 rows, `cmg-jax bench --mode rollout`)."""


SHARD_AXIS = "environments"
"""The mesh axis that `cmg_jax.parallel` shards rows over."""


def draw_rows(draw: Callable[[jax.Array, tuple[int]], jax.Array], key: jax.Array, batch: int) -> jax.Array:
    """draw(key, (B,)), the same numbers however many devices share the rows: each takes its part of all rows' draw."""
    try:
        shard, shards = lax.axis_index(SHARD_AXIS), lax.axis_size(SHARD_AXIS)
    except NameError:  # not sharded
        return draw(key, (batch,))
    return lax.dynamic_slice_in_dim(draw(key, (batch * shards,)), shard * batch, batch)


def update_rows(mask: jax.Array, carry: Carry, update: Callable[[Carry, jax.Array], Carry]) -> Carry:
    """Apply `update` to chunks of the rows where `mask` [B], and to nothing where there are none.

    Args:
      mask: rows concerned, [B] bool.
      carry: any pytree; large arrays in it are updated in place.
      update: (carry, rows [R] int32) -> carry. Rows beyond the last one concerned are given as B: read
        them with `mode="clip"` and write them with `mode="drop"`.

    Returns:
      carry after all chunks.
    """
    batch = mask.shape[0]
    sizes = [size for size in CHUNK_ROWS if size <= batch] or [batch]

    def run(carry: Carry) -> Carry:
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

    return lax.cond(mask.any(), run, lambda carry: carry, carry)
