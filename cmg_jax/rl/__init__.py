"""Reinforcement learning with reference motion: a G1 that tracks it, PPO runs, and whether motors can follow it.

    from cmg_jax.envs import ReferenceSource, make_wrap_env_fn
    from cmg_jax.rl import G1Tracking, domain_randomize

    env = G1Tracking(config_overrides={"floating": True})
    source = ReferenceSource(model, generator, command_sampler, **env.wrapping)
    ppo.train(env, wrap_env_fn=make_wrap_env_fn(source), randomization_fn=domain_randomize, ...)

`set_up`, `train`, `play` and `evaluate` are what `cmg-jax rl` runs. They and `G1Tracking` need the extra `rl`; the
configuration and `check_feasibility` need no extra.
"""

from typing import TYPE_CHECKING

from cmg_jax._lazy import import_name
from cmg_jax.rl._config import CommandConfig, PPOConfig, RunConfig, read_config

if TYPE_CHECKING:
    from cmg_jax.rl._evaluate import evaluate
    from cmg_jax.rl._feasibility import Feasibility, check_feasibility
    from cmg_jax.rl._g1_config import default_config, domain_randomize
    from cmg_jax.rl._g1_tracking import G1Tracking
    from cmg_jax.rl._onnx import policy_onnx
    from cmg_jax.rl._play import PlayResult, play
    from cmg_jax.rl._run import train
    from cmg_jax.rl._setup import RunSetup, set_up

__all__ = [
    "CommandConfig",
    "Feasibility",
    "G1Tracking",
    "PPOConfig",
    "PlayResult",
    "RunConfig",
    "RunSetup",
    "check_feasibility",
    "default_config",
    "domain_randomize",
    "evaluate",
    "play",
    "policy_onnx",
    "read_config",
    "set_up",
    "train",
]

_MODULES = {
    "Feasibility": "_feasibility",
    "G1Tracking": "_g1_tracking",
    "PlayResult": "_play",
    "RunSetup": "_setup",
    "check_feasibility": "_feasibility",
    "default_config": "_g1_config",
    "domain_randomize": "_g1_config",
    "evaluate": "_evaluate",
    "play": "_play",
    "policy_onnx": "_onnx",
    "set_up": "_setup",
    "train": "_run",
}


def __getattr__(name: str) -> object:
    return import_name(__name__, name, _MODULES, extra="rl")
