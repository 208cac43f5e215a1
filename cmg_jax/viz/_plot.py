"""Pictures of motion, data and learning."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cmg_jax._errors import InputError
from cmg_jax._files import atomic_path, require_file_target
from cmg_jax.commands import COMMAND_LABELS
from cmg_jax.motion_files import Motion
from cmg_jax.robot import Robot, _sides

SUFFIXES = (".png", ".pdf", ".svg")


REWARD_AND_ERROR = {"reward of an episode": ("reward",), "joint error [rad]": ("joint_error",)}
"""Panels of the picture of a training."""


def require_matplotlib() -> None:
    """Raise InputError unless matplotlib is installed. Call it before long work.

    Examples:
      >>> from cmg_jax import viz
      >>> viz.require_matplotlib()
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError("pictures need matplotlib: pip install 'cmg_jax[viz]'")


def new_figure(**options: Any) -> Any:
    """A `matplotlib.figure.Figure`, which draws to files and arrays only.

    It is made without pyplot, which would choose a backend for the whole process of the user.

    Raises:
      InputError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(**options)
    FigureCanvasAgg(figure)
    return figure


def require_target(option: str, path: Path) -> None:
    """Raise InputError unless a picture can be written as `path`, the value of `option`. Call it before long work."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"{option} {path}: the name must end in {' or '.join(SUFFIXES)}")
    require_file_target(path)
    require_matplotlib()


def save(figure: Any, path: Path) -> None:
    """Write a figure to `path`.

    Raises:
      InputError: matplotlib cannot write the suffix.
    """
    figure.tight_layout()
    try:
        with atomic_path(path) as partial:
            figure.savefig(partial, dpi=110)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def plot_commands(path: Path, command: np.ndarray, seconds: float) -> None:
    """Save a picture of how the commands [N, 3] of a data set of `seconds` are distributed.

    Raises:
      InputError: matplotlib is missing, or it cannot write the suffix.

    Examples:
      >>> from cmg_jax import data, viz
      >>> dataset = data.load(Path("walks.npz"))
      >>> viz.plot_commands(Path("commands.png"), dataset.command, dataset.seconds)
    """
    figure = new_figure(figsize=(10, 3))
    axes = figure.subplots(1, 3)
    for axis, values, label in zip(axes, command.T, COMMAND_LABELS, strict=True):
        middle, half = (values.min() + values.max()) / 2, np.ptp(values) / 2
        half = max(half, 0.05)  # a command that hardly varies leaves no range to divide
        axis.hist(
            values, bins=60, range=(middle - half, middle + half), weights=np.full(len(values), seconds / len(values))
        )
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("seconds")
    save(figure, path)


def plot_learning_curve(
    path: Path, rows: Sequence[Mapping[str, Any]], title: str, panels: Mapping[str, Sequence[str]] = REWARD_AND_ERROR
) -> None:
    """Save a picture of figures of a training against environment steps.

    Args:
      path: file to write.
      rows: `step` and the figures of each evaluation; a dashed line is drawn at the first row's, those before the
        training.
      title: of the picture.
      panels: the label of each panel, and the names of the figures in it.

    Raises:
      InputError: matplotlib is missing, or it cannot write the suffix.

    Examples:
      >>> from cmg_jax import viz
      >>> rows = [{"step": s, "reward": s / 100, "joint_error": 1 / (s + 10)} for s in (0, 100, 200)]
      >>> viz.plot_learning_curve(Path("curve.png"), rows, "PPO")
    """
    figure = new_figure(figsize=(5 * len(panels), 3.6))
    steps = np.array([row["step"] for row in rows], float)
    for axis, (label, names) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels.items(), strict=True):
        for name in names:
            values = np.array([row[name] for row in rows], float)
            line = axis.plot(steps, values, marker="o", markersize=3, label=name.replace("_", " "))[0]
            axis.axhline(values[0], color=line.get_color(), linestyle="--", linewidth=1)
        axis.set_xlabel("environment steps (dashed: before training)")
        axis.set_ylabel(label)
        axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
        axis.grid(alpha=0.3)
        if len(names) > 1:
            axis.legend(frameon=False)
    figure.suptitle(title)
    save(figure, path)


def plot_motion(path: Path, motion: Motion, title: str = "") -> None:
    """Save a picture of the joint angles, by limb, and the commanded velocity of one environment.

    Raises:
      InputError: matplotlib is missing, or it cannot write the suffix.

    Examples:
      >>> from cmg_jax import motion_files, viz
      >>> frames = np.tile(cmg_jax.standing_frame(model), (51, 1))
      >>> motion = motion_files.of_trajectory(model.config, frames, np.zeros((50, 3), np.float32))
      >>> viz.plot_motion(Path("walk.png"), motion, "standing")
    """
    groups = motion.robot.limbs
    figure = new_figure(figsize=(10, 2.1 * (len(groups) + 1)))
    axes = figure.subplots(len(groups) + 1, 1, sharex=True)
    _plot_command(axes[0], motion)
    seconds = np.arange(motion.joint_pos.shape[0]) / motion.fps
    for axis, limb in zip(axes[1:], groups, strict=True):
        plot_limb(axis, seconds, motion.joint_pos, motion.robot, limb)
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.margins(x=0)
    axes[-1].set_xlabel("time [s]")
    figure.suptitle(title)
    save(figure, path)


def plot_limb(axis: Any, seconds: np.ndarray, joint_pos: np.ndarray, robot: Robot, limb: str) -> None:
    """Draw the joints of a limb, from joint_pos [T, J] rad, against time [T] s."""
    for name in robot.limbs[limb]:
        label = _sides.label(name, robot.sides)
        axis.plot(seconds, joint_pos[:, robot.joint_names.index(name)], label=label, linewidth=1.1)
    axis.set_ylabel(f"{limb} [rad]")
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)


def _plot_command(axis: Any, motion: Motion) -> None:
    seconds = np.arange(motion.commands.shape[0]) / motion.fps
    for column, label in enumerate(COMMAND_LABELS):
        axis.step(seconds, motion.commands[:, column], where="post", label=label)
    axis.set_ylabel("command")
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
