"""Rollouts of motion matching under random held commands, as a data set: motion that a network can learn.

Recordings answer one command with many motions, whose mean glides. Motion matching answers a frame and a command with
one motion.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.commands._region import clip_to_region
from cmg_jax.data import Dataset
from cmg_jax.generators import Generator, matching
from cmg_jax.library._clip import PATH_SECONDS, smooth
from cmg_jax.model._library import MotionLibrary
from cmg_jax.model._library_model import model_of_library
from cmg_jax.robot import integrate_command, join_frame, split_frame

RUN_SPEED = 1.6
"""m/s from which on commands go little sideways and turn less, as people do."""

RUN_SIDEWAYS, RUN_TURN = 0.3, 0.6
"""Shares of the commands that remain there."""

SLOW = 0.8
"""m/s forward or backward."""

STRIDE_SECONDS = 0.3
"""s, the standard deviation of the Gaussian over which a walked velocity is averaged."""

SETTLE_SECONDS = 0.8
"""s after a change of command, before its walked velocity is measured."""

LEAST_SECONDS = 1.5
"""s; a command that is held for less keeps its own value as label."""


class RolloutOptions(NamedTuple):
    """Under which commands a library is rolled out.

    Examples:
      >>> from cmg_jax.library import RolloutOptions
      >>> RolloutOptions(episodes=60, low=(0.0, 0.0, -0.5), high=(1.5, 0.0, 0.5)).hold_seconds
      (1.5, 5.0)
    """

    episodes: int = 60
    """Number of episodes, each from standing."""
    seconds: float = 60.0
    """Duration of each."""
    low: tuple[float, float, float] = (-0.8, -0.6, -1.2)
    high: tuple[float, float, float] = (3.2, 0.6, 1.2)
    """Range of the commands: vx, vy [m/s], yaw rate [rad/s]. At each vx, vy and yaw rate go no further than the
    recordings do."""
    hold_seconds: tuple[float, float] = (1.5, 5.0)
    """A command is held for a time between these two."""
    standing: float = 0.25
    """Share of the commands that are zero."""
    seed: int = 0


def rollouts(
    library: MotionLibrary,
    options: RolloutOptions | None = None,
    generator: Generator[Any] | None = None,
    progress: Callable[[int], Any] = lambda _: None,
) -> Dataset:
    """A data set of motion that the library plays, every episode from standing.

    Its commands are those that were walked: the mean velocity while a command is held, zero where the command is
    zero. All starts lift the same foot first, as `cmg_jax.matching` makes them.

    Args:
      library: the library.
      options: see `RolloutOptions`; its defaults if None.
      generator: `cmg_jax.matching` with other options than by default; it has to start from standing.
      progress: called with the number of frames just made.

    Raises:
      InputError: an option is out of its range.

    Examples:
      >>> from cmg_jax import data, library
      >>> made = library.build_library(data.load(Path("walks.npz")))
      >>> options = library.RolloutOptions(episodes=2, seconds=2.0)
      >>> library.rollouts(made, options).motion.shape
      (200, 64)
    """
    options = options or RolloutOptions()
    motion, command = play(library, options, generator, progress)
    return to_dataset(library, motion, command)


def play(
    library: MotionLibrary,
    options: RolloutOptions,
    generator: Generator[Any] | None = None,
    progress: Callable[[int], Any] = lambda _: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Frames [E, T, D] and the commands [E, T, 3] that they obeyed."""
    _check(options)
    generator = generator or matching(start="standing")
    model = model_of_library(library)
    steps = max(round(options.seconds * library.fps), 2)
    wanted = np.asarray(clip_to_region(library.stats.command_region, draw(options, steps, library.fps)))
    key = jax.random.key(options.seed)
    state = jax.jit(generator.init)(model, key, jnp.zeros((options.episodes, 3), jnp.float32))

    def one(carry: Any, command: jax.Array) -> tuple[Any, jax.Array]:
        model, state = carry
        state, frame = generator.step(model, generator.set_command(model, state, command))
        return (model, state), join_frame(frame)

    run = jax.jit(
        lambda model, state, commands: (lambda out: (out[0][1], out[1]))(jax.lax.scan(one, (model, state), commands))
    )
    out, chunk = np.empty((steps, options.episodes, library.frames.shape[-1]), np.float32), 100
    for first in range(0, steps, chunk):
        # The last chunk is as long as the others, so that one program makes all of them.
        index = np.minimum(np.arange(first, first + chunk), steps - 1)
        state, frames = run(model, state, jnp.asarray(wanted[index]))
        out[first : first + chunk] = frames[: steps - first]
        progress(min(chunk, steps - first) * options.episodes)
    return out.swapaxes(0, 1), wanted.swapaxes(0, 1)


def draw(options: RolloutOptions, steps: int, fps: float) -> np.ndarray:
    """Commands [T, E, 3], held for random times; each episode begins with zero.

    Of three, one goes straight on or in an arc and one is slow, backward ones among them; some turn on the spot.
    Faster than `RUN_SPEED` they go less to the side.
    """
    random = np.random.default_rng(options.seed)
    low, high = np.asarray(options.low), np.asarray(options.high)
    out = np.zeros((steps, options.episodes, 3), np.float32)
    for episode in range(options.episodes):
        at = round(random.uniform(0.8, 1.6) * fps)
        while at < steps:
            hold = max(round(random.uniform(*options.hold_seconds) * fps), 1)
            out[at : at + hold, episode] = draw_one(random, low, high, options.standing)
            at += hold
    return out


def draw_one(random: np.random.Generator, low: np.ndarray, high: np.ndarray, standing: float) -> np.ndarray:
    """One command [3] between `low` and `high`, see `draw`."""
    if random.random() < standing:
        return np.zeros(3)
    command, kind = random.uniform(low, high), random.random()
    if kind < 0.3:  # straight on, or in an arc
        command[1] = np.clip(0.0, low[1], high[1])
        command[2] *= random.random() < 0.5
    elif kind < 0.65:  # slow; a network learns it less easily than a run, whose steps are larger
        command[0] = random.uniform(*np.clip((-SLOW, SLOW), low[0], high[0]))
    elif kind < 0.75:  # on the spot
        command[:2] = np.clip(0.0, low[:2], high[:2])
    if command[0] > RUN_SPEED:
        command[1:] *= RUN_SIDEWAYS, RUN_TURN
    return command


def to_dataset(library: MotionLibrary, motion: np.ndarray, command: np.ndarray) -> Dataset:
    """Episodes [E, T, D] under commands [E, T, 3] as clips, labelled with what was walked."""
    episodes, frames = motion.shape[:2]
    label = np.stack(
        [walked_labels(*pair, library.robot.num_joints, library.fps) for pair in zip(motion, command, strict=True)]
    )
    first_foot = np.stack([_starts(library, *pair) for pair in zip(motion, command, strict=True)])
    return Dataset(
        motion.reshape(-1, motion.shape[-1]).astype(np.float32),
        label.reshape(-1, 3).astype(np.float32),
        np.repeat(np.arange(episodes), frames).astype(np.int32),
        first_foot.reshape(-1).astype(np.int8),
        tuple(f"episode {episode}" for episode in range(episodes)),
        library.robot,
        library.fps,
    )


def walked_velocity(motion: np.ndarray, num_joints: int, fps: float) -> np.ndarray:
    """Velocity [T, 3] in the smoothed heading, m/s, m/s and rad/s, averaged over about a stride, of frames [T, D].

    Examples:
      >>> from cmg_jax import data, library
      >>> dataset = data.load(Path("walks.npz"))
      >>> library.walked_velocity(dataset.motion[:200], dataset.robot.num_joints, dataset.fps).shape
      (200, 3)
    """
    root = split_frame(motion, num_joints).root
    assert root is not None
    planar = np.concatenate([root.velocity, root.yaw_rate], axis=-1).astype(np.float64)
    path, yaw = (np.asarray(array, np.float64) for array in integrate_command(jnp.asarray(planar[1:]), fps))
    width = STRIDE_SECONDS * fps
    velocity, heading = smooth(np.gradient(path, 1 / fps, axis=0), width), smooth(yaw, width)
    cos, sin = np.cos(heading), np.sin(heading)
    x, y = velocity.T
    return np.stack([cos * x + sin * y, cos * y - sin * x, np.gradient(heading, 1 / fps)], axis=-1)


def walked_labels(motion: np.ndarray, command: np.ndarray, num_joints: int, fps: float) -> np.ndarray:
    """Labels [T, 3] of one episode: commands, replaced by the mean of what was walked while they were held."""
    walked, label = walked_velocity(motion, num_joints, fps), command.astype(np.float64)
    changes = np.flatnonzero((np.diff(command, axis=0) != 0).any(axis=-1)) + 1
    edges = [0, *changes.tolist(), len(command)]
    settle, margin = round(SETTLE_SECONDS * fps), round(PATH_SECONDS * fps)
    for begin, end in pairwise(edges):
        if end - begin >= LEAST_SECONDS * fps and command[begin].any():
            label[begin:end] = walked[begin + settle : end - margin].mean(axis=0)
    return label


def _starts(library: MotionLibrary, motion: np.ndarray, command: np.ndarray) -> np.ndarray:
    """`Dataset.first_foot` of one episode."""
    from cmg_jax.data._prepared import first_feet
    from cmg_jax.motion_files import Clip

    joints = library.robot.num_joints
    zero = np.zeros((len(motion), 4))
    clip = Clip("", library.fps, library.robot, motion[:, :joints], None, zero[:, :3], zero)
    return first_feet(clip._replace(command=command), recorded=True)


def _check(options: RolloutOptions) -> None:
    if options.episodes < 1 or not options.seconds > 0:
        raise InputError(f"{options.episodes} episodes of {options.seconds:g} s: there must be some")
    if not (np.asarray(options.low) <= np.asarray(options.high)).all():
        raise InputError(f"commands from {options.low} to {options.high}: each component must rise")
    low, high = options.hold_seconds
    if not 0 < low <= high:
        raise InputError(f"commands held for {low:g} to {high:g} s: times must be positive and rise")
