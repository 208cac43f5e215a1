"""Tables of gaits: one cyclic, symmetric stride for each speed, from the recorded strides of about that speed.

Each quantity of each phase is regressed on the speed, locally and linearly (Cleveland 1979), so that a table has no
holes where recordings are few: it passes through what there is, and continues its trend. Every stride takes part
together with its mirror image half a cycle later, so a table does not limp. A person counts by the square root of the
number of their strides.

Backward walking is recorded seldom. A stride of forward walking played backward in time serves as one of backward
walking: the two are alike in the paths and angles of the legs, not in detail (Thorstensson 1986, Acta Physiologica
Scandinavica 127; Grasso et al. 1998, Journal of Neurophysiology 80).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from cmg_jax.gaits import _strides
from cmg_jax.gaits._strides import PHASES, Strides
from cmg_jax.robot import Robot

RUNNING = 0.42
"""A stride whose feet are on the floor for a smaller share of it is one of running."""

STEP = 0.1
"""m/s between the speeds of a table."""

WALK_WIDTH, RUN_WIDTH = 0.12, 0.2
"""m/s, standard deviation of the kernel."""

RIDGE = 0.02
"""(m/s)^2 added to the spread of the speeds: where all strides have one speed, none shows a trend."""

REVERSED_WEIGHT, REVERSED_UP_TO = 0.3, 1.0
"""Weight of a stride that is played backward against a recorded one, and its greatest speed in m/s."""

BEYOND = 1.12
"""How much faster than the fastest recorded stride a table goes."""

LEAST_SUPPORT = 3
"""Strides about a speed, without which slow steps are blended from those forward and those backward."""

HARMONICS = 12
"""Harmonics of the stride that are kept; the others are noise of the recording."""

FINE = 8
"""Samples of a table for each sample of a stride."""


class Table(NamedTuple):
    """Strides at G speeds, evenly spaced."""

    speed: np.ndarray  # [G] m/s
    channels: np.ndarray  # [G, FINE * PHASES, C]
    period: np.ndarray  # [G] s
    duty: np.ndarray  # [G]
    support: np.ndarray  # [G] number of recorded strides within two kernel widths

    def position(self, speed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The speed of the table below `speed`, by its index, and the share of the one above; clipped to the table."""
        at = np.clip((speed - self.speed[0]) / STEP, 0, len(self.speed) - 1)
        low = np.minimum(at.astype(int), max(len(self.speed) - 2, 0))
        return low, at - low

    def stride(self, speed: Float[np.ndarray, "T"], phase: Float[np.ndarray, "T"]) -> Float[np.ndarray, "T C"]:
        """Channels at speeds [m/s] and phases [cycles]."""
        low, share = self.position(speed)
        high = np.minimum(low + 1, len(self.speed) - 1)
        samples = self.channels.shape[1]
        at = (phase % 1.0) * samples
        before = np.floor(at).astype(int) % samples
        after, part = (before + 1) % samples, (at - np.floor(at))[:, None]
        share = share[:, None]

        def of(row: np.ndarray) -> np.ndarray:
            return self.channels[row, before] * (1 - part) + self.channels[row, after] * part

        return of(low) * (1 - share) + of(high) * share


def running_table(strides: Strides, groups: Sequence[int], robot: Robot, low: float) -> Table:
    """Running, from speed `low` [m/s] on; `groups` as in `walking_table`."""
    person = np.asarray(groups)[strides.clip]
    high = max(min(BEYOND * strides.speed.max(), np.sort(strides.speed)[-min(3, len(strides.speed))] + STEP / 2), low)
    return _regress(strides, person, np.ones(len(strides.speed)), robot, RUN_WIDTH, low, high)


def walking_table(strides: Strides, groups: Sequence[int], robot: Robot) -> Table:
    """Walking, from backward to forward.

    Args:
      strides: S strides of walking, at least one of them forward.
      groups: for each clip the person, as a number.
      robot: the robot.
    """
    person = np.asarray(groups)[strides.clip]
    forward = strides.take((strides.speed > 0) & (strides.speed <= REVERSED_UP_TO))
    backward = reverse(forward)
    both = Strides(*(np.concatenate(pair) for pair in zip(strides, backward, strict=True)))
    weight = np.repeat([1.0, REVERSED_WEIGHT], [len(strides.speed), len(backward.speed)])
    person = np.concatenate([person, np.asarray(groups)[backward.clip]])
    high = BEYOND * strides.speed.max()
    return _regress(both, person, weight, robot, WALK_WIDTH, -0.9 * REVERSED_UP_TO, high)


def reverse(strides: Strides) -> Strides:
    """Strides played backward in time; phase 0 is again the touchdown of the left foot, which was its lift-off."""
    channels = []
    for stride, duty in zip(strides.channels, strides.duty, strict=True):
        cycle = np.concatenate([stride, stride[:1]])
        channels.append(_strides.cubic(cycle, ((duty - np.arange(PHASES) / PHASES) % 1.0) * PHASES))
    made = np.array(channels).reshape(strides.channels.shape)
    return strides._replace(channels=made, speed=-strides.speed)


def _regress(
    strides: Strides, person: np.ndarray, weight: np.ndarray, robot: Robot, width: float, low: float, high: float
) -> Table:
    mirrored = np.roll(_strides.mirror_channels(strides.channels, robot), PHASES // 2, axis=1)
    channels = _smooth((strides.channels + mirrored) / 2)
    shape = channels.shape[1:]
    values = np.concatenate(
        [channels.reshape(len(channels), -1), np.log(strides.period)[:, None], strides.duty[:, None]], axis=1
    )
    speeds = np.arange(round(low / STEP), round(high / STEP) + 1) * STEP
    rows, support = [], []
    for speed in speeds:
        away = strides.speed - speed
        # Where recordings are far, the kernel widens until it reaches some.
        reach = max(width, np.sort(np.abs(away))[min(4, len(away) - 1)])
        kernel = weight * np.exp(-0.5 * np.square(away / reach))
        of_person = np.bincount(person, kernel, minlength=person.max() + 1)
        kernel = kernel / np.sqrt(np.maximum(of_person[person], 1e-12))
        kernel = kernel / kernel.sum()
        mean_away, mean = kernel @ away, kernel @ values
        centred = away - mean_away
        spread = kernel @ np.square(centred)
        slope = (kernel * centred) @ (values - mean) / (spread + RIDGE * (width / WALK_WIDTH) ** 2 * 0.1)
        rows.append(mean - mean_away * slope)
        support.append((np.abs(away) < 2 * width).sum())
    table, counts = np.array(rows), np.array(support)
    supported = np.flatnonzero(counts >= LEAST_SUPPORT)
    below, above = supported[speeds[supported] < 0], supported[speeds[supported] > 0]
    if len(below) and len(above):  # from the slowest steps backward to the slowest ones forward
        between = slice(below[-1] + 1, above[0])
        share = ((speeds[between] - speeds[below[-1]]) / (speeds[above[0]] - speeds[below[-1]]))[:, None]
        table[between] = (1 - share) * table[below[-1]] + share * table[above[0]]
    return Table(
        speeds,
        table[:, :-2].reshape(len(speeds), *shape),
        np.exp(table[:, -2]),
        np.clip(table[:, -1], 0.15, 0.85),
        counts,
    )


def _smooth(channels: np.ndarray) -> np.ndarray:
    """Strides [S, PHASES, C] without their higher harmonics, sampled `FINE` times as densely."""
    spectrum = np.fft.rfft(channels, axis=1)
    spectrum[:, HARMONICS + 1 :] = 0
    return np.fft.irfft(spectrum, FINE * PHASES, axis=1) * FINE
