"""The cost of each generator inside a rollout, relative to plain network steps in one scan."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench._measure import Advance, Section, compile_program, draw_commands, seconds
from cmg_jax.generators import replay
from cmg_jax.generators._base import Generator
from cmg_jax.generators._motion_bank import build_bank
from cmg_jax.generators._on_tick import on_tick
from cmg_jax.generators._pregenerated import pregenerated
from cmg_jax.generators._rolling import realtime, streaming
from cmg_jax.model._model import CMGModel, MotionBank, apply_normalized

RESET_FRACTION = 0.002
COMMAND_INTERVAL = 250
POOL = (256, 500)

MODES: dict[str, Callable[[], Generator[Any]]] = {
    "streaming-20": lambda: streaming(20),
    "streaming-95": lambda: streaming(95),
    "realtime-100": lambda: realtime(100),
    "pregenerated-500": lambda: pregenerated(500),
    "bank-256x500": lambda: replay(lookahead_frames=20),
    "streaming-20-bank-tick": lambda: on_tick(streaming(20, from_bank=True), 25),
    "streaming-95-bank-tick": lambda: on_tick(streaming(95, from_bank=True), 25),
    "realtime-100-bank-tick": lambda: on_tick(realtime(100, from_bank=True), 25),
}
EVENTS = {
    "pregenerated-500": (False,),  # each would make 500 frames a row
    "streaming-20-bank-tick": (True,),
    "streaming-95-bank-tick": (True,),
    "realtime-100-bank-tick": (True,),
}
"""Modes that are measured without events only, or with them only."""

BARS = {
    ("streaming-20", False): 1.1,
    ("realtime-100", False): 1.1,
    ("pregenerated-500", False): 0.05,
    ("bank-256x500", False): 0.05,
    ("streaming-20", True): 1.5,
    ("realtime-100", True): 2.5,
    ("streaming-20-bank-tick", True): 1.2,
}
"""Upper bounds of the cost at 4096 environments, relative to plain network steps."""

COLUMNS = {
    "mode": "mode|s",
    "events": "events|s",
    "envs": "envs|d",
    "ratio": "time / network|.3f",
    "ratio_low": "lowest|.3f",
    "ratio_high": "highest|.3f",
    "bar": "bar|.2f",
    "compile_seconds": "compile s|.2f",
    "state_mb": "state MB|.1f",
    "temporary_mb": "temporary MB|.1f",
}


def pool(model: CMGModel, dtype: str = "float32") -> MotionBank:
    """The bank of motions from which generators and resets draw."""
    return build_bank(
        model, jax.random.key(7), *POOL, lambda key, number: draw_commands(model, key, number), dtype=dtype
    )


def cost(
    model: CMGModel, names: Sequence[str], sizes: Sequence[int], steps: int, repeats: int, advance: Advance
) -> Section:
    """Time of a rollout with each generator, relative to the same number of network steps."""
    rows: list[dict[str, Any]] = []
    notes = (
        f"{steps} steps; events: {RESET_FRACTION:.1%} of the rows reset at each step, each row's command changed every "
        f"{COMMAND_INTERVAL} steps at its own time",
        f"bank: {POOL[0]} motions x {POOL[1]} frames; tick: changes of command take effect every 25 steps",
    )
    section = Section("rollout", COLUMNS, rows, notes)
    if any("bank" in name for name in names):
        model = model.replace(bank=pool(model))
    for num_envs in sizes:
        motion, command = (
            jnp.zeros((num_envs, model.config.motion_dim)),
            draw_commands(model, jax.random.key(1), num_envs),
        )
        plain = compile_program(network_steps(steps), model, motion, command)
        seconds(lambda plain=plain, motion=motion, command=command: plain.call(model, motion, command))
        for name in names:
            for events in EVENTS.get(name, (False, True)):

                def network(plain: Any = plain, motion: Any = motion, command: Any = command) -> Any:
                    return plain.call(model, motion, command)

                row = measure(MODES[name](), model, command, steps, events, repeats, network)
                bar = {"bar": BARS[name, events]} if num_envs == 4096 and (name, events) in BARS else {}
                rows.append({"mode": name, "events": "yes" if events else "no", "envs": num_envs, **row, **bar})
                advance(1, section)
    return section


def cases(names: Sequence[str]) -> int:
    """Number of rows for each number of environments."""
    return sum(len(EVENTS.get(name, (False, True))) for name in names)


def network_steps(steps: int) -> Callable[..., Any]:
    def run(model: CMGModel, motion: jax.Array, command: jax.Array) -> jax.Array:
        def step(motion: jax.Array, _: None) -> tuple[jax.Array, None]:
            return apply_normalized(model, motion, command), None

        return jax.lax.scan(step, motion, None, length=steps)[0]

    return run


def rollout(generator: Generator[Any], num_envs: int, steps: int, events: bool) -> Callable[..., Any]:
    """(model, state, key) -> the state, and a number from every frame, so that XLA can omit none."""

    def run(model: CMGModel, state: Any, key: jax.Array) -> Any:
        offset = jax.random.randint(key, (num_envs,), 0, COMMAND_INTERVAL)

        def step(carry: Any, now: jax.Array) -> tuple[Any, jax.Array]:
            state, key = carry
            if events:
                key, done_key, reset_key, command_key = jax.random.split(key, 4)
                done = jax.random.uniform(done_key, (num_envs,)) < RESET_FRACTION
                command = draw_commands(model, command_key, num_envs)
                state = generator.reset(model, state, done, reset_key, command)
                state = generator.set_command(model, state, command, (now + offset) % COMMAND_INTERVAL == 0)
            state, frame = generator.step(model, state)
            return (state, key), frame.joint_pos.sum()

        (state, _), used = jax.lax.scan(step, (state, key), jnp.arange(steps))
        return state, used

    return run


def measure(
    generator: Generator[Any],
    model: CMGModel,
    command: jax.Array,
    steps: int,
    events: bool,
    repeats: int,
    network: Callable[[], Any],
) -> dict[str, Any]:
    state = jax.block_until_ready(jax.jit(generator.init)(model, jax.random.key(0), command))
    state_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    compiled = compile_program(
        rollout(generator, len(command), steps, events), model, state, jax.random.key(2), donate_argnums=1
    )
    ratios = []
    for repeat in range(repeats):

        def run(repeat: int = repeat) -> Any:
            nonlocal state
            state, used = compiled.call(model, state, jax.random.key(repeat))
            assert np.isfinite(np.asarray(used)).all()
            return used

        reference = seconds(network)
        ratios.append(seconds(run) / reference)
    return {
        "ratio": statistics.median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        "compile_seconds": compiled.seconds,
        "state_mb": state_bytes / 1e6,
        "temporary_mb": compiled.temporary_bytes / 1e6,
    }
