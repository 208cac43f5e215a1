"""A G1 that learns to follow the reference: Brax's PPO, an environment of MuJoCo Playground, and our wrapper."""

import dataclasses
import functools

import jax
import numpy as np
from brax.training.agents.ppo import networks
from brax.training.agents.ppo import train as ppo

import cmg_jax
from cmg_jax import commands
from cmg_jax.envs import ReferenceSource, make_wrap_env_fn
from cmg_jax.rl import G1Tracking, domain_randomize

# %% The environment: the action is added to the reference's joint positions. `floating=True` gives a floating base.
env = G1Tracking(config_overrides={"floating": False})

# %% The reference: standing at first as the robot does, 10 frames known ahead; commands held for 2 to 4 s.
model = dataclasses.replace(cmg_jax.default_model(), initial_motion=None)
command_range = commands.CommandRange(np.array([-0.3, -0.3, -0.6]), np.array([1.2, 0.3, 0.6]))
command_range = commands.clip(command_range, commands.trained_range(model))  # outside, motion may not follow
source = ReferenceSource(
    model,
    cmg_jax.on_tick(cmg_jax.streaming(lookahead_frames=10), num_frames=5),
    lambda key, num_envs: commands.uniform(key, command_range, num_envs),
    hold_interval=(100, 200),
    **env.wrapping,  # look-ahead and key bodies that the environment asks for
)

# %% The policy begins as the bare reference: actions of zero, with a little noise.
network_factory = functools.partial(
    networks.make_ppo_networks,
    policy_hidden_layer_sizes=(128, 128),
    value_hidden_layer_sizes=(128, 128),
    distribution_type="normal",
    noise_std_type="log",
    init_noise_std=0.2,
    mean_kernel_init_fn=lambda: jax.nn.initializers.zeros,
)
learning = {"learning_rate": 5e-4, "discounting": 0.8, "gae_lambda": 0.9, "entropy_cost": 0.0, "reward_scaling": 10.0}
learning |= {"unroll_length": 20, "num_minibatches": 4, "num_updates_per_batch": 4, "normalize_observations": True}


# %% Training. The wrapper belongs outside of auto-reset, which `make_wrap_env_fn` applies too.
def main(steps: int = 1_000_000, num_envs: int = 256, episode_length: int = 250, evaluations: int = 6) -> list[float]:
    rewards: list[float] = []

    def report(step, metrics):
        rewards.append(float(metrics["eval/episode_reward"]))
        print(f"step {step}: reward {rewards[-1]:.3f}", flush=True)

    sizes = {"num_timesteps": steps, "num_envs": num_envs, "batch_size": num_envs, "episode_length": episode_length}
    evaluation = {"num_evals": evaluations, "num_eval_envs": num_envs // 4, "deterministic_eval": True}
    ours = {
        "wrap_env_fn": make_wrap_env_fn(source),
        "randomization_fn": domain_randomize,
        "network_factory": network_factory,
    }
    ppo.train(env, **ours, **sizes, **learning, **evaluation, progress_fn=report)
    return rewards


if __name__ == "__main__":
    main()
