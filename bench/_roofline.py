"""How long kernels would take on a GPU if they reached usual fractions of its peak rates: an estimate, not a time.

A kernel takes the longer of its operations and its memory traffic, and a gap to the next one. Peak rates are those of
NVIDIA's data sheets for dense products with sums in float32; the fractions are assumptions.
"""

from collections.abc import Sequence
from typing import NamedTuple

RATES = {
    "h100": {"tf32": 495e12, "half": 989e12, "bytes": 3.35e12},
    "a100": {"tf32": 156e12, "half": 312e12, "bytes": 2.04e12},
    "rtx4090": {"tf32": 82.6e12, "half": 165.2e12, "bytes": 1.008e12},
}
"""FLOP/s of products by the type of their operands, and bytes/s of memory."""
PASSES = {"half": ("half", 1), "tf32": ("tf32", 1), "float32": ("tf32", 3)}
"""The type that a product of each precision multiplies in, and how often: float32 is three passes of TF32."""
OF_OPERATIONS, OF_BYTES = 0.65, 0.85
GAP_SECONDS = 1.5e-6
"""Between two kernels that a CUDA graph launches; about twice as much without a graph."""


class Work(NamedTuple):
    """What a kernel does."""

    bytes: int  # read and written
    operations: int = 0  # of its products, 2 for a multiplication and its addition
    precision: str = "float32"  # of its products, one of `PASSES`


def seconds(kernels: Sequence[Work], gpu: str) -> float:
    """Estimated seconds of the kernels, one after the other."""
    rates, total = RATES[gpu], 0.0
    for kernel in kernels:
        rate, passes = PASSES[kernel.precision]
        products = passes * kernel.operations / (OF_OPERATIONS * rates[rate])
        total += max(products, kernel.bytes / (OF_BYTES * rates["bytes"])) + GAP_SECONDS
    return total
