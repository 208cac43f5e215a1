"""Figures of a run: a CSV file that a resumed run continues, and TensorBoard if it is installed."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cmg_jax._files import atomic_path


class MetricsLog:
    """Rows of DIR/metrics.csv, one for each chunk of steps; rows after the step that a run resumes from are dropped."""

    def __init__(self, directory: Path, resume_step: int):
        self._path = directory / "metrics.csv"
        rows = []
        if resume_step and self._path.is_file():
            with self._path.open(newline="", errors="replace") as file:  # a damaged figure must not stop a training
                rows = [row for row in csv.DictReader(file) if _step(row) is not None and _step(row) <= resume_step]  # pyright: ignore
        with atomic_path(self._path) as partial, partial.open("w", newline="") as file:
            if rows:  # a process that is killed while it rewrites them must not lose them
                writer = csv.DictWriter(file, _names(rows[0]), extrasaction="ignore")
                writer.writeheader()
                writer.writerows(rows)
        self._file = self._path.open("a", newline="")
        self._writer: csv.DictWriter | None = None
        if rows:
            self._writer = csv.DictWriter(self._file, _names(rows[0]), extrasaction="ignore")
        self._board = _tensorboard(directory)

    def write(self, row: Mapping[str, Any]) -> None:
        """Append a row, of the same names each time; "" for a figure that was not measured."""
        self._write(row)
        if self._board is not None:
            for name, value in row.items():
                if name != "step" and value != "" and math.isfinite(value):
                    self._board.add_scalar(name, value, row["step"])

    def close(self) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()

    def _write(self, row: Mapping[str, Any]) -> None:
        if self._writer is None:
            self._writer = csv.DictWriter(self._file, list(row))
            self._writer.writeheader()
        self._writer.writerow(row)
        self._file.flush()


def read_metrics(directory: Path) -> list[dict[str, str]]:
    """The rows of a run, as text; one that was being written when the run was killed is left out."""
    with (directory / "metrics.csv").open(newline="", errors="replace") as file:
        return [row for row in csv.DictReader(file) if _step(row) is not None and None not in row.values()]


def _names(row: Mapping[str, str]) -> list[str]:
    return [name for name in row if name is not None]  # the key under which csv puts values beyond the columns


def _step(row: Mapping[str, str]) -> int | None:
    try:
        return int(row["step"])
    except (KeyError, TypeError, ValueError):  # a line that was being written when the run was killed
        return None


def _tensorboard(directory: Path) -> Any:
    try:
        from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    return SummaryWriter(str(directory / "tensorboard"))
