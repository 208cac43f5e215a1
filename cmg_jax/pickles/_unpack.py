"""Compressed pickles unpacked, up to a bound."""

import bz2
import lzma
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from cmg_jax.pickles._placeholder import PickleError

MAX_UNPACKED = (16 * 2**20, 64)
"""A compressed file may unpack to this many bytes, or to this many times its size if that is more."""

DECOMPRESSORS: Mapping[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(wbits=31),
    b"\x78": zlib.decompressobj,
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ": lzma.LZMADecompressor,
    b"\x5d\x00": lzma.LZMADecompressor,
}
"""By a file's first bytes, none of which a pickle begins with."""


def max_unpacked(size: int) -> int:
    """Bytes that a compressed file of `size` bytes may unpack to."""
    return max(MAX_UNPACKED[0], MAX_UNPACKED[1] * size)


def unpacked(data: bytes) -> bytes:
    """The bytes in a compressed file; those of any other file as they are.

    Raises:
      PickleError: it is damaged, cut short, or unpacks to far more than its size.
    """
    start = next(filter(data.startswith, DECOMPRESSORS), None)
    if start is None:
        return data
    limit = max_unpacked(len(data))
    decompressor = DECOMPRESSORS[start]()
    try:
        unpacked = decompressor.decompress(data, limit)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
        raise PickleError(f"is damaged: {error} while decompressing") from error
    if not decompressor.eof:
        raise PickleError("unpacks to far more than its size" if len(unpacked) == limit else "is cut short")
    return unpacked
