"""Pictures and videos of motion, data and learning. Needs the extra `viz`.

All pictures are drawn without a screen and without pyplot, whose backend stays the one that the process chose.
Before a long computation, `require_matplotlib()` and `require_writer(path)` say what is not installed.
"""

from cmg_jax.viz._contact_sheet import SheetEntry, draw_contact_sheet
from cmg_jax.viz._evaluation_page import plot_evaluation
from cmg_jax.viz._inspection_page import plot_clip
from cmg_jax.viz._plot import plot_commands, plot_learning_curve, plot_motion, require_matplotlib
from cmg_jax.viz._render import choose_gl, render_motion, require_writer

__all__ = [
    "SheetEntry",
    "choose_gl",
    "draw_contact_sheet",
    "plot_clip",
    "plot_commands",
    "plot_evaluation",
    "plot_learning_curve",
    "plot_motion",
    "render_motion",
    "require_matplotlib",
    "require_writer",
]
