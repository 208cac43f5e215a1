"""The network as fused kernels for a GPU, in Pallas for Triton: one for the gate, one for each layer of experts.

As plain products, a layer writes the results of all its experts to memory and reads them again to blend them. Here one
program of the grid holds a tile of the layer's output in registers: it multiplies expert after expert and adds each
result, weighted, to the tile, which is written once.

Arrays are rows first, [rows, features], unlike those of `CMG`: both operands of each product are then contiguous along
the axis that is summed over, which the tensor cores of a GPU read directly. Features are padded to multiples of
`FEATURES` (`_padding`) and rows to those of a tile, so that no load or store is masked.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Array, Float

from cmg_jax.model._networks import TF32, elu
from cmg_jax.model._padding import FEATURES, Tile, up_to

GATE = Tile(outputs=64, rows=32, inputs=32, warps=4, stages=2)
"""The gate's tile: `outputs` of a hidden layer are computed at a time, and only the coefficients are written."""

Precision = lax.Precision | lax.DotAlgorithmPreset


def experts_layer(
    x: Float[Array, "rows inputs"],
    coefficients: Float[Array, "rows E"],
    kernel: Array,
    bias: Array,
    *,
    tile: Tile,
    activate: bool,
    out_dtype: Any,
    precision: Precision,
    interpret: bool,
) -> Array:
    """sum_e c_e (x W_e + b_e) in one kernel, and its ELU if `activate`.

    Args:
      x: the layer's input, in the precision to multiply in.
      coefficients: of the experts.
      kernel: weights [E, outputs, inputs], in the precision of `x`.
      bias: of each expert, [E, outputs].
      tile: what one program of the grid computes; it divides the sizes.
      activate: whether an activation follows.
      out_dtype: of the result.
      precision: of the products.
      interpret: run the kernel as operations of JAX, on any platform.
    """
    num_experts, outputs, inputs = kernel.shape
    body = functools.partial(_experts_kernel, tile=tile, activate=activate, precision=precision)
    return pl.pallas_call(
        body,
        out_shape=jax.ShapeDtypeStruct((len(x), outputs), out_dtype),
        grid=(len(x) // tile.rows, outputs // tile.outputs),
        in_specs=[
            pl.BlockSpec((tile.rows, inputs), lambda row, _: (row, 0)),
            pl.BlockSpec((tile.rows, coefficients.shape[1]), lambda row, _: (row, 0)),
            pl.BlockSpec((num_experts, tile.outputs, inputs), lambda _, out: (0, out, 0)),
            pl.BlockSpec((num_experts, tile.outputs), lambda _, out: (0, out)),
        ],
        out_specs=pl.BlockSpec((tile.rows, tile.outputs), lambda row, out: (row, out)),
        compiler_params=triton.CompilerParams(num_warps=tile.warps, num_stages=tile.stages),
        interpret=interpret,
        name=f"experts_layer_{_label(kernel.dtype, precision)}",
    )(x, coefficients, kernel, bias)


def _label(dtype: Any, precision: Precision) -> str:
    """Of the products of a layer, in the names that profiles show."""
    if dtype != jnp.float32:
        return "half"
    return "tf32" if precision == lax.DotAlgorithmPreset.TF32_TF32_F32 else "float32"


def _experts_kernel(x, coefficients, kernel, bias, out, *, tile: Tile, activate: bool, precision: Precision) -> None:
    num_experts, _, inputs = kernel.shape

    def add_expert(expert: Array, total: Array) -> Array:
        def add_product(part: Array, partial: Array) -> Array:
            at = pl.ds(part * tile.inputs, tile.inputs)
            return partial + _times(x[:, at], kernel[expert, :, at], precision)

        # As a loop: unrolled, the experts' intermediate results do not fit the registers.
        result = lax.fori_loop(0, inputs // tile.inputs, add_product, jnp.zeros(out.shape, jnp.float32))
        return total + coefficients[:, expert][:, None] * (result + bias[expert, :][None])

    total = lax.fori_loop(0, num_experts, add_expert, jnp.zeros(out.shape, jnp.float32))
    out[...] = (elu(total) if activate else total).astype(out.dtype)


def gate(
    x: Float[Array, "rows inputs"],
    hidden: tuple[Array, Array],
    last: tuple[Array, Array],
    *,
    precision: Precision,
    interpret: bool,
) -> Float[Array, "rows E"]:
    """The softmax of the last two layers of the gate in one kernel; the hidden layer is never written to memory.

    Args:
      x: input of the hidden layer.
      hidden: weights [hidden, inputs] and bias [hidden].
      last: weights [E, hidden] and bias [E]; the bias of padding is so low that its coefficients are 0.
      precision: of the products.
      interpret: as in `experts_layer`.
    """
    arguments = (*hidden, *last)
    num_experts = len(last[1])

    def whole(array: Array) -> pl.BlockSpec:
        return pl.BlockSpec(array.shape, lambda _: (0,) * array.ndim)

    return pl.pallas_call(
        functools.partial(_gate_kernel, precision=precision),
        out_shape=jax.ShapeDtypeStruct((len(x), num_experts), jnp.float32),
        grid=(len(x) // GATE.rows,),
        in_specs=[pl.BlockSpec((GATE.rows, x.shape[1]), lambda row: (row, 0)), *map(whole, arguments)],
        out_specs=pl.BlockSpec((GATE.rows, num_experts), lambda row: (row, 0)),
        compiler_params=triton.CompilerParams(num_warps=GATE.warps, num_stages=GATE.stages),
        interpret=interpret,
        name="gate",
    )(x, *arguments)


def _gate_kernel(x, kernel, bias, last_kernel, last_bias, out, *, precision: Precision) -> None:
    hidden, inputs = kernel.shape

    def add_hidden(part: Array, logits: Array) -> Array:
        units = pl.ds(part * GATE.outputs, GATE.outputs)

        def add_product(part: Array, partial: Array) -> Array:
            at = pl.ds(part * GATE.inputs, GATE.inputs)
            return partial + _times(x[:, at], kernel[units, at], precision)

        zero = jnp.zeros((out.shape[0], GATE.outputs), jnp.float32)
        result = lax.fori_loop(0, inputs // GATE.inputs, add_product, zero)
        return logits + _times(elu(result + bias[units][None]), last_kernel[:, units], precision)

    logits = lax.fori_loop(0, hidden // GATE.outputs, add_hidden, jnp.zeros(out.shape, jnp.float32))
    logits = logits + last_bias[...][None]
    powers = jnp.exp(logits - jnp.max(logits, axis=1)[:, None])
    out[...] = powers / jnp.sum(powers, axis=1)[:, None]


def _times(x: Array, kernel: Array, precision: Precision) -> Array:
    """x [rows, inputs] times kernel [outputs, inputs], in float32."""
    dimensions = (((1,), (1,)), ((), ()))
    return lax.dot_general(x, kernel, dimensions, precision=precision, preferred_element_type=jnp.float32)


def network(params: Any, x: Float[Array, "B inputs"], tiles: Sequence[Tile], *, interpret: bool) -> Array:
    """The network's output, padded: [B, outputs].

    Args:
      params: padded ones, of `_padding.pad`.
      x: motion and command, padded.
      tiles: of the layers of experts.
      interpret: as in `experts_layer`.
    """
    num_rows = len(x)
    x = jnp.pad(x, ((0, up_to(max(GATE.rows, *(tile.rows for tile in tiles)), num_rows) - num_rows), (0, 0)))
    float32 = lax.Precision.HIGHEST if interpret else lax.DotAlgorithmPreset.TF32_TF32_F32_X3
    coefficients = _coefficients(params["gating"], x, float32, interpret)
    for index, tile in enumerate(tiles):
        layer = params[f"layers_{index}"]
        kernel, is_last = layer["kernel"], index == len(tiles) - 1
        precision = float32
        if kernel.dtype != jnp.float32:
            precision = lax.Precision.DEFAULT
        elif TF32 in layer and not interpret:
            precision = lax.DotAlgorithmPreset.TF32_TF32_F32
        x = experts_layer(
            x.astype(kernel.dtype),
            coefficients,
            kernel,
            layer["bias"],
            tile=tile.within(kernel.shape[1]),
            activate=not is_last,
            out_dtype=jnp.float32 if is_last else kernel.dtype,
            precision=precision,
            interpret=interpret,
        )
    return x[:num_rows]


def _coefficients(gating: Any, x: Array, precision: Precision, interpret: bool) -> Array:
    """Of the experts, padded, [rows, E]."""
    layers = [(gating[f"Dense_{index}"]["kernel"], gating[f"Dense_{index}"]["bias"]) for index in range(len(gating))]
    *before, last = layers
    if not before:  # one product: nothing to fuse
        return jax.nn.softmax(jnp.matmul(x, last[0].T, precision=lax.Precision.HIGHEST) + last[1][None], axis=1)
    one = jnp.ones((len(x), 1), jnp.float32)
    tile = Tile(FEATURES, GATE.rows, 32, 4, 2)
    for kernel, bias in before[:-1]:  # a hidden layer is a layer of one expert
        options = {"tile": tile, "activate": True, "out_dtype": jnp.float32, "precision": precision}
        x = experts_layer(x, one, kernel[None], bias[None], interpret=interpret, **options)
    return gate(x, before[-1], last, precision=precision, interpret=interpret)
