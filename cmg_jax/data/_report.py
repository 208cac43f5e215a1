"""The frames kept and dropped of the files of a data set, as text."""

import numpy as np

from cmg_jax.data import _build
from cmg_jax.data._build import Row
from cmg_jax.data._dataset import LEFT, RIGHT, Dataset

EPISODES_SHOWN = 5
"""Rows of a file of many episodes that the table shows, if nothing was dropped."""


def table(rows: list[Row]) -> str:
    """The frames kept and dropped of each clip; of a file of many episodes that was kept whole, only the first rows."""
    lines, hidden = [("clip", "frames", "kept", "")], 0
    seen: dict[str, int] = {}
    for row in rows:
        group = row.name.split("[")[0]
        seen[group] = seen.get(group, 0) + 1
        if seen[group] > EPISODES_SHOWN and not row.reason:
            hidden += 1
            continue
        note = f"dropped: {row.reason}" if not row.kept else f"in part: {row.reason}" if row.reason else ""
        lines.append((row.name, str(row.frames), str(row.kept), note))
    width = max(len(line[0]) for line in lines)
    text = [f"{name:<{width}}  {frames:>7}  {kept:>7}  {note}".rstrip() for name, frames, kept, note in lines]
    return "\n".join([*text, f"and {hidden} more clips, kept whole"] if hidden else text)


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
    standing = np.abs(made.command).max(axis=-1) < _build.STANDING_SPEED
    starts = [int((made.first_foot == foot).sum()) for foot in (LEFT, RIGHT)]
    return (
        f"{len(made.clip_names)} clips, {len(made.motion)} frames, {made.seconds / 60:.1f} min "
        f"at {made.fps:g} fps; standing {100 * standing.mean():.0f} %\n"
        f"vx {low[0]:+.2f} .. {high[0]:+.2f} m/s, vy {low[1]:+.2f} .. {high[1]:+.2f} m/s, "
        f"yaw rate {low[2]:+.2f} .. {high[2]:+.2f} rad/s\n"
        f"starts from standing: {starts[0]} with the left foot, {starts[1]} with the right one"
    )
