"""Tiles, and parameters padded to their sizes and back: what the kernels of `_pallas` read."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

FEATURES = 64
"""Inputs and outputs of layers are padded to multiples of this number."""
EXPERTS = 16
"""The gate's outputs are padded to a power of two of at least this size, the smallest of a product in Triton."""
EXCLUDED = -1e30
"""Bias of the gate for padding: its coefficients are 0."""


class Tile(NamedTuple):
    """The part of a layer that one program of a kernel's grid computes."""

    outputs: int
    rows: int
    inputs: int
    """Numbers that are summed over at a time."""
    warps: int
    """Of 32 threads, that share the tile."""
    stages: int
    """Depth of the pipeline that loads operands."""

    def within(self, outputs: int) -> "Tile":
        """The tile with as many outputs as divide those of a layer, which are a multiple of `FEATURES`."""
        return self if outputs % self.outputs == 0 else self._replace(outputs=FEATURES)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Kernels:
    """How a network runs as kernels; part of a model's tree structure."""

    tiles: tuple[Tile, ...]
    """Of each layer of experts."""
    interpret: bool = False


def up_to(multiple: int, size: int) -> int:
    """The smallest multiple of at least `size`."""
    return -(-size // multiple) * multiple


def pad(params: Any, num_experts: int) -> Any:
    """Parameters of `CMG` with zeros up to multiples of `FEATURES`; a layer's kernel is [E, outputs, inputs]."""
    padded = {}
    for name, layer in params.items():
        if name == "gating":
            padded[name] = {key: _pad_dense(dense, key == f"Dense_{len(layer) - 1}") for key, dense in layer.items()}
            continue
        kernel, bias = layer["kernel"], layer["bias"]
        kernel = kernel.reshape(num_experts, -1, kernel.shape[1])
        sizes = [up_to(FEATURES, size) for size in kernel.shape[1:]]
        padded[name] = {
            **layer,
            "kernel": _zeros(kernel, num_experts, *sizes),
            "bias": _zeros(bias, num_experts, sizes[0]),
        }
    return padded


def unpad(params: Any, gate_sizes: Sequence[int], sizes: Sequence[int]) -> Any:
    """The inverse of `pad`.

    Args:
      params: of `pad`.
      gate_sizes: of the gate's layers: its inputs, hidden layers and E.
      sizes: of the network's layers: its inputs, hidden layers and outputs.
    """
    gating = {}
    for index, dense in enumerate(params["gating"][f"Dense_{index}"] for index in range(len(gate_sizes) - 1)):
        inputs, outputs = gate_sizes[index : index + 2]
        gating[f"Dense_{index}"] = {"kernel": dense["kernel"][:outputs, :inputs], "bias": dense["bias"][:outputs]}
    layers = {}
    for index in range(len(sizes) - 1):
        inputs, outputs = sizes[index : index + 2]
        layer = params[f"layers_{index}"]
        kernel = layer["kernel"][:, :outputs, :inputs].reshape(-1, inputs)
        layers[f"layers_{index}"] = {**layer, "kernel": kernel, "bias": layer["bias"][:, :outputs]}
    return {"gating": gating, **layers}


def _pad_dense(dense: Any, is_last: bool) -> Any:
    outputs, inputs = dense["kernel"].shape
    inputs = up_to(FEATURES, inputs)
    if is_last:
        experts = max(EXPERTS, 1 << (outputs - 1).bit_length())
        bias = jnp.full(experts, EXCLUDED).at[:outputs].set(dense["bias"])
        return {"kernel": _zeros(dense["kernel"], experts, inputs), "bias": bias}
    outputs = up_to(FEATURES, outputs)
    return {"kernel": _zeros(dense["kernel"], outputs, inputs), "bias": _zeros(dense["bias"], outputs)}


def _zeros(array: jax.Array, *shape: int) -> jax.Array:
    """`array` with zeros after it, up to a shape."""
    return jnp.pad(array, [(0, size - now) for size, now in zip(shape, array.shape, strict=True)])
