"""Motion files: read and check those of many programs, write those that others read.

    clips = motion_files.read(Path("walk.csv"), Assume(csv_fps=50.0)).clips
    motion = motion_files.of_trajectory(model.config, trajectory, commands)
    motion_files.write(Path("walk.pkl"), motion)

`FORMATS` lists what can be written. A `Clip` is what a file holds: it may lack velocities and commands. A `Motion`,
which is written, is complete, and may be of many environments.
"""

from cmg_jax.motion_files._assume import Assume
from cmg_jax.motion_files._check import Check
from cmg_jax.motion_files._clips import Clip, MotionFileError
from cmg_jax.motion_files._formats import FORMATS, SUFFIXES, format_name, is_motion_file, write
from cmg_jax.motion_files._group import Note
from cmg_jax.motion_files._inspection import Inspection, inspect
from cmg_jax.motion_files._motion import ROOTS, Motion, of_trajectory
from cmg_jax.motion_files._reading import Reading, read

__all__ = [
    "FORMATS",
    "ROOTS",
    "SUFFIXES",
    "Assume",
    "Check",
    "Clip",
    "Inspection",
    "Motion",
    "MotionFileError",
    "Note",
    "Reading",
    "format_name",
    "inspect",
    "is_motion_file",
    "of_trajectory",
    "read",
    "write",
]
