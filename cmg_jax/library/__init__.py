"""Libraries of recorded motion, which `cmg_jax.matching` plays without a network.

from pathlib import Path
import cmg_jax
from cmg_jax import data

library = cmg_jax.build_library(data.load(Path("walks.npz")))  # written by cmg-jax data
model, generator = cmg_jax.model_of_library(library), cmg_jax.matching()
"""

from cmg_jax.library._build import FeatureWeights, build_library

__all__ = ["FeatureWeights", "build_library"]
