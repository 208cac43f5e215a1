"""Motion on disk: one file a format, and `formats` that lists them."""

from cmg_jax.motion_files._formats import FORMATS, SUFFIXES, format_name, write
from cmg_jax.motion_files._motion import ROOTS, Motion, of_trajectory

__all__ = ["FORMATS", "ROOTS", "SUFFIXES", "Motion", "format_name", "of_trajectory", "write"]
