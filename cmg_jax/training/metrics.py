"""Figures of a run: a CSV that a resumed run continues, and TensorBoard where it is installed."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class MetricsLog:
    """Rows of DIR/metrics.csv, one a chunk of steps; rows behind the step a run resumes from are dropped."""

    def __init__(self, directory: Path, resume_step: int):
        self._path = directory / "metrics.csv"
        rows = []
        if resume_step and self._path.is_file():
            with self._path.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if _step(row) is not None and _step(row) <= resume_step]  # pyright: ignore
        self._fields: list[str] = list(rows[0]) if rows else []
        self._file = self._path.open("w", newline="")
        self._writer: csv.DictWriter | None = None
        for row in rows:
            self._write(row)
        self._board = _tensorboard(directory)

    def write(self, row: Mapping[str, Any]) -> None:
        self._write(row)
        if self._board is not None:
            for name, value in row.items():
                if name != "step" and value != "":
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
