"""Velocity commands to humanoid reference motion, inside your JAX rollout."""

from cmg_jax._errors import InputError
from cmg_jax._rollout import generate
from cmg_jax._version import __version__
from cmg_jax.generators._base import Generator, GeneratorState, MotionFrame, at_time, standing_frame, switch
from cmg_jax.generators._compiled import compilation_cache, compile_ahead
from cmg_jax.generators._guarded import guarded
from cmg_jax.generators._mirrored import mirrored
from cmg_jax.generators._motion_bank import build_bank
from cmg_jax.generators._on_tick import on_tick
from cmg_jax.generators._pregenerated import pregenerated
from cmg_jax.generators._replay import bank
from cmg_jax.generators._rolling import realtime, streaming
from cmg_jax.generators._stateful import CMGMotionGenerator
from cmg_jax.model._checkpoint import default_model, load, save
from cmg_jax.model._model import CMGConfig, CMGModel, MotionBank, apply
from cmg_jax.model._normalization import MotionStats
from cmg_jax.store._load_bank import load_bank

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
