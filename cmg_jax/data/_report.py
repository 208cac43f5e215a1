"""The frames kept and dropped of the files of a data set, as text."""

import numpy as np

from cmg_jax.data import _prepared
from cmg_jax.data._build import Row
from cmg_jax.data._dataset import LEFT, RIGHT, Dataset
from cmg_jax.robot._foot_quality import FootFigures
from cmg_jax.robot._frame import split_frame

EPISODES_SHOWN = 5
"""Rows of a file of many episodes that the table shows, if nothing was dropped."""


def table(rows: list[Row], fps: float) -> str:
    """What became of each clip in a data set at `fps`; of an untouched file of many episodes only the first rows."""
    figures = ("frames read", f"kept at {fps:g} fps", *FEET)
    lines: list[tuple[str, ...]] = [("clip", *figures, "")]
    hidden = 0
    seen: dict[str, int] = {}
    for row in rows:
        group = row.name.split("[")[0]
        seen[group] = seen.get(group, 0) + 1
        if seen[group] > EPISODES_SHOWN and not row.reason:
            hidden += 1
            continue
        note = f"dropped: {row.reason}" if not row.kept else f"in part: {row.reason}" if row.reason else ""
        lines.append((row.name, str(row.frames), str(row.kept), *_feet(row.feet), note))
    width = max(len(line[0]) for line in lines)
    text = []
    for name, *values, note in lines:
        numbers = "".join(f"{value:>{len(head) + 2}}" for value, head in zip(values, figures, strict=True))
        text.append(f"{name:<{width}}{numbers}  {note}".rstrip())
    return "\n".join([*text, f"and {hidden} more clips, kept whole"] if hidden else text)


FEET = ("slip m/s", "flight %", "floating mm", "deepest mm")
"""Columns of the table, see `FootFigures`: the last two are the height at which the feet come down in the file, and how
far they reach below the floor."""


def _feet(feet: FootFigures | None) -> tuple[str, ...]:
    if feet is None:
        return ("-",) * len(FEET)
    slip = "-" if np.isnan(feet.slip) else f"{feet.slip:.3f}"
    return slip, f"{100 * feet.flight:.0f}", f"{round(1000 * feet.floating):+d}", f"{1000 * feet.penetration:.0f}"


def notes(rows: list[Row]) -> list[str]:
    """Corrections and assumptions from reading the files, one line for all files with the same note."""
    files: dict[str, dict[str, None]] = {}
    for row in rows:
        for note in row.notes:
            files.setdefault(note, {})[row.name.split("[")[0]] = None
    lines = []
    for note, names in files.items():
        others = f" and {len(names) - 3} more" if len(names) > 3 else ""
        lines.append(f"{', '.join(list(names)[:3])}{others}: {note}")
    return lines


def summary(made: Dataset) -> str:
    low, high = made.command.min(axis=0), made.command.max(axis=0)
    standing = np.abs(made.command).max(axis=-1) < _prepared.STANDING_SPEED
    starts = [int((made.first_foot == foot).sum()) for foot in (LEFT, RIGHT)]
    return (
        f"{len(made.clip_names)} clips, {len(made.motion)} frames, {made.seconds / 60:.1f} min "
        f"at {made.fps:g} fps; standing {100 * standing.mean():.0f} %\n"
        f"vx {low[0]:+.2f} .. {high[0]:+.2f} m/s, vy {low[1]:+.2f} .. {high[1]:+.2f} m/s, "
        f"yaw rate {low[2]:+.2f} .. {high[2]:+.2f} rad/s\n"
        f"{_root(made)}\n"
        f"starts from standing: {starts[0]} with the left foot, {starts[1]} with the right one"
    )


def _root(made: Dataset) -> str:
    root = split_frame(made.motion, made.robot.num_joints).root
    if root is None:
        return f"frames of {made.motion.shape[-1]} numbers, without a root"
    low, high = np.percentile(np.asarray(root.height), (1, 99))
    lean = np.degrees(np.arcsin(np.clip(np.linalg.norm(np.asarray(root.gravity), axis=-1), 0, 1)))
    return (
        f"frames of {made.motion.shape[-1]} numbers, with a root: height {low:.2f} .. {high:.2f} m (1 .. 99 %), "
        f"lean {lean.mean():.1f} degrees on average, at most {lean.max():.1f}"
    )
