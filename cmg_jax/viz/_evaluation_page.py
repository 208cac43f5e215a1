"""An evaluation as one page of plots."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cmg_jax.commands import COMMAND_LABELS
from cmg_jax.evaluation._report import gaits_beside, quality_lines
from cmg_jax.viz import _plot


def plot_evaluation(
    path: Path, report: dict[str, Any], title: str, compared: Mapping[str, dict[str, Any]] | None = None
) -> None:
    """Save a picture of a report of `cmg_jax.evaluation.evaluate`, with the gait of other reports by their names.

    Raises:
      InputError: matplotlib is missing, or it cannot write the suffix.

    Examples:
      >>> from cmg_jax import evaluation, viz
      >>> report = evaluation.evaluate(model)
      >>> viz.plot_evaluation(Path("evaluation.png"), report, "the bundled model")
    """
    has_gait = "gait" in report
    figure = _plot.new_figure(figsize=(12, 15.5 if has_gait else 7))
    axes = figure.subplots(4 if has_gait else 2, 3)
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
    if "gate" in report:
        mean = report["gate"]["mean"]
        axes[1, 1].bar(range(len(mean)), mean)
        axes[1, 1].set(xlabel="expert", ylabel="mean coefficient", title="use of the experts", xticks=range(len(mean)))
    else:  # motion matching has none
        axes[1, 1].axis("off")
    lines = [f"{label}\n  {value}" for label, value in quality_lines(report)]
    tracking = report["tracking"]
    lines.append(f"does not move\n  {tracking['rows_that_do_not_move']} of {tracking['rows_that_should']} commands")
    if has_gait:
        gait = report["gait"]
        lines.append(f"does not walk\n  {gait['rows_that_do_not_walk']} of {gait['rows_that_move']} commands")
        _plot_gait(axes[2:].ravel(), {title: gait["bands"], **gaits_beside(report, compared)})
    axes[1, 2].axis("off")
    text = axes[1, 2].text(0, 1, "\n".join(lines), va="top", family="monospace", fontsize=8)
    text.set_in_layout(False)
    for axis in [*axes.flat[:5], *axes.flat[6:]]:
        axis.grid(alpha=0.3)
    figure.suptitle(title, y=1 - 0.1 / figure.get_figheight())  # 0.1 in below the edge, above the titles of the plots
    _plot.save(figure, path)


Figures = dict[str, Any]
"""Of one band of commanded speed."""

GAIT_PLOTS: tuple[tuple[str, str, dict[str, Callable[[Figures], float]]], ...] = (
    (
        "root (lines) and feet (dots)",
        "forward velocity [m/s]",
        {"-": lambda band: band["root"]["vx"], ":": lambda band: band["feet"]["vx"]},
    ),
    ("slip; crosses: some do not walk", "slip [m/s]", {"-": lambda band: band["slip_m_s"]}),
    (
        "flight (lines) and duty factor (dots)",
        "share of frames",
        {"-": lambda band: band["flight"], ":": lambda band: band["duty_factor"]},
    ),
    ("cadence", "steps a second", {"-": lambda band: band["steps_per_second"]}),
    ("stride", "two steps [m]", {"-": lambda band: _stride(band)}),
    ("lean, 5 to 95 % of the frames", "pitch [degrees]", {"-": lambda band: np.degrees(band["pitch_rad"]["mean"])}),
)
"""Titles, labels, and what is drawn in which style."""

SLIP, LEAN = 1, 5
"""Which of them also show bands that do not walk, and a range."""


def _plot_gait(axes: Any, gaits: Mapping[str, dict[str, Figures]]) -> None:
    """Figures by band of commanded speed of several motions by name; in a band with a cross some do not walk."""
    bands = list(next(iter(gaits.values())))
    place = np.arange(len(bands))
    colours = ["0.35" if name == "data" else f"C{index}" for index, name in enumerate(gaits)]

    def drawn(gait: dict[str, Figures], pick: Callable[[Figures], float]) -> np.ndarray:
        return np.array([pick(gait[band]) if band in gait else np.nan for band in bands])

    for axis, (title, ylabel, kinds) in zip(axes, GAIT_PLOTS, strict=True):
        for colour, (name, gait) in zip(colours, gaits.items(), strict=True):
            for style, pick in kinds.items():
                label = name if style == "-" else None
                axis.plot(place, drawn(gait, pick), style, marker=".", color=colour, label=label)
        axis.set(title=title, ylabel=ylabel, xticks=place)
        axis.set_xticklabels([band.removesuffix(" m/s") for band in bands], rotation=40, ha="right", fontsize=7)
        axis.legend(frameon=False, fontsize=8)
    for colour, gait in zip(colours, gaits.values(), strict=True):
        slip = drawn(gait, lambda band: band["slip_m_s"])
        slides = [index for index, band in enumerate(bands) if gait.get(band, {}).get("do_not_walk")]
        axes[SLIP].scatter(slides, slip[slides], marker="x", s=80, color=colour, zorder=3)
        low, high = (drawn(gait, lambda band, end=end: np.degrees(band["pitch_rad"][end])) for end in ("low", "high"))
        axes[LEAN].fill_between(place, low, high, color=colour, alpha=0.12, linewidth=0)


def _stride(band: Figures) -> float:
    """The length of a stride, two steps [m]."""
    steps, speed = band["steps_per_second"], np.hypot(band["root"]["vx"], band["root"]["vy"])
    return 2 * speed / steps if steps else np.nan
