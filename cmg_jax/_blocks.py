"""A batch in blocks of rows of one size, so that one compiled program generates all of them."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Carry = TypeVar("Carry")

CPU_BLOCK_ROWS = 512
"""Rows that go through all time steps together on a CPU.

Their activations then stay in the cache; blocks of half the size and the whole of 4096 rows run at 0.97
of the rate (bench/row_blocks.py). An accelerator takes the whole batch.
"""


class RowBlocks(NamedTuple):
    """Blocks that cover all rows. The last one begins early if the size does not divide the number of rows:
    its first rows are generated twice."""

    starts: np.ndarray  # [number of blocks] int32, first rows
    size: int

    def slices(self) -> Iterator[tuple[slice, int]]:
        """The rows of each block, and how many of them no earlier block contains."""
        done = 0
        for start in self.starts.tolist():
            stop = start + self.size
            yield slice(start, stop), stop - done
            done = stop


def row_blocks(num_rows: int, block_rows: int) -> RowBlocks:
    """Blocks of at most `block_rows` rows."""
    num_blocks = max(-(-num_rows // max(block_rows, 1)), 1)
    size = -(-num_rows // num_blocks)
    return RowBlocks(np.minimum(np.arange(num_blocks, dtype=np.int32) * size, num_rows - size).astype(np.int32), size)


def over_blocks(
    num_rows: int, block: Callable[[Carry, jax.Array, int], Carry], carry: Carry, block_rows: int | None = None
) -> Carry:
    """`carry` after block(carry, start [], size) of one block of rows after the other.

    Blocks have at most `block_rows` rows; by default `CPU_BLOCK_ROWS` on a CPU and all rows elsewhere. Which of the two
    is decided when the program is lowered: an export for a GPU takes all rows, even if the exporting host has none.
    """

    def blocks_of(block_rows: int, carry: Carry) -> Carry:
        starts, size = row_blocks(num_rows, block_rows)
        return lax.scan(lambda carry, start: (block(carry, start, size), None), carry, jnp.asarray(starts))[0]

    if block_rows is None and num_rows > CPU_BLOCK_ROWS:
        cpu, default = (partial(blocks_of, rows) for rows in (CPU_BLOCK_ROWS, num_rows))
        return lax.platform_dependent(carry, cpu=cpu, default=default)
    return blocks_of(block_rows or num_rows, carry)
