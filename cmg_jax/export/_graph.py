"""An ONNX graph while it is written: nodes, and the constants that they take. Needs the extra `export`."""
# pyright: reportMissingImports=false

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from cmg_jax._errors import InputError

OPSET = 17


class Graph:
    """Nodes in the order in which they run. Values are known by their names, and have a row for each of the batch."""

    def __init__(self) -> None:
        """Begin an empty graph.

        Raises:
          InputError: onnx is not installed.
        """
        try:
            import onnx
        except ImportError:
            raise InputError("ONNX graphs need onnx: pip install 'cmg_jax[export]'") from None
        self._onnx: Any = onnx
        self._nodes: list[Any] = []
        self._constants: dict[str, np.ndarray] = {}
        self._count = itertools.count()

    def constant(self, value: Any, name: str = "") -> str:
        """A constant: whole numbers as they are, all others in float32. Under a name there is one constant."""
        value = np.asarray(value)
        if not np.issubdtype(value.dtype, np.integer):
            value = value.astype(np.float32)
        name = name or f"constant_{next(self._count)}"
        assert np.array_equal(self._constants.setdefault(name, value), value), f"two constants {name}"
        return name

    def sizes(self, *values: int) -> str:
        """A constant of whole numbers: a shape, axes, or indices. Equal ones are one constant."""
        return self.constant(np.array(values, np.int64), "sizes_" + "_".join(map(str, values)))

    def add(self, operation: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """A node with one output."""
        output = output or f"{operation.lower()}_{next(self._count)}"
        self._nodes.append(self._onnx.helper.make_node(operation, list(inputs), [output], **attributes))
        return output

    def columns(self, values: str, begin: int, end: int) -> str:
        """Columns of values [batch, n]."""
        return self.add("Slice", values, self.sizes(begin), self.sizes(end), self.sizes(1))

    def iterate(self, times: int, start: str, size: int, body: Any) -> str:
        """The values [times, batch, size] of x = body(graph, x), repeated; `start` [batch, size] is not included."""
        helper, kinds = self._onnx.helper, self._onnx.TensorProto
        inside = Graph()
        inside._constants, inside._count = self._constants, self._count
        turn, more, last, out = (f"{name}_{next(self._count)}" for name in ("turn", "more", "last", "values"))
        after = body(inside, last)
        goes_on, kept = inside.add("Identity", more), inside.add("Identity", after)
        value = helper.make_tensor_value_info
        loop = helper.make_graph(
            inside._nodes,
            "body",
            [value(turn, kinds.INT64, []), value(more, kinds.BOOL, []), value(last, kinds.FLOAT, ["batch", size])],
            [value(goes_on, kinds.BOOL, [])] + [value(name, kinds.FLOAT, ["batch", size]) for name in (after, kept)],
        )
        count = self.constant(np.array(times, np.int64))
        outputs = [f"end_{next(self._count)}", out]
        self._nodes.append(helper.make_node("Loop", [count, "", start], outputs, body=loop))
        return out

    def model(
        self, name: str, inputs: Mapping[str, int], outputs: Mapping[str, int], about: Mapping[str, str] | None = None
    ) -> Any:
        """The `onnx.ModelProto`, checked.

        Args:
          name: of the graph.
          inputs: and their number of columns.
          outputs: and their number of columns.
          about: metadata.
        """
        helper = self._onnx.helper

        def values(sizes: Mapping[str, int]) -> list[Any]:
            kind = self._onnx.TensorProto.FLOAT
            return [helper.make_tensor_value_info(name, kind, ["batch", size]) for name, size in sizes.items()]

        constants = [self._onnx.numpy_helper.from_array(array, key) for key, array in self._constants.items()]
        graph = helper.make_graph(self._nodes, name, values(inputs), values(outputs), constants)
        # The IR version that belongs to the opset: older runtimes read no newer one.
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        helper.set_model_props(proto, dict(about or {}))
        self._onnx.checker.check_model(proto)
        return proto
