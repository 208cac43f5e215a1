"""Kills a process while it replaces a directory, at a named moment instead of after a time."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

MOMENTS = ("before the exchange", "after the exchange", "while the old one is deleted")
"""The first moment leaves the old directory, the others the new one."""

HOOKS = """
import os, shutil, signal, sys
from cmg_jax import _files as files

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def exchange_and_die(*paths, exchange=files._exchange):
    exchange(*paths)
    die()

def delete_one_and_die(path, **_):
    next(found for found in path.rglob("*") if found.is_file()).unlink()
    die()

moment = sys.argv.pop(1)
if moment == "before the exchange":
    files._exchange = die
elif moment == "after the exchange":
    files._exchange = exchange_and_die
else:
    shutil.rmtree = delete_one_and_die
"""


def kill_at(moment: str, program: str, *arguments: Any) -> None:
    """Run a Python program that replaces a directory, and have it killed at one of `MOMENTS`."""
    assert moment in MOMENTS
    root = str(Path(__file__).parents[1])
    environment = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
    environment["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [environment.get("PYTHONPATH")])])
    command = [sys.executable, "-c", HOOKS + program, moment, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert result.returncode == -signal.SIGKILL, result.stderr
