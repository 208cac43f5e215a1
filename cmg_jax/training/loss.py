"""The loss of a window: the network runs on from its first frame, now and then put right by the data."""

from typing import Any

import jax
import jax.numpy as jnp

from cmg_jax.model import CMGConfig


def window_loss(
    params: Any,
    config: CMGConfig,
    motion: jax.Array,
    command: jax.Array,
    teacher: jax.Array,
    *,
    weight: jax.Array | None = None,
    through_predictions: bool = False,
) -> jax.Array:
    """Mean squared error of the n frames predicted in a window, as the PyTorch original's trainer has it.

    Each frame is predicted from the frame before it: the data's where `teacher`, else the network's own
    prediction of it (scheduled sampling, Bengio et al. 2015). The first frame is always the data's.

    Args:
      params: parameters of `config.network`.
      config: the model's.
      motion: [n+1, b, D] normalized.
      command: [n, b, C] normalized; command[t] leads from frame t to frame t+1.
      teacher: [n, b] bool: whether frame t+1 of the data is what step t+1 starts from.
      weight: [D] of the squared errors; all 1 by default.
      through_predictions: let gradients flow through the network's own predictions; the original cuts them.
    """

    def step(last: jax.Array, now: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        target, command, teacher = now
        frame: jax.Array = config.network.apply({"params": params}, last, command)  # pyright: ignore
        error = jnp.square(frame - target)
        if weight is not None:
            error = error * weight[None]
        own = frame if through_predictions else jax.lax.stop_gradient(frame)
        return jnp.where(teacher[:, None], target, own), error.mean()

    return jax.lax.scan(step, motion[0], (motion[1:], command, teacher))[1].mean()
