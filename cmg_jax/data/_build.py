"""From files to a data set: read, check, cut, resample, and say what became of each."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.data._dataset import LEFT, RIGHT, Dataset
from cmg_jax.motion_files import _clips, _readers
from cmg_jax.motion_files._assume import Assume
from cmg_jax.motion_files._clips import Clip, Rejected
from cmg_jax.robot import _feet

STANDING_SPEED = 0.08
"""m/s and, for the yaw rate, twice that in rad/s: slower is standing, where no command was recorded."""

LIFTED = 0.01
"""m by which a foot has risen over the other, since the start, when it is taken to step."""


class Options(NamedTuple):
    fps: float = 50.0
    assume: Assume = Assume()
    smoothing: float = 0.6
    """s over which a velocity is averaged to serve as command: about a stride."""
    walked: bool = True
    """Replace recorded commands by what is walked under them."""
    percentiles: tuple[float, float] = (0.5, 99.5)
    """Frames whose velocity is outside of these are no locomotion, or an error of the recording, and are cut out."""
    min_seconds: float = 1.0
    """Shorter stretches are dropped."""


class Row(NamedTuple):
    """What became of a clip, or of a file that could not be read."""

    name: str
    frames: int
    """Read, at the file's rate."""
    kept: int
    """In the data set, at its rate."""
    reason: str
    """Why frames, or all, were dropped; empty where none were."""
    notes: tuple[str, ...] = ()
    """What reading its file has put right or taken for granted."""


def build(
    sources: Sequence[Path], options: Options | None = None, progress: Callable[[int], Any] = lambda _: None
) -> tuple[Dataset, list[Row]]:
    """Make a data set of files.

    Args:
      sources: files of `cmg_jax.motion_files._readers`.
      options: see `Options`; its defaults if None.
      progress: called with 1 for each file done.

    Returns:
      the data set, and a row for every clip and every file that could not be read.

    Raises:
      InputError: nothing is left.
    """
    options = options or Options()
    _clips.check_fps(options.fps)
    if not 0 < options.smoothing < np.inf or not 0 <= options.min_seconds < np.inf:
        raise InputError(
            f"smoothing {options.smoothing:g} s, min_seconds {options.min_seconds:g} s: not positive numbers"
        )
    stretches: list[_Stretch] = []
    for path, label in zip(sources, labels(sources), strict=True):
        stretches += _read(path, label, options)
        progress(1)
    _cut_outliers(stretches, options)
    return _join(stretches, options), [_row(name, group) for name, group in _grouped(stretches).items()]


class _Stretch:
    """A part of a clip on its way into the data set."""

    notes: tuple[str, ...] = ()

    def __init__(self, name: str, frames: int, clip: Clip | None = None, reason: str = "", recorded: bool = False):
        self.name, self.frames, self.clip, self.reason = name, frames, clip, reason
        self.recorded = recorded  # whether the command was, or was made of the velocity
        self.parts = [clip] if clip is not None else []


def labels(sources: Sequence[Path]) -> list[str]:
    """A name for each file: its stem, or as much of its path as no other file has."""
    paths = [path.absolute() for path in sources]
    longest = max((len(path.parts) for path in paths), default=0)
    levels = [[path.stem for path in paths]]
    levels += [["/".join(path.parts[-count:]) for path in paths] for count in range(1, longest + 1)]
    return [
        next((level[at] for level in levels if level.count(level[at]) == 1), str(path)) for at, path in enumerate(paths)
    ]


def _read(path: Path, label: str, options: Options) -> list[_Stretch]:
    try:
        reading = _readers.read(path, options.assume)
    except Rejected as rejected:
        return [_Stretch(path.name if label == path.stem else label, 0, reason=str(rejected))]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    out: list[_Stretch] = []
    for clip in reading.clips:
        clip = clip._replace(name=label + clip.name.removeprefix(path.stem))
        out += _stretches(clip, options)
    for stretch in out:
        stretch.notes = tuple(note.text for note in reading.notes)
    return out


def _stretches(clip: Clip, options: Options) -> list[_Stretch]:
    """A clip without its jumps, at the rate of the data set."""
    out: list[_Stretch] = []
    try:
        clip = _clips.take_joints(clip, options.assume.robot, fill=options.assume.missing == "zero")
        _clips.check(clip)
    except Rejected as rejected:
        return [_Stretch(clip.name, len(clip.joint_pos), reason=str(rejected))]
    for piece in _clips.split_at_jumps(clip):
        frames = len(piece.joint_pos)
        if frames < max(3, options.min_seconds * clip.fps):
            out.append(_Stretch(clip.name, frames, reason=f"{frames} frames between jumps"))
            continue
        piece = _clips.resample(piece, options.fps)
        recorded = piece.command is not None
        if not recorded:
            piece = piece._replace(command=_clips.yaw_frame_velocity(piece, options.smoothing))
        elif options.walked:
            piece = piece._replace(command=_clips.walked_command(piece, options.smoothing))
        out.append(_Stretch(clip.name, frames, piece, recorded=recorded))
    return out


def _cut_outliers(stretches: list[_Stretch], options: Options) -> None:
    """Cut frames out whose velocity is beyond the percentiles; recorded commands are left alone."""
    derived = [stretch for stretch in stretches if stretch.parts and not stretch.recorded]
    if not derived:
        return
    low, high = np.percentile(np.concatenate([_command(s.parts[0]) for s in derived]), options.percentiles, axis=0)
    for stretch in derived:
        clip = stretch.parts[0]
        inside = ((_command(clip) >= low) & (_command(clip) <= high)).all(axis=-1)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
        runs = [(a, b) for a, b in edges.reshape(-1, 2).tolist() if b - a >= options.min_seconds * options.fps]
        stretch.parts = [_clips.cut(clip, first, last) for first, last in runs]
        if sum(last - first for first, last in runs) < len(clip.joint_pos):
            stretch.reason = "velocity beyond the percentiles"


def _command(clip: Clip) -> np.ndarray:
    assert clip.command is not None
    return clip.command


def _join(stretches: list[_Stretch], options: Options) -> Dataset:
    parts = [(clip, stretch.recorded) for stretch in stretches for clip in stretch.parts]
    if not parts:
        reasons = "; ".join(f"{stretch.name}: {stretch.reason}" for stretch in stretches[:3])
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


def _grouped(stretches: list[_Stretch]) -> dict[str, list[_Stretch]]:
    groups: dict[str, list[_Stretch]] = {}
    for stretch in stretches:
        groups.setdefault(stretch.name, []).append(stretch)
    return groups


def _row(name: str, group: list[_Stretch]) -> Row:
    kept = sum(len(clip.joint_pos) for stretch in group for clip in stretch.parts)
    reasons = dict.fromkeys(stretch.reason for stretch in group if stretch.reason)
    return Row(name, sum(stretch.frames for stretch in group), kept, "; ".join(reasons), group[0].notes)
