"""Frames at their time, and how late they were."""

import threading
import time
from collections import deque

import numpy as np

GIVE_UP = 0.25
"""s behind from which the clock starts anew, instead of hurrying through what was missed."""

KEPT = 30_000
"""Frames that the figures are taken of: ten minutes at 50 a second."""


class Pacer:
    """A clock of frames: `wait` for each, say `shown` when it is."""

    def __init__(self) -> None:
        self.lateness: deque[float] = deque(maxlen=KEPT)  # s
        self.frames = self.late = 0
        self.due = time.perf_counter()

    def start(self) -> None:
        """The next frame is due now."""
        self.due = time.perf_counter()

    def wait(self, period: float, wake: threading.Event) -> bool:
        """Until the next frame is due, `period` s after the last one; whether nobody woke us before."""
        self.due += period
        left = self.due - time.perf_counter()
        return not wake.wait(left) if left > 0 else not wake.is_set()

    def shown(self, period: float) -> None:
        """The frame that was due has been handed over. Late is one by more than half a period."""
        lateness = time.perf_counter() - self.due
        self.frames += 1
        self.late += lateness > period / 2
        self.lateness.append(lateness)
        if lateness > GIVE_UP:
            self.start()

    def text(self) -> str:
        """Frames, late ones, and median and 99th percentile of the lateness."""
        if not self.lateness:
            return "no frame shown"
        median, high = 1000 * np.percentile(list(self.lateness), (50, 99))
        return f"{self.frames} frames, {self.late} late; lateness {median:.1f} ms (median), {high:.1f} ms (99 %)"
