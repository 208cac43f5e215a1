"""One rollout over all devices: of this process, or of several hosts that each run this program.

On one host:     python many_devices.py
On N hosts, each with its own GPUs, at the same time, with its own I from 0 to N-1:
                 python many_devices.py HOST_OF_PROCESS_0:1234 N I
"""

import sys

import jax
import numpy as np

import cmg_jax
from cmg_jax.commands import _sampler
from cmg_jax.generators import _sharded


def main(envs: int = 4096, steps: int = 100) -> np.ndarray:
    over = _sharded.mesh()  # all devices of all processes
    model = _sharded.replicate(cmg_jax.default_model(), over)
    generator = _sharded.sharded(cmg_jax.streaming(20), over)
    # Each process gives the commands of its own rows; a generator never needs those of another.
    local_envs = envs // jax.process_count()
    low, high = _sampler.trained_range(cmg_jax.default_model())
    commands = np.random.default_rng(jax.process_index()).uniform(low, high, (local_envs, 3)).astype(np.float32)
    commands = _sharded.shard_rows(commands, over)

    @jax.jit
    def rollout(model, commands):
        state = generator.init(model, jax.random.key(0), commands)
        _, frames = jax.lax.scan(lambda state, _: generator.step(model, state), state, None, length=steps)
        return frames.joint_pos  # [T, B, J], sharded over the devices of all hosts

    joint_pos = rollout(model, commands)
    parts = sorted(joint_pos.addressable_shards, key=lambda part: part.index[1].start or 0)
    return np.concatenate([part.data for part in parts], axis=1)  # this process's rows


if __name__ == "__main__":
    if len(sys.argv) == 4:
        address, processes, process = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
        jax.distributed.initialize(address, processes, process)
    print(f"process {jax.process_index()} of {jax.process_count()}:", main().shape)
