"""Data sets: made of motion files, saved, loaded, and cut into the windows that a trainer draws.

>>> from pathlib import Path
>>> from cmg_jax import data
>>> dataset, rows = data.build([Path("walk.csv")])  # doctest: +SKIP
>>> data.save(Path("walks.npz"), dataset)  # doctest: +SKIP
"""

from cmg_jax.data._build import Options, Row, build
from cmg_jax.data._dataset import LEFT, RIGHT, Dataset, load, save
from cmg_jax.data._windows import ALWAYS, MAYBE, NEVER, Windows, make_windows

__all__ = [
    "ALWAYS",
    "LEFT",
    "MAYBE",
    "NEVER",
    "RIGHT",
    "Dataset",
    "Options",
    "Row",
    "Windows",
    "build",
    "load",
    "make_windows",
    "save",
]
