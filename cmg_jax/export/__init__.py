"""Models for programs without cmg_jax: ONNX, StableHLO, and the PyTorch original's checkpoint.

    Path("cmg.onnx").write_bytes(onnx_model(model).SerializeToString())
    Path("cmg.jax").write_bytes(stablehlo(model).serialize())
    Path("cmg.pt").write_bytes(torch_file(model))

ONNX needs the extra `export`.
"""

from cmg_jax.export._check import TOLERANCE, check_onnx, check_stablehlo
from cmg_jax.export._graph import OPSET
from cmg_jax.export._onnx_model import onnx_model
from cmg_jax.export._stablehlo import PLATFORMS, stablehlo
from cmg_jax.export._torch_file import state_dict, torch_file

__all__ = [
    "OPSET",
    "PLATFORMS",
    "TOLERANCE",
    "check_onnx",
    "check_stablehlo",
    "onnx_model",
    "stablehlo",
    "state_dict",
    "torch_file",
]
