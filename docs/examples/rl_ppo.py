"""A G1 that learns to follow the reference: PPO of Brax, an environment of MuJoCo Playground's kind, our wrapper."""

import functools

from brax.training.agents.ppo import networks
from brax.training.agents.ppo import train as ppo

import cmg_jax
from cmg_jax.commands import sampler, smoother
from cmg_jax.envs.g1_tracking import G1Tracking, domain_randomize
from cmg_jax.envs.wrapper import wrap_env_fn

# %% The environment: the action is added to the reference's joint positions. `floating=True` lets the pelvis go.
env = G1Tracking(config_overrides={"floating": False})
print("observation", env.observation_size, "action", env.action_size)

# %% The reference: 10 frames known ahead; commands drawn from a range, held 2 to 4 s, smoothed over half a second.
model = cmg_jax.default_model()
generator = cmg_jax.on_tick(cmg_jax.streaming(lookahead_frames=10), frames=5)
wrap = wrap_env_fn(
    model,
    generator,
    lambda key, number: sampler.uniform(key, sampler.PRESETS["forward_turn"], number),
    smoother.ramp(25),
    hold_interval=(100, 200),
    **env.wrapping,  # look-ahead and key bodies that the environment asks for
)


# %% Training. The wrapper goes outside of auto-reset, which `wrap` itself applies.
def main(steps: int = 1_000_000, envs: int = 256, episode_length: int = 250, evaluations: int = 6) -> list[float]:
    rewards: list[float] = []

    def report(step, metrics):
        rewards.append(float(metrics["eval/episode_reward"]))
        print(f"step {step}: reward {rewards[-1]:.3f}", flush=True)

    ppo.train(
        env,
        num_timesteps=steps,
        wrap_env_fn=wrap,
        randomization_fn=domain_randomize,
        network_factory=functools.partial(networks.make_ppo_networks, policy_hidden_layer_sizes=(128, 128)),
        num_envs=envs,
        batch_size=envs,
        num_eval_envs=envs // 4,
        num_evals=evaluations,
        episode_length=episode_length,
        normalize_observations=True,
        reward_scaling=10.0,
        progress_fn=report,
    )
    return rewards


if __name__ == "__main__":
    main()
