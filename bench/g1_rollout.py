"""A long rollout of the tracking G1 with its reference: whether every number stays finite, and how fast it is.

    python -m bench.g1_rollout [--fixed] [--envs 64] [--steps 2000] [--noise 0.2]

Actions are normal with a standard deviation of `--noise`; robots that fall start again. Needs the extra `rl`. The exit
code is 1 if a number is not finite.
"""

import argparse
import functools
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp

import cmg_jax
from bench._measure import compile_program, device, draw_commands
from cmg_jax.envs import ReferenceSource, make_wrap_env_fn
from cmg_jax.rl import G1Tracking

EPISODE = 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fixed", action="store_true", help="a fixed base; by default it is floating")
    parser.add_argument("--envs", type=int, default=64)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--noise", type=float, default=0.2)
    parser.add_argument("--chunk", type=int, default=250, help="steps between two lines")
    arguments = parser.parse_args()
    steps = min(arguments.chunk, arguments.steps)
    model, env = cmg_jax.default_model(), G1Tracking(config_overrides={"floating": not arguments.fixed})
    generator = cmg_jax.on_tick(cmg_jax.streaming(max(env.wrapping["lookahead"])), 5)
    source = ReferenceSource(model, generator, functools.partial(draw_commands, model), **env.wrapping)
    wrapped = make_wrap_env_fn(source)(env, EPISODE)

    def step(state: Any, key: jax.Array) -> tuple[Any, Any]:
        state = wrapped.step(state, arguments.noise * jax.random.normal(key, (arguments.envs, env.action_size)))
        numbers = state.obs, state.reward, state.data.qpos, state.data.qvel, state.info["reference"]
        finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(numbers)]).all()
        return state, (finite, state.metrics["reward/termination"] < 0, state.reward)

    def run(state: Any, key: jax.Array) -> tuple[Any, Any]:
        return jax.lax.scan(step, state, jax.random.split(key, steps))

    print("  ".join(f"{key} {value}" for key, value in device().items()))
    state = jax.jit(wrapped.reset)(jax.random.split(jax.random.PRNGKey(0), arguments.envs))
    program = compile_program(run, state, jax.random.PRNGKey(0))
    print(f"compiled in {program.seconds:.0f} s", flush=True)
    seconds, finite, falls = 0.0, True, 0
    for chunk in range(arguments.steps // steps):
        start = time.perf_counter()
        state, (good, fell, reward) = jax.block_until_ready(program.call(state, jax.random.PRNGKey(chunk)))
        seconds += time.perf_counter() - start
        finite &= bool(good.all())
        falls += int(fell.sum())
        done = (chunk + 1) * steps
        print(f"{done:6d} steps: {falls} falls, reward {float(reward.mean()):.4f} a step, finite {finite}", flush=True)
    taken = arguments.steps // steps * steps * arguments.envs
    print(f"{taken / seconds:,.0f} control steps/s, {env.n_substeps * taken / seconds:,.0f} physics steps/s")
    return 0 if finite else 1


if __name__ == "__main__":
    sys.exit(main())
