"""Whether the root of a motion fits its legs: feet on the floor that do not slide, a body that leans as walkers do."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from cmg_jax.motion_files import _clips, _evidence
from cmg_jax.motion_files._check import OK, UNKNOWN, WRONG, Check
from cmg_jax.motion_files._clips import Clip
from cmg_jax.robot import _foot_quality
from cmg_jax.robot._root import gravity_of

NAMES = ("floor", "sliding", "lean")

SLIDING = 0.1
"""m/s up to which feet that slide are not reported as wrong: retargeted well they slide at 0.02 or less in a walk."""

GLIDING = 0.5
"""Fraction of the root's speed at which feet that slide do not carry the root. Recordings of walking, running and
sprinting retargeted by others are below 0.1, or 0.4 where their feet visibly slide; a robot that glides is near 1."""

ASKEW = 5.0
"""Degrees by which a body may lean to one side. The medians of recordings are up to 4."""


def check_root(clips: Sequence[Clip], *, doubted: bool) -> list[Check]:
    """The checks of `NAMES` of clips that are alike; `doubted`: it is not certain that they are read right."""
    clips = [clip for clip in clips if len(clip.joint_pos) > 1]
    unknown = _why_unknown(clips, doubted)
    if unknown:
        return [Check(name, UNKNOWN, unknown) for name in NAMES]
    return [*_check_feet(clips), _check_lean(clips)]


def _why_unknown(clips: Sequence[Clip], doubted: bool) -> str:
    if doubted:
        return "not while it is uncertain how the file is to be read"
    if not clips or clips[0].fps <= 0:
        return "not without a rate"
    if not clips[0].robot.walks:
        return "the feet of this robot are not known"
    tilt = np.degrees(np.concatenate([_clips.tilt(clip.root_quat) for clip in clips])).mean()
    if tilt > _evidence.UPRIGHT:
        return f"it leans by {tilt:.0f} degrees on average, so it does not walk"
    return next((_clips.unrecorded_root(clip) for clip in clips if _clips.root_is_still(clip)), "")


def _check_feet(clips: Sequence[Clip]) -> list[Check]:
    """Whether feet come down on the floor, and stand still there."""
    fps = clips[0].fps
    soles = [_foot_quality.soles(clip.joint_pos, clip.root_pos, clip.root_quat, clip.robot) for clip in clips]
    found = _foot_quality.figures(soles, fps)
    side = "above" if found.floating > 0 else "below"
    reason = f"feet come down {abs(found.floating):.3f} m {side} height 0"
    floor = Check("floor", OK, f"{reason}, and reach {found.penetration:.3f} m below it")
    if abs(found.floating) > _foot_quality.OFF_FLOOR:
        floor = Check("floor", WRONG, f"{reason}; cmg-jax data takes heights from there")
        found = _foot_quality.figures([points - [0, 0, found.floating] for points in soles], fps)
    if np.isnan(found.slip):
        return [floor, Check("sliding", UNKNOWN, "no foot is near the floor")]
    paths = sum(float(np.linalg.norm(np.diff(clip.root_pos[:, :2], axis=0), axis=-1).sum()) for clip in clips)
    speed = paths * fps / sum(len(clip.joint_pos) - 1 for clip in clips)
    reason = f"the slowest point on the floor slides at {found.slip:.3f} m/s, the root moves at {speed:.2f} m/s"
    if found.slip > max(SLIDING, GLIDING * speed):
        return [floor, Check("sliding", WRONG, f"{reason}: it does not follow the legs")]
    return [floor, Check("sliding", OK, f"{reason}; no foot is near it in {100 * found.flight:.0f} % of the frames")]


def _check_lean(clips: Sequence[Clip]) -> Check:
    """How the root leans, and whether to one side."""
    if unrecorded := next((reason for clip in clips if (reason := _clips.unrecorded_root(clip))), ""):
        return Check("lean", UNKNOWN, unrecorded)
    quat = np.concatenate([clip.root_quat for clip in clips])
    forward, left = np.degrees(np.arcsin(np.clip(np.asarray(gravity_of(jnp.asarray(quat))), -1, 1))).T
    reason = (
        f"{_direction(forward, 'forward', 'backward')} and {_direction(left, 'to the left', 'to the right')} in the "
        f"median frame, at most {np.degrees(_clips.tilt(quat)).max():.0f} degrees"
    )
    if abs(np.median(left)) > ASKEW:
        return Check("lean", WRONG, f"{reason}: askew")
    return Check("lean", OK, reason)


def _direction(angles: np.ndarray, positive: str, negative: str) -> str:
    angle = float(np.median(angles))
    return f"{abs(angle):.1f} degrees {positive if angle > 0 else negative}"
