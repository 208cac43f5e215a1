"""A model as a StableHLO program for any batch size, on CPU, CUDA and TPU; jax alone runs it."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import export, lax

from cmg_jax._errors import InputError
from cmg_jax.model._model import CMGModel, apply

PLATFORMS = ("cpu", "cuda", "tpu")


def stablehlo(model: CMGModel, steps: int | None = None) -> export.Exported:
    """The program, with the weights inside; `serialize` it into a file, and `jax.export.deserialize` that.

    Args:
      model: the model.
      steps: None for one frame further, (motion [b, D], command [b, C]) -> motion [b, D]; K for a trajectory,
        (motion [b, D], commands [b, K, C]) -> [b, K+1, D] whose frame 0 is `motion`. All are physical.

    Raises:
      InputError: fewer than one step.
    """
    if steps is not None and steps < 1:
        raise InputError(f"steps {steps}: at least one is needed")
    (rows,) = export.symbolic_shape("b")
    sizes = (rows, model.config.command_dim) if steps is None else (rows, steps, model.config.command_dim)
    motion = jax.ShapeDtypeStruct((rows, model.config.motion_dim), jnp.float32)
    command = jax.ShapeDtypeStruct(sizes, jnp.float32)

    def step(motion: jax.Array, command: jax.Array) -> jax.Array:
        return apply(model, motion, command)

    def trajectory(motion: jax.Array, commands: jax.Array) -> jax.Array:
        def further(last: jax.Array, command: jax.Array) -> Any:
            frame = step(last, command)
            return frame, frame

        frames = lax.scan(further, motion, commands.swapaxes(0, 1))[1]
        return jnp.concatenate([motion[None], frames]).swapaxes(0, 1)

    function = jax.jit(step if steps is None else trajectory)
    return export.export(function, platforms=PLATFORMS)(motion, command)
