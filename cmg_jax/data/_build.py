"""Builds a data set from files: reads, checks, cuts and resamples their clips, and reports what was kept of each."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.data._dataset import LEFT, RIGHT, Dataset
from cmg_jax.motion_files import Assume, Clip, MotionFileError, _clips, read
from cmg_jax.robot import _feet

STANDING_SPEED = 0.08
"""Speed in m/s, and half the yaw rate in rad/s, below which a robot without recorded commands counts as standing."""

LIFTED = 0.01
"""Height in m by which a foot has to rise over the other one after a start to count as stepping."""


class Options(NamedTuple):
    """How a data set is made from motion files."""

    fps: float = 50.0
    """Frames per second of the data set."""
    assume: Assume = Assume()
    """Facts that the user states about the files."""
    smoothing: float = 0.6
    """Seconds over which a velocity is averaged to serve as command: about a stride."""
    measure_commands: bool = True
    """Replace recorded commands by the velocity measured under them."""
    percentiles: tuple[float, float] = (0.5, 99.5)
    """Frames with a velocity outside of these are cut out: they are not locomotion, or errors of the recording."""
    min_seconds: float = 1.0
    """Shorter pieces are dropped."""


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
    """Corrections and assumptions from reading its file."""


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
      InputError: an option is out of range, or no clip can be used.
    """
    options = options or Options()
    _clips.check_fps(options.fps)
    if not 0 < options.smoothing < np.inf or not 0 <= options.min_seconds < np.inf:
        raise InputError(
            f"smoothing {options.smoothing:g} s, min_seconds {options.min_seconds:g} s: not positive numbers"
        )
    pieces: list[_Piece] = []
    for path, label in zip(sources, labels(sources), strict=True):
        pieces += _read(path, label, options)
        progress(1)
    _cut_outliers(pieces, options)
    return _join(pieces, options), [_row(name, group) for name, group in _grouped(pieces).items()]


class _Piece:
    """A part of a clip on its way into the data set."""

    notes: tuple[str, ...] = ()

    def __init__(self, name: str, frames: int, clip: Clip | None = None, reason: str = "", recorded: bool = False):
        self.name, self.frames, self.clip, self.reason = name, frames, clip, reason
        self.recorded = recorded  # whether the command was recorded, or derived from the velocity
        self.parts = [clip] if clip is not None else []


def labels(sources: Sequence[Path]) -> list[str]:
    """A name for each file: its stem, or as much of its path as makes it unique."""
    paths = [path.absolute() for path in sources]
    longest = max((len(path.parts) for path in paths), default=0)
    levels = [[path.stem for path in paths]]
    levels += [["/".join(path.parts[-count:]) for path in paths] for count in range(1, longest + 1)]
    return [
        next((level[at] for level in levels if level.count(level[at]) == 1), str(path)) for at, path in enumerate(paths)
    ]


def _read(path: Path, label: str, options: Options) -> list[_Piece]:
    try:
        reading = read(path, options.assume)
    except MotionFileError as rejected:
        return [_Piece(path.name if label == path.stem else label, 0, reason=rejected.reason)]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    out: list[_Piece] = []
    for clip in reading.clips:
        clip = clip._replace(name=label + clip.name.removeprefix(path.stem))
        out += _pieces(clip, options)
    for piece in out:
        piece.notes = tuple(note.text for note in reading.notes)
    return out


def _pieces(clip: Clip, options: Options) -> list[_Piece]:
    """The pieces of a clip between its jumps, at the rate of the data set."""
    out: list[_Piece] = []
    try:
        clip = _clips.take_joints(clip, options.assume.robot, fill=options.assume.missing == "zero")
        _clips.check(clip)
    except MotionFileError as rejected:
        return [_Piece(clip.name, len(clip.joint_pos), reason=rejected.reason)]
    for part in _clips.split_at_jumps(clip):
        frames = len(part.joint_pos)
        if frames < max(3, options.min_seconds * clip.fps):
            out.append(_Piece(clip.name, frames, reason=f"{frames} frames between jumps"))
            continue
        part = _clips.resample(part, options.fps)
        recorded = part.command is not None
        if not recorded:
            part = part._replace(command=_clips.yaw_frame_velocity(part, options.smoothing))
        elif options.measure_commands:
            part = part._replace(command=_clips.measured_command(part, options.smoothing))
        out.append(_Piece(clip.name, frames, part, recorded=recorded))
    return out


def _cut_outliers(pieces: list[_Piece], options: Options) -> None:
    """Cut frames out whose velocity is beyond the percentiles, in pieces without recorded commands."""
    derived = [piece for piece in pieces if piece.parts and not piece.recorded]
    if not derived:
        return
    low, high = np.percentile(
        np.concatenate([_command(piece.parts[0]) for piece in derived]), options.percentiles, axis=0
    )
    for piece in derived:
        clip = piece.parts[0]
        inside = ((_command(clip) >= low) & (_command(clip) <= high)).all(axis=-1)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
        runs = [(a, b) for a, b in edges.reshape(-1, 2).tolist() if b - a >= options.min_seconds * options.fps]
        piece.parts = [_clips.cut(clip, first, last) for first, last in runs]
        if sum(last - first for first, last in runs) < len(clip.joint_pos):
            piece.reason = "velocity beyond the percentiles"


def _command(clip: Clip) -> np.ndarray:
    assert clip.command is not None
    return clip.command


def _join(pieces: list[_Piece], options: Options) -> Dataset:
    parts = [(clip, piece.recorded) for piece in pieces for clip in piece.parts]
    if not parts:
        reasons = "; ".join(f"{piece.name}: {piece.reason}" for piece in pieces[:3])
        raise InputError(f"no clip can be used ({reasons})")
    assert all(clip.joint_vel is not None for clip, _ in parts)
    motion = [np.concatenate([clip.joint_pos, clip.joint_vel], axis=-1) for clip, _ in parts]  # pyright: ignore
    return Dataset(
        np.concatenate(motion).astype(np.float32),
        np.concatenate([_command(clip) for clip, _ in parts]).astype(np.float32),
        np.repeat(np.arange(len(parts)), [len(clip.joint_pos) for clip, _ in parts]).astype(np.int32),
        np.concatenate([first_feet(clip, recorded) for clip, recorded in parts]),
        tuple(clip.name for clip, _ in parts),
        options.assume.robot,
        options.fps,
    )


def first_feet(clip: Clip, recorded: bool) -> np.ndarray:
    """Where starts from standing begin, and with which foot: [T] int8 of 0, LEFT and RIGHT."""
    command, frames = _command(clip), len(clip.joint_pos)
    limit = np.zeros(3) if recorded else STANDING_SPEED * np.array([1, 1, 2])
    standing = np.asarray((np.abs(command) <= limit).all(axis=-1))
    out = np.zeros(frames, np.int8)
    begins = np.flatnonzero(standing[:-1] & ~standing[1:]) + 1
    reach = round(clip.fps)
    for begin in begins.tolist():
        joint_pos = clip.joint_pos[begin : begin + reach]
        height = np.asarray(_feet.sole_points(joint_pos, clip.robot))[..., 2].min(axis=-1)  # [t, 2] feet
        above = height[:, 0] - height[:, 1]
        above = above - above[0]
        steps = np.flatnonzero(np.abs(above) > LIFTED)
        if len(steps):
            out[begin] = LEFT if above[steps[0]] > 0 else RIGHT
    return out


def _grouped(pieces: list[_Piece]) -> dict[str, list[_Piece]]:
    groups: dict[str, list[_Piece]] = {}
    for piece in pieces:
        groups.setdefault(piece.name, []).append(piece)
    return groups


def _row(name: str, group: list[_Piece]) -> Row:
    kept = sum(len(clip.joint_pos) for piece in group for clip in piece.parts)
    reasons = dict.fromkeys(piece.reason for piece in group if piece.reason)
    return Row(name, sum(piece.frames for piece in group), kept, "; ".join(reasons), group[0].notes)
