"""Whether motion stays natural over a long run: random commands for 100 000 steps in 256 environments.

    python -m bench.long_run [--model DIR] [--envs 256] [--steps 100000]

No environment is ever reset. Commands are drawn from the trained range and held for 1 to 6 s; 5 % of them are standing.
Prints, for every tenth of the run, the number of frames that are not finite or outside a joint's limits (from the
guards), the largest distance of a joint outside its limits, and the amplitude: the standard deviation of a joint's
position over 1000 steps, averaged over environments and leg joints.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import cmg_jax
from cmg_jax.commands import _sampler
from cmg_jax.model._model import CMGModel

CHUNK = 1000
INTERVAL = (50, 300)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--envs", type=int, default=256)
    parser.add_argument("--steps", type=int, default=100_000)
    arguments = parser.parse_args()
    model = cmg_jax.load(arguments.model) if arguments.model else cmg_jax.default_model()
    generator = cmg_jax.guarded(cmg_jax.streaming(0), hold=False)
    limits = jnp.asarray(model.config.robot.joint_limits)

    def draw(key: jax.Array) -> jax.Array:
        command_key, standing_key = jax.random.split(key)
        trained = _sampler.trained_range(model)
        return _sampler.with_standing(standing_key, _sampler.uniform(command_key, trained, arguments.envs), 0.05)

    @jax.jit
    def run(model: CMGModel, carry: Any, keys: jax.Array) -> tuple[Any, Any]:
        def step(carry: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            state, held = carry
            hold_key, command_key = jax.random.split(key)
            held, changed = _sampler.next_held(held, hold_key, draw(command_key), INTERVAL)
            state = generator.set_command(model, state, held.requested, changed)
            state, frame = generator.step(model, state)
            return (state, held), frame.joint_pos

        carry, joint_pos = jax.lax.scan(step, carry, keys)
        beyond = jnp.maximum(joint_pos - limits[:, 1], limits[:, 0] - joint_pos)
        return carry, (joint_pos[..., :12].std(axis=0).mean(), beyond.max())

    init_key, hold_key, command_key, key = jax.random.split(jax.random.key(0), 4)
    command = draw(command_key)
    state = jax.jit(generator.init)(model, init_key, command)
    carry = (state, _sampler.hold(hold_key, command, INTERVAL))
    start, chunks = time.perf_counter(), max(arguments.steps // CHUNK, 1)
    print(f"{arguments.envs} rows x {chunks * CHUNK} steps on {jax.devices()[0].device_kind}, jax {jax.__version__}")
    seen, rows = [], []
    for index in range(chunks):
        carry, figures = run(model, carry, jax.random.split(jax.random.fold_in(key, index), CHUNK))
        rows.append([float(figure) for figure in figures])
        if (index + 1) % max(chunks // 10, 1) == 0:
            counts = carry[0].counts
            seen.append(np.array([counts.not_finite.sum(), counts.outside_limits.sum()]))
            not_finite, outside = seen[-1] - (seen[-2] if len(seen) > 1 else 0)
            amplitude, beyond = np.array(rows).T
            frames = len(rows) * CHUNK * arguments.envs
            print(
                f"to step {(index + 1) * CHUNK:7d}  not finite {not_finite}  beyond a limit {outside} of {frames} "
                f"frames, at most {beyond.max():+.3f} rad  amplitude {amplitude.mean():.4f} rad  "
                f"({time.perf_counter() - start:.0f} s)",
                flush=True,
            )
            rows = []


if __name__ == "__main__":
    main()
