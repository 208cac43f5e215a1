"""Rates of several memory layouts of a layer's product, for each batch size: the reason for the layout of the network.

    python -m bench.layouts [--envs 1 8 64 512] [--repeats 30]

The product of the middle layer, all experts at once, fed back in a scan so that XLA cannot move it out of the loop:
rows first with the weights on the right, as they are and transposed, and features first with the weights on the left.
Prints medians of GFLOP/s.
"""

import argparse
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

FEATURES_IN, FEATURES_OUT = 512, 4 * 512
STEPS = 20


def x_times(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return x @ kernel


def x_times_transposed(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.lax.dot_general(x, kernel, (((1,), (1,)), ((), ())))


def times_x(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return kernel @ x


ARRANGEMENTS = (
    ("x W, W [in, E out]", True, False, x_times),
    ("x W, W [E out, in]", True, True, x_times_transposed),
    ("W x, W [E out, in]", False, True, times_x),
)
"""Name, whether rows come first, whether the kernel is [E out, in], product."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=int, nargs="+", default=[1, 8, 64, 512])
    parser.add_argument("--repeats", type=int, default=30)
    arguments = parser.parse_args()
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}; [B, 512] and 4 experts of 512 x 512, GFLOP/s")
    rng = np.random.default_rng(0)
    kernel = jnp.asarray(rng.normal(size=(FEATURES_OUT, FEATURES_IN)), jnp.float32)
    for envs in arguments.envs:
        x = jnp.asarray(rng.normal(size=(envs, FEATURES_IN)), jnp.float32)
        for name, rows_first, outputs_first, product in ARRANGEMENTS:
            held = kernel if outputs_first else jnp.array(kernel.T)

            @jax.jit
            def run(x: jax.Array, kernel: jax.Array, product=product) -> jax.Array:
                def step(x: jax.Array, _: None) -> tuple[jax.Array, None]:
                    return x + 1e-9 * product(x, kernel).ravel()[0], None

                return jax.lax.scan(step, x, None, length=STEPS)[0]

            inputs = x if rows_first else x.T
            run(inputs, held).block_until_ready()
            seconds = []
            for _ in range(arguments.repeats):
                start = time.perf_counter()
                run(inputs, held).block_until_ready()
                seconds.append((time.perf_counter() - start) / STEPS)
            rate = 2 * envs * FEATURES_IN * FEATURES_OUT / statistics.median(seconds)
            print(f"B {envs:5d}  {name}  {rate / 1e9:7.1f}")


if __name__ == "__main__":
    main()
