"""Converts motions to radians, metres and quaternions of length 1."""

from collections.abc import Callable, Sequence

import numpy as np

from cmg_jax.motion_files._clips import Clip, implied_fps

LENGTH_TOLERANCE = 0.1
"""Deviation of a quaternion's length from 1 that scaling or rounding explains. Others are not rotations."""

LENGTHS = {"m": 1.0, "cm": 0.01, "mm": 0.001}

Report = Callable[..., None]
"""Takes the name of a check and the text of a note or question about it."""


def in_degrees(joint_pos: np.ndarray) -> bool:
    """Whether joint angles can only be degrees: beyond a full turn as radians, and all within half a turn as degrees.

    No joint of the G1 goes beyond 3.1 rad, and none of a standing one stays below 6 degrees.
    """
    finite = np.abs(joint_pos[np.isfinite(joint_pos)])
    return bool(finite.size and 2 * np.pi < np.quantile(finite, 0.999) and finite.max() < 200)


def normalized_quaternions(clips: Sequence[Clip], note: Report) -> list[Clip]:
    """The clips with quaternions of length 1, unless some are too far from it to be rotations."""
    lengths = np.concatenate([np.linalg.norm(clip.root_quat, axis=-1) for clip in clips])
    if not (np.abs(lengths - 1) < LENGTH_TOLERANCE).all():
        return list(clips)
    if np.abs(lengths - 1).max() > 5e-3:
        note("numbers", f"quaternions of length {lengths.min():.3f} .. {lengths.max():.3f} normalized")
    return [
        clip._replace(root_quat=clip.root_quat / np.linalg.norm(clip.root_quat, axis=-1, keepdims=True))
        for clip in clips
    ]


def in_radians(clips: list[Clip], angles: str | None, note: Report, ask: Report) -> list[Clip]:
    """The clips in radians; `angles` is the unit that the user states, if any."""
    every = np.concatenate([clip.joint_pos.ravel() for clip in clips])
    degrees = angles == "degrees" or (angles is None and in_degrees(every))
    finite = np.abs(every[np.isfinite(every)])
    if not degrees:
        if angles is None and finite.size and np.quantile(finite, 0.999) > 2 * np.pi:
            ask(
                "units",
                f"joint angles reach {finite.max():.4g}, neither radians nor degrees; "
                "state the unit with --assume angles=...",
            )
        return clips
    note("units", "joint angles in degrees, converted to radians", angles is None)
    out = []
    for clip in clips:
        turned = clip._replace(joint_pos=np.radians(clip.joint_pos))
        rate = implied_fps(turned)
        # Velocities may be in radians already: the unit that agrees with the rate is used.
        if rate and abs(np.log(abs(np.degrees(1.0) * clip.fps / rate))) < abs(np.log(abs(clip.fps / rate))):
            turned = turned._replace(joint_vel=np.radians(clip.joint_vel))  # pyright: ignore
        out.append(turned)
    return out


def metres_per_unit(clips: Sequence[Clip]) -> float:
    """The unit of length in metres that the height of the root implies: a pelvis is 0.2 to 2 m above the floor."""
    heights = np.concatenate([clip.root_pos[:, 2] for clip in clips])
    height = float(np.median(heights[np.isfinite(heights)])) if np.isfinite(heights).any() else 0.0
    return 0.01 if 20 < height < 200 else 0.001 if 200 <= height < 2000 else 1.0
