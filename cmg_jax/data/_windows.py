"""Windows of a data set, and how likely each is drawn."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.data._dataset import FEET, Dataset

START_MARGIN = 10
"""Number of frames after a start in which the motion still shows which foot went first."""


class Windows(NamedTuple):
    """W windows: where they begin, how likely they are, and what mirroring does to them."""

    start: jax.Array  # [W] int32, first frame
    cumulative: jax.Array  # [W] float32, cumulative probabilities; the last one is 1
    mirror: jax.Array  # [W] int32: NEVER, MAYBE or ALWAYS


NEVER, MAYBE, ALWAYS = 0, 1, 2
"""Whether a window is drawn mirrored: MAYBE is half of the time."""


def make_windows(
    dataset: Dataset, length: int, *, stride: int = 5, start_weight: float = 6.0, balance: float = 0.5
) -> Windows:
    """Windows of `length` + 1 frames that lie within one clip.

    Windows with a start from standing all start with the same foot, the one that goes first in most of the data:
    windows that start with the other foot are mirrored. With starts on either foot the least-squares answer is their
    mean, which is to stand still. Where nine in ten starts already agree, no start is mirrored.

    Args:
      dataset: the frames.
      length: number of frames that are predicted in a window.
      stride: number of frames from one window to the next.
      start_weight: how much likelier a window with a start is than others.
      balance: from 0, where all windows are equally likely, to 1, where all walking speeds are.

    Raises:
      InputError: no clip is long enough.

    Examples:
      >>> from cmg_jax import data
      >>> dataset = data.load(Path("walks.npz"))
      >>> windows = data.make_windows(dataset, length=20, stride=10)
      >>> windows.start.shape
      (29,)
    """
    first = np.arange(0, max(len(dataset.motion) - length, 0), stride)
    first = first[dataset.clip[first] == dataset.clip[first + length]]
    if not len(first):
        raise InputError(f"no clip of the data set has {length + 1} frames; take a shorter window")
    other, usual = sorted(FEET, key=lambda foot: (dataset.first_foot == foot).sum())
    agree = (dataset.first_foot == usual).sum() >= 0.9 * (dataset.first_foot != 0).sum()
    holds = {foot: _any_within(dataset.first_foot == foot, first - START_MARGIN, first + length) for foot in FEET}
    mirror = np.where(holds[usual], NEVER, np.where(holds[other], NEVER if agree else ALWAYS, MAYBE))

    speed = np.linalg.norm(dataset.command[first + length // 2, :2], axis=-1)
    bins = np.minimum((speed / 0.2).astype(int), 20)
    density = np.bincount(bins)[bins] / len(bins)
    weight = density**-balance * np.where(mirror == MAYBE, 1.0, start_weight)
    cumulative = np.cumsum(weight) / weight.sum()
    return Windows(jnp.asarray(first, jnp.int32), jnp.asarray(cumulative, jnp.float32), jnp.asarray(mirror, jnp.int32))


def _any_within(mask: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Whether `mask` holds in any of the frames low to high, the latter included."""
    counts = np.concatenate([[0], np.cumsum(mask)])
    return counts[np.minimum(high + 1, len(mask))] > counts[np.maximum(low, 0)]
