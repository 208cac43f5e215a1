"""How a robot with a root channel walks: whether its feet carry the root, or the root glides over legs that stand.

The root follows its command from the first minutes of a training, because the command is the root's own smoothed
velocity. Whether the legs walk is seen at the soles.
"""

from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax.data._dataset import Dataset
from cmg_jax.evaluation._held import FOLLOWED
from cmg_jax.evaluation._measure import MOVING, STILL, Settings, by_component
from cmg_jax.model._model import CMGModel
from cmg_jax.robot import Robot, _foot_quality, _odometry, _root, split_frame
from cmg_jax.robot._rotation import rotate_planar

LIFTED = 0.01
"""m; a step is taken when the foot that was lower is higher than the other one by more than this."""

GLIDING = 0.2
"""Slip, as a part of that of stiff legs under the same root, from which a robot does not walk. In recordings of people
at 0.3 to 3 m/s it is 0.06 to 0.11, over 3 s below 0.2 in 99 of 100; in networks that glide 0.23 to 0.9."""

SLIDING = STILL
"""m/s; less slip than this is no sliding: feet pivot where a robot turns, and recordings are noisy."""

FEWEST_STEPS = 0.3
"""Steps a second under which a robot does not walk: fewer than one in three seconds. People take 1 to 3."""

AIRBORNE = 0.8
"""Share of frames without a foot near the floor from which a robot floats; in a sprint it is under a half."""

BANDS = (0.1, 0.45, 0.75, 1.05, 1.35, 1.75, 2.25, 2.75, np.inf)
"""m/s; edges of the bands of commanded speed, forward and sideways together."""

TURNING = 0.2
"""rad/s; a slower turn on the spot counts as standing."""


class Gait(NamedTuple):
    """N frames of motions one after the other, each between its neighbours."""

    inside: np.ndarray  # [N] bool, whether a frame has two neighbours of its own motion
    root: np.ndarray  # [N, 3] m/s and rad/s in the heading frame, by the root channel
    feet: np.ndarray  # [N, 3] the same if the stance foot stood still; NaN where no foot is near the floor
    slip: np.ndarray  # [N] m/s, the smallest horizontal speed of points of soles near the floor; inf where none is
    stiff: np.ndarray  # [N] m/s, the same if the legs did not move
    contact: np.ndarray  # [N, 2] bool, whether a foot is low and slow, as `foot_contacts` has it
    step: np.ndarray  # [N] bool, whether the other foot is lifted now
    pitch: np.ndarray  # [N] rad, forward
    height: np.ndarray  # [N] m


def gait(motion: np.ndarray, clip: np.ndarray, robot: Robot, fps: float) -> Gait:
    """Measure motions.

    Args:
      motion: frames with a root channel [N, D], one motion after the other.
      clip: [N], another number in each motion.
      robot: with known feet.
      fps: frames per second.
    """
    root, feet, slip, stiff, contact, higher = map(np.asarray, _measure(jnp.asarray(motion), robot, fps))
    first = np.diff(clip, prepend=clip[0] - 1) != 0
    last = np.diff(clip, append=clip[-1] + 1) != 0
    lifted = np.where(np.abs(higher) > LIFTED, np.sign(higher), 0)
    lifted[first] = 2  # no foot yet
    known = np.maximum.accumulate(np.where(lifted != 0, np.arange(len(lifted)), 0))
    before = np.roll(lifted[known], 1)
    frame = split_frame(motion, robot.num_joints)
    assert frame.root is not None
    return Gait(
        ~first & ~last,
        root,
        feet,
        slip,
        stiff,
        contact,
        (lifted * before) == -1,
        np.arcsin(np.clip(frame.root.gravity[:, 0], -1, 1)),
        np.asarray(frame.root.height[:, 0]),
    )


@partial(jax.jit, static_argnums=(1, 2))
def _measure(motion: jax.Array, robot: Robot, fps: float) -> tuple[jax.Array, ...]:
    """The fields of `Gait` from `root` to `contact`, and how much higher the left foot is [N] m."""
    frames = split_frame(motion, robot.num_joints)
    assert frames.root is not None
    soles, planar = _root.soles_in_heading(frames, robot), _root.planar_velocity(frames.root)
    near = soles[..., 2] < _foot_quality.NEAR  # [N, 2, P]
    velocity = _root.sole_velocity(soles, frames.root, fps)
    ahead, behind = jnp.concatenate([velocity, velocity[-1:]]), jnp.concatenate([velocity[:1], velocity])
    half = (planar[:, 2] / (2 * fps))[:, None, None]
    central = (rotate_planar(ahead, jnp.concatenate([half[1:], half[-1:]])) + rotate_planar(behind, -half)) / 2
    across = jnp.stack([-soles[..., 1], soles[..., 0]], axis=-1)
    stiff = planar[:, None, None, :2] + planar[:, None, None, 2:] * across
    slip, stiff = (
        jnp.linalg.norm(points, axis=-1).min(axis=(-2, -1), where=near, initial=jnp.inf) for points in (central, stiff)
    )
    rise = jnp.diff(soles[..., 2:], axis=0, append=soles[-1:, ..., 2:]) * fps
    speed = jnp.linalg.norm(jnp.concatenate([ahead, rise], axis=-1), axis=-1)
    low, slow = soles[..., 2] < _root.CONTACT_HEIGHT, speed < _root.CONTACT_SPEED
    height = soles[..., 2].min(axis=-1)
    grounded = near.any(axis=(-2, -1))
    grounded = grounded & jnp.concatenate([grounded[:1], grounded[:-1]])
    feet = jnp.where(grounded[:, None], _carried(soles, fps), jnp.nan)
    return planar, feet, slip, stiff, (low & slow).any(axis=-1), height[:, 0] - height[:, 1]


def _carried(soles: jax.Array, fps: float) -> jax.Array:
    """Velocity [N, 3] of the root if the lowest point of soles [N, 2, P, 3] stood still, its foot turning about it.

    People roll over their feet: the mean of a sole, which `stance_velocity` takes, then moves ahead.
    """
    turn = _odometry.root_velocity(soles, _odometry.stance_foot(soles), fps)[:, 2]
    points = soles.reshape(len(soles), -1, 3)
    lowest = (points[:-1, :, 2] + points[1:, :, 2]).argmin(axis=-1)[:, None, None]
    before, after = (jnp.take_along_axis(some, lowest, axis=1)[:, 0, :2] for some in (points[:-1], points[1:]))
    half = turn / (2 * fps)
    moved = (rotate_planar(before, -half) - rotate_planar(after, half)) * fps
    velocity = jnp.concatenate([moved, turn[:, None]], axis=-1)
    return jnp.concatenate([velocity[:1], velocity])


def figures(gait: Gait, chosen: np.ndarray, fps: float) -> dict[str, Any]:
    """Figures of the frames `chosen` [N] that have neighbours, by name; NaN for what they do not show."""
    part = Gait(*(values[chosen & gait.inside] for values in gait))
    count, near = len(part.root), np.isfinite(part.slip)
    if not count:
        return {"frames": 0}
    grounded = ~np.isnan(part.feet[:, 0])
    slip, stiff = (float(np.median(speed[near])) if near.any() else np.nan for speed in (part.slip, part.stiff))
    feet = part.feet[grounded].mean(axis=0) if grounded.any() else np.full(3, np.nan)
    low, high = np.percentile(part.pitch, [5, 95])
    return {
        "frames": count,
        "root": by_component(part.root.mean(axis=0)),
        "feet": by_component(feet),
        "slip_m_s": slip,
        "slip_of_stiff_legs_m_s": stiff,
        "flight": float(1 - near.mean()),
        "steps_per_second": float(part.step.mean() * fps),
        "duty_factor": float(part.contact.mean()),
        "pitch_rad": {"mean": float(part.pitch.mean()), "low": float(low), "high": float(high)},
        "height_m": float(part.height.mean()),
    }


def figures_of(motion: np.ndarray, robot: Robot, fps: float) -> dict[str, Any]:
    """Figures of motions [B, T, D] together."""
    found = gait(motion.reshape(-1, motion.shape[-1]), _rows(motion), robot, fps)
    return figures(found, np.ones(len(found.root), bool), fps)


def verdict(figures: dict[str, Any]) -> tuple[str, list[str]]:
    """Whether a motion of these `figures` "walks", "stands" or "does not walk", and the reasons of the last."""
    root, feet = (np.array(list(figures[name].values())) for name in ("root", "feet"))
    if np.linalg.norm(root) < MOVING / 2:
        return "stands", []
    carried = float(root @ feet) / float(root @ root)
    found = {
        "feet slide": not figures["slip_m_s"] < max(GLIDING * figures["slip_of_stiff_legs_m_s"], SLIDING),
        "feet do not carry the root": not carried >= FOLLOWED,
        "no steps": figures["steps_per_second"] < FEWEST_STEPS,
        "floats": figures["flight"] > AIRBORNE,
    }
    reasons = [reason for reason, holds in found.items() if holds]
    return ("does not walk" if reasons else "walks"), reasons


def bands(command: np.ndarray) -> dict[str, np.ndarray]:
    """Labels of the bands of commanded speed, and which of the commands [N, 3] are in each, [N] bool."""
    speed, backward = np.linalg.norm(command[:, :2], axis=-1), command[:, 0] < -BANDS[0]
    slow, turns = ~backward & (speed < BANDS[0]), np.abs(command[:, 2]) >= TURNING
    out = {"backward": backward, "standing": slow & ~turns, "turning": slow & turns}
    for low, high in pairwise(BANDS):
        label = f"{low:.2f} to {high:.2f} m/s" if np.isfinite(high) else f"over {low:.2f} m/s"
        out[label] = ~backward & (low <= speed) & (speed < high)
    return out


def held(model: CMGModel, trajectory: np.ndarray, commands: np.ndarray, settings: Settings) -> dict[str, Any]:
    """Figures of trajectories [B, T+1, D] under held commands [B, 3], by command and by band of commanded speed."""
    config = model.config
    settle = round(settings.settle_seconds * config.fps)
    settled = trajectory[:, settle:]
    clip = _rows(settled)
    found = gait(settled.reshape(len(clip), -1), clip, config.robot, config.fps)
    rows = []
    for row, command in enumerate(commands):
        values = figures(found, clip == row, config.fps)
        words, reasons = verdict(values)
        rows.append({"command": [round(float(c), 4) for c in command], "verdict": words, "reasons": reasons} | values)
    table = {}
    for label, members in bands(commands).items():
        if members.any():
            named = [row["verdict"] for row, member in zip(rows, members, strict=True) if member]
            counts = {"commands": len(named), "do_not_walk": named.count("does not walk")}
            table[label] = counts | figures(found, members[clip], config.fps)
    named = [row["verdict"] for row in rows]
    return {
        "rows_that_do_not_walk": named.count("does not walk"),
        "rows_that_move": len(named) - named.count("stands"),
        "feet_rmse": by_component(feet_rmse(rows)),
        "bands": table,
        "rows": rows,
    }


def feet_velocity(model: CMGModel, trajectory: np.ndarray) -> np.ndarray:
    """Velocity [B, T, 3] at which the feet carry the root of trajectories [B, T+1, D]; 0 while they are in the air."""
    config = model.config
    found = gait(trajectory.reshape(-1, config.motion_dim), _rows(trajectory), config.robot, config.fps)
    return np.nan_to_num(found.feet.reshape(*trajectory.shape[:2], 3)[:, 1:])


def _rows(motion: np.ndarray) -> np.ndarray:
    """The row of each frame of motions [B, T, D], [B T]."""
    return np.repeat(np.arange(motion.shape[0]), motion.shape[1])


def feet_rmse(rows: list[dict[str, Any]]) -> np.ndarray:
    """Root mean square difference [3] of commands and velocities of the feet, which are 0 if never near the floor."""
    feet = np.nan_to_num(np.array([list(row["feet"].values()) for row in rows]))
    return np.sqrt(np.square(feet - np.array([row["command"] for row in rows])).mean(axis=0))


def of_data(data: Dataset) -> dict[str, dict[str, Any]]:
    """The same figures of a data set, by band of its frames' commands; bands without frames are left out."""
    found = gait(data.motion, data.clip, data.robot, data.fps)
    table = {label: figures(found, members, data.fps) for label, members in bands(data.command).items()}
    return {label: values for label, values in table.items() if values["frames"]}
