"""An evaluation as one page of plots."""

from collections.abc import Callable
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
    has_gait = "gait" in report
    figure = _plot.new_figure(figsize=(12, 11.5 if has_gait else 7))
    axes = figure.subplots(3 if has_gait else 2, 3)
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
    if has_gait:
        gait = report["gait"]
        lines.append(f"does not walk\n  {gait['rows_that_do_not_walk']} of {gait['rows_that_move']} commands")
        _plot_gait(axes[2], gait["bands"], report.get("data", {}).get("bands", {}))
    axes[1, 2].axis("off")
    axes[1, 2].text(0, 1, "\n\n".join(lines), va="top", family="monospace", fontsize=8 if has_gait else 9)
    for axis in [*axes.flat[:5], *axes.flat[6:]]:
        axis.grid(alpha=0.3)
    figure.suptitle(title)
    _plot.save(figure, path)


def _plot_gait(axes: Any, bands: dict[str, Any], data: dict[str, Any]) -> None:
    """Velocity, slip and contact by band of commanded speed; a band with commands that do not walk is marked."""
    place = np.arange(len(bands))

    def figure(values: dict[str, Any], pick: Callable[[dict[str, Any]], float]) -> list[float]:
        return [pick(values[band]) if band in values else np.nan for band in bands]

    for axis, title, ylabel, kinds in (
        (axes[0], "root and feet", "forward velocity [m/s]", (("root", _forward("root")), ("feet", _forward("feet")))),
        (axes[1], "slip; crosses: some do not walk", "slip [m/s]", (("slip", lambda values: values["slip_m_s"]),)),
        (
            axes[2],
            "flight and duty factor",
            "share of frames",
            (("flight", lambda values: values["flight"]), ("duty", lambda values: values["duty_factor"])),
        ),
    ):
        for index, (name, pick) in enumerate(kinds):
            axis.plot(place, figure(bands, pick), marker="o", color=f"C{index}", label=name)
            if data:
                axis.plot(place, figure(data, pick), linestyle="--", color=f"C{index}", label=f"{name}, data")
        axis.set(title=title, ylabel=ylabel, xticks=place)
        axis.set_xticklabels([band.removesuffix(" m/s") for band in bands], rotation=40, ha="right", fontsize=7)
        axis.legend(frameon=False, fontsize=8)
    glides = [index for index, values in enumerate(bands.values()) if values["do_not_walk"]]
    slip = figure(bands, lambda values: values["slip_m_s"])
    axes[1].scatter(glides, [slip[index] for index in glides], marker="x", s=90, color="C3", zorder=3)


def _forward(name: str) -> Callable[[dict[str, Any]], float]:
    return lambda values: values[name]["vx"]
