"""Data sets: made from motion files, saved, loaded, and cut into the windows that a trainer draws.

    dataset, rows = data.build([Path("walk.npz")])
    data.save(Path("walks.npz"), dataset)
    windows = data.make_windows(dataset, length=20)

`cmg-jax data` makes the same data sets from the command line.
"""

from cmg_jax.data._build import Row, build
from cmg_jax.data._dataset import LEFT, RIGHT, Dataset, load, save
from cmg_jax.data._prepared import Options
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
