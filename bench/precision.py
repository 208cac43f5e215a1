"""Accuracy and speed of a G1 model in lower precision.

    python -m bench.precision [--model DIR] [--envs 4096] [--steps 50] [--repeats 5]

For each precision: size of the weights, error of one frame against float32, of 500 frames of feedback, of the
velocity walked (evaluation grid), and the rate relative to float32, measured alternately with it.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np

import cmg_jax
from cmg_jax.evaluation import _held, _measure
from cmg_jax.model._precision import Precision, with_precision


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--envs", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    model = cmg_jax.load(arguments.model) if arguments.model else cmg_jax.default_model()
    assert model.initial_motion is not None
    joints, settings = model.config.num_joints, _measure.Settings()
    rng = np.random.default_rng(0)
    motion = model.initial_motion[rng.integers(len(model.initial_motion), size=arguments.envs)]
    low, high = np.asarray(model.stats.command_min), np.asarray(model.stats.command_max)
    command = jnp.asarray(rng.uniform(low, high, size=(arguments.envs, len(low))).astype(np.float32))
    held = jnp.broadcast_to(command[:, None], (arguments.envs, arguments.steps, len(low)))
    grid = _measure.default_grid(model)
    grid_commands = np.repeat(grid[:, None], settings.num_frames, axis=1)
    one_frame, generate = jax.jit(cmg_jax.apply), jax.jit(cmg_jax.generate, static_argnames="time_major")

    def seconds(model: cmg_jax.CMGModel) -> float:
        start = time.perf_counter()
        jax.block_until_ready(generate(model, motion, held, time_major=True))
        return time.perf_counter() - start

    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}; errors are root mean squares against float32")
    print("precision  weights     one frame [rad, rad/s]   500 frames [rad]   walked RMSE vx, vy, yaw   rate")
    frame, trajectory = one_frame(model, motion, command), _measure.generate(model, grid_commands)
    for precision in get_args(Precision):
        changed = with_precision(model, precision)
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(changed.params))
        error = np.asarray(one_frame(changed, motion, command) - frame)
        position, velocity = (np.sqrt(np.square(part).mean()) for part in np.split(error, [joints], axis=-1))
        walk = _measure.generate(changed, grid_commands)
        apart = np.sqrt(np.square((walk - trajectory)[..., :joints]).mean())
        tracking = _held.tracking(changed, walk, grid, settings)["rmse"]
        for each in (changed, model):
            seconds(each)  # compiles
        ratios = [seconds(model) / seconds(changed) for _ in range(arguments.repeats)]
        errors = ", ".join(f"{value:.3f}" for value in tracking.values())
        print(
            f"{precision:9}  {size / 1e6:4.1f} MB     {position:.1e}, {velocity:.1e}         {apart:.4f}"
            f"             {errors}       {statistics.median(ratios):.2f} ({min(ratios):.2f} .. {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
