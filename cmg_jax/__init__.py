"""Velocity commands to humanoid reference motion, inside your JAX rollout."""

from cmg_jax.checkpoint import default_model, load, save
from cmg_jax.errors import InputError
from cmg_jax.generators.bank import MotionBank, bank, build_bank
from cmg_jax.generators.base import Generator, MotionFrame, at_time
from cmg_jax.generators.pregenerated import pregenerated
from cmg_jax.generators.rolling import realtime, streaming
from cmg_jax.model import CMGConfig, CMGModel, apply
from cmg_jax.normalization import MotionStats
from cmg_jax.rollout import generate
from cmg_jax.version import __version__

__all__ = [
    "CMGConfig",
    "CMGModel",
    "Generator",
    "InputError",
    "MotionBank",
    "MotionFrame",
    "MotionStats",
    "__version__",
    "apply",
    "at_time",
    "bank",
    "build_bank",
    "default_model",
    "generate",
    "load",
    "pregenerated",
    "realtime",
    "save",
    "streaming",
]
