"""What each generator costs inside a rollout, relative to plain network steps in one scan.

    python bench/rollout_cost.py [--envs 1024 4096] [--steps 500] [--modes streaming-20 realtime-100 ...]

Without events, and with 0.2 % of the rows reset at each step and every row's command changed every 250
steps, at different times. "bank-tick": resets are taken from a bank of motions and changes of command take
effect on a tick of 25 steps (256 motions x 500 frames). Medians of repeats, both sides in turn in one process.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import cmg_jax
from cmg_jax.commands import sampler
from cmg_jax.model import CMGModel, apply_normalized

RESET_FRACTION = 0.002
COMMAND_INTERVAL = 250

MODES: dict[str, Callable[[CMGModel], cmg_jax.Generator]] = {
    "streaming-20": lambda model: cmg_jax.streaming(20),
    "streaming-95": lambda model: cmg_jax.streaming(95),
    "realtime-100": lambda model: cmg_jax.realtime(100),
    "pregenerated-500": lambda model: cmg_jax.pregenerated(500),
    "bank-256x500": lambda model: cmg_jax.bank(pool(model), lookahead_frames=20),
    "streaming-20-bank-tick": lambda model: cmg_jax.on_tick(cmg_jax.streaming(20, bank=pool(model)), 25),
    "streaming-95-bank-tick": lambda model: cmg_jax.on_tick(cmg_jax.streaming(95, bank=pool(model)), 25),
    "realtime-100-bank-tick": lambda model: cmg_jax.on_tick(cmg_jax.realtime(100, bank=pool(model)), 25),
}
EVENTS = {
    "pregenerated-500": (False,),  # each would make 500 frames a row
    "streaming-20-bank-tick": (True,),
    "streaming-95-bank-tick": (True,),
    "realtime-100-bank-tick": (True,),
}
"""Modes that are shown without events only, or with them only."""


def pool(model: CMGModel) -> cmg_jax.MotionBank:
    return cmg_jax.build_bank(model, jax.random.key(7), 256, 500, lambda key, number: draw(model, key, number))


def draw(model: CMGModel, key: jax.Array, number: int) -> jax.Array:
    return sampler.uniform(key, sampler.CommandRange(model.stats.command_min, model.stats.command_max), number)


def plain(steps: int) -> Callable[..., Any]:
    def run(model: CMGModel, motion: jax.Array, command: jax.Array) -> jax.Array:
        def step(motion: jax.Array, _: None) -> tuple[jax.Array, None]:
            return apply_normalized(model, motion, command), None

        return jax.lax.scan(step, motion, None, length=steps)[0]

    return run


def rollout(generator: cmg_jax.Generator, envs: int, steps: int, events: bool) -> Callable[..., Any]:
    def run(model: CMGModel, state: Any, key: jax.Array) -> Any:
        offset = jax.random.randint(key, (envs,), 0, COMMAND_INTERVAL)

        def step(carry: Any, now: jax.Array) -> tuple[Any, jax.Array]:
            state, key = carry
            if events:
                key, done_key, reset_key, command_key = jax.random.split(key, 4)
                done = jax.random.uniform(done_key, (envs,)) < RESET_FRACTION
                command = draw(model, command_key, envs)
                state = generator.reset(model, state, done, reset_key, command)
                state = generator.set_command(model, state, command, (now + offset) % COMMAND_INTERVAL == 0)
            state, frame = generator.step(model, state)
            return (state, key), frame.joint_pos.sum()

        (state, _), used = jax.lax.scan(step, (state, key), jnp.arange(steps))
        return state, used

    return run


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


def measure(name: str, model: CMGModel, envs: int, steps: int, events: bool, repeats: int, baseline: Any) -> None:
    generator = MODES[name](model)
    command = draw(model, jax.random.key(1), envs)
    state = jax.block_until_ready(jax.jit(generator.init)(model, jax.random.key(0), command))
    function = jax.jit(rollout(generator, envs, steps, events), donate_argnums=1)
    compiled = function.lower(model, state, jax.random.key(2)).compile()
    text = str(compiled.as_text())
    memory: Any = compiled.memory_analysis()
    state_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    ratios = []
    for repeat in range(repeats):
        reference = seconds(baseline)
        start = time.perf_counter()
        state, used = compiled(model, state, jax.random.key(repeat))
        assert np.isfinite(np.asarray(used)).all()
        ratios.append((time.perf_counter() - start) / reference)
    print(
        f"B {envs:5d}  {name:22s} {'events' if events else 'none  '}  {statistics.median(ratios):.3f} "
        f"({min(ratios):.3f} .. {max(ratios):.3f})  state {state_bytes / 1e6:.1f} MB, "
        f"compiled temporary {memory.temp_size_in_bytes / 1e6:.1f} MB, {text.count(' conditional(')} conditionals",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    arguments = parser.parse_args()
    model = cmg_jax.default_model()
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}; time relative to plain network steps")
    for envs in arguments.envs:
        motion, command = jnp.zeros((envs, model.config.motion_dim)), jnp.zeros((envs, model.config.command_dim))
        network = jax.jit(plain(arguments.steps)).lower(model, motion, command).compile()
        baseline = partial(network, model, motion, command)
        for name in arguments.modes:
            for events in EVENTS.get(name, (False, True)):
                measure(name, model, envs, arguments.steps, events, arguments.repeats, baseline)


if __name__ == "__main__":
    main()
