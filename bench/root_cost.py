"""What the root channel of a frame costs: a step of `streaming(20)` with one, over that without one.

    python -m bench.root_cost [--envs 4096] [--steps 20] [--repeats 7]

Both models have the layers of the bundled model `policy`; that with a root has random weights, as the time of a product
does not depend on its numbers.
"""

import argparse
import dataclasses
import statistics
from collections.abc import Callable

import jax
import jax.numpy as jnp

import cmg_jax
from bench._measure import device, draw_commands, in_turn
from cmg_jax.model import CMGModel
from cmg_jax.robot._frame import ROOT_SIZE


def with_root(model: CMGModel) -> CMGModel:
    """A model of the same layers whose frames have a root channel."""
    stats, size = model.stats, model.config.motion_dim + ROOT_SIZE
    config = dataclasses.replace(model.config, motion_dim=size)
    params = config.network.init(jax.random.key(0), jnp.zeros((1, size)), jnp.zeros((1, config.command_dim)))["params"]
    more = jnp.zeros(ROOT_SIZE)
    stats = stats._replace(
        motion_mean=jnp.concatenate([stats.motion_mean, more]),
        motion_std=jnp.concatenate([stats.motion_std, more + 0.1]),
    )
    return dataclasses.replace(model, params=params, stats=stats, initial_motion=None, config=config)


def steps(model: CMGModel, num_envs: int, length: int) -> Callable[[], object]:
    """A call of `length` steps."""
    generator = cmg_jax.streaming(20)
    command = draw_commands(cmg_jax.load("policy"), jax.random.key(1), num_envs)
    state = jax.jit(generator.init)(model, jax.random.key(0), command)
    run = jax.jit(
        lambda model, state: jax.lax.scan(lambda s, _: (generator.step(model, s)[0], None), state, length=length)
    )
    return lambda: run(model, state)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    model = cmg_jax.load("policy")
    own, other = (steps(some, arguments.envs, arguments.steps) for some in (with_root(model), model))
    in_turn(own, other, 1)  # compiles
    ratios = sorted(a / b for a, b in zip(*in_turn(own, other, arguments.repeats), strict=True))
    print("  ".join(f"{key} {value}" for key, value in device().items()))
    median = statistics.median(ratios)
    print(f"with a root / without, {arguments.envs} environments: {median:.3f} ({ratios[0]:.3f} .. {ratios[-1]:.3f})")


if __name__ == "__main__":
    main()
