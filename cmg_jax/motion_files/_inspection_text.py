"""An inspection as text."""

from pathlib import Path
from typing import Any

import numpy as np

from cmg_jax.commands._components import COMMAND_NAMES, COMMAND_UNITS
from cmg_jax.motion_files import _clips
from cmg_jax.motion_files._inspection import Inspection

SMOOTHING = 0.6
"""Seconds over which the velocity of the root is averaged: about a stride."""


def text(path: Path, found: Inspection) -> str:
    """The content of the file, and a line for each check."""
    content, first = found.content, found.clips[0]
    frames = sum(len(clip.joint_pos) for clip in found.clips)
    lines = [
        ("file", str(path)),
        ("layout", f"{content.format.title}, quaternions {found.reading.groups[0].order}"),
        ("keys", ", ".join(f"{key} {_kind(value)}" for key, value in content.arrays.items())),
        (
            "motion",
            f"{len(found.clips)} clip{'s' * (len(found.clips) > 1)}, {frames} frames, {len(first.joint_names)} joints"
            + (f", {frames / first.fps:.1f} s at {first.fps:.4g} fps" if first.fps > 0 else ""),
        ),
    ]
    if first.fps > 0 and all(np.isfinite(clip.root_pos).all() for clip in found.clips):
        lines.append(("root", _root(found)))
    if first.command is not None:
        command = np.concatenate([clip.command for clip in found.clips if clip.command is not None])
        lines.append(("commands", _range(command)))
    width = max(len(name) for name, _ in [*lines, *((check.name, "") for check in found.checks)])
    checks = [(check.name, f"{check.verdict:<7}  {check.reason}") for check in found.checks]
    return "\n".join(f"{name:<{width}}  {value}" for name, value in [*lines, *checks])


def _root(found: Inspection) -> str:
    velocity = np.concatenate([_clips.yaw_frame_velocity(clip, SMOOTHING) for clip in found.clips])
    distance = sum(float(np.linalg.norm(np.diff(clip.root_pos[:, :2], axis=0), axis=-1).sum()) for clip in found.clips)
    height = np.concatenate([clip.root_pos[:, 2] for clip in found.clips])
    return f"{distance:.1f} m on the floor, {height.min():.2f} .. {height.max():.2f} m above it; {_range(velocity)}"


def _range(velocity: np.ndarray) -> str:
    units = zip(COMMAND_NAMES, COMMAND_UNITS, velocity.min(0), velocity.max(0), strict=True)
    return ", ".join(f"{name} {low:+.2f} .. {high:+.2f} {unit}" for name, unit, low, high in units)


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray | np.generic):
        return (
            f"{value.dtype if value.dtype.kind != 'U' else 'text'} {list(value.shape)}" if value.shape else f"{value}"
        )
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, list | tuple | dict) else f"{value}"
