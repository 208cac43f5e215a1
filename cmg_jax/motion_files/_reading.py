"""Reads motion files into clips; every program that reads motion does so here.

What a file states takes precedence over its format, and names over positions. Errors that the robot proves are
corrected, with a note. Suspicious content that nothing proves becomes a question, which the user has to answer.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cmg_jax.motion_files import _columns, _open
from cmg_jax.motion_files._assume import Assume
from cmg_jax.motion_files._clips import Clip, MotionFileError
from cmg_jax.motion_files._format import Columns, Content
from cmg_jax.motion_files._formats import identify
from cmg_jax.motion_files._group import Group, Note, Notes, fps_of, settle


class Reading(NamedTuple):
    """The motions of a file, with the notes and questions from reading them."""

    contents: list[Content]
    groups: list[Group]
    notes: list[Note]
    """Corrections and assumptions."""
    questions: list[Note]
    """What the user has to state. `read` refuses a file with open questions."""

    @property
    def clips(self) -> list[Clip]:
        """All clips of the file."""
        return [clip for group in self.groups for clip in group.clips]


def read(path: Path, assume: Assume = Assume()) -> Reading:  # noqa: B008  (immutable)
    """The clips of a motion file in radians, metres, seconds and wxyz, corrected if the robot proves an error.

    Args:
      path: an NPZ, CSV or pickle file in any of the formats that `docs/file_formats.md` lists.
      assume: what the user knows about files that do not state it.

    Raises:
      MotionFileError: it is not a motion file or is damaged, it lacks something, or a question is open.
      OSError: it cannot be opened.

    Examples:
      >>> from cmg_jax import motion_files
      >>> clip = motion_files.read(Path("walk.npz")).clips[0]
      >>> clip.fps, clip.joint_pos.shape
      (50.0, (301, 29))
    """
    try:
        reading = examine(path, assume)
    except MotionFileError as rejected:
        raise MotionFileError(rejected.reason, path) from None
    if reading.questions:
        raise MotionFileError("; ".join(question.text for question in reading.questions), path)
    return reading


def examine(path: Path, assume: Assume = Assume()) -> Reading:  # noqa: B008
    """Like `read`, but with open questions, whose clips are read as the format defines them.

    Raises:
      MotionFileError: it is not a motion file or is damaged, or it lacks something. The message does not name the file.
      OSError: it cannot be opened.
    """
    motions = _open.load(path, assume.robot)
    alike: dict[Any, list[tuple[Content, Columns]]] = {}
    notes = Notes()
    for name, arrays in motions.items():
        try:
            content, columns = _take(name, arrays, assume)
        except MotionFileError as rejected:
            if len(motions) == 1:
                raise
            notes.note("numbers", f"{name} is left out: it {rejected.reason}")
            continue
        key = (content.format, _columns.joint_names(content), columns.joint_pos.shape[-1])
        alike.setdefault(key, []).append((content, columns))
    if not alike:
        raise MotionFileError(next((note.text for note in notes.notes), "holds no motion"))
    groups = [settle(members, assume, notes) for members in alike.values()]
    contents = [content for members in alike.values() for content, _ in members]
    return Reading(contents, groups, list(notes.notes), list(notes.questions))


def _take(name: str, arrays: Mapping[str, Any], assume: Assume) -> tuple[Content, Columns]:
    """A motion and its columns, after a check that nothing is missing."""
    content = identify(name, arrays, assume.robot)
    columns = _columns.columns(content)
    names, count = _columns.joint_names(content), columns.joint_pos.shape[-1]
    if names and len(names) != count:
        raise MotionFileError(f"names {len(names)} joints but holds {count}")
    if names and len(set(names)) < len(names):
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise MotionFileError(f"names joint {twice} twice")
    fps_of(content, assume)
    return content, columns
