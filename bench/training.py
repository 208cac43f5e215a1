"""Rate of training steps, relative to the machine's peak of matrix products.

    python -m bench.training --data data.npz [--batch-size 256 512] [--window 30] [--repeats 5]

A step is a forward and a backward pass, counted as three times the forward pass's matrix products; the optimizer, the
drawing of windows and the activations are not counted. Compilation is timed separately.
"""

import argparse
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from bench._measure import matmul_peak, products_per_frame
from cmg_jax.data import _dataset
from cmg_jax.data._windows import make_windows
from cmg_jax.model._model import CMGConfig
from cmg_jax.training import TrainConfig, _trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--batch-size", type=int, nargs="+", default=[256])
    parser.add_argument("--window", type=int, default=30)
    parser.add_argument("--steps", type=int, default=10, help="of one timing")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    data = _dataset.load(arguments.data)
    model_config = CMGConfig(data.motion.shape[1], 3, 4, (512,), (512, 512), data.robot, data.fps)
    stats = jax.tree.map(jnp.asarray, data.stats())
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}")
    for batch_size in arguments.batch_size:
        config = TrainConfig(batch_size=batch_size, window=arguments.window)
        functions = _trainer.make_trainer(config, model_config, stats)
        windows, frames = make_windows(data, config.window), _trainer.to_device(data)
        state = functions.init(_trainer.initial_params(model_config, jax.random.key(0)))
        start = time.perf_counter()
        state, _ = jax.block_until_ready(functions.run(state, frames, windows, length=arguments.steps))
        first = time.perf_counter() - start
        rates, ratios = [], []
        for _ in range(arguments.repeats):
            start = time.perf_counter()
            state, _ = jax.block_until_ready(functions.run(state, frames, windows, length=arguments.steps))
            samples = arguments.steps * batch_size * config.window
            rates.append(samples / (time.perf_counter() - start))
            ratios.append(rates[-1] * 3 * 2 * products_per_frame(model_config) / matmul_peak(3))
        print(
            f"batch {batch_size} x {config.window} frames: {statistics.median(rates):,.0f} frames/s, "
            f"{statistics.median(rates) / config.window:,.0f} windows/s, {statistics.median(ratios):.2f} of the "
            f"matrix-product peak ({min(ratios):.2f} .. {max(ratios):.2f}); the first call took {first:.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
