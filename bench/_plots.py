"""Pictures of a benchmark: time and memory against environments, and the roofline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench._measure import Section
from cmg_jax.viz import _plot

AGAINST = {"growth with environments": "envs", "growth with frames": "steps"}


def plot_sections(directory: Path, sections: Sequence[Section], machine: dict[str, Any]) -> list[Path]:
    """Save a picture of each section that has one in `directory`; returns the files written."""
    written = []
    title = f"{machine['device']}, {machine['cores']} cores, jax {machine['jax']}"
    for section in sections:
        path = directory / f"{section.name.replace(' ', '_')}.png"
        if section.name in AGAINST:
            _plot_growth(path, section, AGAINST[section.name], title)
        elif section.name == "modes":
            _plot_modes(path, section, title)
        elif section.name == "generate":
            path = directory / "roofline.png"
            _plot_roofline(path, section, machine, title)
        elif section.name in ("rollout", "peers"):
            _plot_ratios(path, section, title)
        else:
            continue
        written.append(path)
    return written


def _plot_growth(path: Path, section: Section, against: str, title: str) -> None:
    figure = _plot.new_figure(figsize=(9, 3.6))
    axes = figure.subplots(1, 2)
    sizes = np.array([row[against] for row in section.rows], float)
    for axis, key, label in zip(axes, ("seconds", "memory_mb"), ("seconds", "MB"), strict=True):
        values = np.array([row[key] for row in section.rows])
        axis.loglog(sizes, values, marker="o", label="measured")
        axis.loglog(sizes, values[0] * sizes / sizes[0], color="0.6", linestyle="--", label="in proportion")
        axis.set(xlabel={"envs": "environments", "steps": "frames"}[against], ylabel=label)
        axis.set_xticks(sizes, [f"{size:.0f}" for size in sizes])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    figure.suptitle(title, fontsize=9)
    _plot.save(figure, path)


def _plot_modes(path: Path, section: Section, title: str) -> None:
    figure = _plot.new_figure(figsize=(12, 3.8))
    axes = figure.subplots(1, 3)
    rows = [row for row in section.rows if "frames_per_second" in row]
    sizes = sorted({row["envs"] for row in rows})
    labels = {"served_100_ms": "100 steps [ms]", "init_ms": "init [ms]", "state_mb": "state [MB]"}
    for axis, (key, label) in zip(axes, labels.items(), strict=True):
        for mode in dict.fromkeys(row["mode"] for row in rows):
            of_mode = [row for row in rows if row["mode"] == mode]
            axis.loglog([row["envs"] for row in of_mode], [row[key] for row in of_mode], marker="o", label=mode)
        axis.set(xlabel="environments", ylabel=label)
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=9)
    _plot.save(figure, path)


def _plot_roofline(path: Path, section: Section, machine: dict[str, Any], title: str) -> None:
    peak, bandwidth = machine["matmul_peak"], machine["bandwidth"]
    figure = _plot.new_figure(figsize=(6.4, 4))
    axis = figure.subplots()
    intensity = np.logspace(-1, 3, 100)
    axis.loglog(intensity, np.minimum(peak, bandwidth * intensity) / 1e9, color="0.4")
    for row in section.rows:
        rate = row["frames_per_second"] * row["operations_per_frame"] / 1e3
        axis.plot(row["operations_per_byte"], rate, marker="o", linestyle="", label=f"{row['envs']} environments")
    axis.set(xlabel="operations a byte (XLA's count)", ylabel="GFLOP/s")
    axis.text(intensity[-1], peak / 1e9, "matrix-product peak ", ha="right", va="bottom", fontsize=8)
    axis.text(intensity[2], bandwidth * intensity[2] / 1e9, " memory", ha="left", va="top", fontsize=8)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8)
    axis.set_title(title, fontsize=9)
    _plot.save(figure, path)


def _plot_ratios(path: Path, section: Section, title: str) -> None:
    rows = section.rows
    names = [_name(row) for row in rows]
    figure = _plot.new_figure(figsize=(8, 0.3 * len(rows) + 1.4))
    axis = figure.subplots()
    ratios = np.array([row["ratio"] for row in rows])
    spread = np.array([[row["ratio"] - row["ratio_low"], row["ratio_high"] - row["ratio"]] for row in rows]).T
    axis.barh(names, ratios, xerr=spread, color="tab:blue", alpha=0.7)
    axis.invert_yaxis()
    axis.axvline(1, color="0.4", linewidth=1)
    if section.name == "peers":
        axis.set_xscale("log")
    axis.set_xlabel(section.columns["ratio"].rpartition("|")[0])
    axis.grid(alpha=0.3, axis="x")
    axis.set_title(title, fontsize=9)
    _plot.save(figure, path)


def _name(row: dict[str, Any]) -> str:
    what = row.get("peer") or f"{row['mode']}{', events' if row['events'] == 'yes' else ''}"
    return f"{what}, {row['envs']}"
