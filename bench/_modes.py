"""The table of the PyTorch original's documentation: its two modes, and ours, at its sizes."""

import functools
from collections.abc import Sequence
from typing import Any

import jax

from bench._measure import Advance, Section, compile_program, draw_commands, inputs, median_seconds
from bench._rollout import pool
from cmg_jax import _rollout
from cmg_jax.generators import replay
from cmg_jax.generators._base import Generator
from cmg_jax.generators._pregenerated import pregenerated
from cmg_jax.generators._rolling import realtime, streaming
from cmg_jax.model._model import CMGModel

PRELOAD_FRAMES, BUFFER_FRAMES, READ_FRAMES = 500, 100, 100

CLAIMED = {
    "pregenerated": {"init_ms": 200.0, "read_ms": 1.0, "frames_100_ms": 100.0, "state_mb": 476.0},
    "realtime": {"frames_100_ms": 100.0, "state_mb": 95.0},
}
"""Figures in the documentation of the PyTorch original for 4096 environments on a card of the RTX 3090/4090 class:
about 200 ms, less than 1 ms, 50 to 100 ms, 476 MB for 500 frames and 95 MB for a buffer of 100."""
CLAIMED_ENVS = 4096

COLUMNS = {
    "mode": "mode|s",
    "envs": "envs|d",
    "compile_seconds": "compile s|.2f",
    "init_ms": "init ms|,.1f",
    "read_ms": "one read ms|.3f",
    "served_100_ms": "100 steps ms|,.1f",
    "frames_100_ms": "100 frames of the network ms|,.1f",
    "frames_per_second": "frames/s served|,.0f",
    "state_mb": "state MB|.1f",
}


def maker(name: str, model: CMGModel, dtype: str = "float32") -> tuple[Generator[Any], CMGModel]:
    """The generator of a row, and the model, with a bank if the generator needs one."""
    if name == "bank":
        return replay(), model.replace(bank=pool(model, dtype))
    make = {
        "pregenerated": lambda: pregenerated(PRELOAD_FRAMES, dtype=dtype),
        "realtime": lambda: realtime(BUFFER_FRAMES, dtype=dtype),
        "streaming": lambda: streaming(20, dtype=dtype),
    }
    return make[name](), model


def table(
    model: CMGModel,
    names: Sequence[str],
    sizes: Sequence[int],
    repeats: int,
    advance: Advance,
    dtypes: Sequence[str] = ("float32",),
) -> Section:
    """Time of init, of one step and of 100 frames, memory and rate of each mode for each number of environments."""
    rows: list[dict[str, Any]] = []
    notes = (
        f"pregenerated holds {PRELOAD_FRAMES} frames, realtime {BUFFER_FRAMES}, streaming 20 of look-ahead; "
        "compiling is not part of init",
        "one read: one call of the compiled step from Python; 100 steps: one compiled scan of them, refills included",
        "the original's claims are for a GPU (RTX 3090/4090 class), from its documentation",
    )
    section = Section("modes", COLUMNS, rows, notes)
    for num_envs in sizes:
        motion, commands = inputs(model, num_envs, READ_FRAMES)
        generate = compile_program(functools.partial(_rollout.generate, time_major=True), model, motion, commands)
        network_100 = median_seconds(lambda g=generate, m=motion, c=commands: g.call(model, m, c), repeats)
        for name in names:
            for dtype in dtypes:
                row = measure(*maker(name, model, dtype), num_envs, repeats)
                label = name if dtype == "float32" else f"{name}, {dtype}"
                rows.append({"mode": label, "envs": num_envs, "frames_100_ms": 1e3 * network_100, **row})
                advance(1, section)
        if num_envs == CLAIMED_ENVS:
            rows += [
                {"mode": f"the original claims, {name}", "envs": num_envs, **CLAIMED[name]}
                for name in names
                if name in CLAIMED
            ]
    return section


def measure(generator: Generator[Any], model: CMGModel, num_envs: int, repeats: int) -> dict[str, Any]:
    """One row of the table."""
    key, command = jax.random.key(0), draw_commands(model, jax.random.key(1), num_envs)
    init = compile_program(generator.init, model, key, command)
    state = init.call(model, key, command)
    state_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    init_seconds = median_seconds(lambda: init.call(model, key, command), max(repeats // 2, 1))

    step = compile_program(generator.step, model, state, donate_argnums=1)

    def read() -> Any:
        nonlocal state
        state, frame = step.call(model, state)
        return frame

    read_seconds = median_seconds(read, 20 * repeats)

    def serve(model: CMGModel, state: Any) -> Any:
        def body(state: Any, _: None) -> tuple[Any, jax.Array]:
            state, frame = generator.step(model, state)
            return state, frame.joint_pos.sum()

        return jax.lax.scan(body, state, None, length=READ_FRAMES)

    served = compile_program(serve, model, state, donate_argnums=1)

    def serve_once() -> Any:
        nonlocal state
        state, used = served.call(model, state)
        return used

    served_seconds = median_seconds(serve_once, repeats)
    return {
        "compile_seconds": init.seconds + step.seconds,
        "init_ms": 1e3 * init_seconds,
        "read_ms": 1e3 * read_seconds,
        "served_100_ms": 1e3 * served_seconds,
        "frames_per_second": num_envs * READ_FRAMES / served_seconds,
        "state_mb": state_bytes / 1e6,
    }
