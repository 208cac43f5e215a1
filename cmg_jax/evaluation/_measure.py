"""How good a model's motion is: what it walks like under commands, in figures that need no reference motion.

The velocity really walked is read off the stance foot (`cmg_jax.robot._odometry`), so the robot's feet must be known.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax import _rollout
from cmg_jax._errors import InputError
from cmg_jax.data._dataset import Dataset
from cmg_jax.generators._base import standing_frame
from cmg_jax.model._model import CMGModel, expert_coefficients
from cmg_jax.robot import Robot, _odometry

PARTS = ("held commands", "changing commands", "starting and stopping", "drift")
"""What `evaluate` tells its `progress`, in this order."""

COMPONENTS = ("vx", "vy", "yaw")
MOVING, STILL = 0.2, 0.05
"""A command from MOVING on (m/s, rad/s) must move the robot; under none it must be slower than STILL."""

STRIDE_SECONDS = 0.6
"""Velocities are averaged over about a stride."""

DEFAULT_GRID = tuple(itertools.product((-0.3, 0.0, 0.3, 0.6, 0.9, 1.2, 1.5), (-0.3, 0.0, 0.3), (-0.6, 0.0, 0.6)))


class Settings(NamedTuple):
    frames: int = 500
    """Generated from standing, for every command of the grid."""
    settle_seconds: float = 1.0
    """Dropped before anything is measured."""
    switch_seconds: float = 2.0
    switches: int = 8
    """Random commands one after the other, on 64 rows."""
    drift_frames: int = 10_000
    seed: int = 0


def evaluate(
    model: CMGModel,
    grid: Sequence[Sequence[float]] = DEFAULT_GRID,
    settings: Settings | None = None,
    progress: Callable[[str], Any] = lambda _: None,
    data: Dataset | None = None,
) -> dict[str, Any]:
    """All figures of a model, as JSON can hold them.

    Args:
      model: of a robot whose feet are known, with commands vx, vy [m/s] and yaw rate [rad/s].
      grid: commands to walk under, each held from a standing start.
      settings: see `Settings`.
      progress: called with the name of each part before it begins.
      data: the training data, whose own `quality` is then reported under "data".

    Raises:
      InputError: a model of another robot, data of another one, or a run too short to measure.
    """
    settings = settings or Settings()
    model.config.check_walks("evaluation")
    if not 0 <= settings.seed < 2**32:
        raise InputError(f"seed {settings.seed} is not a number from 0 to {2**32 - 1}")
    if settings.frames < settings.settle_seconds * model.config.fps + 50:
        raise InputError(f"frames {settings.frames} are too few to measure after {settings.settle_seconds:g} s")
    if data is not None and (data.robot, data.fps) != (model.config.robot, model.config.fps):
        raise InputError("the data's joints or frame rate are not those of the model")
    cut = None if data is None else pieces(data, settings.frames)
    commands = np.asarray(grid, np.float32).reshape(-1, 3)
    progress(PARTS[0])
    held = generate(model, np.repeat(commands[:, None], settings.frames, axis=1))
    progress(PARTS[1])
    changing = switching_commands(model, settings)
    switched = generate(model, changing)
    progress(PARTS[2])
    report = {
        "tracking": tracking(model, held, commands, settings),
        "quality": quality(held, model.config.robot, model.config.fps),
        "switching": switching(model, switched, changing, settings),
        "start_stop": start_stop(model, settings),
        "gate": gate_usage(model, held, commands),
    }
    progress(PARTS[3])
    report["drift"] = drift(model, commands, settings)
    if data is not None and cut is not None:
        report["data"] = quality(cut[0], data.robot, data.fps) | {"rmse": _walked_in_data(data, *cut)}
    return report


def generate(model: CMGModel, commands: np.ndarray, motion: Any = None) -> np.ndarray:
    """Trajectories [B, T+1, D] under commands [B, T, 3], from standing by default."""
    start = standing_frame(model) if motion is None else motion
    first = jnp.broadcast_to(start, (len(commands), model.config.motion_dim))
    return np.asarray(_generate(model, first, commands))


_generate = jax.jit(_rollout.generate)


def tracking(model: CMGModel, trajectory: np.ndarray, commands: np.ndarray, settings: Settings) -> dict[str, Any]:
    """Mean velocity of each row after it has settled, against its command."""
    velocity = walked(model, trajectory)[:, round(settings.settle_seconds * model.config.fps) :].mean(axis=1)
    error = velocity - commands
    speed = np.abs(commands).max(axis=-1)
    size = np.linalg.norm(velocity, axis=-1)
    moving, still = speed >= MOVING, speed == 0
    # Along the command: a row that goes anywhere but where it is told to does not obey.
    along = (velocity * commands).sum(-1) / np.maximum(np.square(commands).sum(-1), 1e-9)
    return {
        "rmse": _named(np.sqrt(np.square(error).mean(axis=0))),
        "bias": _named(error.mean(axis=0)),
        "rows_that_do_not_move": int((along[moving] < 0.25).sum()),
        "rows_that_should": int(moving.sum()),
        "speed_at_zero": float(size[still].max()) if still.any() else None,
        "rows": [
            {"command": [round(float(c), 4) for c in command], "walked": [round(float(v), 4) for v in mean]}
            for command, mean in zip(commands, velocity, strict=True)
        ],
    }


def walked(model: CMGModel, trajectory: np.ndarray) -> np.ndarray:
    """Velocity really walked, frame by frame, [B, T, 3]."""
    joint_pos = trajectory[..., : model.config.num_joints]
    return np.asarray(_odometry.stance_velocity(joint_pos, model.config.robot, model.config.fps))


def quality(motion: np.ndarray, robot: Robot, fps: float) -> dict[str, float]:
    """What motions [B, T, D] are like whatever the command: limits, agreement, sliding, jerk, steps."""
    position, velocity = np.split(motion, 2, axis=-1)
    low, high = robot.joint_limits.T
    beyond = np.maximum(position - high, low - position)
    central = (position[:, 2:] - position[:, :-2]) * (fps / 2)
    jerk = np.diff(position, n=3, axis=1) * fps**3
    contact = _odometry.contacts(position, robot, fps)
    return {
        "frames_beyond_limits": float((beyond > 0).any(axis=-1).mean()),
        "furthest_beyond_limits_rad": max(float(beyond.max()), 0.0),
        "velocity_disagreement_rad_s": float(np.sqrt(np.square(central - velocity[:, 1:-1]).mean())),
        "jerk_rms_rad_s3": float(np.sqrt(np.square(jerk).mean())),
        "largest_step_rad": float(np.abs(np.diff(position, axis=1)).max()),
        "foot_sliding_m_s": contact.sliding,
        "steps_per_second": contact.steps_per_second,
    }


def quality_lines(report: dict[str, Any]) -> list[tuple[str, str]]:
    """`quality` of a report in words, with that of the training data where it is known."""
    named = (
        ("frames_beyond_limits", "frames beyond a joint limit (fraction)", ".4f", ""),
        ("velocity_disagreement_rad_s", "velocities against position differences", ".3f", "rad/s"),
        ("foot_sliding_m_s", "sliding of feet on the floor", ".3f", "m/s"),
        ("steps_per_second", "steps", ".2f", "a second"),
        ("jerk_rms_rad_s3", "jerk (rms)", ".0f", "rad/s^3"),
        ("largest_step_rad", "largest step between frames", ".3f", "rad"),
    )
    data = report.get("data")
    lines = []
    for key, label, form, unit in named:
        compared = "" if data is None else f" (data {data[key]:{form}})"
        lines.append((label, f"{report['quality'][key]:{form}} {unit}".strip() + compared))
    return lines


def pieces(data: Dataset, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Motion [N, frames, D] and commands [N, frames, 3] of a data set's clips, cut; what is left of a clip is dropped.

    Raises:
      InputError: no clip has that many frames.
    """
    starts = np.concatenate([np.arange(first, last - frames + 1, frames) for first, last in data.clip_edges()])
    if not len(starts):
        raise InputError(f"no clip of the data has {frames} frames to compare with; lower --frames")
    index = starts[:, None] + np.arange(frames)
    return data.motion[index], data.command[index]


def _walked_in_data(data: Dataset, motion: np.ndarray, command: np.ndarray) -> dict[str, float]:
    """How far, stride by stride, the odometry of the data is from its own commands: where this is large, so is the
    error of a model that has learnt them perfectly (pelvises that tilt, feet that slide, commands that change)."""
    velocity = _odometry.stance_velocity(motion[..., : data.robot.num_joints], data.robot, data.fps)
    error = _odometry.smooth(np.asarray(velocity), round(STRIDE_SECONDS * data.fps)) - command[:, :-1]
    return _named(np.sqrt(np.square(error).mean(axis=(0, 1))))


def switching_commands(model: CMGModel, settings: Settings) -> np.ndarray:
    """Random commands of the grid's range, held for `switch_seconds` each, [64, T, 3]."""
    rng = np.random.default_rng(settings.seed)
    grid = np.asarray(DEFAULT_GRID)
    draws = rng.uniform(grid.min(axis=0), grid.max(axis=0), size=(64, settings.switches, 3)).astype(np.float32)
    return np.repeat(draws, round(settings.switch_seconds * model.config.fps), axis=1)


def switching(model: CMGModel, trajectory: np.ndarray, commands: np.ndarray, settings: Settings) -> dict[str, Any]:
    """Tracking in the second half of each command, and the largest step between frames around a change."""
    hold = round(settings.switch_seconds * model.config.fps)
    velocity = walked(model, trajectory).reshape(len(commands), settings.switches, hold, 3)
    late = velocity[:, :, hold // 2 :].mean(axis=2)
    error = late - commands.reshape(*velocity.shape)[:, :, 0]
    step = np.abs(np.diff(trajectory[..., : model.config.num_joints], axis=1)).max(axis=(0, 2))
    after = step[hold:].reshape(settings.switches - 1, hold)[:, :5] if settings.switches > 1 else step
    return {
        "rmse": _named(np.sqrt(np.square(error).mean(axis=(0, 1)))),
        "largest_step_after_a_change_rad": float(after.max()),
        "largest_step_rad": float(step.max()),
    }


def start_stop(model: CMGModel, settings: Settings) -> dict[str, Any]:
    """From standing to each forward speed and back: how long each takes."""
    fps = model.config.fps
    speeds = np.arange(0.2, 1.51, 0.1, dtype=np.float32)
    walk, stop = round(4 * fps), round(4 * fps)
    commands = np.zeros((len(speeds), walk + stop, 3), np.float32)
    commands[:, :walk, 0] = speeds[:, None]
    vx = _odometry.smooth(walked(model, generate(model, commands)), round(STRIDE_SECONDS * fps))
    reached = vx[:, :walk, 0] >= 0.5 * speeds[:, None]
    speed = np.linalg.norm(vx[:, walk:], axis=-1)
    moving = speed > STILL
    last = np.where(moving.any(axis=1), stop - moving[:, ::-1].argmax(axis=1), 0)
    return {
        "speeds": [round(float(speed), 2) for speed in speeds],
        "seconds_to_half_speed": [round(float(row.argmax() / fps), 2) if row.any() else None for row in reached],
        "seconds_to_stand": [round(float(frame / fps), 2) if frame < stop else None for frame in last],
    }


def gate_usage(model: CMGModel, trajectory: np.ndarray, commands: np.ndarray) -> dict[str, Any]:
    """How much each expert is used: the mean of its coefficient, and the entropy of the gate (1: all alike)."""
    motion = jnp.asarray(trajectory[:, ::10])
    command = jnp.broadcast_to(jnp.asarray(commands)[:, None], (*motion.shape[:-1], commands.shape[-1]))
    weights = np.asarray(expert_coefficients(model, motion, command)).reshape(-1, model.config.num_experts)
    entropy = -(weights * np.log(np.maximum(weights, 1e-12))).sum(-1).mean() / np.log(max(weights.shape[-1], 2))
    return {"mean": [round(float(mean), 4) for mean in weights.mean(axis=0)], "entropy": float(entropy)}


def drift(model: CMGModel, commands: np.ndarray, settings: Settings) -> dict[str, Any]:
    """A long run under held commands: is the last stretch like the first one after settling?"""
    chosen = commands[np.abs(commands).max(axis=-1) >= MOVING][::4]
    if not len(chosen):
        return {}
    window = settings.frames
    between = max(settings.drift_frames // window - 3, 1)  # stretches, besides the first two and the last

    @jax.jit
    def run(model: CMGModel, motion: jax.Array, commands: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        held = jnp.broadcast_to(commands[:, None], (len(chosen), window, 3))

        def stretch(motion: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
            trajectory = _rollout.generate(model, motion, held)
            return trajectory[:, -1], jnp.isfinite(trajectory).all()

        first = _rollout.generate(model, motion, held)
        second = _rollout.generate(model, first[:, -1], held)
        last, finite = jax.lax.scan(stretch, second[:, -1], None, length=between)
        late = _rollout.generate(model, last, held)
        return second, late, finite.all() & jnp.isfinite(late).all()

    start = jnp.broadcast_to(standing_frame(model), (len(chosen), model.config.motion_dim))
    early, late, finite = map(np.asarray, run(model, start, jnp.asarray(chosen)))
    change = walked(model, late).mean(axis=1) - walked(model, early).mean(axis=1)
    joints = model.config.num_joints
    amplitude = [float(part[..., :joints].std(axis=1).mean()) for part in (early, late)]
    return {
        "frames": (between + 3) * window,
        "finite": bool(finite),
        "velocity_change": _named(np.abs(change).max(axis=0)),
        "amplitude_early_rad": amplitude[0],
        "amplitude_late_rad": amplitude[1],
    }


def _named(values: np.ndarray) -> dict[str, float]:
    return {name: float(value) for name, value in zip(COMPONENTS, values, strict=True)}
