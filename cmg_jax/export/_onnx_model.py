"""A model as an ONNX graph: the frame after a frame, for any batch size. Needs the extra `export`."""

from itertools import pairwise
from typing import Any

import jax
import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.export._graph import Graph
from cmg_jax.model._model import CMGModel, without_kernels
from cmg_jax.model._networks import unpack_experts


def onnx_model(model: CMGModel, *, physical: bool = False) -> Any:
    """The `onnx.ModelProto` of a model: prev_motion [batch, D] and command [batch, C] in, motion [batch, D] out.

    Args:
      model: in float32.
      physical: take and give arrays in physical units (rad, rad/s, m/s); by default all three are normalized, as in
        the exporter of the PyTorch original.

    Raises:
      InputError: onnx is not installed, or the model is in lower precision.

    Examples:
      >>> from cmg_jax import export
      >>> graph = export.onnx_model(model).graph
      >>> [value.name for value in graph.input], [value.name for value in graph.output]
      (['prev_motion', 'command'], ['motion'])
    """
    config, graph = model.config, Graph()
    motion, command = "prev_motion", "command"
    if physical:
        motion, command = normalized_motion(graph, model, motion), normalized_command(graph, model, command)
    frame = normalized_frame(graph, model, motion, command)
    graph.add("Identity", physical_motion(graph, model, frame) if physical else frame, output="motion")
    inputs = {"prev_motion": config.motion_dim, "command": config.command_dim}
    return graph.model("cmg", inputs, {"motion": config.motion_dim})


def normalized_motion(graph: Graph, model: CMGModel, motion: str) -> str:
    """Frames in physical units, normalized."""
    mean, std = _statistics(graph, model)
    return graph.add("Div", graph.add("Sub", motion, mean), std)


def physical_motion(graph: Graph, model: CMGModel, motion: str) -> str:
    """Normalized frames, in physical units."""
    mean, std = _statistics(graph, model)
    return graph.add("Add", graph.add("Mul", motion, std), mean)


def normalized_command(graph: Graph, model: CMGModel, command: str) -> str:
    """Commands in physical units, normalized."""
    low, high = model.stats.command_min, model.stats.command_max
    middle = graph.constant((high + low) / 2, "command_middle")
    return graph.add("Div", graph.add("Sub", command, middle), graph.constant((high - low) / 2, "command_half_range"))


def _statistics(graph: Graph, model: CMGModel) -> tuple[str, str]:
    stats = model.stats
    return graph.constant(stats.motion_mean, "motion_mean"), graph.constant(stats.motion_std, "motion_std")


def normalized_frame(graph: Graph, model: CMGModel, motion: str, command: str) -> str:
    """The frame after a frame; all normalized.

    Raises:
      InputError: the model is in lower precision.
    """
    model = without_kernels(model)
    if any(leaf.dtype != np.float32 for leaf in jax.tree.leaves(model.params)):
        raise InputError("only models in float32 become ONNX graphs; export the model as it was loaded")
    config, params = model.config, model.params
    constant, add, sizes = graph.constant, graph.add, graph.sizes
    x = gate = add("Concat", motion, command, axis=-1)
    dense = params["gating"]
    for index in range(len(dense)):
        kernel, bias = (constant(dense[f"Dense_{index}"][part], f"gate_{index}_{part}") for part in ("kernel", "bias"))
        gate = add("Gemm", gate, kernel, bias, transB=1)
        if index + 1 < len(dense):
            gate = add("Elu", gate)
    coefficients = add("Softmax", gate, axis=-1)
    column = add("Reshape", coefficients, sizes(-1, config.num_experts, 1))
    widths = (config.motion_dim + config.command_dim, *config.hidden_dims, config.motion_dim)
    last = len(widths) - 2
    for index, (features_in, features_out) in enumerate(pairwise(widths)):
        layer, experts = params[f"layers_{index}"], config.num_experts
        weights = np.asarray(unpack_experts(layer["kernel"], layer["bias"]))
        bias = constant(layer["bias"], f"bias_{index}")
        # Rows first, and the narrower side widened by the experts: onnxruntime, which packs constant weights once,
        # is fastest with this order.
        if features_in < features_out:
            kernel = constant(weights.reshape(-1, features_out), f"kernel_{index}")
            scaled = add("Mul", column, add("Reshape", x, sizes(-1, 1, features_in)))
            scaled = add("Reshape", scaled, sizes(-1, experts * features_in))
            x = add("Add", add("MatMul", scaled, kernel), add("MatMul", coefficients, bias))
        else:
            kernel = constant(weights.swapaxes(0, 1).reshape(features_in, -1), f"kernel_{index}")
            outputs = add("Reshape", add("MatMul", x, kernel), sizes(-1, experts, features_out))
            x = add("ReduceSum", add("Mul", column, add("Add", outputs, bias)), sizes(1), keepdims=0)
        if index < last:
            x = add("Elu", x)
    return x
