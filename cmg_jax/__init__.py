"""Velocity commands to humanoid reference motion, inside your JAX rollout.

    import jax
    import jax.numpy as jnp
    import cmg_jax

    model, generator = cmg_jax.default_model(), cmg_jax.streaming(20)
    command = jnp.broadcast_to(jnp.array([0.8, 0.0, 0.0]), (64, 3))  # vx, vy [m/s], yaw rate [rad/s]
    state = generator.init(model, jax.random.key(0), command)
    state, frame = generator.step(model, state)  # inside your jitted step

This package holds the names that most programs need. `cmg_jax.generators`, `cmg_jax.commands`, `cmg_jax.model` and the
other packages have more. Modules whose names begin with an underscore are private and may change at any time.
"""

from cmg_jax._errors import InputError
from cmg_jax._rollout import generate
from cmg_jax._version import __version__
from cmg_jax.generators import (
    CMGMotionGenerator,
    Generator,
    GeneratorState,
    MotionFrame,
    at_time,
    build_bank,
    compilation_cache,
    compile_ahead,
    guarded,
    matching,
    mirrored,
    on_tick,
    pregenerated,
    realtime,
    replay,
    standing_frame,
    streaming,
    switch,
)
from cmg_jax.library import build_library
from cmg_jax.model import (
    CMGConfig,
    CMGModel,
    MotionBank,
    MotionLibrary,
    MotionStats,
    apply,
    default_model,
    load,
    model_of_library,
    save,
    with_library,
)
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
    "MotionLibrary",
    "MotionStats",
    "__version__",
    "apply",
    "at_time",
    "build_bank",
    "build_library",
    "compilation_cache",
    "compile_ahead",
    "default_model",
    "generate",
    "guarded",
    "load",
    "load_bank",
    "matching",
    "mirrored",
    "model_of_library",
    "on_tick",
    "pregenerated",
    "realtime",
    "replay",
    "save",
    "standing_frame",
    "streaming",
    "switch",
    "with_library",
]
