"""Velocity commands to humanoid reference motion, inside your JAX rollout."""

from cmg_jax.checkpoint import default_model, load, save
from cmg_jax.compilation import compilation_cache, compile_ahead
from cmg_jax.errors import InputError
from cmg_jax.generators.bank import bank
from cmg_jax.generators.bank_file import load_bank
from cmg_jax.generators.base import Generator, GeneratorState, MotionFrame, at_time, standing_frame, switch
from cmg_jax.generators.guarded import guarded
from cmg_jax.generators.mirrored import mirrored
from cmg_jax.generators.motion_bank import build_bank
from cmg_jax.generators.on_tick import on_tick
from cmg_jax.generators.pregenerated import pregenerated
from cmg_jax.generators.rolling import realtime, streaming
from cmg_jax.model import CMGConfig, CMGModel, MotionBank, apply
from cmg_jax.motion_generator import CMGMotionGenerator
from cmg_jax.normalization import MotionStats
from cmg_jax.rollout import generate
from cmg_jax.version import __version__

__all__ = [
    "CMGConfig",
    "CMGModel",
    "CMGMotionGenerator",
    "Generator",
    "GeneratorState",
    "InputError",
    "MotionBank",
    "MotionFrame",
    "MotionStats",
    "__version__",
    "apply",
    "at_time",
    "bank",
    "build_bank",
    "compilation_cache",
    "compile_ahead",
    "default_model",
    "generate",
    "guarded",
    "load",
    "load_bank",
    "mirrored",
    "on_tick",
    "pregenerated",
    "realtime",
    "save",
    "standing_frame",
    "streaming",
    "switch",
]
