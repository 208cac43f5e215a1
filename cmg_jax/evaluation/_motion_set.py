"""A set of motions under held commands: files, and an index of their velocities and quality."""

import csv
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax import _rollout, motion_files
from cmg_jax.evaluation import _measure, _quality
from cmg_jax.generators._base import first_frames, standing_frame
from cmg_jax.model._model import CMGModel
from cmg_jax.motion_files import Motion
from cmg_jax.robot import Robot

INDEX = "index.csv"
SETTLE_SECONDS = 1.0
"""Seconds left out of the walked velocity, because a motion needs a step to reach its speed."""


def generate(model: CMGModel, commands: np.ndarray, steps: int, *, seed: int, standing: bool) -> np.ndarray:
    """Trajectories [N, steps + 1, D] under held commands [N, 3], from frames of the model's pool or all standing."""
    if standing:
        first = jnp.broadcast_to(standing_frame(model), (len(commands), model.config.motion_dim))
    else:
        first = first_frames(model, jax.random.key(seed), len(commands))
    held = np.repeat(commands[:, None], steps, axis=1)
    return np.asarray(jax.jit(_rollout.generate)(model, first, held))


def write(
    directory: Path,
    model: CMGModel,
    trajectories: np.ndarray,
    commands: np.ndarray,
    *,
    per_command: int,
    format: str,
    root: str,
    robot: Robot | None = None,
    keep: Collection[int] = (),
    progress: Callable[[int], Any] = lambda _: None,
) -> tuple[list[dict[str, Any]], list[tuple[Motion, np.ndarray]]]:
    """Write each motion as a file into `directory`, and the index of them.

    Args:
      directory: exists.
      model: the model that generated the motions.
      trajectories: [N, T + 1, D].
      commands: [N, 3] that were held; each is repeated `per_command` times.
      per_command: number of motions under each command.
      format: one of `motion_files.FORMATS`.
      root: one of `motion_files.ROOTS`, the motion of the root.
      robot: the robot with the joints to write; by default the model's.
      keep: indices of the motions to return.
      progress: called with the number of motions just written.

    Returns:
      the rows of the index; the motions of `keep`, each with its mean velocity [3].
    """
    config, rows, kept = model.config, [], []
    settle = round(SETTLE_SECONDS * config.fps)
    for index, (frames, command) in enumerate(zip(trajectories, commands, strict=True)):
        held = np.broadcast_to(command, (len(frames) - 1, 3))
        motion = motion_files.of_trajectory(config, frames, held, root)
        velocity = _measure.measured_velocity(model, frames)[settle:].mean(axis=0)
        name = "vx{:+.2f}_vy{:+.2f}_yaw{:+.2f}".format(*command)
        if per_command > 1:
            name += f"_{index % per_command}"
        file = f"{index:04d}_{name}{motion_files.FORMATS[format].suffix}"
        written = motion.with_joints(robot.joint_names) if robot else motion
        motion_files.write(directory / file, written, format, bodies=True)
        row = {"file": file, "frames": len(frames), "fps": config.fps}
        for prefix, values in (("", command), ("walked_", velocity)):
            row |= {prefix + part: round(float(v), 4) for part, v in zip(_measure.COMPONENTS, values, strict=True)}
        quality = _quality.quality(frames[None], config.robot, config.fps)
        row |= {key: float(f"{value:.4g}") for key, value in quality.items()}
        rows.append(row)
        if index in keep:
            kept.append((motion, velocity))
        progress(1)
    with (directory / INDEX).open("w", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return rows, kept


def tracking_error(rows: Sequence[dict[str, Any]]) -> np.ndarray:
    """Root mean square difference [3] of walked velocity and command over the rows of an index."""
    error = np.array([[row[f"walked_{part}"] - row[part] for part in _measure.COMPONENTS] for row in rows])
    return np.sqrt(np.square(error).mean(axis=0))
