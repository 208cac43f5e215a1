"""What our command-line programs share: one line for a mistake, exit code 2, never a traceback."""

import argparse
import logging
import sys
from collections.abc import Callable
from typing import NoReturn

from cmg_jax.errors import InputError


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def run(name: str, command: Callable[[], None]) -> int:
    """The exit code of `command`, its input errors told in one line."""
    logging.getLogger("absl").setLevel(logging.ERROR)  # orbax reports its housekeeping there
    sys.unraisablehook = lambda _: None  # and leaves coroutines to the garbage collector when a restore fails
    try:
        command()
    except (InputError, OSError) as error:
        print(f"{name}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except MemoryError:
        print(f"{name}: error: not enough memory; ask for fewer environments or seconds", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name}: interrupted; no file is half written", file=sys.stderr)
        return 130
    return 0


def warn(name: str, message: str) -> None:
    print(f"{name}: warning: {message}", file=sys.stderr)
