"""From a schedule of velocities to a path, and to when each foot is on the floor: the clock of a synthetic clip.

The root's path follows the velocities, which change smoothly. The phase of the stride advances at the cadence of the
speed. A start from standing always begins with the right foot; a stop ends when a foot has been put beside the other.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cmg_jax.gaits._table import Table

ACCELERATION = np.array([1.6, 0.9, 2.2])
"""m/s^2 and rad/s^2, mean of a change of velocity."""

RUNNER_ACCELERATION = 2.2, 1.7
"""m/s^2 of changes to and from a run: of few contacts, none may last so long that the foot is left behind."""

LEAST_CHANGE = 0.4
"""s that a change of velocity takes at least."""

GET_GOING, COME_TO_REST = 0.7, 0.7
"""s that a start and a stop take, beside `PER_SPEED` of the speed: the foot that stands must not be left behind."""

PER_SPEED = 0.22
"""s for each m/s."""

LEAD = 0.2
"""s from the beginning of a start until the foot lifts off; the weight moves over the other foot in it."""

SETTLE = 0.2
"""s after the last touchdown of a stop, until the robot is still."""

TO_RUN, TO_WALK = 1.85, 1.75
"""m/s at which walking becomes running, and running walking. People change at about 2.05 m/s. Legs of 0.75 of their
length have the same Froude number at the square root of 0.75 of that (Alexander 1989, Physiological Reviews 69)."""

AHEAD = 0.3
"""m/s below, at which the change begins on the way to a run."""

MARGIN = 1.5
"""s planned before and after a clip in full gait."""

UP_TO_RUN, DOWN_TO_WALK = 0.55, 0.3
"""s in which walking becomes running and running walking: one to two steps."""

LENGTHENING = 0.3
"""s that a stride gets longer within a second, at most."""

LONGEST_PERIOD, STOPPING_PERIOD, QUICK_PERIOD = 1.5, 1.05, 0.9
"""s of a stride at most: at any time, while stopping, and while stepping sideways or turning on the spot."""


class Segment(NamedTuple):
    """A velocity to be held."""

    seconds: float
    velocity: tuple[float, float, float] | None
    """vx, vy [m/s] and yaw rate [rad/s]; None is to stand."""


class Plan(NamedTuple):
    """The clock and the path of T frames."""

    velocity: np.ndarray  # [T, 3] vx, vy [m/s] and yaw rate [rad/s], from a frame to the next
    position: np.ndarray  # [T, 2] m
    heading: np.ndarray  # [T] rad
    phase: np.ndarray  # [T] cycles
    period: np.ndarray  # [T] s
    active: np.ndarray  # [T] 0 where the robot stands still, 1 where it walks
    running: np.ndarray  # [T] 0 walking, 1 running
    contact: np.ndarray  # [T, 2] bool
    command: np.ndarray  # [T, 3] the velocity that is asked for; the motion follows it
    kept: slice
    """The frames to keep: a clip in full gait has a margin at its ends, where contacts are cut off."""


class Clock:
    """Periods and duty factors by speed."""

    def __init__(self, walk: Table, run: Table | None):
        self.walk, self.run = walk, run

    def of(self, speed: float, running: float) -> tuple[float, float]:
        """Period [s] and duty factor."""
        period, duty = (
            float(np.interp(speed, self.walk.speed, values)) for values in (self.walk.period, self.walk.duty)
        )
        if self.run is not None and running > 0:
            fast = (float(np.interp(speed, self.run.speed, values)) for values in (self.run.period, self.run.duty))
            period, duty = ((1 - running) * a + running * b for a, b in zip((period, duty), fast, strict=True))
        return min(period, LONGEST_PERIOD), duty


def smoothstep(x: np.ndarray | float) -> np.ndarray:
    """From 0 at x = 0 to 1 at x = 1, level at both ends."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3 - 2 * x)


def make_plan(segments: Sequence[Segment], clock: Clock, fps: float, phase: float = 0.0) -> Plan:
    """Plan a clip.

    Args:
      segments: what it does. It begins standing if the first of them stands, else in full gait.
      clock: periods and duty factors.
      fps: frames per second.
      phase: cycles, of the first frame planned.
    """
    segments = list(segments)
    before, after = (0 if segments[end].velocity is None else round(MARGIN * fps) for end in (0, -1))
    segments[0] = segments[0]._replace(seconds=segments[0].seconds + before / fps)
    segments[-1] = segments[-1]._replace(seconds=segments[-1].seconds + after / fps)
    wanted, velocity = _velocities(segments, fps)
    frames = len(velocity)
    phases, periods, runs = np.zeros(frames), np.ones(frames), np.zeros(frames)
    contact = np.ones((frames, 2), bool)
    starts: list[tuple[int, float]] = []
    stops: list[tuple[int, float]] = []
    stands = segments[0].velocity is None
    landed = [False, False]
    lifts = -1  # frame at which a start lifts its foot, while one is under way
    runs_next = velocity[0, 0] > TO_RUN
    shift = float(runs_next)
    for frame in range(frames):
        target, now = wanted[frame], velocity[frame]
        runs_next = _runs(now[0], target[0], was=runs_next)
        if frame:
            change = 1 / (UP_TO_RUN * fps) if runs_next else -1 / (DOWN_TO_WALK * fps)
            if not (shift == 1.0 and contact[frame - 1].any() and not runs_next):  # a run ends in its flight
                shift = float(np.clip(shift + change, 0.0, 1.0))
        running = float(smoothstep(shift)) if clock.run is not None else 0.0
        period, duty = _pace(clock, now, target, running)
        if frame and not stands:  # who slows down keeps stepping: no foot is left behind
            period = min(period, periods[frame - 1] + LENGTHENING / fps)
        if stands and not np.isnan(target[0]):
            if lifts < 0:
                lifts = frame + round(LEAD * fps)
                starts.append((frame, period))
            phase = (0.5 + duty) % 1.0
            stands = frame < lifts
        elif not stands:
            lifts = -1
            last = phase
            phase = phase + 1 / (period * fps)
            if np.isnan(target[0]) and not now.any() and np.floor(2 * phase) > np.floor(2 * last):
                phase, stands = np.floor(2 * phase) / 2, True
                stops.append((frame, period))
            landed = [np.floor(phase - foot / 2) > np.floor(last - foot / 2) for foot in range(2)]
            phase %= 1.0
        phases[frame], periods[frame], runs[frame] = phase, period, running
        if not stands:
            for foot in range(2):  # a foot that has lifted off stays so until it comes down
                held = frame == 0 or contact[frame - 1, foot] or landed[foot]
                contact[frame, foot] = held and (phase - foot / 2) % 1.0 < duty
    active = _active(frames, segments[0].velocity is None, starts, stops, fps)
    position, heading = _path(velocity, fps)
    kept = slice(before, frames - after)
    command = np.where(np.isnan(wanted), 0.0, wanted)
    return Plan(velocity, position, heading, phases, periods, active, runs, contact, command, kept)


def _runs(speed: float, target: float, was: bool) -> bool:
    """Whether the gait is to be a run. One that leads to a run changes before it is as fast."""
    if target > TO_RUN:
        return speed > TO_RUN - AHEAD or was
    if target < TO_WALK or np.isnan(target):
        return speed > TO_WALK and was
    return was


def _pace(clock: Clock, now: np.ndarray, target: np.ndarray, running: float) -> tuple[float, float]:
    """Period and duty factor; of a start those of the speed that it leads to."""
    stopping = bool(np.isnan(target[0]))
    speed = now[0] if stopping or abs(now[0]) > abs(target[0]) else target[0]
    period, _ = clock.of(speed, running)
    _, duty = clock.of(now[0], running)
    sideways, turning = now[1:] if stopping else np.where(np.abs(now[1:]) > np.abs(target[1:]), now[1:], target[1:])
    quick = np.clip(max(abs(sideways) / 0.25, abs(turning) / 0.8), 0, 1)
    period = (1 - quick) * period + quick * min(period, QUICK_PERIOD)
    return min(period, STOPPING_PERIOD) if stopping else period, duty


def _velocities(segments: Sequence[Segment], fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Velocities that are wanted [T, 3], NaN to stand, and those on the way to them [T, 3]."""
    wanted, velocity = [], []
    last = np.zeros(3) if segments[0].velocity is None else np.array(segments[0].velocity, float)
    for segment in segments:
        frames = round(segment.seconds * fps)
        target = np.zeros(3) if segment.velocity is None else np.array(segment.velocity, float)
        seconds = max(LEAST_CHANGE, float((np.abs(target - last) / ACCELERATION).max()))
        if max(target[0], last[0]) > TO_WALK:
            change = target[0] - last[0]
            seconds = max(seconds, abs(change) / RUNNER_ACCELERATION[int(change < 0)])
        if not (target.any() and last.any()):
            reach = float(np.abs(target - last)[:2].max())
            seconds = max(seconds, (COME_TO_REST if last.any() else GET_GOING) + PER_SPEED * reach)
        share = smoothstep((np.arange(frames) + 1) / (seconds * fps))[:, None]
        part = last + share * (target - last)
        if not target.any():
            part[share[:, 0] == 1] = 0.0  # exactly
        velocity.append(part)
        wanted.append(np.tile(np.full(3, np.nan) if segment.velocity is None else target, (frames, 1)))
        last = part[-1]
    return np.concatenate(wanted), np.concatenate(velocity)


def _active(
    frames: int, stands: bool, starts: list[tuple[int, float]], stops: list[tuple[int, float]], fps: float
) -> np.ndarray:
    """How much of the gait there is in each frame, from its starts and stops (frame, period)."""
    out, time = np.full(frames, 0.0 if stands else 1.0), np.arange(frames)
    changes = sorted([(frame, period, 1) for frame, period in starts] + [(frame, period, 0) for frame, period in stops])
    for frame, period, up in changes:
        if up:
            begin, seconds = frame, LEAD + 0.3 * period
            out[begin:] = smoothstep((time[begin:] - begin) / (seconds * fps))
        else:
            begin = max(frame - round(0.5 * period * fps), 0)
            seconds = 0.5 * period + SETTLE
            out[begin:] = np.minimum(out[begin], 1 - smoothstep((time[begin:] - begin) / (seconds * fps)))
    return out


def _path(velocity: np.ndarray, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Position [T, 2] and heading [T] of the path, from the origin, along arcs."""
    turn = velocity[:-1, 2] / fps
    heading = np.concatenate([[0.0], np.cumsum(turn)])
    chord = velocity[:-1, :2] * np.sinc(turn / (2 * np.pi))[:, None] / fps
    middle = heading[:-1] + turn / 2
    cos, sin = np.cos(middle), np.sin(middle)
    steps = np.stack([chord[:, 0] * cos - chord[:, 1] * sin, chord[:, 0] * sin + chord[:, 1] * cos], axis=-1)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)]), heading
