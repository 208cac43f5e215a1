"""The table of all formats. Reading, writing, inspecting and the choices of the programs derive from it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cmg_jax._errors import InputError
from cmg_jax.motion_files._clips import MotionFileError
from cmg_jax.motion_files._csv import CSV, CSV_NAMED
from cmg_jax.motion_files._format import Content, Format, Writer, first_key
from cmg_jax.motion_files._motion import Motion
from cmg_jax.motion_files._original import ORIGINAL
from cmg_jax.motion_files._other_programs import AMI_IIT, ASAP, HOLOMOTION, INSTINCT, UNKNOWN_PROGRAM
from cmg_jax.motion_files._qpos import QPOS
from cmg_jax.motion_files._rollouts import ROLLOUTS
from cmg_jax.motion_files._tracking import TRACKING
from cmg_jax.motion_files._twist import TWIST
from cmg_jax.robot import G1, Robot
from cmg_jax.robot._bodies import Progress
from cmg_jax.robot._g1 import joints_by_place

TABLE: tuple[Format, ...] = (
    ROLLOUTS,
    CSV_NAMED,
    CSV,
    INSTINCT,
    TRACKING,
    ORIGINAL,
    TWIST,
    ASAP,
    AMI_IIT,
    HOLOMOTION,
    QPOS,
    UNKNOWN_PROGRAM,
)
"""A motion is read in the first format whose keys it has. A new file is written in the first one with its suffix."""

FORMATS: dict[str, Writer] = {name: writer for known in TABLE for name, writer in known.writers.items()}
"""The formats that can be written, by the name that `write` and `--format` take."""

SUFFIXES = tuple(dict.fromkeys(writer.suffix for writer in FORMATS.values()))
"""Suffixes of motion files. Files are written with lower-case suffixes; upper case is read too."""

PERSON = ("poses", "pose_body", "body_pose", "smpl_poses", "trans")
"""Keys of recordings of a person."""


def is_motion_file(path: Path) -> bool:
    """Whether the suffix of `path` is that of a motion file.

    Examples:
      >>> from cmg_jax import motion_files
      >>> motion_files.is_motion_file(Path("walk.csv")), motion_files.is_motion_file(Path("notes.txt"))
      (True, False)
    """
    return path.suffix.lower() in SUFFIXES


def identify(name: str, arrays: Mapping[str, Any], robot: Robot = G1) -> Content:
    """The motion that `arrays` holds, in its format.

    Raises:
      MotionFileError: it is in no known format.
    """
    for known in TABLE:
        if known.matches(arrays):
            return Content(name, known, arrays, robot)
    held = ", ".join(map(str, list(arrays)[:8])) or "nothing"
    if len(arrays) > 8:
        held += f" and {len(arrays) - 8} more"
    if any(key in arrays for key in PERSON):
        raise MotionFileError(
            f"is a recording of a person, not of a robot (it holds {held}): retarget it to the robot first"
        )
    partly = [known for known in TABLE if first_key(arrays, known.joint_pos) and not known.is_table]
    if partly:
        joints = first_key(arrays, partly[0].joint_pos)
        roots = dict.fromkeys(key for known in partly for key in known.root_quat or (known.body_quat,))
        raise MotionFileError(f"has {joints} but no root under {' or '.join(roots)} (it holds {held})")
    raise MotionFileError(f"has no joint positions under a known key, such as dof_pos or joint_pos (it holds {held})")


def format_name(path: Path, name: str | None = None) -> str:
    """The format to write `path` in: `name`, or the first one with its suffix.

    Raises:
      InputError: the suffix is not that of a format, or not that of `name`.

    Examples:
      >>> from cmg_jax import motion_files
      >>> motion_files.format_name(Path("walk.csv"))
      'csv'
    """
    named = {key: writer for key, writer in FORMATS.items() if name in (None, key)}
    for key, writer in named.items():
        if path.suffix == writer.suffix:
            return key
    suffixes = " or ".join(dict.fromkeys(writer.suffix for writer in named.values()))
    raise InputError(f"{path}: the name of a {name or 'motion'} file must end in {suffixes}")


def write(
    path: Path,
    motion: Motion,
    name: str | None = None,
    *,
    bodies: bool = False,
    progress: Progress = lambda _: None,
) -> None:
    """Write `motion` to `path`, whole or not at all.

    Args:
      path: the file.
      motion: of several environments only if the format holds them.
      name: one of `FORMATS`, by default the first one with the suffix of `path`.
      bodies: also write body poses, in formats where they are optional (npz).
      progress: called with the number of frames whose body poses are done.

    Raises:
      InputError: the suffix is unknown, or the format cannot hold this motion.

    Examples:
      >>> from cmg_jax import motion_files
      >>> frames = np.tile(cmg_jax.standing_frame(model), (51, 1))
      >>> motion = motion_files.of_trajectory(model.config, frames, np.zeros((50, 3), np.float32))
      >>> motion_files.write(Path("walk.pkl"), motion)  # TWIST's format
    """
    name = format_name(path, name)
    writer = FORMATS[name]
    if not writer.environments:
        robot = writer.robot
        if motion.joint_pos.ndim != 2:
            raise InputError(f"{path}: a {name} file holds one environment; write several with the format npz")
        if robot is not None and motion.robot.mjcf != robot.mjcf:
            links = f"the {robot.name.upper()}'s links"
            raise InputError(f"{path}: a {name} file holds {links}; write others with the format npz")
        if not motion.robot.has_mjcf:
            raise InputError(f"{path}: a {name} file needs the robot's MJCF, which is not known; use the format npz")
        motion = motion.with_joints(joints_by_place(motion.robot))
    writer.write(path, motion, bodies=bodies, progress=progress)
