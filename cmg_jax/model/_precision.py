"""Models in lower precision: the experts' products in TF32, half precision or int8, everything else in float32.

In half precision, the inputs of the products are rounded. Sums stay in float32, and so do the gate, biases,
activations, normalization and the feedback from frame to frame.
Figures: bench/precision.py.
"""

import dataclasses
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from cmg_jax._errors import InputError
from cmg_jax.model._model import CMGModel
from cmg_jax.model._networks import SCALE, TF32

Precision = Literal["float32", "tf32", "bfloat16", "float16", "int8"]


def with_precision(model: CMGModel, precision: Precision) -> CMGModel:
    """`model` with its experts' products in another precision, for `generate` and generators.

    - tf32: products of float32 kernels in TF32 on a GPU of NVIDIA, in float32 elsewhere.
    - bfloat16, float16: products of that precision, summed in float32.
    - int8: kernels of a quarter of the size, w = scale x q with one scale for an output of an expert
      (max |w| / 127). Products are of float32 with the rounded weights.

    Args:
      model: in float32, as `load` returns it.
      precision: "float32" returns an equal model.

    Raises:
      InputError: an unknown precision, or a model that is not in float32 or has kernels.

    Examples:
      >>> from cmg_jax.model import with_precision
      >>> with_precision(model, "bfloat16").params["layers_1"]["kernel"].dtype
      dtype(bfloat16)
    """
    if precision not in get_args(Precision):
        raise InputError(f"precision {precision!r} is not one of {', '.join(get_args(Precision))}")
    if model.kernels is not None:
        raise InputError("the model has kernels; change the precision first, then call with_kernels")
    params = dict(model.params)
    for name, layer in model.params.items():
        if name == "gating":
            continue
        if layer["kernel"].dtype != jnp.float32 or TF32 in layer:
            raise InputError("the model is in lower precision already; start from the one that was loaded")
        if precision == "int8":
            params[name] = _quantized(layer)
        elif precision == "tf32":
            params[name] = {**layer, TF32: jnp.zeros(0, jnp.int8)}
        elif precision != "float32":
            params[name] = {**layer, "kernel": layer["kernel"].astype(precision)}
    return dataclasses.replace(model, params=params)


def _quantized(layer: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """A layer with its kernel in int8, and one scale a column."""
    kernel = layer["kernel"]
    scale = jnp.maximum(jnp.abs(kernel).max(axis=1), 1e-12) / 127
    return {**layer, "kernel": jnp.round(kernel / scale[:, None]).astype(jnp.int8), SCALE: scale}
