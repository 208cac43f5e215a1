"""Velocity commands to humanoid reference motion, inside your JAX rollout."""

from cmg_jax.checkpoint import default_model, load, save
from cmg_jax.errors import InputError
from cmg_jax.model import CMGConfig, CMGModel, apply
from cmg_jax.normalization import MotionStats
from cmg_jax.rollout import generate
from cmg_jax.version import __version__

__all__ = [
    "CMGConfig",
    "CMGModel",
    "InputError",
    "MotionStats",
    "__version__",
    "apply",
    "default_model",
    "generate",
    "load",
    "save",
]
