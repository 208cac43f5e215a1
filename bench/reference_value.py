"""What a reference is worth to a G1 that learns to walk: the same training with it and without it.

    python -m bench.reference_value OUT [--steps 20000000] [--seeds 0 1] [--only residual no_residual none]

Three ways, with the same environment, budget, seeds and network (`walk` of `cmg-jax rl train`):

    residual       the reference in observation and reward; an action is added to its joint positions
    no_residual    the reference in observation and reward; an action is added to the standing pose
    none           no reference at all: rewards for the command, uprightness, air time of the feet and smoothness

The first two are rewarded for tracking alone: they leave out the preset's reward for the command's yaw rate.

Runs are in OUT/WAY-SEED; those that were interrupted go on, so that the command may be repeated. Then it writes
OUT/curves.png, OUT/table.json, and prints the table of the end: the best policy of each run under the 36 commands of
the grid. `--only` trains some of the ways, in several processes for instance; without it the table has all. Needs the
extra `rl`.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from bench._measure import Section, device
from bench._report import table_text
from cmg_jax.model import CMGModel
from cmg_jax.rl import RunConfig, _evaluation, _onnx, _policy, _run, _setup
from cmg_jax.rl._presets import PRESETS, with_env, without_reference, without_residual
from cmg_jax.robot import G1, indices
from cmg_jax.training._metrics import read_metrics
from cmg_jax.viz._plot import new_figure, save

TRACKING = {"rewards": {"command_yaw_rate": 0.0}}
WAYS = {
    "residual": lambda config: with_env(config, TRACKING),
    "no_residual": lambda config: without_residual(with_env(config, TRACKING)),
    "none": without_reference,
}
LABELS = {"residual": "reference, residual", "no_residual": "reference, no residual", "none": "no reference"}

COLUMNS = {
    "way": "|s",
    "seed": "seed|d",
    "steps": "steps|,d",
    "survived": "up [s] of 10|.2f",
    "vx_error": "vx [m/s]|.3f",
    "vy_error": "vy|.3f",
    "yaw_error": "yaw [rad/s]|.3f",
    "walked": "over one second|s",
    "cost_of_transport": "cost of transport|.2f",
    "target_change": "change of targets [rad]|.4f",
    "pose_distance": "distance of poses [rad]|.3f",
}

CURVES = {
    "time up [s] of 10": "survived",
    "error of vx over one second [m/s]": "walked_vx_error",
    "error of yaw over one second [rad/s]": "walked_yaw_error",
}


def configuration(way: str, seed: int, steps: int | None) -> RunConfig:
    config = dataclasses.replace(WAYS[way](PRESETS["walk"]), seed=seed)
    if steps is None:
        return config
    evaluations = max(steps // 1_000_000, 2) + 1
    return dataclasses.replace(config, ppo=dataclasses.replace(config.ppo, num_timesteps=steps, num_evals=evaluations))


def train(directory: Path, config: RunConfig) -> None:
    """Train a run, or what is left of it with the settings that it has."""
    resume = directory.is_dir()
    if resume:
        config = _policy.read_run(directory)
    if (directory / "metrics.csv").is_file() and int(read_metrics(directory)[-1]["step"]) >= config.ppo.num_timesteps:
        return

    def report(row: dict[str, Any]) -> None:
        print(
            f"{directory.name}  step {row['step']:9d}  up {row['survived']:5.2f} s  errors {row['vx_error']:.3f} "
            f"{row['vy_error']:.3f} {row['yaw_error']:.3f}  {row['steps_per_second']} steps/s",
            flush=True,
        )

    _run.train(config, _setup.set_up(config), directory, report, resume=resume)


def end(directory: Path) -> dict[str, Any]:
    """The figures of the best policy of a run, over other beginnings than those it was chosen by."""
    config = _policy.read_run(directory)
    setup = _setup.set_up(config)
    policy, params = _onnx.chosen_policy(directory, setup, None)
    grid = np.tile(_evaluation.evaluation_grid(), (4, 1))
    steps = config.ppo.episode_length
    rollout = _evaluation.make_rollout(_setup.evaluation_env(config, steps + 1))
    trace = rollout(policy, params, np.tile(grid, (steps, 1, 1)), seed=1000 + config.seed)
    mass = float(setup.env.mj_model.body_mass.sum())
    found = _evaluation.figures(trace, setup.env.dt, mass)
    out = _evaluation.summary(found, steps * setup.env.dt, floating=True)
    walked = ", ".join(f"{out[f'walked_{axis}_error']:.3f}" for axis in ("vx", "vy", "yaw"))
    return out | {"walked": walked, "pose_distance": pose_distance(setup.model, trace)}


def pose_distance(model: CMGModel, trace: _evaluation.Trace) -> float:
    """rad, from a pose to the nearest of the model's pool, whose frames come from its data; the mean over all poses.

    A distance is the root mean square over the joints.
    """
    pool = np.asarray(model.initial_motion)[:, : model.config.num_joints]
    at = indices(model.config.joint_names, G1.joint_names)
    late = trace.up[50::10]
    poses = trace.joint_pos[50::10][late][:, at]
    if not len(poses):
        return float("nan")
    distances = [np.sqrt(np.mean(np.square(pool - pose), axis=-1)).min() for pose in poses]
    return float(np.mean(distances))


def draw(path: Path, runs: dict[tuple[str, int], list[dict[str, str]]]) -> None:
    """A panel for each figure; a color for each way, a style for each seed."""
    figure, ways, seeds = new_figure(figsize=(5 * len(CURVES), 3.8)), list(WAYS), sorted({seed for _, seed in runs})
    for axis, (label, name) in zip(figure.subplots(1, len(CURVES)), CURVES.items(), strict=True):
        for (way, seed), rows in runs.items():
            steps, values = (np.array([row[key] for row in rows], float) for key in ("step", name))
            style, color = ("-", "--", ":", "-.")[seeds.index(seed) % 4], f"C{ways.index(way)}"
            axis.plot(steps / 1e6, values, style, color=color, label=LABELS[way] if seed == seeds[0] else None)
        axis.set_xlabel("million environment steps")
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    figure.axes[-1].legend(loc="lower left", frameon=False, fontsize=9)
    save(figure, path)


def steps_to_reach(rows: list[dict[str, str]], goal: dict[str, Any]) -> dict[str, int | None]:
    """For each figure the first evaluation that is as good as `goal`; None where there is none."""
    reached = {}
    for name in ("survived", *(f"walked_{axis}_error" for axis in ("vx", "vy", "yaw"))):
        sign = 1 if name == "survived" else -1
        good = [int(row["step"]) for row in rows if sign * float(row[name]) >= sign * goal[name]]
        reached[name] = good[0] if good else None
    return reached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, help="environment steps of a run; by default the preset's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--only", nargs="+", choices=list(WAYS), help="ways to train, without the table")
    arguments = parser.parse_args()
    print("  ".join(f"{key} {value}" for key, value in device().items()), flush=True)
    arguments.out.mkdir(exist_ok=True)
    chosen = [(way, seed) for seed in arguments.seeds for way in arguments.only or WAYS]
    directories = {(way, seed): arguments.out / f"{way}-{seed}" for way, seed in chosen}
    for (way, seed), directory in directories.items():
        train(directory, configuration(way, seed, arguments.steps))
    if arguments.only:
        return
    runs = {key: read_metrics(directory) for key, directory in directories.items()}
    draw(arguments.out / "curves.png", runs)
    rows = [
        {"way": LABELS[way], "seed": seed, "steps": int(runs[way, seed][-1]["step"])} | end(directory)
        for (way, seed), directory in directories.items()
    ]
    notes = []
    for seed in arguments.seeds:
        goal = next(row for row in rows if row["way"] == LABELS["none"] and row["seed"] == seed)
        reached = steps_to_reach(runs["residual", seed], goal)
        parts = [f"{name} {'never' if steps is None else f'{steps:,}'}" for name, steps in reached.items()]
        notes.append(f"seed {seed}, steps with the reference to what is reached without it: {', '.join(parts)}")
    (arguments.out / "table.json").write_text(json.dumps(rows, indent=2) + "\n")
    print(table_text(Section("the best policy of each run", COLUMNS, rows, notes)))
    print(f"wrote {arguments.out / 'curves.png'} and {arguments.out / 'table.json'}")


if __name__ == "__main__":
    main()
