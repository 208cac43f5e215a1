"""A clock that paces frames, and records how late they were shown."""

import threading
import time
from collections import deque

import numpy as np

MAX_LATENESS = 0.25
"""Lateness in s beyond which the clock restarts, instead of rushing through the missed frames."""

NUM_RECORDED = 30_000
"""Frames that the figures are computed from: ten minutes at 50 a second."""


class Pacer:
    """A clock of frames: `wait` for each, show it, then `record` it.

    Examples:
      >>> import threading
      >>> from cmg_jax.view import Pacer
      >>> pacer = Pacer()
      >>> pacer.wait(0.02, threading.Event())  # until the next frame is due
      True
      >>> pacer.record(0.02)
      >>> pacer.frames
      1
    """

    def __init__(self) -> None:
        self.lateness: deque[float] = deque(maxlen=NUM_RECORDED)  # s
        self.frames = self.late = 0
        self.due = time.perf_counter()

    def start(self) -> None:
        """Restart the clock: the next frame is due one period from now."""
        self.due = time.perf_counter()

    def wait(self, period: float, wake: threading.Event) -> bool:
        """Wait until the next frame is due, `period` s after the last one; returns False if `wake` was set before."""
        self.due += period
        left = self.due - time.perf_counter()
        return not wake.wait(left) if left > 0 else not wake.is_set()

    def record(self, period: float) -> None:
        """Record that the frame has been shown. It is late if shown more than half a period after its time."""
        lateness = time.perf_counter() - self.due
        self.frames += 1
        self.late += lateness > period / 2
        self.lateness.append(lateness)
        if lateness > MAX_LATENESS:
            self.start()

    def text(self) -> str:
        """The number of frames and of late ones, and the median and 99th percentile of the lateness."""
        if not self.lateness:
            return "no frame shown"
        median, high = 1000 * np.percentile(list(self.lateness), (50, 99))
        return f"{self.frames} frames, {self.late} late; lateness {median:.1f} ms (median), {high:.1f} ms (99 %)"
