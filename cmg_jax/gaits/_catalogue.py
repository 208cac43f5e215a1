"""The clips of a library: which velocities are held, started, stopped and changed, and what they are called."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cmg_jax.gaits._plan import TO_RUN, TO_WALK, Segment
from cmg_jax.gaits._table import Table

Velocity = tuple[float, float, float]

HELD_SECONDS, STRAIGHT_SECONDS = 4.0, 6.0

DRAWN = 150
"""Velocities that are held beside those of a grid."""

SIDEWAYS = ((0.0, 0.4), (0.6, 0.4), (1.5, 0.35), (1.8, 0.15), (3.0, 0.1))
"""Greatest sideways velocity [m/s] at forward ones [m/s], linear between them: nobody runs fast and sideways."""

TURNING = ((0.0, 1.0), (0.9, 1.0), (1.8, 0.75), (3.0, 0.7))
"""Greatest yaw rate [rad/s] at forward velocities [m/s]."""

REST_FOR = 0.5, 0.5
"""s that standing is longer, and for each m/s before it."""

BACKWARD_UP_TO = 0.8  # m/s

CHANGES_SECONDS, CHANGE_EVERY = 30.0, (1.5, 3.0)
"""s of a clip of changes, and between them."""


class Item(NamedTuple):
    """A clip to be made."""

    name: str
    segments: tuple[Segment, ...]
    phase: float
    """Cycles, where it begins."""


class Region(NamedTuple):
    """The velocities that a library answers."""

    slowest: float  # m/s, forward; negative is backward
    fastest: float  # m/s

    def holds(self, velocity: Velocity) -> bool:
        """Whether a velocity is in the region."""
        vx, vy, turn = velocity
        shares = [abs(value) / limit for value, limit in zip((vy, turn), self.limits(vx), strict=True)]
        return self.slowest - 1e-6 <= vx <= self.fastest + 1e-6 and max(shares) <= 1 + 1e-6

    def limits(self, vx: float) -> tuple[float, float]:
        """Greatest sideways velocity and yaw rate."""
        sideways, turning = (np.interp(abs(vx), *np.array(curve).T) for curve in (SIDEWAYS, TURNING))
        return float(sideways), float(turning)

    def draw(self, random: np.random.Generator, slow: float, fast: float) -> Velocity:
        """A velocity, forward between `slow` and `fast`; half of the time straight ahead or turning only."""
        vx = round(float(random.uniform(slow, fast)), 2)
        sideways, turning = self.limits(vx)
        kind = random.integers(4)
        vy = 0.0 if kind in (0, 1) else float(random.uniform(-sideways, sideways))
        turn = 0.0 if kind in (0, 2) else float(random.uniform(-turning, turning))
        return vx, _shortened(vy), _shortened(turn)


def region(walk: Table, run: Table | None) -> Region:
    """The region of tables."""
    return Region(max(float(walk.speed[0]), -BACKWARD_UP_TO), float((run or walk).speed[-1]))


def catalogue(bounds: Region, seed: int, changes: int) -> list[Item]:
    """All clips.

    Args:
      bounds: the velocities.
      seed: draws the changes of velocity.
      changes: number of clips of half a minute in which the velocity changes.
    """
    random = np.random.default_rng(seed)
    return [*_held(bounds, random), *_starts(bounds), *_changes(bounds, random, changes)]


def _shortened(value: float) -> float:
    """A value with two decimals, not beyond it."""
    return math.trunc(100 * value) / 100


def kind(velocity: Velocity) -> str:
    """The word for a velocity: walk, run, back, sideways, turn, step or stand."""
    vx, vy, turn = velocity
    if abs(vx) < 0.25:
        return "sideways" if abs(vy) > 0.1 else "turn" if abs(turn) > 0.15 else "step"
    return "run" if vx > TO_RUN else "walk" if vx > 0 else "back"


def text(velocity: Velocity) -> str:
    """A velocity in a name."""
    return "{:+.2f} {:+.2f} {:+.2f}".format(*velocity)


def _grid(bounds: Region, step: float, sideways: Sequence[float], turning: Sequence[float]) -> list[Velocity]:
    speeds = [round(index * step, 3) for index in range(int(bounds.slowest / step), int(bounds.fastest / step) + 1)]
    every = [(vx, vy, turn) for vx in speeds for vy in sideways for turn in turning]
    return [velocity for velocity in every if bounds.holds(velocity)]


def _held(bounds: Region, random: np.random.Generator) -> list[Item]:
    straight = [velocity for velocity in _grid(bounds, 0.1, (0.0,), (0.0,)) if abs(velocity[0]) > 0.05]
    bent = _grid(bounds, 0.3, (-0.35, -0.15, -0.08, 0.0, 0.08, 0.15, 0.35), (-0.7, -0.35, 0.0, 0.35, 0.7))
    bent = [
        velocity
        for velocity in bent
        if (velocity[1] or velocity[2]) and (abs(velocity[1]) != 0.08 or velocity[0] > 1.6)
    ]
    bent += [bounds.draw(random, bounds.slowest, bounds.fastest) for _ in range(DRAWN)]
    items = []
    for velocities, seconds in ((straight, STRAIGHT_SECONDS), (bent, HELD_SECONDS)):
        for velocity in velocities:
            phase = float(random.uniform())
            items.append(Item(f"{kind(velocity)} held {text(velocity)}", (Segment(seconds, velocity),), phase))
    return items


def _starts(bounds: Region) -> list[Item]:
    """From standing to a velocity and back to standing."""
    straight = [(round(0.1 * step, 1), 0.0, 0.0) for step in range(-8, 32) if step not in (-1, 0, 1)]
    bent = [(vx, 0.0, turn) for vx in (-0.4, 0.0, 0.4, 0.8, 1.2, 2.2) for turn in (-0.8, -0.4, 0.4, 0.8)]
    bent += [(vx, vy, 0.0) for vx in (-0.4, 0.0, 0.4, 0.8) for vy in (-0.35, -0.2, 0.2, 0.35)]
    items = []
    for velocity in filter(bounds.holds, [*straight, *bent]):
        seconds = 3.5 + 1.2 * max(velocity[0] - 1.2, 0.0)
        segments = (Segment(1.2, None), Segment(seconds, velocity), Segment(3.2 + 0.8 * abs(velocity[0]), None))
        items.append(Item(f"{kind(velocity)} start and stop {text(velocity)}", segments, 0.0))
    return items


LARGE = (
    (None, 3.0, None, 2.2, 0.0),
    (2.5, 0.8, 2.5, 0.3, 3.0),
    (-0.5, 1.2, -0.5, 0.6, None),
    (1.5, 2.2, 1.2, 2.6, 1.6),
    (0.6, 1.5, 0.3, -0.7, 0.9),
    (3.0, None, 1.0, None, 2.5),
)
"""Forward velocities [m/s] that follow one another; None is to stand."""


def _changes(bounds: Region, random: np.random.Generator, count: int) -> list[Item]:
    """Half a minute of velocities that change every 1.5 to 3 s: walking, running, and from one to the other."""
    every, walk = (bounds.slowest, bounds.fastest), (bounds.slowest, min(1.6, bounds.fastest))
    ranges = {"walk": (walk, 0.15), "any": (every, 0.15), "start and stop": (every, 0.45), "turn": (walk, 0.05)}
    if bounds.fastest > TO_RUN:
        ranges |= {"walk and run": ((0.6, bounds.fastest), 0.05), "run": ((TO_WALK + 0.2, bounds.fastest), 0.0)}
    names = ["large", *ranges]
    items = []
    for index in range(count):
        name = names[index % len(names)]
        segments: list[Segment] = []
        while sum(segment.seconds for segment in segments) < CHANGES_SECONDS:
            if name == "large":
                velocity = _large(bounds, random, index // len(names), len(segments))
            elif name == "turn" and len(segments) % 3:  # the same speed, turning otherwise
                last = segments[-1].velocity or (0.8, 0.0, 0.0)
                turn = random.choice((-1, 1)) * random.uniform(0.3, 1) * bounds.limits(last[0])[1]
                velocity = (*last[:2], _shortened(turn))
            else:
                (slow, fast), rest = ranges[name]
                velocity = None if random.uniform() < rest else bounds.draw(random, slow, fast)
            if velocity is None and segments and segments[-1].velocity is None:
                continue
            seconds = float(random.uniform(*CHANGE_EVERY))
            if velocity is None and segments:  # to come to rest
                seconds += REST_FOR[0] + REST_FOR[1] * np.abs(segments[-1].velocity or 0.0).max()
            segments.append(Segment(round(seconds, 2), velocity))
        items.append(Item(f"{name} changes {index}", tuple(segments), float(random.uniform())))
    return items


def _large(bounds: Region, random: np.random.Generator, row: int, at: int) -> Velocity | None:
    """The next velocity of a row of `LARGE`: straight ahead the first time around, drawn aside later."""
    speeds = LARGE[row % len(LARGE)]
    vx = speeds[at % len(speeds)]
    if vx is None:
        return None
    vx = float(np.clip(vx, bounds.slowest, bounds.fastest))
    return (vx, 0.0, 0.0) if at < len(speeds) else bounds.draw(random, vx, vx)
