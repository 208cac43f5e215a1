"""The objects that the configuration of a run describes: environment, wrapper, networks, and those of evaluations."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from brax.training.acme import running_statistics
from brax.training.agents.ppo import networks

import cmg_jax
from cmg_jax import _rollout
from cmg_jax._errors import InputError
from cmg_jax.commands import CommandRange, CommandSampler, clip, ramp, trained_range, uniform
from cmg_jax.envs import ReferenceMotionWrapper, ReferenceSource, WrapEnvFn, make_wrap_env_fn
from cmg_jax.generators._base import standing_frame
from cmg_jax.rl._config import RunConfig
from cmg_jax.rl._g1_tracking import G1Tracking
from cmg_jax.robot import G1

EVALUATION = {
    "push.interval": 0,
    "termination.joint_error": 1e6,
    "termination.height": 1e6,
    "termination.tilt": np.pi,
    "termination.lowest": 0.4,
    "termination.lean": 1.0,
}
"""Settings of the environment in evaluations: an episode ends where the robot has fallen, however far it is from its
reference, and nobody pushes it but the evaluation."""

POOL_MOTIONS, POOL_FRAMES, POOL_WARM_UP, POOL_SIZE = 256, 150, 25, 4096
"""Of the frames in which episodes begin: motions, frames of each, those of them that are left out, and the frames."""


class RunSetup(NamedTuple):
    """The objects that a configuration describes."""

    env: G1Tracking
    wrap_env_fn: WrapEnvFn
    model: cmg_jax.CMGModel
    network_factory: Callable[..., networks.PPONetworks]
    commands: CommandRange
    """The range of commands in training: the configured one, clipped to the trained range of the model."""
    config: RunConfig

    @property
    def control_dt(self) -> float:
        """Seconds from an action to the next one."""
        return self.env.dt * self.config.ppo.action_repeat

    @property
    def frames_per_step(self) -> int:
        """Frames of the reference from an action to the next one."""
        return round(self.control_dt * self.model.config.fps)

    def network(self) -> networks.PPONetworks:
        """Policy and value network, with normalized observations."""
        return self.network_factory(
            (self.env.observation_size,),
            self.env.action_size,
            preprocess_observations_fn=running_statistics.normalize,
        )


def set_up(config: RunConfig) -> RunSetup:
    """Environment, wrapper and networks of a run.

    The commands of a run are clipped to the model's trained range, beyond which its motion need not follow them.

    Args:
      config: the run.

    Raises:
      InputError: a setting that does not exist, one whose value is impossible, or no model.

    Examples:
      >>> from cmg_jax import rl
      >>> config = rl.RunConfig(randomize=True)
      >>> setup = rl.set_up(config)
      >>> setup.env.action_size, setup.commands.high
      (29, Array([1.2, 0.3, 0.6], dtype=float32))
    """
    model = _model(config)
    commands = clip(config.commands.range, trained_range(model))
    first = {"initial_motion": _pool(model, commands, config.seed)} if config.standing_fraction < 1 else {}

    def draw(key: jax.Array, num_envs: int) -> jax.Array:
        drawn = uniform(key, commands, num_envs)
        if not config.commands.still:
            return drawn
        still = jax.random.uniform(jax.random.fold_in(key, 1), (num_envs, 1)) < config.commands.still
        return jnp.where(still, 0.0, drawn)

    settings, begun = flat(config.env), model.replace(**first)
    env, source = _source(config, begun, settings, draw, config.commands.hold, config.standing_fraction)
    if config.randomize and env.mjx_model is None:
        raise InputError("randomize: the robots of the engine mujoco are alike; choose the engine mjx")
    factory = functools.partial(
        networks.make_ppo_networks,
        policy_hidden_layer_sizes=config.hidden_layers,
        value_hidden_layer_sizes=config.hidden_layers,
        distribution_type="normal",
        noise_std_type="log",
        init_noise_std=config.noise_std,
        mean_kernel_init_fn=lambda: jax.nn.initializers.zeros,
    )
    return RunSetup(env, make_wrap_env_fn(source), model, factory, commands, config)


def evaluation_env(config: RunConfig, steps: int, settings: Mapping[str, Any] | None = None) -> ReferenceMotionWrapper:
    """The wrapped environment of a run in which evaluations take place: an episode begins standing, under no command.

    It ends where the robot has fallen, however far it is from its reference.

    Args:
      config: of the run.
      steps: that an episode lasts at most.
      settings: of the environment, which differ from the run's.
    """

    def stand(_: jax.Array, num_envs: int) -> jax.Array:
        return jnp.zeros((num_envs, 3))

    chosen = flat(config.env) | EVALUATION | dict(settings or {})
    env, source = _source(config, _model(config), chosen, stand, (2**30, 2**30), 1.0)
    repeat = config.ppo.action_repeat
    return make_wrap_env_fn(source)(env, episode_length=steps * repeat, action_repeat=repeat)


def _model(config: RunConfig) -> cmg_jax.CMGModel:
    model = cmg_jax.load(config.model) if config.model else cmg_jax.default_model()
    model.config.check_robot(G1, "a run")
    return model


def _pool(model: cmg_jax.CMGModel, commands: CommandRange, seed: int) -> jax.Array:
    """Frames [P, D] in which episodes begin: those of motion that obeys the commands of the run.

    The model's own pool has frames of every command that it knows; a walk would begin in the stride of a run.
    """
    command_key, frame_key = jax.random.split(jax.random.PRNGKey(seed))
    held = jnp.repeat(uniform(command_key, commands, POOL_MOTIONS)[:, None], POOL_FRAMES, axis=1)
    standing = jnp.broadcast_to(standing_frame(model), (POOL_MOTIONS, model.config.motion_dim))
    frames = jax.jit(_rollout.generate)(model, standing, held)[:, POOL_WARM_UP:]
    return jax.random.permutation(frame_key, frames.reshape(-1, frames.shape[-1]))[:POOL_SIZE]


def _source(
    config: RunConfig,
    model: cmg_jax.CMGModel,
    settings: dict[str, Any],
    draw: CommandSampler,
    hold_interval: tuple[int, int],
    standing_fraction: float,
) -> tuple[G1Tracking, ReferenceSource]:
    env = G1Tracking(config_overrides=settings, joint_names=model.config.joint_names)
    if (farthest := max(env.wrapping["lookahead"], default=0)) > config.lookahead_frames:
        raise InputError(
            f"env.lookahead reaches {farthest} frames ahead, lookahead_frames only {config.lookahead_frames}"
        )
    return env, ReferenceSource(
        model,
        cmg_jax.on_tick(cmg_jax.streaming(config.lookahead_frames), config.tick),
        draw,
        ramp(config.commands.ramp),
        hold_interval=hold_interval,
        standing_fraction=standing_fraction,
        **env.wrapping,
    )


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}, and lists as tuples."""
    out: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            out |= flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = tuple(value) if isinstance(value, list) else value
    return out
