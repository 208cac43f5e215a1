"""Physics of the floating G1: control steps a second, and what the cheaper settings do to the motion.

    python -m bench.physics [--envs 64 256 1024] [--steps 20] [--run DIR] [--only rates]

Rates are those of the wrapped environment with its reference, in which every action is random. Errors are those after
0.2, 0.5 and 1 s, against C MuJoCo with steps of 1 ms and a solver that converges: both begin at the same frames of the
reference and under the same commands, with zero actions, or with the policy of a run. Needs the extra `rl`.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench._measure import Section, device
from bench._report import table_text
from cmg_jax.rl import _evaluation, _onnx, _policy, _setup
from cmg_jax.rl._presets import PRESETS, with_env

EXACT = {"engine": "mujoco", "sim_dt": 0.001, "solver": (100, 50)}
SETTINGS: dict[str, dict[str, Any]] = {
    "C MuJoCo, 2 ms": {"engine": "mujoco", "sim_dt": 0.002, "solver": (100, 50)},
    "C MuJoCo, 5 ms": {"engine": "mujoco", "sim_dt": 0.005, "solver": (100, 50)},
    "C MuJoCo, 10 ms": {"engine": "mujoco", "sim_dt": 0.01, "solver": (100, 50)},
    "C MuJoCo, 10 ms, solver 3, 5": {"engine": "mujoco", "sim_dt": 0.01, "solver": (3, 5)},
    "MJX, 5 ms, solver 3, 5": {"engine": "mjx", "sim_dt": 0.005, "solver": (3, 5)},
    "MJX, 10 ms, solver 3, 5": {"engine": "mjx", "sim_dt": 0.01, "solver": (3, 5)},
}
RATED = [name for name in SETTINGS if name != "C MuJoCo, 2 ms"]
"""Those whose rates are measured: physics to train with."""

TIMES = (0.2, 0.5, 1.0)
"""s after which errors are measured."""

RATES = {"physics": "|s", "envs": "envs|d", "rate": "control steps/s|,.0f"}
ERRORS = {
    "physics": "|s",
    "time": "after [s]|.1f",
    "joints": "joints [rad], median|.3f",
    "joints_high": "90 %|.3f",
    "place": "pelvis [m], median|.3f",
    "place_high": "90 %|.3f",
    "up": "both up|.2f",
}


def rate(config: Any, settings: dict[str, Any], num_envs: int, steps: int, repeats: int = 3) -> float:
    """Control steps a second, the median of `repeats`."""
    setup = _setup.set_up(with_env(config, settings))
    env = setup.wrap_env_fn(setup.env, episode_length=500)  # pyright: ignore

    @jax.jit
    def run(state: Any, key: jax.Array) -> Any:
        def step(state: Any, key: jax.Array) -> tuple[Any, Any]:
            return env.step(state, 0.25 * jax.random.normal(key, (num_envs, setup.env.action_size))), None

        return jax.lax.scan(step, state, jax.random.split(key, steps))[0]

    state = jax.jit(env.reset)(jax.random.split(jax.random.PRNGKey(0), num_envs))
    state = run(state, jax.random.PRNGKey(1))
    seconds = []
    for repeat in range(repeats):
        start = time.perf_counter()
        state = jax.block_until_ready(run(state, jax.random.PRNGKey(repeat)))
        seconds.append(time.perf_counter() - start)
    return num_envs * steps / float(np.median(seconds))


def motions(config: Any, settings: dict[str, Any], run: Path | None) -> _evaluation.Trace:
    """One second under each command of the grid twice, that begins standing."""
    env = _setup.evaluation_env(with_env(config, settings), 51)
    policy, params = (lambda _, obs: jnp.zeros((len(obs), env.action_size))), 0
    if run is not None:
        policy, params = _onnx.chosen_policy(run, _setup.set_up(config), None)
    grid = np.tile(_evaluation.evaluation_grid(), (2, 1))
    return _evaluation.make_rollout(env)(policy, params, np.tile(grid, (50, 1, 1)))


def rates(config: Any, sizes: list[int], steps: int) -> Section:
    rows = []
    for name in RATED:
        for num_envs in sizes:
            found = rate(config, SETTINGS[name], num_envs, steps)
            print(f"{name}, {num_envs} environments: {found:,.0f} steps/s", flush=True)
            rows.append({"physics": name, "envs": num_envs, "rate": found})
    return Section("rate", RATES, rows, (f"{steps} steps, the median of 3",))


def errors(config: Any, run: Path | None) -> Section:
    exact, rows = motions(config, EXACT, run), []
    for name, settings in SETTINGS.items():
        found = motions(config, settings, run)
        for seconds in TIMES:
            at = round(seconds / 0.02) - 1
            joints = np.sqrt(np.mean(np.square(found.joint_pos[at] - exact.joint_pos[at]), axis=-1))
            place = np.linalg.norm(found.root[at] - exact.root[at], axis=-1)
            rows.append(
                {
                    "physics": name,
                    "time": seconds,
                    "joints": np.median(joints),
                    "joints_high": np.quantile(joints, 0.9),
                    "place": np.median(place),
                    "place_high": np.quantile(place, 0.9),
                    "up": float(np.mean(found.up[at] & exact.up[at])),
                }
            )
    acts = "zero actions" if run is None else f"the policy of {run.name}"
    return Section("error", ERRORS, rows, (f"against C MuJoCo, 1 ms, {acts}, 72 robots that begin standing",))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--steps", type=int, default=20, help="control steps that are timed")
    parser.add_argument("--run", type=Path, help="directory of a run, whose policy acts; by default actions are zero")
    parser.add_argument("--only", choices=("rates", "errors"), help="one of the two tables; by default both")
    arguments = parser.parse_args()
    config = PRESETS["walk"] if arguments.run is None else _policy.read_run(arguments.run)
    print("  ".join(f"{key} {value}" for key, value in device().items()))
    if arguments.only != "errors":
        print(table_text(rates(config, arguments.envs, arguments.steps)), flush=True)
    if arguments.only != "rates":
        print(table_text(errors(config, arguments.run)))


if __name__ == "__main__":
    main()
