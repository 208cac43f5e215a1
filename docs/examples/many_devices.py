"""One rollout over all devices: of this process, or of several hosts that each run this program.

On one host:     python many_devices.py
On N hosts, each with its own GPUs, at the same time, each with a different I from 0 to N-1:
                 python many_devices.py HOST_OF_PROCESS_0:1234 N I
"""

import sys

import jax
import numpy as np

import cmg_jax
from cmg_jax import commands
from cmg_jax.generators import mesh, replicate, shard_rows, sharded


def main(num_envs: int = 4096, steps: int = 100) -> np.ndarray:
    devices = mesh()  # all devices of all processes
    model = replicate(cmg_jax.default_model(), devices)
    generator = sharded(cmg_jax.streaming(20), devices)
    # Each process has the commands of its own rows; a generator never needs those of another process.
    local_envs = num_envs // jax.process_count()
    low, high, _ = commands.trained_range(cmg_jax.default_model())
    command = np.random.default_rng(jax.process_index()).uniform(low, high, (local_envs, 3)).astype(np.float32)
    command = shard_rows(command, devices)

    @jax.jit
    def rollout(model, command):
        state = generator.init(model, jax.random.key(0), command)
        _, frames = jax.lax.scan(lambda state, _: generator.step(model, state), state, None, length=steps)
        return frames.joint_pos  # [T, B, J], sharded over the devices of all hosts

    joint_pos = rollout(model, command)
    parts = sorted(joint_pos.addressable_shards, key=lambda part: part.index[1].start or 0)
    return np.concatenate([part.data for part in parts], axis=1)  # this process's rows


if __name__ == "__main__":
    if len(sys.argv) == 4:
        address, processes, process = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
        jax.distributed.initialize(address, processes, process)
    print(f"process {jax.process_index()} of {jax.process_count()}:", main().shape)
