"""One of two processes that share a batch: `python -m tests.two_processes PORT PROCESS OUT`. Run by test_parallel."""

import sys

import jax
import numpy as np

import cmg_jax
from cmg_jax.generators import _sharded

ROWS, STEPS = 128, 10


def run(over, generator, model, rows):
    """Frames served to the rows of this process, with a reset and a change of command in between."""
    from tests.generator_tools import commands, flat  # it computes when imported, which must come after `initialize`

    command, other = commands(1, ROWS)[rows], commands(2, ROWS)[rows]
    done = np.arange(ROWS)[rows] % 5 == 0
    generator, model = _sharded.sharded(generator, over), _sharded.replicate(model, over)
    command, other, done = _sharded.shard_rows((command, other, done), over)

    @jax.jit
    def rollout(model, command, other, done):
        state = generator.init(model, jax.random.key(3), command)
        state = generator.reset(model, state, done, jax.random.key(4), other)
        state, _ = generator.step(model, state)
        state = generator.set_command(model, state, other)
        return jax.lax.scan(lambda state, _: generator.step(model, state), state, None, length=STEPS)[1]

    frames = rollout(model, command, other, done)
    local = [np.concatenate([part.data for part in _by_row(leaf)], axis=1) for leaf in jax.tree.leaves(frames)]
    return flat(jax.tree.unflatten(jax.tree.structure(frames), local))


def _by_row(array):
    return sorted(array.addressable_shards, key=lambda part: part.index[1].start or 0)


def main():
    port, process, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=process)
    assert jax.process_count() == 2
    half = ROWS // 2
    rows = slice(process * half, (process + 1) * half)
    frames = run(_sharded.mesh(), cmg_jax.streaming(3), cmg_jax.default_model(), rows)
    assert frames.shape[:2] == (STEPS, half)
    np.save(out, frames)


if __name__ == "__main__":
    main()
