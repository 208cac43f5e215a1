"""Pickles of plain data and NumPy arrays, read without executing anything from the file, and written for every NumPy.

>>> load(dumps({"fps": 50.0}))
{'fps': 50.0}
"""

from cmg_jax.pickles._placeholder import Handler, PickleError, Placeholder
from cmg_jax.pickles._read import load, load_npy, load_npz
from cmg_jax.pickles._write import Writer, dumps

__all__ = ["Handler", "PickleError", "Placeholder", "Writer", "dumps", "load", "load_npy", "load_npz"]
