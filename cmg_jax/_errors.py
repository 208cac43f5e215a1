"""The exception for input that is wrong. Its message is one line that says how to fix it."""

from collections.abc import Sequence
from typing import Any

import numpy as np


class InputError(ValueError):
    """Input that cannot be used. The message is one line: what is wrong, where, what to do.

    Examples:
      >>> try:
      ...     cmg_jax.streaming(-1)
      ... except cmg_jax.InputError as error:
      ...     print(error)
      lookahead_frames -1 is negative
    """

    def __init__(self, message: str):
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """`text` with line breaks and control characters escaped, which names in files may contain."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def check_shape(name: str, value: Any, shape: Sequence[int | str]) -> None:
    """Raise InputError for an array of another shape, which broadcasting might silently accept.

    Args:
      name: the value's name in the message.
      value: an array, or what NumPy converts to one.
      shape: the size of each axis, or a letter for an axis of any size.

    Raises:
      InputError: `value` has another shape.
    """
    found = np.shape(value)
    fits = len(found) == len(shape) and all(
        isinstance(size, str) or size == there for size, there in zip(shape, found, strict=True)
    )
    if not fits:
        raise InputError(f"{name} has shape {found}; it must be [{', '.join(map(str, shape))}]")
