"""The CMG network: a gate and three (by default) mixture-of-experts layers, in Flax linen.

The gate reads the input once, and its coefficients blend the experts of every layer:
y = sum_e c_e (x W_e + b_e). All arrays are normalized.

Inside, arrays are features first, [features, B], and a layer is one matrix product with its weights on the
left, [E out, in] x [in, B], whose E results are then weighted and summed. The result is the same in any
arrangement, but the time is not: XLA on CPU packs the right operand for every product, so that with the weights on
the right 4 MB are copied at each step. Measured on 2 cores against rows first, the middle layer's product has
1.6 times the rate at 64 environments (bench/layouts.py).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Num


def pack_experts(weights: Any) -> Any:
    """Weights [E, in, out] of a layer's experts as its kernel, [E out, in]."""
    return weights.swapaxes(1, 2).reshape(-1, weights.shape[1])


def unpack_experts(kernel: Any, bias: Any) -> Any:
    """The weights [E, in, out] of a layer of `kernel` and bias [E, out]."""
    return kernel.reshape(*bias.shape, -1).swapaxes(1, 2)


SCALE = "kernel_scale"
"""Parameter of a layer whose kernel is int8 (`with_precision`): the factor of its products."""
TF32 = "tf32"
"""Parameter, without elements, of a layer that is multiplied in TF32 (`with_precision`) where a GPU can."""


_any_platform: ContextVar[bool] = ContextVar("any_platform", default=False)


@contextmanager
def for_any_platform() -> Iterator[None]:
    """While a function is traced, its program is for several platforms at once. jax lowers no TF32 for them, so that
    float32 is `highest` on a GPU too."""
    token = _any_platform.set(True)
    try:
        yield
    finally:
        _any_platform.reset(token)


def product(kernel: jax.Array, x: jax.Array, *, tf32: bool = False) -> jax.Array:
    """kernel @ x in the kernel's precision; sums are in float32.

    The product names its precision: `jax_default_matmul_precision`, which other libraries set, changes nothing. float32
    is accurate to about its last bits on every platform. NVIDIA's GPUs take three passes of TF32 for it, or with `tf32`
    a single one, whose errors are about 2,000 times as large.
    """
    if kernel.dtype != jnp.float32:
        x = x.astype(kernel.dtype)
        return jnp.matmul(kernel, x, precision=lax.Precision.DEFAULT, preferred_element_type=jnp.float32)
    cuda = lax.DotAlgorithmPreset.TF32_TF32_F32 if tf32 else lax.DotAlgorithmPreset.TF32_TF32_F32_X3
    on_cuda, elsewhere = (partial(jnp.matmul, precision=precision) for precision in (cuda, lax.Precision.HIGHEST))
    if _any_platform.get():
        return elsewhere(kernel, x)
    return lax.platform_dependent(kernel, x, cuda=on_cuda, default=elsewhere)


def blend_experts(
    x: Float[Array, "inputs B"],
    coefficients: Float[Array, "E B"],
    kernel: Num[Array, "rows inputs"],
    bias: Float[Array, "E outputs"],
    scale: Float[Array, "rows"] | None = None,
    *,
    tf32: bool = False,
) -> Float[Array, "outputs B"]:
    """sum_e c_e (x W_e + b_e) as one matrix product, never a blended weight per row.

    Args:
      x: the layer's input.
      coefficients: of the experts.
      kernel: of `pack_experts`, in the precision to multiply in.
      bias: of each expert.
      scale: of the E out rows of an int8 kernel: W = scale kernel, multiplied in float32.
      tf32: of `product`.
    """
    outputs = product(kernel, x, tf32=tf32) if scale is None else product(kernel.astype(x.dtype), x) * scale[:, None]
    outputs = outputs.reshape(*bias.shape, -1)
    # Written out, the sum is one loop over the results; as a reduction it takes up to 7 % of a step longer.
    return sum(c[None] * (y + b[:, None]) for c, y, b in zip(coefficients, outputs, bias, strict=True))  # pyright: ignore


def elu(x: jax.Array) -> jax.Array:
    """x, or exp(x) - 1 below zero: equal to expm1 within 6e-8, in a third of its time."""
    return jnp.where(x > 0, x, jnp.exp(jnp.where(x > 0, 0.0, x)) - 1)


class Dense(nn.Module):
    """[in, B] -> [features, B]."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        draw = nn.initializers.lecun_normal(in_axis=1, out_axis=0)
        kernel = self.param("kernel", draw, (self.features, x.shape[0]), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        return product(kernel, x) + bias[:, None]


class Gating(nn.Module):
    """Expert coefficients [E, B] (they sum to 1) from the input [D + C, B]."""

    hidden_dims: Sequence[int]
    num_experts: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for features in self.hidden_dims:
            x = elu(Dense(features)(x))
        return nn.softmax(Dense(self.num_experts)(x), axis=0)


class MoELayer(nn.Module):
    """One layer of experts, blended by the gate's coefficients: [in, B], [E, B] -> [out, B]."""

    num_experts: int
    features: int

    @nn.compact
    def __call__(self, x: jax.Array, coefficients: jax.Array) -> jax.Array:
        draw = nn.initializers.lecun_normal(in_axis=2, out_axis=1, batch_axis=0)
        shape = (self.num_experts, self.features, x.shape[0])
        kernel = self.param("kernel", lambda key: draw(key, shape, jnp.float32).reshape(-1, shape[-1]))
        bias = self.param("bias", nn.initializers.zeros, shape[:-1], jnp.float32)
        scale = self.get_variable("params", SCALE) if self.has_variable("params", SCALE) else None
        return blend_experts(x, coefficients, kernel, bias, scale, tf32=self.has_variable("params", TF32))


class CMG(nn.Module):
    """The next frame from the last one and the command, all normalized.

    Parameters are named gating, layers_0, layers_1, ...; `capture_intermediates=True` gives each
    layer's output before its activation, features first.
    """

    motion_dim: int
    num_experts: int
    gate_dims: Sequence[int]
    hidden_dims: Sequence[int]

    def setup(self):
        self.gating = Gating(self.gate_dims, self.num_experts)
        self.layers = [MoELayer(self.num_experts, features) for features in (*self.hidden_dims, self.motion_dim)]

    def __call__(
        self, motion: Float[ArrayLike, "*batch D"], command: Float[ArrayLike, "*batch C"]
    ) -> Float[Array, "*batch D"]:
        """The next motion."""
        x = _features_first(motion, command)
        coefficients = self.gating(x)
        for layer in self.layers[:-1]:
            x = elu(layer(x, coefficients))
        return self.layers[-1](x, coefficients).T.reshape(jnp.shape(motion))

    def coefficients(
        self, motion: Float[ArrayLike, "*batch D"], command: Float[ArrayLike, "*batch C"]
    ) -> Float[Array, "*batch E"]:
        """The weights of the experts."""
        return self.gating(_features_first(motion, command)).T.reshape(*jnp.shape(motion)[:-1], self.num_experts)


def _features_first(motion: ArrayLike, command: ArrayLike) -> jax.Array:
    """The network's input [D + C, B]."""
    x = jnp.concatenate([jnp.asarray(motion), jnp.asarray(command)], axis=-1)
    return x.reshape(-1, x.shape[-1]).T
