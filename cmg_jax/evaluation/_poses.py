"""How far generated poses are from recorded ones, and how much both vary: averaged motion varies little."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cmg_jax.data._dataset import Dataset

GENERATED, RECORDED, CHUNK = 2000, 50_000, 250
"""Poses that are compared, evenly from all there are, and how many at a time."""


def poses(motion: np.ndarray, data: Dataset) -> dict[str, float]:
    """Figures of the poses of motions [B, T, D] beside those of `data`.

    Returns:
      "nearest_rad": distance of a generated pose to the nearest recorded one (root mean square over joints), on
      average; "nearest_of_data_rad": that of a recorded pose to the nearest one of another clip, NaN of one clip;
      "spread_rad" and "spread_of_data_rad": root mean square distance of poses to their mean.
    """
    num_joints = data.robot.num_joints
    generated = _evenly(motion.reshape(-1, motion.shape[-1])[:, :num_joints], GENERATED)
    recorded, clip = (_evenly(values, RECORDED) for values in (data.motion[:, :num_joints], data.clip))
    some, of_clip = _evenly(recorded, GENERATED), _evenly(clip, GENERATED)
    return {
        "nearest_rad": _nearest(generated, recorded, np.full(len(generated), -1), clip),
        "nearest_of_data_rad": _nearest(some, recorded, of_clip, clip) if len(np.unique(clip)) > 1 else np.nan,
        "spread_rad": _spread(generated),
        "spread_of_data_rad": _spread(recorded),
    }


def _evenly(values: np.ndarray, count: int) -> np.ndarray:
    return values if len(values) <= count else values[np.linspace(0, len(values) - 1, count).astype(int)]


def _spread(pose: np.ndarray) -> float:
    return float(np.sqrt(pose.var(axis=0).mean()))


def _nearest(pose: np.ndarray, recorded: np.ndarray, own: np.ndarray, clip: np.ndarray) -> float:
    """Mean distance of poses [N, J] to the nearest of the recorded ones [M, J] of another clip than `own` [N]."""
    chunks = [slice(first, first + CHUNK) for first in range(0, len(pose), CHUNK)]
    found = [np.asarray(_distance(pose[chunk], recorded, own[chunk], clip)) for chunk in chunks]
    return float(np.concatenate(found).mean())


@jax.jit
def _distance(
    pose: Float[Array, "N J"], recorded: Float[Array, "M J"], own: jax.Array, clip: jax.Array
) -> Float[Array, " N"]:
    product = jnp.matmul(pose, recorded.T, precision="highest")
    square = (pose**2).sum(axis=1)[:, None] - 2 * product + (recorded**2).sum(axis=1)[None]
    nearest = jnp.where(own[:, None] == clip[None], jnp.inf, square).argmin(axis=1)
    return jnp.sqrt(jnp.square(pose - recorded[nearest]).mean(axis=1))
