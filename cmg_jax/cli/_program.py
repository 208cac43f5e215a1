"""Shared parts of our command-line programs: a user's mistake gives one line and exit code 2, never a traceback."""

import _thread
import argparse
import gc
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from cmg_jax._errors import InputError
from cmg_jax._files import first_line
from cmg_jax.commands import COMMAND_NAMES, CommandRange, within


class HelpFormatter(argparse.HelpFormatter):
    """Shows the default of every option that has one, unless its help text states it."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help or ""
        flag = action.nargs == 0 and not isinstance(action, argparse.BooleanOptionalAction)
        unset = action.default in (None, argparse.SUPPRESS, "", []) or flag
        if unset or "default" in text or not action.option_strings:
            return text
        if isinstance(action.default, list | tuple):
            return f"{text} (default: {' '.join(map(str, action.default))})"
        return f"{text} (default: %(default)s)"


class ParagraphHelpFormatter(HelpFormatter, argparse.RawDescriptionHelpFormatter):
    """The same, and the lines of an epilog stay as they are."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def __init__(self, *positional: Any, **named: Any):
        super().__init__(*positional, **{"formatter_class": HelpFormatter} | named)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def run(name: str, command: Callable[[], int | None]) -> int:
    """The exit code of `command` (0 if it returns None); an input error is one line."""
    # orbax logs in absl what it also raises; asyncio logs what others of its tasks raised.
    with _restored_settings(), quiet_logger("absl"), quiet_logger("asyncio"):
        code = _run(name, command)
        if code:
            gc.collect()  # collects the remains of a failed restore while its warnings are silenced
        return code


def _run(name: str, command: Callable[[], int | None]) -> int:
    sys.unraisablehook = _unraisable  # orbax leaves coroutines to the garbage collector when a restore fails
    threading.excepthook = lambda _: None  # orbax raises in the main thread what fails in its own
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = lambda message, *_: warn(name, " ".join(str(message).split()))
            return command() or 0
    except (InputError, OSError) as error:
        print(f"{name}: error: {' '.join(_message(error).split())}", file=sys.stderr)
        return 2
    except MemoryError:
        print(f"{name}: error: not enough memory; ask for fewer environments or seconds", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        print(f"{name}: interrupted; {str(interrupt) or 'no file is half written'}", file=sys.stderr)
        return 130


def _message(error: Exception) -> str:
    """What went wrong; of an error of the system without its number."""
    if not (isinstance(error, OSError) and error.strerror):
        return str(error)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"


JAX_SETTINGS = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs", "jax_logging_level")
"""The jax options that --compilation-cache sets."""


@contextmanager
def _restored_settings() -> Iterator[None]:
    """Restore what a program changes in its process: `main` may run in the process of a user's program."""
    hooks, environment = (sys.unraisablehook, threading.excepthook), dict(os.environ)
    settings, backend = {name: getattr(jax.config, name) for name in JAX_SETTINGS}, _drawing_backend()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        sys.unraisablehook, threading.excepthook = hooks
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        for name, value in settings.items():
            if getattr(jax.config, name) != value:
                jax.config.update(name, value)
                compilation_cache.reset_cache()  # otherwise it stays in the old directory
        if backend is not None and _drawing_backend() != backend:
            sys.modules["matplotlib"].use(backend)


def _drawing_backend() -> Any:
    """The backend of matplotlib, without choosing one; None if matplotlib is not imported."""
    matplotlib = sys.modules.get("matplotlib")
    return None if matplotlib is None else dict.__getitem__(matplotlib.rcParams, "backend")


@contextmanager
def quiet_logger(name: str) -> Iterator[None]:
    """Let a logger report only critical messages."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _unraisable(unraisable: Any) -> None:
    """Ignore the error, but repeat a Ctrl-C that arrived in a finalizer, where it would be lost."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        threading.Timer(0.05, _thread.interrupt_main).start()


def warn(name: str, message: str) -> None:
    print(f"{name}: warning: {message}", file=sys.stderr)


@contextmanager
def beside_the_result(name: str, path: Path) -> Iterator[None]:
    """Wraps drawing a result that is already written: an error is reported as a warning only."""
    try:
        yield
    except Exception as error:  # any kind: several libraries draw
        warn(name, f"the result is written, but not {path}: {first_line(error)}")


def warn_beyond_range(name: str, trained: CommandRange, commands: Any, remark: str = "") -> None:
    """Warn in one line of the components of commands [N, 3] that leave the trained range; `remark` ends the line."""
    commands = np.asarray(commands)
    low, high = (np.asarray(edge) for edge in trained[:2])
    parts = []
    for component, values, least, most in zip(COMMAND_NAMES, commands.T, low, high, strict=True):
        # Rounded to the digits that are printed: +0.84 is not outside of .. +0.84.
        beyond = values[(np.round(values, 2) < np.round(least, 2)) | (np.round(values, 2) > np.round(most, 2))]
        if beyond.size:
            extreme = beyond[np.argmax(np.abs(beyond))]
            parts.append(f"{component} {extreme:+.2f} is outside the trained range {least:+.2f} .. {most:+.2f}")
    if trained.region is not None:
        inside = np.clip(commands, low, high)
        across = np.abs(inside - np.asarray(within(trained, inside)))
        row, column = np.unravel_index(across.argmax(), across.shape)
        if across[row, column] >= 0.01:
            limit = abs(inside[row, column]) - across[row, column]
            parts.append(
                f"{COMMAND_NAMES[column]} {inside[row, column]:+.2f} is outside the trained range "
                f"{-limit:+.2f} .. {limit:+.2f} at vx {inside[row, 0]:+.2f}"
            )
    if parts:
        warn(name, "; ".join(parts) + remark)
