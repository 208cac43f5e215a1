"""Bytes of each generator's state, and the accuracy that a half-precision store loses.

    python -m bench.generator_memory [--envs 4096] [--steps 500]

The PyTorch original states 476 MB for 500 frames and 95 MB for a buffer of 100, at 4096 environments. The errors are
those of all frames of a run against a float32 store, in 64 environments whose commands are held.
"""

import argparse
from typing import Any

import jax
import jax.numpy as jnp

import cmg_jax
from cmg_jax.commands import _sampler
from cmg_jax.model._model import CMGModel

MAKE: dict[str, Any] = {
    "pregenerated(500)": lambda dtype: cmg_jax.pregenerated(500, dtype=dtype),
    "realtime(100)": lambda dtype: cmg_jax.realtime(100, dtype=dtype),
    "streaming(95)": lambda dtype: cmg_jax.streaming(95, dtype=dtype),
    "streaming(20)": lambda dtype: cmg_jax.streaming(20, dtype=dtype),
}


def state_bytes(generator: cmg_jax.Generator, model: CMGModel, num_envs: int) -> int:
    command = jax.ShapeDtypeStruct((num_envs, model.config.command_dim), jnp.float32)
    state = jax.eval_shape(generator.init, model, jax.random.key(0), command)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))


def serve(generator: cmg_jax.Generator, model: CMGModel, steps: int) -> jax.Array:
    key, command_key = jax.random.split(jax.random.key(0))
    trained = _sampler.trained_range(model)
    command = _sampler.uniform(command_key, trained, 64)

    @jax.jit
    def run(model: CMGModel) -> jax.Array:
        state = generator.init(model, key, command)
        _, frames = jax.lax.scan(lambda state, _: generator.step(model, state), state, None, length=steps)
        return jnp.stack([frames.joint_pos, frames.joint_vel])

    return run(model)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=500)
    arguments = parser.parse_args()
    model = cmg_jax.default_model()
    print(f"{arguments.envs} environments; errors over {arguments.steps} frames: mean (largest) rad, rad/s")
    for name, make in MAKE.items():
        exact = serve(make("float32"), model, arguments.steps)
        for dtype in ("float32", "float16", "bfloat16"):
            generator = make(dtype)
            error = jnp.abs(serve(generator, model, arguments.steps) - exact)
            mean, largest = error.mean(axis=(1, 2, 3)), error.max(axis=(1, 2, 3))
            print(
                f"{name:18s} {dtype:9s} {state_bytes(generator, model, arguments.envs) / 1e6:6.1f} MB   "
                f"position {mean[0]:.1e} ({largest[0]:.1e}), velocity {mean[1]:.1e} ({largest[1]:.1e})",
                flush=True,
            )


if __name__ == "__main__":
    main()
