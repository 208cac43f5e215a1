"""Proximal policy optimization whose whole state is a pytree, so that a run that was killed continues as it would have.

Loss, networks, and normalization are Brax's; `brax.training.agents.ppo.train` keeps its state to itself.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from brax.training import acting, types
from brax.training.acme import running_statistics, specs
from brax.training.agents.ppo import losses, networks
from brax.training.agents.ppo import optimizer as schedule

from cmg_jax.rl._config import RunConfig
from cmg_jax.rl._policy import Params

LOSSES = ("policy_loss", "v_loss", "kl_mean", "policy_dist_mean_std")
"""Figures of Brax's loss that are kept."""

STEP_REWARD, EPISODE_STEPS = "step_reward", "episode_steps"
"""Of training: the mean reward of a step, and how many steps an episode lasts that ends by a fall or its length."""

MIN_LEARNING_RATE, MAX_LEARNING_RATE = 1e-5, 1e-3
"""Bounds of the learning rate that adapts to the divergence of the policies."""


class TrainState(NamedTuple):
    """Everything that the rest of a training depends on."""

    params: losses.PPONetworkParams
    optimizer: optax.OptState
    normalizer: running_statistics.RunningStatisticsState
    env: Any
    key: jax.Array
    steps: jax.Array
    """Updates so far; each takes `PPOConfig.steps_per_update` environment steps."""


class Trainer:
    """PPO of a wrapped environment.

    Args:
      config: of the run.
      env: vectorised, with auto-reset.
      network: policy and value network.
    """

    FIGURES = (*LOSSES, STEP_REWARD, EPISODE_STEPS)

    def __init__(self, config: RunConfig, env: Any, network: networks.PPONetworks):
        ppo = config.ppo
        self._config, self._env, self._network = config, env, network
        self._adaptive = ppo.learning_rate_schedule == "ADAPTIVE_KL"
        adam = optax.inject_hyperparams(optax.adam) if self._adaptive else optax.adam
        self._optimizer = optax.chain(optax.clip_by_global_norm(ppo.max_grad_norm), adam(ppo.learning_rate))
        self._loss = functools.partial(
            losses.compute_ppo_loss,
            ppo_network=network,
            entropy_cost=ppo.entropy_cost,
            discounting=ppo.discounting,
            reward_scaling=ppo.reward_scaling,
            gae_lambda=ppo.gae_lambda,
            clipping_epsilon=ppo.clipping_epsilon,
        )
        self.update = jax.jit(self._update, donate_argnums=0)

    def init(self, restored: Params | None = None) -> TrainState:
        """The state before the first update, with new networks or restored ones."""
        policy_key, value_key, env_key, key = jax.random.split(jax.random.PRNGKey(self._config.seed), 4)
        env = jax.jit(self._env.reset)(jax.random.split(env_key, self._config.ppo.num_envs))
        size = specs.Array((env.obs.shape[-1],), jnp.dtype("float32"))
        normalizer, policy, value = restored or (
            running_statistics.init_state(size),
            self._network.policy_network.init(policy_key),
            self._network.value_network.init(value_key),
        )
        params: Any = losses.PPONetworkParams(policy=policy, value=value)  # pyright: ignore
        state = TrainState(params, self._optimizer.init(params), normalizer, env, key, jnp.zeros((), jnp.int32))
        return jax.tree.map(jnp.asarray, state)  # some are Python's numbers

    def _update(self, state: TrainState) -> tuple[TrainState, dict[str, jax.Array]]:
        """The state after one update, and figures of the update."""
        act_key, learn_key, key = jax.random.split(state.key, 3)
        env, data = self._collect(state, act_key)
        normalizer = state.normalizer
        if not self._adaptive:
            normalizer = running_statistics.update(normalizer, data.observation)

        def epoch(carry: Any, key: jax.Array) -> tuple[Any, Any]:
            order_key, key = jax.random.split(key)
            order = jax.random.permutation(order_key, len(data.reward))
            keys = jax.random.split(key, self._config.ppo.num_minibatches)
            parts = order.reshape(len(keys), -1)
            return jax.lax.scan(
                lambda carry, part: self._minibatch(carry, data, normalizer, *part), carry, (parts, keys)
            )

        keys = jax.random.split(learn_key, self._config.ppo.num_updates_per_batch)
        (params, optimizer), metrics = jax.lax.scan(epoch, (state.params, state.optimizer), keys)
        if self._adaptive:  # the divergence is that of policies with the same normalization
            normalizer = running_statistics.update(normalizer, data.observation)
        ended = jnp.maximum(jnp.sum(1 - data.discount), 1)
        metrics = jax.tree.map(jnp.mean, metrics) | {
            STEP_REWARD: jnp.mean(data.reward),
            EPISODE_STEPS: data.discount.size / ended,
        }
        return TrainState(params, optimizer, normalizer, env, key, state.steps + 1), metrics

    def _collect(self, state: TrainState, key: jax.Array) -> tuple[Any, types.Transition]:
        """The environment afterwards, and transitions with leading axes [sequences, unroll_length]."""
        ppo = self._config.ppo
        make = networks.make_inference_fn(self._network)
        policy = make((state.normalizer, state.params.policy, state.params.value))

        def unroll(env: Any, key: jax.Array) -> tuple[Any, types.Transition]:
            return acting.generate_unroll(self._env, env, policy, key, ppo.unroll_length, extra_fields=("truncation",))

        keys = jax.random.split(key, ppo.batch_size * ppo.num_minibatches // ppo.num_envs)
        env, data = jax.lax.scan(unroll, state.env, keys)
        data = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 1, 2), data)
        return env, jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), data)

    def _minibatch(
        self, carry: Any, data: types.Transition, normalizer: Any, chosen: jax.Array, key: jax.Array
    ) -> tuple[Any, dict[str, jax.Array]]:
        params, optimizer = carry
        part = jax.tree.map(lambda leaf: leaf[chosen], data)
        (_, metrics), gradient = jax.value_and_grad(self._loss, has_aux=True)(params, normalizer, part, key)
        if self._adaptive:
            optimizer, _ = schedule.adaptive_kl_learning_rate(
                optimizer,
                metrics["kl_mean"],
                self._config.ppo.desired_kl,
                min_learning_rate=MIN_LEARNING_RATE,
                max_learning_rate=MAX_LEARNING_RATE,
            )
        change, optimizer = self._optimizer.update(gradient, optimizer, params)
        params: Any = optax.apply_updates(params, change)
        return (params, optimizer), {name: metrics[name] for name in LOSSES}
