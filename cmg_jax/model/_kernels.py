"""Models whose network runs as fused kernels on a GPU: the weights padded once, and the options of the kernels.

No GPU has timed the kernels yet, so that the plain form is the default: docs/gpu_programs.md has what is known.
"""

from collections.abc import Sequence

import jax.numpy as jnp

from cmg_jax._errors import InputError
from cmg_jax.model import _padding
from cmg_jax.model._model import CMGModel
from cmg_jax.model._networks import SCALE, TF32
from cmg_jax.model._padding import FEATURES, Kernels, Tile

FLOAT32_TILE = Tile(outputs=64, rows=128, inputs=32, warps=8, stages=3)
TILE = Tile(outputs=128, rows=128, inputs=32, warps=8, stages=3)
"""In TF32 and half precision. Larger tiles of either do not fit the registers of an A100 or RTX 4090."""
NARROW_TILE = Tile(outputs=64, rows=32, inputs=32, warps=4, stages=3)
"""Of layers with at most `FEATURES` outputs, which would leave most of a GPU without a tile otherwise."""


def with_kernels(
    model: CMGModel, *, tiles: Sequence[Tile | Sequence[int]] | None = None, interpret: bool = False
) -> CMGModel:
    """`model` with its network as fused kernels on NVIDIA's GPUs, for `generate` and generators.

    The gate and each layer of experts are then one kernel each, written in Pallas for Triton, so that the results of
    single experts are never written to memory. Precision is the model's, of `with_precision`. Elsewhere than on such a
    GPU the same network runs as without kernels, and so do gradients everywhere. Which of the two runs is decided when
    a program is lowered.

    `params` are padded. `save`, exports and training take the model as it was before; so does `without_kernels`.

    Args:
      model: in float32, TF32, bfloat16 or float16, without kernels.
      tiles: what one program of the grid computes, for each layer of experts: outputs, rows, inputs at a time, warps,
        stages. By default tiles that need no more registers than a GPU has. `cmg-jax bench --mode gpu` times others.
      interpret: run the kernels as operations of JAX on any platform; slow, for tests.

    Returns:
      A model for the same calls.

    Raises:
      InputError: the model has kernels already or is in int8, or a tile is not one for its layer.

    Examples:
      >>> import cmg_jax
      >>> from cmg_jax.model import with_kernels, with_precision
      >>> model = with_kernels(with_precision(cmg_jax.default_model(), "float16"))
      >>> [tile.rows for tile in model.kernels.tiles]
      [128, 128, 32]
    """
    if model.kernels is not None:
        raise InputError("the model has kernels already; without_kernels(model) is the model without them")
    layers = [model.params[f"layers_{index}"] for index in range(len(model.config.hidden_dims) + 1)]
    if any(SCALE in layer or not jnp.issubdtype(layer["kernel"].dtype, jnp.floating) for layer in layers):
        raise InputError("there are no kernels for int8; take with_precision(model, 'float16') instead")
    if tiles is None:
        tiles = [_default_tile(layer["bias"].shape[1], _is_float32(layer)) for layer in layers]
    if len(tiles) != len(layers):
        raise InputError(f"{len(tiles)} tiles for {len(layers)} layers of experts: give one for each")
    kernels = Kernels(tuple(_checked(tile) for tile in tiles), interpret)
    return model.replace(params=_padding.pad(model.params, model.config.num_experts), kernels=kernels)


def _default_tile(outputs: int, is_float32: bool) -> Tile:
    if outputs <= FEATURES:
        return NARROW_TILE
    return FLOAT32_TILE if is_float32 else TILE


def _is_float32(layer: dict[str, object]) -> bool:
    return jnp.asarray(layer["kernel"]).dtype == jnp.float32 and TF32 not in layer


def _checked(tile: Tile | Sequence[int]) -> Tile:
    """The tile, of numbers that Triton can take and that divide padded sizes."""
    if len(tile) != len(Tile._fields):
        raise InputError(f"tile {tuple(tile)}: it must be the {len(Tile._fields)} numbers {', '.join(Tile._fields)}")
    checked = Tile(*map(int, tile))
    sizes = {"outputs": (16, 256), "rows": (16, 256), "inputs": (16, FEATURES), "warps": (1, 16)}
    for name, (low, high) in sizes.items():
        size = getattr(checked, name)
        if not (low <= size <= high and size.bit_count() == 1):
            raise InputError(f"tile {tuple(checked)}: {name} {size} must be a power of two from {low} to {high}")
    if not 1 <= checked.stages <= 8:
        raise InputError(f"tile {tuple(checked)}: stages {checked.stages} must be from 1 to 8")
    return checked
