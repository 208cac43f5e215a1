"""The one exception that means: the caller's input is wrong, and this line says how to fix it."""

from collections.abc import Sequence
from typing import Any

import numpy as np


class InputError(ValueError):
    """Input that cannot be used. The message is one line: what is wrong, where, what to do."""


def check_shape(name: str, value: Any, shape: Sequence[int | str]) -> None:
    """Refuse an array that broadcasting would quietly make fit.

    Args:
      name: of the value, for the message.
      value: an array, or what becomes one.
      shape: the size of each axis, or a letter for one of any size.

    Raises:
      InputError: `value` has another shape.
    """
    found = np.shape(value)
    fits = len(found) == len(shape) and all(
        isinstance(size, str) or size == there for size, there in zip(shape, found, strict=True)
    )
    if not fits:
        raise InputError(f"{name} has shape {found}; it must be [{', '.join(map(str, shape))}]")
