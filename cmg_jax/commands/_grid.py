"""Grids of velocity commands, written as three lists: every combination of them is a command."""

import itertools
from collections.abc import Sequence

import numpy as np

from cmg_jax._errors import InputError


def parse(text: str) -> list[tuple[float, ...]]:
    """The commands of `VX:VY:YAW`, three lists of numbers in m/s, m/s and rad/s.

    Raises:
      InputError: a value is not a finite number, or there are not three lists.
    """
    if text.count(":") != 2:
        raise InputError(f"{text}: three lists of numbers are needed, as in -0.3,0,0.9:0:-0.6,0,0.6")
    columns = []
    for column in text.split(":"):
        try:
            numbers = [float(number) for number in column.split(",")]
        except ValueError:
            raise InputError(f"{column}: numbers separated by commas are needed") from None
        if not np.isfinite(numbers).all():
            raise InputError(f"{column}: not finite")
        columns.append(numbers)
    return list(itertools.product(*columns))


def text(commands: Sequence[Sequence[float]]) -> str:
    """A full grid, as `parse` reads it."""
    columns = (dict.fromkeys(column) for column in zip(*commands, strict=True))
    return ":".join(",".join(f"{value:g}" for value in column) for column in columns)
