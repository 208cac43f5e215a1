"""What our command-line programs share: one line for a mistake, exit code 2, never a traceback."""

import _thread
import argparse
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from cmg_jax.errors import InputError
from cmg_jax.files import first_line


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def run(name: str, command: Callable[[], int | None]) -> int:
    """The exit code of `command` (0 where it returns None), its input errors told in one line."""
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # orbax reports its housekeeping there, and what it raises
    sys.unraisablehook = _unraisable  # and leaves coroutines to the garbage collector when a restore fails
    threading.excepthook = lambda _: None  # what fails in a thread of its is raised again in ours
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: warn(name, " ".join(str(message).split()))
            return command() or 0
    except (InputError, OSError) as error:
        print(f"{name}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except MemoryError:
        print(f"{name}: error: not enough memory; ask for fewer environments or seconds", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        print(f"{name}: interrupted; {str(interrupt) or 'no file is half written'}", file=sys.stderr)
        return 130


def _unraisable(unraisable: Any) -> None:
    """Silent, but a Ctrl-C that fell into a finalizer, where it would be lost, is given again a moment later."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        threading.Timer(0.05, _thread.interrupt_main).start()


def warn(name: str, message: str) -> None:
    print(f"{name}: warning: {message}", file=sys.stderr)


@contextmanager
def beside_the_result(name: str, path: Path) -> Iterator[None]:
    """Around a picture of a result that is written already: what goes wrong with it is a warning, and no failure."""
    try:
        yield
    except Exception as error:  # of any library that draws
        warn(name, f"the result is written, but not {path}: {first_line(error)}")


Progress = Callable[[str, int], Callable[[int], Any]]
"""Opens a bar of a name and a total; what it returns advances it."""


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Progress bars on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:

        def begin(name: str, total: int) -> Callable[[int], Any]:
            task = bars.add_task(name, total=total)
            return lambda done: bars.advance(task, done)

        yield begin
