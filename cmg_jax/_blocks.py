"""A batch in blocks of rows of one size, so that one compiled program generates all of them."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

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


def row_blocks(num_rows: int, block_rows: int | None = None) -> RowBlocks:
    """Blocks of at most `block_rows` rows; by default `CPU_BLOCK_ROWS` on a CPU and all rows elsewhere."""
    if block_rows is None:
        block_rows = CPU_BLOCK_ROWS if jax.default_backend() == "cpu" else num_rows
    num_blocks = max(-(-num_rows // max(block_rows, 1)), 1)
    size = -(-num_rows // num_blocks)
    return RowBlocks(np.minimum(np.arange(num_blocks, dtype=np.int32) * size, num_rows - size).astype(np.int32), size)
