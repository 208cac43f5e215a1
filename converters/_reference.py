"""The network in NumPy, written out expert by expert, to check a conversion against.

Written from the PyTorch layout and independent of `cmg_jax.model._networks`: it takes the state_dict's own
arrays, so a wrong transpose or a swapped expert shows up as a different output.
"""

from collections.abc import Mapping

import numpy as np


def _elu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def forward(state_dict: Mapping[str, np.ndarray], motion: np.ndarray, command: np.ndarray) -> np.ndarray:
    """motion [B, D], command [B, C], normalized -> next motion [B, D], in float64.

    Args:
      state_dict: arrays under the names of the PyTorch module, without a wrapper's prefix.
    """
    weights = {name: array.astype(np.float64) for name, array in state_dict.items()}
    x = np.concatenate([motion, command], axis=-1).astype(np.float64)

    gate = x
    modules = sorted({int(name.split(".")[2]) for name in weights if name.startswith("gating.")})
    for module in modules:
        gate = gate @ weights[f"gating.gating_network.{module}.weight"].T
        gate = gate + weights[f"gating.gating_network.{module}.bias"]
        gate = gate if module == modules[-1] else _elu(gate)
    gate = np.exp(gate - gate.max(axis=-1, keepdims=True))
    gate = gate / gate.sum(axis=-1, keepdims=True)

    num_layers = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("layers."))
    for layer in range(num_layers):
        output = np.zeros(())
        for expert in range(gate.shape[-1]):
            expert_output = x @ weights[f"layers.{layer}.expert_weights.{expert}"]
            expert_output = expert_output + weights[f"layers.{layer}.expert_biases.{expert}"]
            output = output + gate[:, expert : expert + 1] * expert_output
        x = output if layer == num_layers - 1 else _elu(output)
    return x
