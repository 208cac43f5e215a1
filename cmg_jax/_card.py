"""The card of a model, as text."""

from pathlib import Path

import jax
import numpy as np

from cmg_jax.commands._components import COMMAND_LABELS
from cmg_jax.model._model import CMGModel, without_kernels
from cmg_jax.robot import Robot
from cmg_jax.robot._frame import describe


def card(model: CMGModel, path: Path) -> str:
    """A description of a model in lines of text."""
    config, stats = model.config, model.stats
    weights = sum(leaf.size for leaf in jax.tree.leaves(without_kernels(model).params))
    widths = (config.motion_dim + config.command_dim, *config.hidden_dims, config.motion_dim)
    lines = [
        ("model", str(path)),
        ("network", f"{config.num_experts} experts, layers {' -> '.join(map(str, widths))}, {weights:,} parameters"),
        ("gate", " -> ".join(map(str, (widths[0], *config.gate_dims, config.num_experts)))),
        ("frame", describe(config.frame_parts)),
        ("robot", robot_text(config.robot)),
        ("fps", f"{config.fps:g}"),
        ("initial frames", "none" if model.initial_motion is None else str(len(model.initial_motion))),
    ]
    low, high = np.asarray(stats.command_min), np.asarray(stats.command_max)
    for index in range(config.command_dim):
        name = COMMAND_LABELS[index] if config.command_dim == len(COMMAND_LABELS) else f"command {index}"
        lines.append((f"trained {name}", f"{low[index]:+.2f} .. {high[index]:+.2f}"))
    lines += config.provenance
    width = max(len(key) for key, _ in lines)
    text = [f"{key:<{width}}  {value}" for key, value in lines]
    return "\n".join([*text, "joints", *(f"  {index:2d}  {name}" for index, name in enumerate(config.joint_names))])


def robot_text(robot: Robot) -> str:
    """A description of a robot in one line."""
    if not robot.has_mjcf:
        return "known by the names of its joints only"
    feet = f"on {' and '.join(robot.feet)}" if robot.feet else "its feet are not known"
    return f"{robot.name}, {robot.num_joints} of {len(robot.hinge_names)} joints, {feet}"
