"""Velocity commands: ranges to draw them from, draws, smoothers and schedules.

A command is vx and vy [m/s] in the robot's frame and a yaw rate [rad/s].

    import jax
    import cmg_jax
    from cmg_jax import commands

    trained = commands.trained_range(cmg_jax.default_model())
    command = commands.uniform(jax.random.key(0), trained, 4096)  # [4096, 3]

    smoother = commands.ramp(25)
    state = smoother.init(command)
    state = smoother.step(smoother.request(state, 0.5 * command))  # state.smoothed is 1/25 of the way there
"""

from cmg_jax.commands._components import COMMAND_LABELS, COMMAND_NAMES, COMMAND_UNITS
from cmg_jax.commands._sampler import (
    ORIGINAL_PRESETS,
    ORIGINAL_RANGE,
    ORIGINAL_STAGES,
    CommandRange,
    CommandSampler,
    HeldCommand,
    clip,
    curriculum,
    forward_only,
    hold,
    next_held,
    normal,
    presets,
    sequence,
    stages,
    trained_range,
    truncated_normal,
    uniform,
    with_minimum_speed,
    with_standing,
    within,
)
from cmg_jax.commands._schedule import hold_each, interpolate, read_schedule
from cmg_jax.commands._smoother import Smoother, SmootherState, ramp, rate_limit

__all__ = [
    "COMMAND_LABELS",
    "COMMAND_NAMES",
    "COMMAND_UNITS",
    "ORIGINAL_PRESETS",
    "ORIGINAL_RANGE",
    "ORIGINAL_STAGES",
    "CommandRange",
    "CommandSampler",
    "HeldCommand",
    "Smoother",
    "SmootherState",
    "clip",
    "curriculum",
    "forward_only",
    "hold",
    "hold_each",
    "interpolate",
    "next_held",
    "normal",
    "presets",
    "ramp",
    "rate_limit",
    "read_schedule",
    "sequence",
    "stages",
    "trained_range",
    "truncated_normal",
    "uniform",
    "with_minimum_speed",
    "with_standing",
    "within",
]
