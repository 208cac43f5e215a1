"""Progress of long work: bars on a terminal, a line from time to time elsewhere."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Progress(Protocol):
    """Begins a task with a name and a number of parts; returns a function to call with the number of parts just done.

    `compiles`: whether a program is compiled before the first part is done, which a line then says. `done`: parts that
    an earlier call did.
    """

    def __call__(self, name: str, total: int, *, compiles: bool = False, done: int = 0) -> Callable[[int], Any]: ...


INTERVAL = 30.0
"""Seconds from one line to the next without a terminal."""


@contextmanager
def progress_reports(program: str) -> Iterator[Progress]:
    """Progress on standard error: bars on a terminal; a line every `INTERVAL` seconds in a file or a pipe, even
    while the main thread waits (for a compilation, or for a call that generates everything)."""
    from rich.console import Console

    console = Console(stderr=True)
    with _bars(console) if console.is_terminal else _lines(program) as begin:
        yield begin


@contextmanager
def _bars(console: Any) -> Iterator[Progress]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console, transient=True) as bars:

        def begin(name: str, total: int, *, compiles: bool = False, done: int = 0) -> Callable[[int], Any]:
            task = bars.add_task(name, total=total, completed=done)
            return lambda done: bars.advance(task, done)

        yield begin


@contextmanager
def _lines(program: str) -> Iterator[Progress]:
    task: _Task | None = None
    stopped = threading.Event()

    def begin(name: str, total: int, *, compiles: bool = False, done: int = 0) -> Callable[[int], Any]:
        nonlocal task
        task = _Task(name, total, compiles, done)
        return task.advance

    def report() -> None:
        while not stopped.wait(INTERVAL):
            if task is not None and task.done < task.total:
                print(f"{program}: {task.text(time.monotonic())}", file=sys.stderr, flush=True)

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield begin
    finally:
        stopped.set()
        thread.join()


class _Task:
    def __init__(self, name: str, total: int, compiles: bool = False, done: int = 0):
        self.name, self.total, self.compiles, self.done = name, total, compiles, done
        self.before = done
        self.begun = time.monotonic()
        self.first: tuple[int, float] | None = None

    def advance(self, done: int) -> None:
        self.done += done
        if self.first is None:
            self.first = (self.done, time.monotonic())

    def text(self, now: float) -> str:
        """How far the task is, and about how long the rest takes.

        The first advance is left out of the estimate if there are others: it often includes a compilation. What
        compiles has no estimate before the second one.
        """
        line = f"{self.name} {self.done:,} of {self.total:,}, {duration(now - self.begun)} so far"
        done, since = (0, 0.0) if self.first is None else (self.done - self.first[0], self.first[1])
        if not done and self.compiles:
            return f"{line}, compiling included"
        if not done:
            done, since = self.done - self.before, self.begun
        if not done:
            return line
        return f"{line}, about {duration((now - since) / done * (self.total - self.done))} left"


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
