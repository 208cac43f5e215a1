"""Libraries of recorded motion, which `cmg_jax.matching` plays without a network.

    from pathlib import Path
    import cmg_jax
    from cmg_jax import data, library

    recordings = data.load(Path("walks.npz"))  # written by cmg-jax data
    made = library.build_library(recordings)
    model, generator = cmg_jax.model_of_library(made), cmg_jax.matching()
    rollouts = library.rollouts(made)  # a data set to train on, as cmg-jax match writes it

`cmg-jax view --library` drives a library in the browser.
"""

from cmg_jax.library._build import FeatureWeights, build_library
from cmg_jax.library._nearest import beyond_library, nearest_command
from cmg_jax.library._rollouts import RolloutOptions, rollouts, walked_velocity

__all__ = [
    "FeatureWeights",
    "RolloutOptions",
    "beyond_library",
    "build_library",
    "nearest_command",
    "rollouts",
    "walked_velocity",
]
