"""From a data set to a library: clips, mirrored clips, and what a search compares of each frame."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.data import LEFT, RIGHT, Dataset
from cmg_jax.library import _clip
from cmg_jax.model._library import FEATURES, FUTURE_SECONDS, GROUP, POSE, MotionLibrary, future_frames
from cmg_jax.robot import Robot, _feet, mirror_command, mirror_motion

UNUSED_COST = 1e9
"""Cost of the candidates that fill the last group."""

LEAST_SECONDS = 0.2
"""Candidates may be played for this time, until a row of `matching()` searches again. One that has to be left before
would be found again, and its first frames played for ever."""


class FeatureWeights(NamedTuple):
    """What a search weighs, each in units of the feature's own spread over the library.

    The pose decides whether a jump is smooth, the future whether it obeys the command. Heavier futures follow the
    command more closely and jump more often.

    Examples:
      >>> from cmg_jax import data, library
      >>> weights = library.FeatureWeights(path=4.0)  # follows commands more closely, jumps more often
      >>> made = library.build_library(data.load(Path("walks.npz")), weights=weights)
    """

    sole_position: float = 0.75
    """The soles tell the phase of the gait, which their velocities tell as well: together they would outweigh all."""
    sole_velocity: float = 1.0
    """Which foot stands and which swings: a jump between the two slides."""
    root_velocity: float = 1.0
    """A jump between speeds lurches."""
    path: float = 2.0
    """Forward and sideways commands."""
    heading: float = 1.0
    """The yaw rate. Heavier, it draws rows that turn on the spot back to the moment in which a body twists over feet
    that stand, before a step follows."""


def build_library(
    dataset: Dataset,
    *,
    robot: Robot | None = None,
    weights: FeatureWeights | None = None,
    stride: int = 2,
    least_height: float = 0.83,
    most_lean: float = 0.5,
) -> MotionLibrary:
    """Make a library of a data set's clips and their mirror images. Takes seconds; call it outside `jit`, once.

    Args:
      dataset: clips with a root channel, of `cmg-jax data`.
      robot: the robot that the library is for; by default that of the data set.
      weights: of the features that a search compares.
      stride: only every so many frames are candidates of a search, whose cost is divided by it. At 50 frames per
        second neighbours are hardly different, and the search compares a row with the frame it plays anyway.
      least_height: of the root, as a share of its height when standing: lower frames crouch or lie and are not played.
      most_lean: sine of the angle between the root and upright: frames that lean further are not played.

    Raises:
      InputError: the data set has no root channel, is of another robot, its feet are not known, it has no clip of
        a second that may be played, or no frame in which both feet stand still.

    Examples:
      >>> library = cmg_jax.build_library(cmg_jax.data.load(Path("walks.npz")))
      >>> library.num_frames  # with the mirror images
      602
    """
    _check(dataset, robot, stride)
    weights = weights or FeatureWeights()
    fps, robot = dataset.fps, dataset.robot
    joints, limits = robot.num_joints, _clip.limits(robot, least_height, most_lean)
    mirrored = np.asarray(mirror_motion(dataset.motion, robot)), np.asarray(mirror_command(dataset.command))
    sides = [
        (frames, command, _clip.sole_points(frames, robot))
        for frames, command in ((dataset.motion, dataset.command), mirrored)
    ]
    parts = [
        _clip.describe(frames[first:end], command[first:end], points[first:end], joints, fps, limits)
        for first, end in dataset.clip_edges()
        if end - first >= 3
        for frames, command, points in sides
    ]
    if not any(part.allowed.any() for part in parts):
        raise InputError(
            f"no clip of the data set can be played for {FUTURE_SECONDS[-1]:g} s from any frame: it has "
            f"{dataset.seconds:.1f} s in {len(dataset.clip_names)} clips, at the root's height or lean or too short"
        )
    lengths = [len(part.frames) for part in parts]
    joined = _clip.Described(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    standing = joined.allowed & joined.standing
    if not standing.any():
        raise InputError(
            f"in no frame of the data set both feet have stood still for {_clip.STILL_SECONDS:g} s, and a motion has "
            "to start and stop; add a recording that does"
        )
    physical, allowed = joined.features, joined.allowed
    center = physical[allowed].mean(axis=0)
    scale = _weight_of_each(weights) / _spreads(physical[allowed])
    features = ((physical - center) * scale).astype(np.float32)
    chosen = np.flatnonzero(_clip.followed(~allowed, round(LEAST_SECONDS * fps)))
    chosen = np.union1d(chosen[::stride], np.flatnonzero(standing)[::stride])
    restless = np.square(joined.frames[:, joints : 2 * joints]).sum(axis=-1) + 50 * np.square(joined.command).sum(-1)
    arrays: dict[str, Any] = {
        "frames": joined.frames.astype(np.float32),
        "clearance": joined.clearance.astype(np.float32),
        "soles": joined.soles.astype(np.float32),
        "contact": joined.contact.astype(np.float32),
        "features": features,
        "center": center.astype(np.float32),
        "scale": scale.astype(np.float32),
        "last": (np.repeat(np.cumsum(lengths), lengths) - 1).astype(np.int32),
        "allowed": allowed,
        "support": joined.support.astype(np.int32),
        "standing": joined.standing,
        "first_foot": joined.first_foot.astype(np.int32),
        "command": joined.command.astype(np.float32),
        "candidates": _candidates(features[chosen], joined.first_foot[chosen]),
        "candidate_index": chosen.astype(np.int32),
        "standing_index": np.int32(np.where(standing, restless, np.inf).argmin()),
    }
    stats = jax.tree.map(jnp.asarray, dataset.stats())
    return MotionLibrary(
        **{name: jnp.asarray(array) for name, array in arrays.items()}, stats=stats, robot=robot, fps=fps
    )


def _check(dataset: Dataset, robot: Robot | None, stride: int) -> None:
    if stride < 1:
        raise InputError(f"stride {stride}: must be at least 1")
    if robot is not None and robot != dataset.robot:
        raise InputError(
            f"the data set is one of the robot {dataset.robot.name} with {dataset.robot.num_joints} joints, not of "
            f"{robot.name} with {robot.num_joints}"
        )
    if not dataset.has_root:
        raise InputError(
            "the data set has no root channel, which a library needs; make it with cmg-jax data --root keep"
        )
    _feet.check(dataset.robot)
    if future_frames(dataset.fps)[0] < 2:
        raise InputError(f"{dataset.fps:g} frames per second are too few to match motion")


def _weight_of_each(weights: FeatureWeights) -> np.ndarray:
    """The weights of all F features."""
    times = 2 * len(FUTURE_SECONDS)
    return np.repeat(np.asarray(weights, np.float64), [6, 6, 2, times, times])


def _spreads(physical: np.ndarray) -> np.ndarray:
    """Standard deviations [F], those of a group of numbers of one kind averaged: they keep their proportions."""
    times = 2 * len(FUTURE_SECONDS)
    sizes = (3, 3, 3, 3, 2, times, times)
    assert sum(sizes[:5]) == POSE
    assert sum(sizes) == FEATURES
    groups = np.split(physical.std(axis=0), np.cumsum(sizes)[:-1])
    return np.repeat([group.mean() + 1e-3 for group in groups], sizes)


def _candidates(features: np.ndarray, first_foot: np.ndarray) -> np.ndarray:
    """[G, 128, F+4]: the features of a candidate, their square, and whether no foot, the left or the right one is
    lifted next.

    A search multiplies them with (-2 query, 1, cost of no step, of the left foot, of the right one).
    """
    square = np.square(features).sum(axis=-1, keepdims=True)
    table = np.concatenate([features, square, first_foot[:, None] == np.array([[0, LEFT, RIGHT]])], axis=-1)
    filled = np.zeros((-(-len(table) // GROUP) * GROUP, table.shape[-1]), np.float32)
    filled[: len(table)] = table
    filled[len(table) :, FEATURES] = UNUSED_COST
    return filled.reshape(-1, GROUP, table.shape[-1])
