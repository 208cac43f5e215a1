"""A model as a StableHLO program for any batch size, on CPU, CUDA and TPU; jax alone runs it."""

import jax
import jax.numpy as jnp
from jax import export, lax

from cmg_jax._errors import InputError
from cmg_jax.model._model import CMGModel, apply, without_kernels
from cmg_jax.model._networks import for_any_platform

PLATFORMS = ("cpu", "cuda", "tpu")


def stablehlo(model: CMGModel, *, num_frames: int | None = None) -> export.Exported:
    """The program of a model, with its weights. Write `serialize()` to a file; `jax.export.deserialize` reads it.

    Args:
      model: the model.
      num_frames: None for the next frame, (motion [b, D], command [b, C]) -> motion [b, D]; K for a trajectory,
        (motion [b, D], commands [b, K, C]) -> [b, K+1, D] whose frame 0 is `motion`. All are in physical units.

    Raises:
      InputError: fewer than one frame.

    Examples:
      >>> from cmg_jax import export
      >>> _ = Path("cmg.jax").write_bytes(export.stablehlo(model).serialize())
      >>> loaded = jax.export.deserialize(bytearray(Path("cmg.jax").read_bytes()))
      >>> loaded.call(cmg_jax.standing_frame(model)[None], jnp.zeros((1, 3))).shape
      (1, 64)
    """
    if num_frames is not None and num_frames < 1:
        raise InputError(f"steps {num_frames}: at least one is needed")
    model = without_kernels(model)
    (rows,) = export.symbolic_shape("b")
    sizes = (rows, model.config.command_dim) if num_frames is None else (rows, num_frames, model.config.command_dim)
    motion = jax.ShapeDtypeStruct((rows, model.config.motion_dim), jnp.float32)
    command = jax.ShapeDtypeStruct(sizes, jnp.float32)

    def step(motion: jax.Array, command: jax.Array) -> jax.Array:
        return apply(model, motion, command)

    def trajectory(motion: jax.Array, commands: jax.Array) -> jax.Array:
        def advance(last: jax.Array, command: jax.Array) -> tuple[jax.Array, jax.Array]:
            frame = step(last, command)
            return frame, frame

        frames = lax.scan(advance, motion, commands.swapaxes(0, 1))[1]
        return jnp.concatenate([motion[None], frames]).swapaxes(0, 1)

    function = jax.jit(step if num_frames is None else trajectory)
    with for_any_platform():
        return export.export(function, platforms=PLATFORMS)(motion, command)
