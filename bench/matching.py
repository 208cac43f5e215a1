"""How motion matching obeys held commands and how its feet slide, beside its recordings; and what a step takes.

    python -m bench.matching walks.npz [--commands 128] [--seed 0] [--envs 4096]

`walks.npz` is a data set of `cmg-jax data`. Every command is held for 10 s from standing, and the last 7 s count.
`drawn` commands are those of `cmg-jax match`, where a run goes less to the side and turns less; `uniform` ones fill the
region of the recordings; `on the spot` turn at 0.3 to 1.2 rad/s. With `--envs 0` nothing is timed.
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import cmg_jax
from bench._measure import Section, device, in_turn
from bench._report import table_text
from cmg_jax import data
from cmg_jax.commands._region import clip_to_region
from cmg_jax.data import Dataset
from cmg_jax.evaluation import _gait
from cmg_jax.library import RolloutOptions
from cmg_jax.library._rollouts import draw_one
from cmg_jax.model._library import MotionLibrary
from cmg_jax.robot import join_frame

STEPS, SETTLE, TURNS, TIMED = 500, 150, 24, 32
KINDS = ("drawn", "uniform", "on the spot")

COLUMNS = {
    "commands": "commands|s",
    "count": "number|d",
    "vx": "vx RMSE m/s|.3f",
    "vy": "vy RMSE m/s|.3f",
    "yaw": "yaw RMSE rad/s|.3f",
    "slip": "slip m/s|.3f",
    "slip_recorded": "recorded|.3f",
    "slip_ratio": "ratio|.2f",
    "flight": "flight|.2f",
    "flight_recorded": "recorded|.2f",
    "steps": "steps a second|.2f",
    "steps_recorded": "recorded|.2f",
    "does_not_walk": "do not walk|d",
}


def commands(library: MotionLibrary, kind: str, count: int, seed: int) -> np.ndarray:
    """Commands [count, 3] of one of `KINDS`, within the region of the recordings."""
    options, random = RolloutOptions(), np.random.default_rng(seed)
    stats = library.stats
    low = np.maximum(options.low, np.asarray(stats.command_min))
    high = np.minimum(options.high, np.asarray(stats.command_max))
    if kind == "drawn":
        drawn = np.stack([draw_one(random, low, high, 0.0) for _ in range(count)])
    elif kind == "uniform":
        drawn = random.uniform(low, high, (count, 3))
        drawn[: count // 3, 1], drawn[: count // 6, 2] = 0.0, 0.0  # some of them go straight on
    else:
        side = np.where(np.arange(count) % 2 == 0, 1.0, -1.0)
        drawn = np.column_stack([np.zeros((count, 2)), side * random.uniform(0.3, 1.2, count)])
    return np.asarray(clip_to_region(stats.command_region, drawn), np.float32)


def held(library: MotionLibrary, generator: Any, command: np.ndarray, seed: int) -> np.ndarray:
    """Frames [B, T, D] that stand first and then obey commands [B, 3]."""
    model = cmg_jax.model_of_library(library)

    @jax.jit
    def run(model: Any, command: jax.Array) -> jax.Array:
        def step(state: Any, _: None) -> tuple[Any, jax.Array]:
            state, frame = generator.step(model, state)
            return state, join_frame(frame)

        state = generator.init(model, jax.random.key(seed), jnp.zeros_like(command))
        state = generator.set_command(model, state, command)
        return jax.lax.scan(step, state, None, length=STEPS)[1]

    return np.asarray(run(model, jnp.asarray(command))).swapaxes(0, 1)


def table(dataset: Dataset, kind: str, command: np.ndarray, frames: np.ndarray) -> Section:
    """Figures of all commands [B, 3] and by band of commanded speed."""
    settled, fps = frames[:, SETTLE:], dataset.fps
    row = np.repeat(np.arange(len(command)), settled.shape[1])
    found = _gait.gait(settled.reshape(len(row), -1), row, dataset.robot, fps)
    words = np.array([_gait.verdict(_gait.figures(found, row == one, fps))[0] for one in range(len(command))])
    missed = settled[..., -3:].mean(axis=1) - command
    recorded, rows = _gait.of_data(dataset), []
    for label, chosen in {"all": np.ones(len(command), bool), **_gait.bands(command)}.items():
        if not chosen.any():
            continue
        figures, others = _gait.figures(found, chosen[row], fps), recorded.get(label, {})
        error = np.sqrt(np.square(missed[chosen]).mean(axis=0))
        values = {"commands": label, "count": int(chosen.sum()), **dict(zip(("vx", "vy", "yaw"), error, strict=True))}
        for key, name in (("slip", "slip_m_s"), ("flight", "flight"), ("steps", "steps_per_second")):
            values |= {key: figures[name]} | ({f"{key}_recorded": others[name]} if others else {})
        if others:
            values["slip_ratio"] = figures["slip_m_s"] / others["slip_m_s"]
        rows.append(values | {"does_not_walk": int((words[chosen] == "does not walk").sum())})
    largest = np.abs(np.diff(frames[..., : dataset.robot.num_joints], axis=1)).max()
    note = f"largest step of a joint {largest:.3f} rad; recorded {_largest_step(dataset):.3f} rad"
    return Section(kind, COLUMNS, rows, (note,))


def _largest_step(dataset: Dataset) -> float:
    """rad between two frames of one clip."""
    steps = np.abs(np.diff(dataset.motion[:, : dataset.robot.num_joints], axis=0)).max(axis=-1)
    return float(steps[np.diff(dataset.clip) == 0].max())


def time_of_a_step(library: MotionLibrary, num_envs: int) -> str:
    """Milliseconds of a step, and relative to one call of the network of the default model."""
    model, network, generator = cmg_jax.model_of_library(library), cmg_jax.default_model(), cmg_jax.matching()
    command = jnp.asarray(commands(library, "drawn", num_envs, 1))
    state = jax.jit(generator.init)(model, jax.random.key(0), command)
    step = jax.jit(generator.step, donate_argnums=1)
    assert network.initial_motion is not None
    motion, apply = jnp.tile(network.initial_motion[:1], (num_envs, 1)), jax.jit(cmg_jax.apply)

    def one() -> Any:
        nonlocal state
        state, frame = step(model, state)
        return frame

    def call() -> jax.Array:
        return apply(network, motion, command)

    in_turn(one, call, 2)  # compiles
    own, other = (statistics.median(times) for times in in_turn(one, call, TIMED))
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) / 1e6
    return (
        f"{num_envs} environments: {1e3 * own:.1f} ms a step, {own / other:.2f} of a network call; state {size:.1f} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--commands", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--envs", type=int, default=4096, help="to time a step with")
    arguments = parser.parse_args()
    dataset = data.load(arguments.dataset)
    library, generator = cmg_jax.build_library(dataset), cmg_jax.matching(start="standing")
    candidates = len(library.candidate_index)
    where = device()
    print(f"library of {library.num_frames} frames, {candidates} candidates; {where['device']}, jax {where['jax']}")
    for kind in KINDS:
        count = TURNS if kind == "on the spot" else arguments.commands
        command = commands(library, kind, count, arguments.seed)
        print(table_text(table(dataset, kind, command, held(library, generator, command, arguments.seed))), flush=True)
    if arguments.envs:
        print(time_of_a_step(library, arguments.envs))


if __name__ == "__main__":
    main()
