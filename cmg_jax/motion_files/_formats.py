"""The formats that motion is written in: one place that lists them."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cmg_jax._errors import InputError
from cmg_jax.motion_files import _lafan1, _original, _tracking, _twist
from cmg_jax.motion_files._motion import Motion
from cmg_jax.robot._bodies import Progress
from cmg_jax.robot._g1 import G1_23_JOINTS, is_g1


class Format(NamedTuple):
    suffix: str
    write: Callable[..., None]
    """write(path, motion, *, bodies, progress)"""
    environments: bool = False
    """May hold several environments, and robots of which only the names of the joints are known."""
    g1_only: bool = False
    """Its layout is that of the G1's links."""


FORMATS: dict[str, Format] = {
    "npz": Format(".npz", _original.write, environments=True),
    "csv": Format(".csv", _lafan1.write),
    "twist": Format(".pkl", _twist.write, g1_only=True),
    "mjlab": Format(".npz", _tracking.write),
    "beyondmimic": Format(".npz", _tracking.write_beyondmimic),
}

SUFFIXES = tuple(dict.fromkeys(known.suffix for known in FORMATS.values()))


def format_name(path: Path, name: str | None = None) -> str:
    """The format to write `path` in: `name`, or the first one of its suffix.

    Raises:
      InputError: the suffix is of no format, or not of this one.
    """
    named = {key: known for key, known in FORMATS.items() if name in (None, key)}
    for key, known in named.items():
        if path.suffix == known.suffix:
            return key
    suffixes = " or ".join(dict.fromkeys(known.suffix for known in named.values()))
    raise InputError(f"{path}: the name of a {name or 'motion'} file must end in {suffixes}")


def write(
    path: Path,
    motion: Motion,
    name: str | None = None,
    *,
    bodies: bool = False,
    progress: Progress = lambda _: None,
) -> None:
    """Write `motion` to `path`.

    Args:
      path: the file.
      motion: several environments only where the format holds them.
      name: one of `FORMATS`, by default that of the suffix.
      bodies: write body poses where the format leaves the choice (npz).
      progress: called with the number of frames whose body poses are done.

    Raises:
      InputError: an unknown suffix, or a format that cannot hold this motion.
    """
    name = format_name(path, name)
    if not FORMATS[name].environments:
        if motion.joint_pos.ndim != 2:
            raise InputError(f"{path}: a {name} file holds one environment; write several with the format npz")
        if FORMATS[name].g1_only and not is_g1(motion.robot):
            raise InputError(f"{path}: a {name} file holds the G1's links; write others with the format npz")
        if not motion.robot.has_mjcf:
            raise InputError(f"{path}: a {name} file needs the robot's MJCF, which is not known; use the format npz")
        # Most readers know joints by their place alone: MuJoCo's, where the format has no order of its own; of the G1
        # they also know 23 joints.
        fewer = set(motion.joint_names) == set(G1_23_JOINTS)
        motion = motion.with_joints(G1_23_JOINTS if fewer else motion.robot.hinge_names)
    FORMATS[name].write(path, motion, bodies=bodies, progress=progress)
