"""From a clip as it was read to the parts of it that a data set takes: on the floor, without jumps, labelled."""

import dataclasses
from typing import NamedTuple

import numpy as np

from cmg_jax.data._dataset import LEFT, RIGHT
from cmg_jax.motion_files import Assume, Clip, MotionFileError, _clips
from cmg_jax.robot import _feet, _foot_quality
from cmg_jax.robot._foot_quality import OFF_FLOOR, FootFigures

STANDING_SPEED = 0.08
"""m/s and, for the yaw rate, twice that in rad/s: a slower robot stands, where no command was recorded."""

LIFTED = 0.01
"""m; a foot that has risen by more over the other since the start is taken to step."""

LYING = 75.0
"""Degrees from upright; a root that leans further has no heading to speak of, and from 90 on no root channel."""

HUMAN_STRIDE, POLICY_STRIDE = 1.0, 0.6
"""Seconds that a stride of a person takes, and one of the policies whose commands are recorded."""


class Options(NamedTuple):
    """How motion files become a data set.

    Examples:
      >>> from cmg_jax import data
      >>> options = data.Options(root="drop", min_seconds=1.0)
      >>> data.build([Path("walk.npz")], options)[0].has_root
      False
    """

    fps: float = 50.0
    """Frames per second of the data set."""
    assume: Assume = Assume()
    """What the user knows about the files."""
    root: str = "auto"
    """One of `ROOTS`."""
    smoothing: float | None = None
    """Seconds over which a velocity is averaged to serve as command: about a stride. None is `HUMAN_STRIDE`, where
    commands were recorded `POLICY_STRIDE`."""
    measure_commands: bool = True
    """Replace recorded commands by the velocity that is measured under them."""
    percentiles: tuple[float, float] | None = None
    """Frames whose velocity is outside of these are no locomotion, or an error of the recording, and are cut out. The
    fastest frames are among them."""
    min_seconds: float = 0.5
    """Shorter pieces are dropped. A recorded run may last little more than a second."""


ROOTS = ("auto", "keep", "drop")
"""Whether a data set has a root channel: if every clip has a root, in any case, or not."""


@dataclasses.dataclass
class Prepared:
    """A clip on its way into a data set, or a file that could not be read."""

    name: str
    frames: int = 0
    """Number of frames that were read, at the file's rate."""
    parts: list[Clip] = dataclasses.field(default_factory=list)
    """What is kept, at the rate of the data set."""
    recorded: bool = False
    """Whether the command was recorded, or derived from the velocity."""
    reasons: list[str] = dataclasses.field(default_factory=list)
    """Why some or all frames were dropped."""
    notes: list[str] = dataclasses.field(default_factory=list)
    """What was corrected or taken for granted."""
    feet: FootFigures | None = None
    """Of the stretches that are kept, on the floor; `floating` as the file has it."""
    unrecorded_root: str = ""
    """What shows that the root was made up."""

    def keep(self, masks: list[np.ndarray], options: Options) -> int:
        """Cut the parts down to the frames where their masks hold; the number of frames that were dropped."""
        before = sum(len(part.joint_pos) for part in self.parts)
        least = options.min_seconds * options.fps
        self.parts = [
            _clips.cut(part, first, last)
            for part, mask in zip(self.parts, masks, strict=True)
            for first, last in _clips.runs(mask, max(least, 3))
        ]
        return before - sum(len(part.joint_pos) for part in self.parts)


def prepare(clip: Clip, options: Options) -> Prepared:
    """A clip checked, put on the floor, cut at its jumps, and at the rate of the data set."""
    out = Prepared(clip.name, len(clip.joint_pos), recorded=clip.command is not None)
    try:
        clip = _clips.take_joints(clip, options.assume.robot, fill=options.assume.missing == "zero")
        _clips.check(clip)
    except MotionFileError as rejected:
        out.reasons = [rejected.reason]
        return out
    out.unrecorded_root = _clips.unrecorded_root(clip)
    soles = _foot_quality.soles(clip.joint_pos, clip.root_pos, clip.root_quat, clip.robot)
    floor = _foot_quality.figures([soles], clip.fps).floating
    if not out.unrecorded_root and abs(floor) > OFF_FLOOR:
        out.notes.append("feet come down above or below height 0 (floating mm): heights are taken from where they do")
        clip, soles = clip._replace(root_pos=clip.root_pos - [0, 0, floor]), soles - [0, 0, floor]
    short, kept, first = [], [], 0
    for part in _clips.split_at_jumps(clip):
        frames = len(part.joint_pos)
        if frames < max(3, options.min_seconds * clip.fps):
            short.append(frames)
        else:
            out.parts.append(_clips.resample(part, options.fps))
            kept.append(soles[first : first + frames])
        first += frames
    if short:
        pieces = "" if short == [out.frames] else f" in {_count(len(short), 'piece')} between jumps"
        frames = _count(sum(short), "frame")
        out.reasons.append(f"{frames}{pieces}: shorter than --min-seconds {options.min_seconds:g}")
    if kept and not out.unrecorded_root:
        out.feet = _foot_quality.figures(kept, clip.fps)._replace(floating=floor)
    return out


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def cut_lying(clip: Prepared, options: Options) -> None:
    """Cut frames out whose root leans too far for a root channel."""
    masks = [_clips.tilt(part.root_quat) < np.radians(LYING) for part in clip.parts]
    if dropped := clip.keep(masks, options):
        clip.reasons.append(f"{_count(dropped, 'frame')} cut where it leans by more than {LYING:g} degrees")


def label(clip: Prepared, options: Options, *, by_root: bool) -> None:
    """Give the parts of a clip the command that they obey, and note where it comes from."""
    if not clip.parts or (clip.recorded and not options.measure_commands):
        return
    if clip.recorded:
        stride = options.smoothing or POLICY_STRIDE
        commands = [_clips.measured_command(part, stride, by_root=by_root) for part in clip.parts]
        what = "the root" if by_root else "the feet"
        clip.notes.append(f"held commands are replaced by the velocity of {what} (--commands recorded keeps them)")
    else:
        seconds = options.smoothing or HUMAN_STRIDE
        still = all(_clips.root_is_still(part) for part in clip.parts)
        velocity = _clips.walked_velocity if still else _clips.yaw_frame_velocity
        commands = [velocity(part, seconds) for part in clip.parts]
        what = "stance feet" if still else "root in its smoothed heading"
        clip.notes.append(f"commands are the velocity of the {what}, over {seconds:g} s (--smoothing-seconds)")
    clip.parts = [part._replace(command=command) for part, command in zip(clip.parts, commands, strict=True)]


def cut_outliers(clips: list[Prepared], options: Options) -> None:
    """Cut frames out whose velocity is beyond the percentiles, in clips without recorded commands."""
    derived = [clip for clip in clips if clip.parts and not clip.recorded]
    if not derived or options.percentiles is None:
        return
    commands = [command_of(part) for clip in derived for part in clip.parts]
    low, high = np.percentile(np.concatenate(commands), options.percentiles, axis=0)
    for clip in derived:
        masks = [((command_of(part) >= low) & (command_of(part) <= high)).all(axis=-1) for part in clip.parts]
        if dropped := clip.keep(masks, options):
            bounds = "{:g} {:g}".format(*options.percentiles)
            clip.reasons.append(f"{_count(dropped, 'frame')} cut at velocities beyond --percentiles {bounds}")


def command_of(clip: Clip) -> np.ndarray:
    """The command [T, 3] of a clip that is labelled."""
    assert clip.command is not None
    return clip.command


def first_feet(clip: Clip, recorded: bool) -> np.ndarray:
    """Where starts from standing begin, and with which foot: [T] int8 of 0, LEFT and RIGHT."""
    command, frames = command_of(clip), len(clip.joint_pos)
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
