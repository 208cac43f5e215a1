"""From files to a data set: read them, prepare their clips, and report what became of each."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.data._dataset import Dataset
from cmg_jax.data._prepared import (
    ROOTS,
    Options,
    Prepared,
    command_of,
    cut_lying,
    cut_outliers,
    first_feet,
    label,
    prepare,
)
from cmg_jax.motion_files import Clip, MotionFileError, _clips, read
from cmg_jax.robot import _feet, root_channel
from cmg_jax.robot._foot_quality import FootFigures


class Row(NamedTuple):
    """The frames kept and dropped of a clip, or of a file that could not be read."""

    name: str
    frames: int
    """Number of frames that were read, at the file's rate."""
    kept: int
    """Number of frames in the data set, at the data set's rate."""
    reason: str
    """Why some or all frames were dropped; empty if none were."""
    notes: tuple[str, ...] = ()
    """What reading its file has corrected or taken for granted."""
    feet: FootFigures | None = None
    """How its feet meet the floor; None where that is not known."""


def build(
    sources: Sequence[Path], options: Options | None = None, progress: Callable[[int], Any] = lambda _: None
) -> tuple[Dataset, list[Row]]:
    """Make a data set from motion files.

    Args:
      sources: files that `cmg_jax.motion_files.read` reads.
      options: see `Options`; its defaults if None.
      progress: called with 1 for each file done.

    Returns:
      the data set, and a row for every clip and every file that could not be read.

    Raises:
      InputError: an option is out of range, the robot's feet are not known, no clip can be used, or one has no root
        that could be kept.

    Examples:
      >>> from cmg_jax import data
      >>> dataset, rows = data.build([Path("walk.npz")])
      >>> [(row.name, row.kept, row.reason) for row in rows]
      [('walk', 301, '')]
    """
    options = options or Options()
    _clips.check_fps(options.fps)
    _feet.check(options.assume.robot)
    for name, seconds in (("smoothing", options.smoothing), ("min_seconds", options.min_seconds)):
        if seconds is not None and not (np.isfinite(seconds) and seconds >= 0 and (seconds or name != "smoothing")):
            raise InputError(f"{name} {seconds:g} s: not a positive number")
    clips: list[Prepared] = []
    for path, name in zip(sources, labels(sources), strict=True):
        clips += _read(path, name, options)
        progress(1)
    root = _has_root(clips, options)
    for clip in clips:
        if root:
            cut_lying(clip, options)
        label(clip, options, by_root=root)
    cut_outliers(clips, options)
    return _join(clips, root, options), [_row(clip) for clip in clips]


def labels(sources: Sequence[Path]) -> list[str]:
    """A name for each file: its stem, or as much of its path as makes it unique."""
    paths = [path.absolute() for path in sources]
    longest = max((len(path.parts) for path in paths), default=0)
    levels = [[path.stem for path in paths]]
    levels += [["/".join(path.parts[-count:]) for path in paths] for count in range(1, longest + 1)]
    return [
        next((level[at] for level in levels if level.count(level[at]) == 1), str(path)) for at, path in enumerate(paths)
    ]


def _read(path: Path, name: str, options: Options) -> list[Prepared]:
    try:
        reading = read(path, options.assume)
    except MotionFileError as rejected:
        return [Prepared(path.name if name == path.stem else name, reasons=[rejected.reason])]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    out = [prepare(clip._replace(name=name + clip.name.removeprefix(path.stem)), options) for clip in reading.clips]
    for clip in out:
        clip.notes = [*(note.text for note in reading.notes), *clip.notes]
    return out


def _has_root(clips: list[Prepared], options: Options) -> bool:
    """Whether the data set has a root channel; if not because a clip has no root, that clip has a note."""
    if options.root not in ROOTS:
        raise InputError(f"root is {options.root!r}; it must be {' or '.join(map(repr, ROOTS))}")
    without = next((clip for clip in clips if clip.parts and clip.unrecorded_root), None)
    if options.root == "drop" or without is None:
        return options.root != "drop"
    if options.root == "keep":
        raise InputError(f"{without.name}: {without.unrecorded_root}: leave it out, or take --root drop")
    others = sum(bool(clip.parts and not clip.unrecorded_root) for clip in clips)
    remedy = f"; without such clips {others} of the clips would keep theirs" if others else ""
    without.notes.append(f"{without.unrecorded_root}, so the data set has no root{remedy}")
    return False


def _join(clips: list[Prepared], root: bool, options: Options) -> Dataset:
    parts = [(part, clip.recorded) for clip in clips for part in clip.parts]
    if not parts:
        reasons = "; ".join(f"{clip.name}: {'; '.join(clip.reasons)}" for clip in clips[:3])
        raise InputError(f"no clip can be used ({reasons})")
    return Dataset(
        np.concatenate([_frames(part, root) for part, _ in parts]).astype(np.float32),
        np.concatenate([command_of(part) for part, _ in parts]).astype(np.float32),
        np.repeat(np.arange(len(parts)), [len(part.joint_pos) for part, _ in parts]).astype(np.int32),
        np.concatenate([first_feet(part, recorded) for part, recorded in parts]),
        tuple(part.name for part, _ in parts),
        options.assume.robot,
        options.fps,
    )


def _frames(clip: Clip, root: bool) -> np.ndarray:
    """The frames [T, D] of a clip."""
    assert clip.joint_vel is not None
    channel = root_channel(clip.root_pos, clip.root_quat, clip.fps) if root else ()
    return np.concatenate([clip.joint_pos, clip.joint_vel, *channel], axis=-1)


def _row(clip: Prepared) -> Row:
    kept = sum(len(part.joint_pos) for part in clip.parts)
    return Row(clip.name, clip.frames, kept, "; ".join(clip.reasons), tuple(clip.notes), clip.feet)
