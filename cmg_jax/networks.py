"""The CMG network: a gate and three (by default) mixture-of-experts layers, in Flax linen.

All arrays are normalized; the leading batch axes are of any number. The gate looks at the input once
and its coefficients blend the experts of every layer: y = sum_e c_e (x W_e + b_e).
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


def expert_axis(features_in: int, features_out: int) -> int:
    """The axis of experts of a layer's weights before they are packed: 0 for [E, in, out], 1 for [in, E, out].

    Scaling the input by each coefficient first, [B, E in] x [E in, out], writes E in numbers a row;
    scaling the output, [B, in] x [in, E out] and a sum, writes E out. The arithmetic is the same, so
    the narrower side is the one to widen. Kernels are kept packed as the matrix that their product needs:
    transposing 4 MB of weights at each step was measured to cost a quarter of the rate at 64 rows, and
    with a reshape inside of the step a single row takes ten times as long (XLA on CPU).
    """
    return 0 if features_in < features_out else 1


def pack_experts(weights: Any) -> Any:
    """Weights [E, in, out] of a layer's experts as its kernel, [E in, out] or [in, E out]."""
    experts, features_in, features_out = weights.shape
    if expert_axis(features_in, features_out) == 0:
        return weights.reshape(experts * features_in, features_out)
    return weights.swapaxes(0, 1).reshape(features_in, experts * features_out)


def unpack_experts(kernel: Any, bias: Any) -> Any:
    """The weights [E, in, out] of a layer of `kernel` and bias [E, out]."""
    experts, features_out = bias.shape
    if kernel.shape[1] == features_out:
        return kernel.reshape(experts, -1, features_out)
    return kernel.reshape(-1, experts, features_out).swapaxes(0, 1)


SCALE = "kernel_scale"
"""Parameter of a layer whose kernel is int8 (`cmg_jax.precision`): what its products are multiplied by."""


def blend_experts(
    x: jax.Array, coefficients: jax.Array, kernel: jax.Array, bias: jax.Array, scale: jax.Array | None = None
) -> jax.Array:
    """sum_e c_e (x W_e + b_e) as one matrix product, never a blended weight per row.

    Args:
      x: [B, in].
      coefficients: [B, E].
      kernel: of `pack_experts`, in the precision to multiply in.
      bias: [E, out].
      scale: of the columns of an int8 kernel: W = scale kernel.

    Returns:
      [B, out].
    """
    features_in, (experts, features_out) = x.shape[-1], bias.shape
    if expert_axis(features_in, features_out) == 0:
        scaled = (coefficients[:, :, None] * x[:, None, :]).reshape(-1, experts * features_in)
        return _product(scaled, kernel, scale) + coefficients @ bias
    outputs = _product(x, kernel, scale).reshape(-1, experts, features_out)
    return (coefficients[:, :, None] * (outputs + bias[None])).sum(axis=1)


def _product(x: jax.Array, kernel: jax.Array, scale: jax.Array | None) -> jax.Array:
    """x @ kernel in the kernel's precision, or in float32 where that is whole numbers; summed in float32."""
    if scale is not None:
        return (x @ kernel.astype(x.dtype)) * scale[None]
    return jnp.matmul(x.astype(kernel.dtype), kernel, preferred_element_type=jnp.float32)


class Gating(nn.Module):
    """Expert coefficients [B, E] (they sum to 1) from the input [B, D + C]."""

    hidden_dims: Sequence[int]
    num_experts: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for features in self.hidden_dims:
            x = nn.elu(nn.Dense(features)(x))
        return nn.softmax(nn.Dense(self.num_experts)(x))


class MoELayer(nn.Module):
    """One layer of experts, blended by the gate's coefficients: [B, in], [B, E] -> [B, out]."""

    num_experts: int
    features: int

    @nn.compact
    def __call__(self, x: jax.Array, coefficients: jax.Array) -> jax.Array:
        axis = expert_axis(x.shape[-1], self.features)
        shape = [x.shape[-1], self.features]
        shape.insert(axis, self.num_experts)
        draw = nn.initializers.lecun_normal(in_axis=1 - axis, batch_axis=axis)
        matrix = (-1, self.features) if axis == 0 else (x.shape[-1], -1)
        kernel = self.param("kernel", lambda key: draw(key, tuple(shape)).reshape(matrix))
        bias = self.param("bias", nn.initializers.zeros, (self.num_experts, self.features))
        scale = self.get_variable("params", SCALE) if self.has_variable("params", SCALE) else None
        return blend_experts(x, coefficients, kernel, bias, scale)


class CMG(nn.Module):
    """The next frame from the last one and the command, all normalized.

    Parameters are named gating, layers_0, layers_1, ...; `capture_intermediates=True` gives each
    layer's output before its activation.
    """

    motion_dim: int
    num_experts: int
    gate_dims: Sequence[int]
    hidden_dims: Sequence[int]

    def setup(self):
        self.gating = Gating(self.gate_dims, self.num_experts)
        self.layers = [MoELayer(self.num_experts, features) for features in (*self.hidden_dims, self.motion_dim)]

    def __call__(self, motion: jax.Array, command: jax.Array) -> jax.Array:
        """motion [..., D], command [..., C] -> next motion [..., D]."""
        x = jnp.concatenate([motion, command], axis=-1)
        batch_shape = x.shape[:-1]
        x = x.reshape(-1, x.shape[-1])
        coefficients = self.gating(x)
        for layer in self.layers[:-1]:
            x = nn.elu(layer(x, coefficients))
        return self.layers[-1](x, coefficients).reshape(*batch_shape, self.motion_dim)
