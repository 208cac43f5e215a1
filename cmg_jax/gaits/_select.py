"""Which recorded clips a library is made from: no feet in the floor, no joints that race, nothing twice."""

from collections.abc import Sequence

import numpy as np

from cmg_jax.motion_files import Clip
from cmg_jax.robot import _foot_quality, _g1

DEEPEST = 0.008
"""m below the floor, from which on a sole has not been put on the floor with care."""

FASTEST = 0.6
"""Share of a motor's speed limit."""

ALIKE = 0.034
"""rad, root mean square over the joints that move, below which two clips show one motion."""

OVERLAP = 0.7
"""Share of the shorter clip that another one must hold to be the same."""

MOVING = 0.06
"""rad, standard deviation of a joint that moves."""


def faults(clips: Sequence[Clip]) -> list[str]:
    """For each clip why it is left out, or an empty text. Of clips that show one motion the first one is kept.

    Args:
      clips: of one robot at one rate, on a floor at height 0.
    """
    reasons = [_fault(clip) for clip in clips]
    moving = np.concatenate([clip.joint_pos for clip in clips]).std(axis=0) > MOVING
    if not moving.any():
        return reasons
    poses = [clip.joint_pos[:, moving] for clip in clips]
    mean, spread = (np.array([part(pose, axis=0) for pose in poses]) for part in (np.mean, np.std))
    for later in range(len(clips)):
        for earlier in range(later):
            if reasons[later] or reasons[earlier]:
                continue
            near = [np.sqrt(np.square(array[later] - array[earlier]).mean()) for array in (mean, spread)]
            if max(near) < 2 * ALIKE and _distance(poses[later], poses[earlier]) < ALIKE:
                reasons[later] = f"shows the same motion as {clips[earlier].name}"
    return reasons


def _fault(clip: Clip) -> str:
    soles = _foot_quality.soles(clip.joint_pos, clip.root_pos, clip.root_quat, clip.robot)
    deepest = float(-soles[..., 2].min())
    if deepest > DEEPEST:
        return f"a sole is {1000 * deepest:.0f} mm below the floor; at most {1000 * DEEPEST:g}"
    share = np.abs(np.diff(clip.joint_pos, axis=0)) * clip.fps / _g1.joint_speeds(clip.robot)
    joint = int(share.max(axis=0).argmax())
    if share.max() > FASTEST:
        most, limit = 100 * share.max(), 100 * FASTEST
        return f"{clip.joint_names[joint]} moves at {most:.0f} % of its speed limit; at most {limit:g} %"
    return ""


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    """The least root mean square difference [rad] over all alignments that overlap enough."""
    frames, others = len(first), len(second)
    least = OVERLAP * min(frames, others)
    best = np.inf
    size = 2 ** int(np.ceil(np.log2(frames + others)))
    spectrum = np.fft.rfft(first, size, axis=0) * np.conj(np.fft.rfft(second, size, axis=0))
    product = np.fft.irfft(spectrum.sum(axis=1), size)
    squares = [np.concatenate([[0], np.cumsum(np.square(pose).sum(axis=1))]) for pose in (first, second)]
    for shift in range(-others + 1, frames):  # second[t] beside first[t + shift]
        low, high = max(shift, 0), min(frames, others + shift)
        if high - low >= least:
            both = squares[0][high] - squares[0][low] + squares[1][high - shift] - squares[1][low - shift]
            best = min(best, (both - 2 * product[shift % size]) / (high - low))
    return float(np.sqrt(max(best, 0.0) / first.shape[1]))
