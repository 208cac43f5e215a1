"""Commands over time, as a user types them or writes them into a file: one command a frame."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from cmg_jax._errors import InputError

RAMP_SECONDS = 0.5
"""How long one held command takes to become the next: the reference smoother's 25 frames at 50 fps."""


def hold_each(commands: Sequence[Sequence[float]], seconds: float, fps: float) -> Float[np.ndarray, "T C"]:
    """Hold each command for an equal share of the time, with a straight ramp of 0.5 s at each change.

    Args:
      commands: N commands of C numbers.
      seconds: duration of the whole.
      fps: frames per second.

    Returns:
      commands, float32.

    Examples:
      >>> from cmg_jax import commands
      >>> commands.hold_each([(0.0, 0.0, 0.0), (0.8, 0.0, 0.0)], seconds=4.0, fps=50.0).shape
      (200, 3)
    """
    share = seconds / len(commands)
    ramp = min(RAMP_SECONDS, share)
    times, values = [0.0], [commands[0]]
    for index in range(1, len(commands)):
        times += [index * share, index * share + ramp]
        values += [commands[index - 1], commands[index]]
    return interpolate(np.array(times), np.array(values, dtype=np.float64), seconds, fps)


def interpolate(
    times: Float[np.ndarray, "N"], values: Float[np.ndarray, "N C"], seconds: float, fps: float
) -> Float[np.ndarray, "T C"]:
    """Commands along straight lines between points, constant before the first and after the last.

    Args:
      times: s, ascending.
      values: the commands at these times.
      seconds: duration; T is the nearest number of frames.
      fps: frames per second.

    Examples:
      >>> from cmg_jax import commands
      >>> times, values = np.array([0.0, 2.0]), np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
      >>> commands.interpolate(times, values, seconds=3.0, fps=2.0)[:, 0]
      array([0.  , 0.25, 0.5 , 0.75, 1.  , 1.  ], dtype=float32)
    """
    frames = np.arange(round(seconds * fps)) / fps
    columns = [np.interp(frames, times, column) for column in values.T]
    with np.errstate(over="ignore"):
        return np.stack(columns, axis=-1).astype(np.float32)


def read_schedule(
    path: Path, command_dim: int = 3
) -> tuple[Float[np.ndarray, "N"], Float[np.ndarray, "N {command_dim}"]]:
    """Times [s] and commands from a file of lines `time, vx, vy, yaw`; one header line is allowed.

    Raises:
      InputError: no rows, a row of another length, a cell that is not a finite number, or times that do not rise.

    Examples:
      >>> from cmg_jax import commands
      >>> _ = Path("schedule.csv").write_text("time, vx, vy, yaw\\n0, 0, 0, 0\\n2, 1, 0, 0\\n")
      >>> times, values = commands.read_schedule(Path("schedule.csv"))
      >>> times
      array([0., 2.])
    """
    rows: list[list[float]] = []
    first = True
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()  # spreadsheets begin files with a mark
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file; a schedule is lines of time, vx, vy, yaw") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        cells = [_number(cell) for cell in line.split(",")]
        is_header = first and all(cell is None for cell in cells)
        first = False
        if is_header:
            continue
        row = [cell for cell in cells if cell is not None]
        if len(row) < len(cells):
            raise InputError(f"{path}:{number}: {line.strip()!r} is not a line of numbers time, vx, vy, yaw")
        if len(row) != command_dim + 1:
            raise InputError(f"{path}:{number}: {len(row)} numbers, not {command_dim + 1} (time, vx, vy, yaw)")
        if not np.isfinite(row).all():
            raise InputError(f"{path}:{number}: {line.strip()!r} is not finite")
        if rows and row[0] <= rows[-1][0]:
            raise InputError(f"{path}:{number}: time {row[0]:g} does not come after {rows[-1][0]:g}")
        rows.append(row)
    if not rows:
        raise InputError(f"{path}: holds no lines of time, vx, vy, yaw")
    table = np.array(rows)
    return table[:, 0], table[:, 1:]


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
