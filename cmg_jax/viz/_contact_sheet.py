"""Many motions in one picture: for each a strip of its last stride, its command and its measured velocity."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cmg_jax._files import atomic_path
from cmg_jax.motion_files import Motion
from cmg_jax.viz import _render

MAX_MOTIONS = 64
MOMENTS = 4
"""Number of pictures of a motion."""

STRIDE_SECONDS = 0.8
COLUMNS = 4
CROP = 168
"""Width in pixels that the robot needs in a picture."""


class SheetEntry(NamedTuple):
    """A motion of a contact sheet."""

    motion: Motion
    velocity: np.ndarray
    """[3] m/s, m/s, rad/s, measured at the stance foot."""


def choose(num_motions: int) -> list[int]:
    """Indices of the motions that a sheet shows: all, or `MAX_MOTIONS` of them, evenly spread."""
    return np.unique(np.linspace(0, num_motions - 1, min(num_motions, MAX_MOTIONS)).round().astype(int)).tolist()


def num_pictures(num_entries: int) -> int:
    """How many pictures `draw_contact_sheet` will draw."""
    return num_entries * MOMENTS


def draw_contact_sheet(
    path: Path, entries: Sequence[SheetEntry], *, progress: Callable[[int], Any] = lambda _: None
) -> str:
    """Save many motions in one picture.

    Args:
      path: file to write.
      entries: the motions, each of one environment.
      progress: called with the number of pictures just drawn.

    Returns:
      The renderer: "MuJoCo", or "matplotlib" and the reason.

    Examples:
      >>> from cmg_jax import motion_files, viz
      >>> frames = np.tile(cmg_jax.standing_frame(model), (51, 1))
      >>> motion = motion_files.of_trajectory(model.config, frames, np.zeros((50, 3), np.float32))
      >>> _ = viz.draw_contact_sheet(Path("sheet.png"), [viz.SheetEntry(motion, np.array([0.8, 0.0, 0.0]))])
    """
    from PIL import Image, ImageDraw

    height, caption = _render.SIZE[0] // 2, 28
    width = MOMENTS * CROP // 2
    columns = min(COLUMNS, len(entries))
    sheet = Image.new("RGB", (columns * (width + 8), -(-len(entries) // columns) * (height + caption + 8)), "white")
    text = ImageDraw.Draw(sheet)
    with _render.drawing(entries[0].motion.robot) as (picture, name):
        for index, entry in enumerate(entries):
            positions = entry.motion.qpos()
            stride = round(STRIDE_SECONDS * entry.motion.fps)
            moments = np.linspace(max(len(positions) - 1 - stride, 0), len(positions) - 1, MOMENTS + 1)[1:].round()
            x, y = index % columns * (width + 8), index // columns * (height + caption + 8)
            for column, moment in enumerate(moments.astype(int)):
                frame = picture(positions[moment], positions[moment, :3])
                middle = (frame.shape[1] - CROP) // 2
                tile = Image.fromarray(frame[:, middle : middle + CROP]).resize((CROP // 2, height))
                sheet.paste(tile, (x + column * CROP // 2, y + caption))
                progress(1)
            command = entry.motion.commands[-1]
            for line, (label, values) in enumerate((("command", command), ("walked ", entry.velocity))):
                words = "  ".join(f"{value:+.2f}" for value in values)
                text.text((x + 4, y + 2 + 12 * line), f"{label}  {words}", fill=(40, 44, 52))
    with atomic_path(path) as partial:
        sheet.save(partial)
    return name
