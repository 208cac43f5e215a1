"""An evaluation as one page of plots."""

from pathlib import Path
from typing import Any

import numpy as np

from cmg_jax.commands import COMMAND_LABELS
from cmg_jax.evaluation._report import quality_lines
from cmg_jax.viz import _plot


def plot_evaluation(path: Path, report: dict[str, Any], title: str) -> None:
    """Save a picture of a report of `cmg_jax.evaluation.evaluate`.

    Raises:
      InputError: matplotlib is missing, or it cannot write the suffix.
    """
    figure = _plot.new_figure(figsize=(12, 7))
    axes = figure.subplots(2, 3)
    rows = report["tracking"]["rows"]
    command, velocity = (np.array([row[key] for row in rows]) for key in ("command", "walked"))
    for index, (axis, label) in enumerate(zip(axes[0], COMMAND_LABELS, strict=True)):
        low, high = command[:, index].min() - 0.1, command[:, index].max() + 0.1
        axis.plot([low, high], [low, high], color="0.7", linewidth=1)
        spread = np.random.default_rng(0).normal(size=len(command)) * 0.01 * (high - low)
        axis.scatter(command[:, index] + spread, velocity[:, index], s=14)
        rmse = list(report["tracking"]["rmse"].values())[index]
        axis.set(xlabel=f"commanded {label}", ylabel=f"walked {label}", title=f"RMSE {rmse:.3f}")
    start = report["start_stop"]
    for key, label in (("seconds_to_half_speed", "to half the speed"), ("seconds_to_stand", "to standing again")):
        seconds = [np.nan if second is None else second for second in start[key]]
        axes[1, 0].plot(start["speeds"], seconds, marker="o", label=label)
    axes[1, 0].set(xlabel="vx [m/s]", ylabel="seconds", title="starting and stopping")
    axes[1, 0].legend(frameon=False)
    mean = report["gate"]["mean"]
    axes[1, 1].bar(range(len(mean)), mean)
    axes[1, 1].set(xlabel="expert", ylabel="mean coefficient", title="use of the experts", xticks=range(len(mean)))
    lines = [f"{label}\n  {value}" for label, value in quality_lines(report)]
    tracking = report["tracking"]
    lines.append(f"does not move\n  {tracking['rows_that_do_not_move']} of {tracking['rows_that_should']} commands")
    axes[1, 2].axis("off")
    axes[1, 2].text(0, 1, "\n\n".join(lines), va="top", family="monospace", fontsize=9)
    for axis in axes.flat[:5]:
        axis.grid(alpha=0.3)
    figure.suptitle(title)
    _plot.save(figure, path)
