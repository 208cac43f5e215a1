"""Configurations of runs for a CPU with two cores: `fixed`, `walk`, and what `walk` is without reference."""

import dataclasses
from typing import Any

from cmg_jax.rl._config import CommandConfig, PPOConfig, RunConfig

WALK = RunConfig(
    standing_fraction=0.25,  # enough to learn how to start; the others begin anywhere in a stride
    hidden_layers=(256, 128),
    noise_std=0.2,  # with the action scale 0.1 rad: more makes the robot fall before it has learned to balance
    env={
        "floating": True,
        "engine": "mujoco",
        "sim_dt": 0.01,  # 2 substeps; bench/physics.py compares them with shorter ones
        "solver": [100, 50],  # to convergence, which costs C MuJoCo nothing
        "action_scale": 0.5,
        # Without an action the joints are 0.06 rad from the reference (with 10 Hz and 2: 0.14); stiffness is
        # 90 N m/rad at the hips and 223 at the knees.
        "natural_frequency": 15.0,
        "damping_ratio": 1.0,
        # Wider than those of a fixed base, whose joints carry no weight; velocities are what a command is about.
        "widths": {
            "joint_pos": 0.15,
            "joint_vel": 2.0,
            "key_bodies": 0.1,
            "linear_velocity": 0.3,
            "angular_velocity": 1.0,
        },
        # A person's pelvis turns in each stride, by 0.3 rad/s around the command; a robot need not turn as far.
        "rewards": {"command_yaw_rate": 1.0},
        # A robot that leans this far falls: what follows teaches nothing, and would be a third of all steps at first.
        "termination": {"height": 0.2, "tilt": 0.6, "lowest": 0.5, "lean": 0.7},
    },
    commands=CommandConfig(vx=(-0.1, 1.0), vy=(-0.25, 0.25), yaw_rate=(-0.6, 0.6), still=0.1),
    ppo=PPOConfig(
        num_timesteps=20_000_000,
        num_evals=21,
        num_envs=512,
        num_eval_envs=72,  # twice each command of the grid
        episode_length=500,  # 10 s
        unroll_length=20,  # 10 240 steps an update
        batch_size=128,
        num_updates_per_batch=5,
        learning_rate=3e-4,
        learning_rate_schedule="ADAPTIVE_KL",
        desired_kl=0.015,
        discounting=0.98,  # 50 steps, a second: so long does a fall take
        gae_lambda=0.95,
        reward_scaling=1.0,  # returns of about 5
    ),
)

JOYSTICK_REWARDS: dict[str, Any] = {
    "joint_pos": 0.0,
    "joint_vel": 0.0,
    "key_bodies": 0.0,
    "root_height": 0.0,
    "tilt": 0.0,
    "linear_velocity": 0.0,
    "angular_velocity": 0.0,
    "contacts": 0.0,
    "command_velocity": 1.0,
    "command_yaw_rate": 0.75,
    "lean": -2.0,
    "sway": -0.15,
    "feet_air_time": 2.0,
    "stand_still": -1.0,
    "pose": -0.1,
    "termination": -100.0,
}
"""The scales of the joystick task of MuJoCo Playground's G1. Its gait clock, and its penalties for slip, collisions,
contact forces, hips and knees are left out; our small penalties for torques and changes of action stay."""

PRESETS = {"fixed": RunConfig(), "walk": WALK}


def with_env(config: RunConfig, settings: dict[str, Any]) -> RunConfig:
    """The run with other settings of its environment."""
    return dataclasses.replace(config, env=config.env | settings)


def without_residual(config: RunConfig) -> RunConfig:
    """The run whose actions are added to the standing pose; observation and reward have the reference."""
    return with_env(config, {"residual": False})


def without_reference(config: RunConfig) -> RunConfig:
    """The run with no reference at all: a task of commands, uprightness, air time of the feet, and smoothness."""
    settings = {"reference": False, "residual": False, "lookahead": (), "rewards": JOYSTICK_REWARDS}
    return dataclasses.replace(with_env(config, settings), standing_fraction=1.0)
