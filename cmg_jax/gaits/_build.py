"""From motion files to a data set of continuous locomotion."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.data import _prepared
from cmg_jax.data._build import labels
from cmg_jax.data._dataset import Dataset
from cmg_jax.gaits import _catalogue, _checked, _learn, _plan, _select, _synthesis
from cmg_jax.gaits._learn import Learnt
from cmg_jax.motion_files import Assume, Clip, MotionFileError, read
from cmg_jax.robot import Robot, root_channel

SHORTEST = 0.5
"""s of a clip that may be used."""


class Options(NamedTuple):
    """How a library is made.

    Examples:
      >>> from cmg_jax import gaits
      >>> gaits.Options(changes=20).fps
      50.0
    """

    fps: float = 50.0
    """Frames per second."""
    assume: Assume = Assume()
    """What the user knows about the files."""
    seed: int = 0
    """Draws the velocities that change."""
    changes: int = 112
    """Number of clips of half a minute in which the velocity changes."""


class Source(NamedTuple):
    """A recorded clip."""

    clip: Clip
    group: int
    """The person, as a number."""
    fault: str
    """Why it is left out; empty if it is used."""


class Made(NamedTuple):
    """A library and where it comes from."""

    dataset: Dataset
    sources: list[Source]
    unread: list[tuple[str, str]]
    """Names of files and clips that could not be read, and why."""
    learnt: Learnt
    motions: list[_synthesis.Motions]
    """Those of the data set's clips."""
    cut: int
    """Number of synthetic frames that were not good enough."""


def build(
    files: Sequence[Path], options: Options | None = None, progress: Callable[[int], Any] = lambda _: None
) -> Made:
    """Make a library.

    Args:
      files: motion files of one robot with its root. Those of one directory count as one person's.
      options: see `Options`; its defaults if None.
      progress: called with 1 for each file that has been read.

    Raises:
      InputError: no clip has a root, or none holds a stride of walking; the robot's feet are not known.

    Examples:
      >>> from cmg_jax import data, gaits
      >>> made = gaits.build(sorted(Path("clips").glob("*.npz")))  # minutes of walking and running
      >>> data.save(Path("gaits.npz"), made.dataset)
    """
    options = options or Options()
    sources, unread = load_sources(files, options, progress)
    used = [source for source in sources if not source.fault]
    if not used:
        reasons = [*unread, *((source.clip.name, source.fault) for source in sources)]
        raise InputError("no clip can be used: " + "; ".join(f"{name}: {reason}" for name, reason in reasons[:3]))
    learnt = _learn.learn([source.clip for source in used], [source.group for source in used])
    library, clock = learnt.library, _plan.Clock(learnt.library.walk, learnt.library.run)
    items = _catalogue.catalogue(_catalogue.region(library.walk, library.run), options.seed, options.changes)
    plans = [_plan.make_plan(item.segments, clock, options.fps, item.phase) for item in items]
    fastest = max(float(np.abs(np.diff(source.clip.joint_pos, axis=0)).max()) for source in used) * options.fps
    motions, commands, names, cut = [], [], [], 0
    for item, plan, motion in zip(items, plans, _synthesis.synthesise(plans, library, options.fps), strict=True):
        parts = _checked.good_parts(*motion[:3], library.robot, options.fps, fastest)
        cut += len(motion.joint_pos) - sum(last - first for first, last in parts)
        for index, (first, last) in enumerate(parts):
            number = f" part {index + 1}" if len(parts) > 1 else ""
            motions.append(_synthesis.Motions(*(array[first:last] for array in motion)))
            commands.append(plan.command[plan.kept][first:last])
            names.append(f"{item.name}{number}: {_origin(item, learnt)}")
    if not motions:
        raise InputError("no synthetic motion is good enough: record clips with slower joints and feet on the floor")
    dataset = join(motions, commands, tuple(names), library.robot, options.fps)
    return Made(dataset, sources, unread, learnt, motions, cut)


def load_sources(
    files: Sequence[Path], options: Options, progress: Callable[[int], Any] = lambda _: None
) -> tuple[list[Source], list[tuple[str, str]]]:
    """The clips of files, and what could not be read."""
    clips, groups, unread = [], [], []
    people: dict[Path, int] = {}
    settings = _prepared.Options(fps=options.fps, assume=options.assume, min_seconds=SHORTEST)
    for path, name in zip(files, labels(files), strict=True):
        progress(1)
        try:
            found = read(path, options.assume).clips
        except MotionFileError as rejected:
            unread.append((name, rejected.reason))
            continue
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from None
        for clip in found:
            ready = _prepared.prepare(clip._replace(name=name + clip.name.removeprefix(path.stem)), settings)
            if ready.unrecorded_root:
                unread.append((ready.name, f"{ready.unrecorded_root}, and a library needs the recorded root"))
                continue
            if ready.reasons and not ready.parts:
                unread.append((ready.name, "; ".join(ready.reasons)))
            clips += ready.parts
            groups += [people.setdefault(path.absolute().parent, len(people))] * len(ready.parts)
    reasons = _select.faults(clips) if clips else []
    return [Source(*row) for row in zip(clips, groups, reasons, strict=True)], unread


def join(
    motions: Sequence[_synthesis.Motions],
    commands: Sequence[np.ndarray],
    names: tuple[str, ...],
    robot: Robot,
    fps: float,
) -> Dataset:
    """Motions as a data set; their commands are the velocities that were asked for."""
    frames, feet = [], []
    for motion, command in zip(motions, commands, strict=True):
        velocity = np.gradient(motion.joint_pos, 1 / fps, axis=0)
        channel = root_channel(motion.root_pos, motion.root_quat, fps)
        frames.append(np.concatenate([motion.joint_pos, velocity, *channel], axis=-1))
        clip = Clip("", fps, robot, motion.joint_pos, velocity, motion.root_pos, motion.root_quat, command)
        feet.append(_prepared.first_feet(clip, recorded=True))
    return Dataset(
        np.concatenate(frames).astype(np.float32),
        np.concatenate(commands).astype(np.float32),
        np.repeat(np.arange(len(motions)), [len(part) for part in frames]).astype(np.int32),
        np.concatenate(feet),
        names,
        robot,
        fps,
    )


def _origin(item: _catalogue.Item, learnt: Learnt) -> str:
    """How a clip came about, from the velocities in it."""
    velocities = np.array([segment.velocity for segment in item.segments if segment.velocity is not None])
    words = ["recorded strides averaged by speed"]
    if velocities[:, 0].min() < 0.25:
        words.append("forward strides played backward")
    if np.abs(velocities[:, 1]).max() > 0:
        words.append("moved sideways")
    if np.abs(velocities[:, 2]).max() > 0:
        words.append("bent")
    if len(item.segments) > 1:
        words.append("blended over its changes")
    return ", ".join(words)
