"""The cost of reference motion around the G1's environment, and what it would be inside of its `vmap`.

    python -m bench.wrapper_cost [--envs 1024 4096] [--steps 20] [--repeats 5] [--floating] [--inside]

Each case is a jitted rollout of the G1 with auto-reset, with episodes and changes of command spread evenly over time:
0.5 % of the environments start again in a step. In the cases "standing", episodes begin as the environment's reset
leaves them; in the others its hook puts them onto their reference. Prints the time of each case relative to that of the
environment alone, measured in turn. Needs the extra `rl`.
"""

import argparse
import functools
import statistics
from collections.abc import Callable
from typing import Any

import jax
from brax.envs.base import Wrapper
from brax.envs.wrappers.training import VmapWrapper
from mujoco_playground import wrapper as playground

import cmg_jax
from bench._measure import Section, compile_program, device, draw_commands, seconds
from bench._report import table_text
from bench._rollout import pool
from cmg_jax.envs import ReferenceMotionWrapper, ReferenceSource, make_wrap_env_fn
from cmg_jax.envs._wrapper import STATE
from cmg_jax.rl import G1Tracking

EPISODE = 200  # steps: 0.5 % of the environments end in a step
HOLD = (1, 300)
TICK = 5
COLUMNS = {
    "case": "|s",
    "ms": "ms a step|.1f",
    "ratio": "time / environment|.3f",
    "ratio_low": "lowest|.3f",
    "ratio_high": "highest|.3f",
    "compile_seconds": "compile s|.0f",
}


class Inside(Wrapper):
    """The wrapper around a single environment, for an outer `vmap`. Programs should not do this.

    Every decision of the generator becomes a select, in which both sides run. The weights are kept out of the state,
    or each row would have a copy of them.
    """

    def __init__(self, env: Any, source: ReferenceSource):
        super().__init__(env)
        self._model = source.model
        self._single = ReferenceMotionWrapper(VmapWrapper(env), source)

    def reset(self, rng: jax.Array) -> Any:
        return self._without_axis(self._single.reset(rng[None]))

    def step(self, state: Any, action: jax.Array) -> Any:
        reference_state = state.info.pop(STATE)
        state = jax.tree.map(lambda leaf: leaf[None], state)
        state.info[STATE] = reference_state._replace(model=self._model)
        return self._without_axis(self._single.step(state, action[None]))

    def _without_axis(self, state: Any) -> Any:
        reference_state = state.info.pop(STATE)._replace(model=None)
        state = jax.tree.map(lambda leaf: leaf[0], state)
        state.info[STATE] = reference_state
        return state


class WithoutHook(G1Tracking):
    """Whose episodes begin as `reset` leaves them."""

    begin_on_reference: Any = None


def cases(model: cmg_jax.CMGModel, overrides: dict[str, Any], *, inside: bool) -> dict[str, Any]:
    """Vectorised environments with auto-reset, by name."""
    env, bare = (kind(config_overrides=overrides) for kind in (G1Tracking, WithoutHook))
    sampler = functools.partial(draw_commands, model)
    streaming = cmg_jax.on_tick(cmg_jax.streaming(max(env.wrapping["lookahead"])), TICK)
    bank = cmg_jax.replay(lookahead_frames=max(env.wrapping["lookahead"]))
    network = ReferenceSource(model, streaming, sampler, hold_interval=HOLD, **env.wrapping)
    pool_model = model.replace(bank=pool(model))
    played = ReferenceSource(pool_model, bank, sampler, hold_interval=HOLD, **env.wrapping)
    found = {
        "environment alone": playground.wrap_for_brax_training(env, episode_length=EPISODE),
        "bank, standing": make_wrap_env_fn(played)(bare, EPISODE),
        "bank": make_wrap_env_fn(played)(env, EPISODE),
        "streaming, standing": make_wrap_env_fn(network)(bare, EPISODE),
        "streaming": make_wrap_env_fn(network)(env, EPISODE),
    }
    if inside:
        each: Any = Inside(bare, network)
        found["streaming, inside of vmap"] = playground.wrap_for_brax_training(each, episode_length=EPISODE)
    return found


def rollout(env: Any, steps: int) -> Callable[..., Any]:
    """(state, key) -> the state, and a number from every step, so that XLA can omit none."""

    def run(state: Any, key: jax.Array) -> Any:
        def step(state: Any, key: jax.Array) -> Any:
            action = 0.2 * jax.random.normal(key, (len(state.done), env.action_size))
            state = env.step(state, action)
            return state, (state.reward.sum(), state.obs.sum())

        return jax.lax.scan(step, state, jax.random.split(key, steps))

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--floating", action="store_true", help="a floating base, which is several times as slow")
    parser.add_argument("--inside", action="store_true", help="also what the reference would cost inside of vmap")
    arguments = parser.parse_args()
    print("  ".join(f"{key} {value}" for key, value in device().items()))
    for num_envs in arguments.envs:
        measure(num_envs, arguments)


def measure(num_envs: int, arguments: argparse.Namespace) -> None:
    """Print the table of one number of environments."""
    keys = jax.random.split(jax.random.PRNGKey(0), num_envs)
    programs, states = {}, {}
    overrides = {"floating": arguments.floating}
    for name, case in cases(cmg_jax.default_model(), overrides, inside=arguments.inside).items():
        state = jax.jit(case.reset)(keys)
        # Episodes end at any time, as in training after a while.
        state.info["steps"] = jax.random.randint(jax.random.PRNGKey(1), state.done.shape, 0, EPISODE).astype(
            state.info["steps"].dtype
        )
        programs[name] = compile_program(rollout(case, arguments.steps), state, keys[0])
        states[name] = jax.block_until_ready(programs[name].call(state, keys[0])[0])
        print(f"compiled: {name}", flush=True)
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(arguments.repeats):
        for name, program in programs.items():
            times[name].append(seconds(lambda: program.call(states[name], keys[0])) / arguments.steps)  # noqa: B023
    alone = times["environment alone"]
    rows = []
    for name, taken in times.items():
        ratios = [one / other for one, other in zip(taken, alone, strict=True)]
        rows.append(
            {
                "case": name,
                "ms": 1e3 * statistics.median(taken),
                "ratio": statistics.median(ratios),
                "ratio_low": min(ratios),
                "ratio_high": max(ratios),
                "compile_seconds": programs[name].seconds,
            }
        )
    notes = (
        f"{num_envs} environments, {arguments.steps} steps, median of {arguments.repeats}",
        f"episodes of {EPISODE} steps and commands held for {HOLD[0]} to {HOLD[1]}, ramps of 25; tick of {TICK} steps",
    )
    print(table_text(Section("wrapper", COLUMNS, rows, notes)))


if __name__ == "__main__":
    main()
