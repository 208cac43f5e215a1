"""Generators: reference motion for a batch of environments, one frame a step.

A mode (`pregenerated`, `realtime`, `streaming`, `replay`, `matching`) or a wrapper around one (`on_tick`, `mirrored`,
`guarded`, `sharded`) gives a `Generator`, a tuple of pure functions; `help(generator.reset)` says what each one takes.

    import jax
    import jax.numpy as jnp
    import cmg_jax

    model, generator = cmg_jax.default_model(), cmg_jax.streaming(20)
    command = jnp.broadcast_to(jnp.array([0.8, 0.0, 0.0]), (64, 3))  # vx, vy [m/s], yaw rate [rad/s]
    state = generator.init(model, jax.random.key(0), command)
    state, frame = generator.step(model, state)  # frame.joint_pos and frame.joint_vel, [64, 29]
    ahead = generator.lookahead(model, state, (1, 5, 20))  # [64, 3, 29]

`root_ahead` adds the whole root and the contacts to frames, of any mode and any model.
"""

from cmg_jax.generators._any_mode import at_time, switch
from cmg_jax.generators._base import (
    Generator,
    GeneratorState,
    InitFn,
    LookaheadFn,
    MotionFrame,
    ResetFn,
    SetCommandFn,
    StepFn,
    standing_frame,
)
from cmg_jax.generators._compiled import compilation_cache, compile_ahead
from cmg_jax.generators._guarded import GuardCounts, GuardedState, guarded
from cmg_jax.generators._matching import MatchingState, matching
from cmg_jax.generators._mirrored import MirroredState, mirrored
from cmg_jax.generators._motion_bank import build_bank
from cmg_jax.generators._on_tick import TickState, on_tick
from cmg_jax.generators._pregenerated import PregeneratedState, pregenerated
from cmg_jax.generators._replay import ReplayState, replay
from cmg_jax.generators._rolling import RollingState, realtime, streaming
from cmg_jax.generators._root_ahead import RootAhead, root_ahead
from cmg_jax.generators._sharded import generate_sharded, mesh, replicate, shard_rows, sharded
from cmg_jax.generators._stateful import CMGMotionGenerator

__all__ = [
    "CMGMotionGenerator",
    "Generator",
    "GeneratorState",
    "GuardCounts",
    "GuardedState",
    "InitFn",
    "LookaheadFn",
    "MatchingState",
    "MirroredState",
    "MotionFrame",
    "PregeneratedState",
    "ReplayState",
    "ResetFn",
    "RollingState",
    "RootAhead",
    "SetCommandFn",
    "StepFn",
    "TickState",
    "at_time",
    "build_bank",
    "compilation_cache",
    "compile_ahead",
    "generate_sharded",
    "guarded",
    "matching",
    "mesh",
    "mirrored",
    "on_tick",
    "pregenerated",
    "realtime",
    "replay",
    "replicate",
    "root_ahead",
    "shard_rows",
    "sharded",
    "standing_frame",
    "streaming",
    "switch",
]
