"""Models in lower precision: the experts' kernels in half precision or int8, everything else in float32.

The network computes in the precision of its kernels: inputs of a product are rounded to it, sums are kept in
float32, and so are the gate, biases, activations, normalization and the feedback from frame to frame.
Figures: bench/precision.py.
"""

import dataclasses
from itertools import pairwise
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from cmg_jax.errors import InputError
from cmg_jax.model import CMGModel
from cmg_jax.networks import SCALE, expert_axis

Precision = Literal["float32", "bfloat16", "float16", "int8"]


def with_precision(model: CMGModel, precision: Precision) -> CMGModel:
    """`model` with its experts' kernels in another precision: a pytree like any model, for `generate` and generators.

    - bfloat16, float16: products of that precision, summed in float32.
    - int8: kernels of a quarter of the size, w = scale x q with one scale for an output (max |w| / 127), of
      each expert where experts have outputs of their own. Products are of float32 with the rounded weights.

    Args:
      model: in float32, as `load` gives it.
      precision: "float32" gives `model` back.

    Raises:
      InputError: another precision, or a model that is not in float32.
    """
    if precision not in get_args(Precision):
        raise InputError(f"precision {precision!r} is not one of {', '.join(get_args(Precision))}")
    widths = (model.config.motion_dim + model.config.command_dim, *model.config.hidden_dims, model.config.motion_dim)
    params = dict(model.params)
    for index, (features_in, features_out) in enumerate(pairwise(widths)):
        layer = params[f"layers_{index}"]
        if layer["kernel"].dtype != jnp.float32:
            raise InputError("the model is in lower precision already; begin with the one that was loaded")
        if precision == "int8":
            params[f"layers_{index}"] = _quantized(layer, expert_axis(features_in, features_out))
        elif precision != "float32":
            params[f"layers_{index}"] = {**layer, "kernel": layer["kernel"].astype(precision)}
    return dataclasses.replace(model, params=params)


def _quantized(layer: dict[str, jax.Array], experts: int) -> dict[str, jax.Array]:
    """A layer with its kernel in int8; `experts` is the kernel's axis of them."""
    kernel = layer["kernel"]
    # [E, in, out] is summed over experts and inputs alike, [in, E, out] over inputs only.
    summed = (0, 1) if experts == 0 else (0,)
    scale = jnp.maximum(jnp.abs(kernel).max(axis=summed), 1e-12) / 127
    return {**layer, "kernel": jnp.round(kernel / jnp.expand_dims(scale, summed)).astype(jnp.int8), SCALE: scale}
