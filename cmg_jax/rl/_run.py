"""A PPO run of the G1 in a directory.

DIR/config.yaml    the configuration
DIR/metrics.csv    a row for each evaluation; DIR/tensorboard too, if tensorboardX is installed
DIR/curve.png      figures over steps
DIR/checkpoints/   the policy at each evaluation
DIR/best.json      which of them had the best evaluation
DIR/state/         everything that the rest of the training depends on, at the newest evaluation
"""

import functools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cmg_jax._errors import InputError
from cmg_jax._files import atomic_directory, clear_write_errors
from cmg_jax.rl import _evaluation, _policy
from cmg_jax.rl._config import RunConfig, config_text, read_config
from cmg_jax.rl._g1_config import default_config, domain_randomize
from cmg_jax.rl._ppo import Trainer, TrainState
from cmg_jax.rl._setup import RunSetup, evaluation_env, flat
from cmg_jax.training._metrics import MetricsLog

STATE = "state"

SAME = ("floating", "reference", "residual", "lookahead", "action_scale")
"""Settings of the environment that give a policy's observations and actions their meaning."""


def train(
    config: RunConfig,
    setup: RunSetup,
    directory: Path,
    report: Callable[[dict[str, Any]], object],
    *,
    resume: bool = False,
    progress: Callable[[int], object] = lambda _: None,
) -> list[dict[str, Any]]:
    """Train, and write the run into `directory`.

    The first evaluation is that of zero actions, or of the policy that the run starts from. Evaluations have the pushes
    of the run.

    Args:
      config: the run.
      setup: the result of `set_up` for it.
      directory: does not exist yet, its parent does; with `resume`, that of the run.
      report: called with the figures of every evaluation.
      resume: continue a run, which takes the course that it would have taken without the interruption.
      progress: called with the number of environment steps just taken.

    Returns:
      the figures of all evaluations of this call.

    Raises:
      InputError: a setting whose value is impossible, a reward that is not finite, a full disk, a run to resume
        that is damaged or has another configuration, or a run to start from whose policy does not fit.

    Examples:
      >>> from cmg_jax import rl
      >>> config = rl.RunConfig(randomize=True)
      >>> rows = rl.train(config, rl.set_up(config), Path("run"), print)
    """
    rows: list[dict[str, Any]] = []
    start = time.perf_counter()
    network, begun = setup.network(), (directory / STATE).is_dir()
    restored = _restored(config, setup) if config.start_from and not begun else None
    with clear_write_errors(directory):
        _open(directory, config, resume)
        ppo = config.ppo
        robots = jax.random.split(jax.random.PRNGKey(config.seed), ppo.num_envs)
        env = setup.wrap_env_fn(
            setup.env,  # pyright: ignore
            episode_length=ppo.episode_length,
            action_repeat=ppo.action_repeat,
            randomization_fn=functools.partial(domain_randomize, rng=robots) if config.randomize else None,
        )
        trainer = Trainer(config, env, network)
        state = trainer.init(restored)
        evaluate = _evaluator(config, setup)
        if begun:
            state: TrainState = _policy.load_arrays(directory / STATE, state)
        log = MetricsLog(directory, int(state.steps) * ppo.steps_per_update)

        def finish(state: TrainState, metrics: dict[str, float]) -> None:
            """Evaluate, and write what has come out; the state last, so that what belongs to it is on disk."""
            step, params = int(state.steps) * ppo.steps_per_update, _params(state)
            row = {"step": step} | evaluate(params) | metrics | {"seconds": round(time.perf_counter() - start, 1)}
            if not np.isfinite(row["reward"]):
                raise InputError(f"the reward is {row['reward']} at step {step}; lower ppo.learning_rate")
            rows.append(row)
            log.write(row)
            _policy.save_policy(directory, step, params)
            _policy.keep_best(directory, row)
            _policy.save_arrays(directory / STATE, state, require_ours=lambda _: None)
            report(row)

        try:
            if not begun:
                finish(state, dict.fromkeys(Trainer.FIGURES, 0.0) | {"steps_per_second": 0})
            while (done := int(state.steps)) < ppo.num_updates:
                length = min(ppo.updates_per_evaluation, ppo.num_updates - done)
                before, found = time.perf_counter(), []
                for _ in range(length):
                    state, metrics = trainer.update(state)
                    found.append(jax.tree.map(float, metrics))  # waits for it
                    progress(ppo.steps_per_update)
                means = {name: float(np.mean([metrics[name] for metrics in found])) for name in found[0]}
                rate = length * ppo.steps_per_update / (time.perf_counter() - before)
                finish(state, means | {"steps_per_second": round(rate)})
        finally:
            log.close()
    return rows


def _restored(config: RunConfig, setup: RunSetup) -> _policy.Params:
    """The policy of the run to start from.

    Raises:
      InputError: it sees something else, its actions mean something else, or its layers are others.
    """
    directory, default = Path(config.start_from), default_config()
    other = _policy.read_run(directory)
    ours, theirs = flat(config.env), flat(other.env)
    differ = [f"env.{name}" for name in SAME if ours.get(name, default[name]) != theirs.get(name, default[name])]
    differ += ["hidden_layers"] if config.hidden_layers != other.hidden_layers else []
    if differ:
        raise InputError(
            f"{directory}: its policy has another {', '.join(differ)} than this run; take that of its config.yaml"
        )
    return _policy.load_policy(directory, setup.network(), setup.env.observation_size)


def _open(directory: Path, config: RunConfig, resume: bool) -> None:
    if not resume:
        with atomic_directory(directory) as partial:
            partial.mkdir()
            (partial / "checkpoints").mkdir()
            (partial / "config.yaml").write_text(config_text(config))
    elif config_text(read_config(directory / "config.yaml")) != config_text(config):
        raise InputError(f"{directory}: its run has another configuration")


def _params(state: TrainState) -> _policy.Params:
    return state.normalizer, state.params.policy, state.params.value


def _evaluator(config: RunConfig, setup: RunSetup) -> Callable[[_policy.Params], dict[str, float]]:
    """A function of a policy that evaluates it, always from the same beginnings and under the same commands."""
    ppo, policy = config.ppo, _policy.make_policy(setup.network())
    env = evaluation_env(config, ppo.episode_length + 1, {"push.interval": flat(config.env).get("push.interval", 0)})
    rollout = _evaluation.make_rollout(env)
    grid = _evaluation.evaluation_grid()
    chosen = grid[np.linspace(0, len(grid) - 1, ppo.num_eval_envs).round().astype(int)]
    steps = math.ceil(ppo.episode_length / ppo.action_repeat)
    dt, mass = setup.control_dt, float(setup.env.mj_model.body_mass.sum())

    def evaluate(params: _policy.Params) -> dict[str, float]:
        trace = rollout(policy, params, np.tile(chosen, (steps, 1, 1)), seed=config.seed)
        return _evaluation.summary(_evaluation.figures(trace, dt, mass), steps * dt, floating=setup.env.floating)

    return evaluate
