"""A clip of a motion file as one page: path, velocity, joints within their limits, and the verdicts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cmg_jax.commands import COMMAND_LABELS
from cmg_jax.motion_files import Check, Clip, _clips
from cmg_jax.motion_files._check import OK, WRONG
from cmg_jax.viz import _plot

COLOURS = {OK: "tab:green", WRONG: "tab:red"}


def plot_clip(path: Path, clip: Clip, checks: Sequence[Check], title: str) -> None:
    """Save a picture of `clip` and the verdicts on its file.

    Raises:
      InputError: matplotlib is missing, or it cannot write the suffix.

    Examples:
      >>> from cmg_jax import motion_files, viz
      >>> inspection = motion_files.inspect(Path("walk.npz"))
      >>> viz.plot_clip(Path("clip.png"), inspection.clips[0], inspection.checks, "walk.npz")
    """
    groups = clip.robot.limbs
    figure = _plot.new_figure(figsize=(11, 2.1 * (len(groups) + 3)))
    axes = figure.subplots(len(groups) + 2, 1, height_ratios=[1.6, 1] + [1] * len(groups))
    seconds = np.arange(len(clip.joint_pos)) / (clip.fps if clip.fps > 0 else 1.0)
    axes[0].plot(*clip.root_pos[:, :2].T, linewidth=1.2)
    axes[0].plot(*clip.root_pos[0, :2], marker="o", color="tab:green")
    axes[0].set(xlabel="x [m]", ylabel="root: y [m]")
    axes[0].set_aspect("equal", adjustable="datalim")
    for row, check in enumerate(checks):
        at = 0.98 - 0.1 * row
        axes[0].text(1.02, at, f"{check.name}: {check.verdict}", color=COLOURS.get(check.verdict, "0.4"),
                     transform=axes[0].transAxes, va="top", fontsize=9)  # fmt: skip
    if clip.fps > 0 and np.isfinite(clip.root_pos).all():
        for label, values in zip(COMMAND_LABELS, _clips.yaw_frame_velocity(clip, 0.2).T, strict=True):
            (line,) = axes[1].plot(seconds, values, label=label, linewidth=1.1)
            if clip.command is not None:
                values = clip.command[:, COMMAND_LABELS.index(label)]
                axes[1].plot(seconds, values, color=line.get_color(), linewidth=0.9, linestyle=":")
    axes[1].set_ylabel("root" if clip.command is None else "root (dots: command)")
    axes[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
    known = clip.robot.has_mjcf
    limits = dict(zip(clip.joint_names, clip.robot.joint_limits, strict=True)) if known else {}
    for axis, (limb, names) in zip(axes[2:], groups.items(), strict=True):
        _plot.plot_limb(axis, seconds, clip.joint_pos, clip.robot, limb)
        for name in names:
            beyond = np.zeros(len(seconds), bool)
            if name in limits:
                values = clip.joint_pos[:, clip.joint_names.index(name)]
                beyond = (values < limits[name][0] - 0.01) | (values > limits[name][1] + 0.01)
            if beyond.any():
                values = clip.joint_pos[:, clip.joint_names.index(name)]
                axis.plot(seconds[beyond], values[beyond], color="tab:red", marker=".", markersize=3, linestyle="")
    for axis in axes:
        axis.grid(alpha=0.3)
    for axis in axes[1:]:
        axis.margins(x=0)
    axes[-1].set_xlabel("time [s]; red: beyond a limit")
    figure.suptitle(title)
    _plot.save(figure, path)
