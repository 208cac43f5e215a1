"""The names and shapes of a CMG state_dict, mapped to a model's parameters and architecture.

    gating.gating_network.{0,2}.weight      [out, in]   as it is
    gating.gating_network.{0,2}.bias        [out]
    layers.{i}.expert_weights.{e}           [in, out]   as it is, packed by `_networks.pack_experts`
    layers.{i}.expert_biases.{e}            [out]

The weights determine everything: the number of experts, the layers and their widths, D and C.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.model._networks import pack_experts
from cmg_jax.robot._frame import ROOT_SIZE
from converters import _stats, _tree
from converters._torch_file import Tensor

REMEDY = "save the whole network's state_dict again"
MAX_MISSING = 1000  # keys up to which the missing ones are named
GATE_KEY = re.compile(r"gating\.gating_network\.(\d{1,3})\.(weight|bias)")
EXPERT_KEY = re.compile(r"layers\.(\d{1,3})\.expert_(weight|biase)s\.(\d{1,4})")
CMG_KEY = re.compile(rf"(?:.*\.)??((?:{GATE_KEY.pattern})|(?:{EXPERT_KEY.pattern}))")
MAX_PARAMETERS = 2**28


class Row(NamedTuple):
    """One line of the conversion table."""

    source: str
    shape: tuple[int, ...]
    target: str
    dtype: str


@dataclasses.dataclass(frozen=True)
class Converted:
    """A state_dict as parameters of `cmg_jax.model._networks.CMG`."""

    params: dict[str, Any]
    input_dim: int
    motion_dim: int
    num_experts: int
    gate_dims: tuple[int, ...]
    hidden_dims: tuple[int, ...]
    rows: tuple[Row, ...]
    tensors: dict[str, np.ndarray]
    """The state_dict's own arrays in float32, prefixes removed."""

    @property
    def command_dim(self) -> int:
        return self.input_dim - self.motion_dim


def find(content: Any, chosen: str | None = None) -> tuple[str, Mapping[str, Tensor | np.ndarray]]:
    """Find the weights of a CMG in a checkpoint: their place in it, and the arrays under the names of the module.

    They may be at any depth and behind any prefix (of DataParallel, torch.compile, AveragedModel).

    Args:
      content: the content of the file.
      chosen: the place to take them from, if they are in several.

    Raises:
      InputError: there are none, or several; the message lists what the file holds.
    """
    leaves = _tree.leaves(content)
    arrays = [leaf for leaf in leaves if isinstance(leaf.value, Tensor | np.ndarray)]
    groups: dict[str, list[_tree.Leaf]] = {}
    unread: dict[str, list[_tree.Leaf]] = {}
    for leaf in leaves:
        if match := CMG_KEY.fullmatch(leaf.name):
            found = groups if isinstance(leaf.value, Tensor | np.ndarray) else unread
            found.setdefault(leaf.name[: match.start(1)], []).append(leaf)
    whole = [where for where, group in groups.items() if len({_part(where, leaf) for leaf in group}) == 2]
    places = whole or list(groups)
    if chosen is not None:
        chosen = f"{chosen.strip('.')}." if chosen.strip(".") else ""
        places = [where for where in places if where.startswith(chosen)]
        places = [chosen] if chosen in places else places
    if not groups and isinstance(content, dict) and "samples" in content:
        raise InputError("a training data set, not a checkpoint; give the checkpoint and pass this file as --stats")
    if unread and not groups:
        raise _unread_error(next(iter(unread.values())))
    if not groups:
        raise InputError(
            f"not a CMG: no tensors gating.gating_network.* and layers.*.expert_*; {_tree.listing(leaves)}"
        )
    if len(places) != 1:
        names = ", ".join(repr(where.rstrip(".") or ".") for where in (places or groups))
        raise InputError(f"holds the weights of a CMG in {names}; choose one with --weights NAME")
    (where,) = places
    if where in unread:
        raise _unread_error(unread[where])
    nodes = {leaf.node for leaf in groups[where]}
    weights: dict[str, Tensor | np.ndarray] = {}
    for leaf in [*groups[where], *filter(_may_be_weights, arrays)]:
        # All weights in the same dictionary, or anywhere below if each module has its own dictionary. `convert` refuses
        # those that a CMG does not use.
        if leaf.name.startswith(where) and (leaf.node in nodes or len(nodes) > 1):
            name = leaf.name.removeprefix(where)
            if name in weights:
                raise InputError(f"two entries mean the same parameter {leaf.name!r}")
            weights[name] = leaf.value
    return where.rstrip("."), weights


def _unread_error(leaves: list[_tree.Leaf]) -> InputError:
    leaf, others = leaves[0], len(leaves) - 1
    return InputError(
        f"{leaf.name}{f' and {others} more weights are' if others else ' is'} stored as {_tree.kind(leaf.value)}, "
        "which is not read; save dense tensors of float32, float16, bfloat16 or float64 with torch.save"
    )


def _may_be_weights(leaf: _tree.Leaf) -> bool:
    """Whether an array without a CMG's name is a weight of another network, and neither a counter nor stats."""
    is_stats = leaf.name.rpartition(".")[2] in _stats.FIELDS
    return leaf.value.dtype.kind in "fV" and not is_stats and not CMG_KEY.fullmatch(leaf.name)  # V: bfloat16


def _part(where: str, leaf: _tree.Leaf) -> str:
    """The half of the network, gate or experts, that the leaf belongs to."""
    return leaf.name.removeprefix(where).partition(".")[0]


def convert(weights: Mapping[str, Tensor | np.ndarray]) -> Converted:
    """Map every name to a parameter.

    Raises:
      InputError: a name is unknown or missing, shapes do not fit together, or a weight is not finite.
    """
    return _Conversion(weights).run()


class _Conversion:
    def __init__(self, weights: Mapping[str, Tensor | np.ndarray]):
        self.source = weights
        if sum(math.prod(array.shape) for array in weights.values()) > MAX_PARAMETERS:
            raise InputError(f"holds more than {MAX_PARAMETERS:,} weights, which no CMG has")
        self.rows: list[Row] = []
        self.arrays: dict[str, np.ndarray] = {}

    def run(self) -> Converted:
        gate_indices, layers, experts = self._structure()
        gating, gate_dims = self._gating(gate_indices)
        params: dict[str, Any] = {"gating": gating}
        widths = [gating["Dense_0"]["kernel"].shape[1]]
        for layer in range(layers):
            params[f"layers_{layer}"] = self._expert_layer(layer, experts, widths[-1])
            widths.append(params[f"layers_{layer}"]["bias"].shape[-1])
        if gate_dims[-1] != experts:
            raise InputError(f"the gate has {gate_dims[-1]} outputs for {experts} experts")
        input_dim, *hidden_dims, motion_dim = widths
        if input_dim <= motion_dim:
            raise InputError(f"the network maps {input_dim} inputs to {motion_dim}; no inputs are left for a command")
        if motion_dim % 2:
            raise InputError(
                f"a frame of {motion_dim} numbers does not add up: joint positions, as many velocities and, in some "
                f"models, a root channel of {ROOT_SIZE} are an even number"
            )
        return Converted(
            params,
            input_dim,
            motion_dim,
            experts,
            gate_dims[:-1],
            tuple(hidden_dims),
            tuple(self.rows),
            self.arrays,
        )

    def _structure(self) -> tuple[list[int], int, int]:
        """The indices of the gate's Linear modules, the numbers of layers and of experts; any other key is refused."""
        gates: set[int] = set()
        layers: set[int] = set()
        experts: set[int] = set()
        unused = []
        for name in self.source:
            if match := GATE_KEY.fullmatch(name):
                gates.add(int(match[1]))
            elif match := EXPERT_KEY.fullmatch(name):
                layers.add(int(match[1]))
                experts.add(int(match[3]))
            else:
                unused.append(name)
        if not gates or not layers:
            raise InputError(f"not a CMG: no gate or no expert layers among its keys ({_some(list(self.source))})")
        if unused:
            raise InputError(f"unknown architecture: it does not use {len(unused)} keys ({_some(unused)})")
        # Before any list of keys is made: the numbers in two names could ask for millions.
        if 2 * (max(layers) + 1) * (max(experts) + 1) > 2 * len(self.source) + MAX_MISSING:
            raise InputError(
                f"keys are missing: it names {max(layers) + 1} layers of {max(experts) + 1} experts, "
                f"but has {len(self.source)} keys"
            )
        # Activations sit between the gate's Linear modules, hence the even numbers.
        gate_indices = list(range(0, max(gates) + 1, 2))
        needed = [f"gating.gating_network.{i}.{part}" for i in gate_indices for part in ("weight", "bias")]
        for layer in range(max(layers) + 1):
            for part in ("weights", "biases"):
                needed += [f"layers.{layer}.expert_{part}.{expert}" for expert in range(max(experts) + 1)]
        if missing := [name for name in needed if name not in self.source]:
            raise InputError(f"{len(missing)} keys are missing ({_some(missing)}); {REMEDY}")
        if odd := sorted(set(self.source) - set(needed)):
            raise InputError(f"unknown architecture: it does not use {len(odd)} keys ({_some(odd)})")
        return gate_indices, max(layers) + 1, max(experts) + 1

    def _gating(self, indices: list[int]) -> tuple[dict[str, Any], tuple[int, ...]]:
        params: dict[str, Any] = {}
        width = None
        for dense, index in enumerate(indices):
            prefix, target = f"gating.gating_network.{index}", f"gating/Dense_{dense}"
            weight = self._read(f"{prefix}.weight", (None, width), f"{target}/kernel")
            bias = self._read(f"{prefix}.bias", weight.shape[:1], f"{target}/bias")
            params[f"Dense_{dense}"] = {"kernel": weight, "bias": bias}
            width = weight.shape[0]
        return params, tuple(layer["bias"].shape[0] for layer in params.values())

    def _expert_layer(self, layer: int, experts: int, features_in: int) -> dict[str, np.ndarray]:
        kernels: list[np.ndarray] = []
        biases: list[np.ndarray] = []
        for expert in range(experts):
            shape = (features_in, kernels[0].shape[1] if kernels else None)
            kernels.append(
                self._read(f"layers.{layer}.expert_weights.{expert}", shape, f"layers_{layer}/kernel [{expert}]")
            )
        features_out = kernels[0].shape[1]
        for expert in range(experts):
            name, target = f"layers.{layer}.expert_biases.{expert}", f"layers_{layer}/bias [{expert}]"
            biases.append(self._read(name, (features_out,), target))
        return {"kernel": pack_experts(np.stack(kernels)), "bias": np.stack(biases)}

    def _read(self, name: str, shape: tuple[int | None, ...], target: str) -> np.ndarray:
        """One tensor in float32, checked against the sizes already known (None: any)."""
        tensor = self.source[name]
        fits = len(tensor.shape) == len(shape) and all(
            want in (None, have) and have > 0 for want, have in zip(shape, tensor.shape, strict=True)
        )
        if not fits:
            wanted = " x ".join("any" if n is None else str(n) for n in shape)
            raise InputError(f"{name} has shape {tensor.shape} where {wanted} is expected; {REMEDY}")
        values = tensor.numpy() if isinstance(tensor, Tensor) else tensor
        if values.dtype.kind not in "fV":  # ml_dtypes.bfloat16 is of kind V
            raise InputError(f"{name} has dtype {values.dtype}; weights are float32, float16, bfloat16 or float64")
        with np.errstate(over="ignore"):
            values = values.astype(np.float32)
        if not np.isfinite(values).all():
            raise InputError(f"{name} holds NaN or infinite weights; use an earlier checkpoint")
        self.rows.append(Row(name, tensor.shape, target, str(tensor.dtype)))
        self.arrays[name] = values
        return values


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
