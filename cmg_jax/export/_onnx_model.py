"""A model as an ONNX graph: the frame after a frame, for any batch size. Needs the extra `export`."""
# pyright: reportMissingImports=false

from itertools import pairwise
from typing import Any

import jax
import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.model._model import CMGModel, without_kernels
from cmg_jax.model._networks import unpack_experts

OPSET = 17


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
    try:
        from onnx import TensorProto, checker, helper, numpy_helper
    except ImportError:
        raise InputError("ONNX graphs need onnx: pip install 'cmg_jax[export]'") from None
    model = without_kernels(model)
    if any(leaf.dtype != np.float32 for leaf in jax.tree.leaves(model.params)):
        raise InputError("only models in float32 become ONNX graphs; export the model as it was loaded")
    config, params, stats = model.config, model.params, model.stats
    nodes, constants = [], {}

    def constant(name: str, value: Any) -> str:
        constants[name] = np.ascontiguousarray(value)
        return name

    def add(operation: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{operation.lower()}_{len(nodes)}"
        nodes.append(helper.make_node(operation, list(inputs), [output], **attributes))
        return output

    def shape(*sizes: int) -> str:
        return constant("shape_" + "_".join(map(str, sizes)), np.array(sizes, np.int64))

    motion, command = "prev_motion", "command"
    if physical:
        mean, std = constant("motion_mean", stats.motion_mean), constant("motion_std", stats.motion_std)
        motion = add("Div", add("Sub", motion, mean), std)
        half_range = constant("command_half_range", (stats.command_max - stats.command_min) / 2)
        middle = constant("command_middle", (stats.command_max + stats.command_min) / 2)
        command = add("Div", add("Sub", command, middle), half_range)
    x = gate = add("Concat", motion, command, axis=-1)
    dense = params["gating"]
    for index in range(len(dense)):
        kernel, bias = (constant(f"gate_{index}_{part}", dense[f"Dense_{index}"][part]) for part in ("kernel", "bias"))
        gate = add("Gemm", gate, kernel, bias, transB=1)
        if index + 1 < len(dense):
            gate = add("Elu", gate)
    coefficients = add("Softmax", gate, axis=-1)
    column = add("Reshape", coefficients, shape(-1, config.num_experts, 1))
    widths = (config.motion_dim + config.command_dim, *config.hidden_dims, config.motion_dim)
    last = len(widths) - 2
    for index, (features_in, features_out) in enumerate(pairwise(widths)):
        layer, experts = params[f"layers_{index}"], config.num_experts
        weights, bias = (
            np.asarray(unpack_experts(layer["kernel"], layer["bias"])),
            constant(f"bias_{index}", layer["bias"]),
        )
        # Rows first, and the narrower side widened by the experts: onnxruntime, which packs constant weights once,
        # is fastest with this order.
        if features_in < features_out:
            kernel = constant(f"kernel_{index}", weights.reshape(-1, features_out))
            scaled = add("Mul", column, add("Reshape", x, shape(-1, 1, features_in)))
            scaled = add("Reshape", scaled, shape(-1, experts * features_in))
            x = add("Add", add("MatMul", scaled, kernel), add("MatMul", coefficients, bias))
        else:
            kernel = constant(f"kernel_{index}", weights.swapaxes(0, 1).reshape(features_in, -1))
            outputs = add("Reshape", add("MatMul", x, kernel), shape(-1, experts, features_out))
            axes = constant("axis_of_experts", np.array([1], np.int64))
            x = add("ReduceSum", add("Mul", column, add("Add", outputs, bias)), axes, keepdims=0)
        if index < last:
            x = add("Elu", x)
    if physical:
        x = add("Add", add("Mul", x, "motion_std"), "motion_mean")
    add("Identity", x, output="motion")

    def value(name: str, size: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])

    inputs = [value("prev_motion", config.motion_dim), value("command", config.command_dim)]
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "cmg", inputs, [value("motion", config.motion_dim)], initializers)
    # The IR version that belongs to the opset: older runtimes read no newer one.
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    checker.check_model(proto)
    return proto
