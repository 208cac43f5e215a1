"""Trajectories of any number of environments in host memory."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax import _play
from cmg_jax._blocks import CPU_BLOCK_ROWS, row_blocks
from cmg_jax.generators._base import first_frames
from cmg_jax.model._model import CMGModel


class Timing(NamedTuple):
    """Seconds."""

    compile: float
    run: float


def generate(
    model: CMGModel, commands: np.ndarray, *, num_envs: int, seed: int, progress: Callable[[int], Any] = lambda _: None
) -> tuple[np.ndarray, Timing]:
    """Trajectories [num_envs, T+1, D] in host memory, generated in blocks of rows that fill one preallocated array.

    Args:
      model: the model.
      commands: [T, C], shared by all environments.
      num_envs: number of environments, each from its own first frame.
      seed: draws the first frames.
      progress: called with the number of frames just made.
    """
    steps = len(commands)
    blocks = row_blocks(num_envs, CPU_BLOCK_ROWS if jax.default_backend() == "cpu" else 16384)
    shared = jnp.broadcast_to(jnp.asarray(commands), (blocks.size, *commands.shape))

    key = jax.random.key(seed)
    first = first_frames(model, key, num_envs) if model.params else None

    def begin(index: int, rows: slice) -> tuple[_play.State, jax.Array]:
        if first is None:
            return _play.begin(model, blocks.size, jax.random.fold_in(key, index))
        return first[rows], first[rows]

    start = time.perf_counter()
    compiled = jax.jit(_play.trajectory).lower(model, *begin(0, slice(blocks.size)), shared).compile()
    compile_seconds = time.perf_counter() - start

    out = np.empty((num_envs, steps + 1, model.config.motion_dim), np.float32)
    start = time.perf_counter()
    for index, (rows, num_new) in enumerate(blocks.slices()):
        out[rows] = compiled(model, *begin(index, rows), shared)
        progress(num_new * steps)
    return out, Timing(compile_seconds, time.perf_counter() - start)
