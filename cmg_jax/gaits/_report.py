"""What a library holds and how good it is, as text: minutes by band before and after, and the figures of its feet and
joints."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from cmg_jax.data._prepared import STANDING_SPEED
from cmg_jax.gaits._build import Made
from cmg_jax.gaits._table import Table
from cmg_jax.motion_files import Clip, _clips
from cmg_jax.robot import Robot, _foot_quality, _g1

STRIDE_SECONDS = 1.0
"""s over which the velocity of a recording is averaged."""

FORWARD_EDGES = (-0.3, -0.05, 0.3, 0.6, 0.9, 1.2, 1.5, 1.8, 2.2, 2.6, 3.0)  # m/s
SIDEWAYS_EDGES = (-0.25, -0.08, 0.08, 0.25)  # m/s
TURNING_EDGES = (-0.5, -0.15, 0.15, 0.5)  # rad/s
BANDS = (("vx m/s", 0, FORWARD_EDGES), ("vy m/s", 1, SIDEWAYS_EDGES), ("yaw rate rad/s", 2, TURNING_EDGES))


class Part(NamedTuple):
    """A motion with its velocities."""

    joint_pos: np.ndarray  # [T, J] rad
    root_pos: np.ndarray  # [T, 3] m
    root_quat: np.ndarray  # [T, 4]
    velocity: np.ndarray  # [T, 3] m/s, rad/s


def text(made: Made) -> str:
    """The whole report."""
    robot, fps = made.dataset.robot, made.dataset.fps
    recorded = [of_clip(source.clip) for source in made.sources if not source.fault]
    library = [Part(*motion) for motion in made.motions]
    return "\n\n".join(
        [
            dropped(made),
            "tables of strides\n" + tables(made.learnt.library.walk, made.learnt.library.run),
            minutes(recorded, library, fps),
            "recorded clips that are used\n" + figures(recorded, robot, fps),
            f"library, of which {made.cut / fps / 60:.1f} min were cut out as not good enough\n"
            + figures(library, robot, fps),
        ]
    )


def of_clip(clip: Clip) -> Part:
    """A recorded clip with the velocity of its root, averaged over a stride."""
    return Part(clip.joint_pos, clip.root_pos, clip.root_quat, _clips.yaw_frame_velocity(clip, STRIDE_SECONDS))


def dropped(made: Made) -> str:
    """A line for each clip that is not used."""
    lines = [f"{name}: not read: {reason}" for name, reason in made.unread]
    lines += [f"{source.clip.name}: left out: {source.fault}" for source in made.sources if source.fault]
    used = [source for source in made.sources if not source.fault]
    seconds = sum(len(source.clip.joint_pos) / source.clip.fps for source in used)
    people = len({source.group for source in used})
    walking, running = len(made.learnt.walking.speed), len(made.learnt.running.speed)
    lines.append(
        f"{len(used)} of {len(used) + len(lines)} clips used, {seconds / 60:.1f} min, in {people} groups: "
        f"{walking} steady strides of walking, {running} of running, "
        f"{made.learnt.standing_frames} frames of standing"
    )
    return "\n".join(lines)


def tables(walk: Table, run: Table | None) -> str:
    """Cadence and duty factor by speed, and how many recorded strides are near it."""
    lines = [f"{'':8}{'m/s':>6}{'stride s':>10}{'steps/s':>9}{'stance %':>10}{'strides near':>14}"]
    for name, table in (("walking", walk), ("running", run)):
        for row in range(len(table.speed)) if table is not None else ():
            assert table is not None
            period, duty = table.period[row], table.duty[row]
            lines.append(
                f"{name:8}{table.speed[row]:>+6.1f}{period:>10.2f}{2 / period:>9.2f}{100 * duty:>10.0f}"
                f"{table.support[row]:>14}"
            )
    return "\n".join(lines)


def minutes(before: Sequence[Part], after: Sequence[Part], fps: float) -> str:
    """Minutes by band of each velocity, of the recordings and of the library."""
    velocities = [np.concatenate([part.velocity for part in parts]) for parts in (before, after)]
    lines = [f"{'minutes':<34}{'recorded':>10}{'library':>10}"]
    standing = [np.abs(velocity).max(axis=-1) < STANDING_SPEED for velocity in velocities]
    lines.append(_row("standing", [mask.sum() / fps / 60 for mask in standing]))
    for name, axis, edges in BANDS:
        bounds = [-np.inf, *edges, np.inf]
        for low, high in pairwise(bounds):
            counts = [
                ((velocity[:, axis] >= low) & (velocity[:, axis] < high) & ~still).sum() / fps / 60
                for velocity, still in zip(velocities, standing, strict=True)
            ]
            lines.append(_row(f"{name} {low:+.2f} .. {high:+.2f}", counts))
    lines.append(_row("all", [len(velocity) / fps / 60 for velocity in velocities]))
    return "\n".join(lines)


def _row(name: str, values: Sequence[float]) -> str:
    return f"{name:<34}" + "".join(f"{value:>10.2f}" for value in values)


def figures(parts: Sequence[Part], robot: Robot, fps: float) -> str:
    """Feet and joints by band of the forward velocity; a band holds the frames of its velocity, in pieces of clips."""
    heads = ("slip m/s", "flight %", "deepest mm", "speed / limit", "to a limit rad", "step rad")
    lines = [f"{'vx m/s':<18}" + "".join(f"{head:>16}" for head in heads)]
    bounds = [-np.inf, *FORWARD_EDGES, np.inf]
    soles = [_foot_quality.soles(part.joint_pos, part.root_pos, part.root_quat, robot) for part in parts]
    for low, high in [*pairwise(bounds), (-np.inf, np.inf)]:
        pieces, joints = [], []
        for part, points in zip(parts, soles, strict=True):
            inside = (part.velocity[:, 0] >= low) & (part.velocity[:, 0] < high)
            for first, last in _clips.runs(inside, 3):
                pieces.append(points[first:last])
                joints.append(part.joint_pos[first:last])
        if pieces:
            feet = _foot_quality.figures(pieces, fps)
            step = np.max([np.abs(np.diff(piece, axis=0)).max(axis=0) for piece in joints], axis=0)
            limits = robot.joint_limits
            margin = min(float(np.minimum(piece - limits[:, 0], limits[:, 1] - piece).min()) for piece in joints)
            values = (
                f"{feet.slip:.3f}",
                f"{100 * feet.flight:.0f}",
                f"{1000 * feet.penetration:.1f}",
                f"{float((step * fps / _g1.joint_speeds(robot)).max()):.2f}",
                f"{margin:.3f}",
                f"{float(step.max()):.3f}",
            )
            band = "all" if low == -np.inf and high == np.inf else f"{low:+.2f} .. {high:+.2f}"
            lines.append(f"{band:<18}" + "".join(f"{value:>16}" for value in values))
    return "\n".join(lines)
