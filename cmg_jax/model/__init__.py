"""The model: its network, its units, its files, its precision and its kernels.

    import cmg_jax
    from cmg_jax.model import with_precision

    model = with_precision(cmg_jax.default_model(), "bfloat16")

All functions of a model take it as their first argument, and all arrays are physical (rad, rad/s, m/s) unless a name
ends in `_normalized`.
"""

from cmg_jax.model._checkpoint import default_model, default_model_path, load, save
from cmg_jax.model._kernels import with_kernels
from cmg_jax.model._library import MotionLibrary
from cmg_jax.model._library_model import model_of_library, with_library
from cmg_jax.model._model import (
    CMGConfig,
    CMGModel,
    MotionBank,
    apply,
    apply_normalized,
    expert_coefficients,
    param_shapes,
    without_kernels,
)
from cmg_jax.model._networks import CMG
from cmg_jax.model._normalization import (
    MotionStats,
    denormalize_command,
    denormalize_motion,
    normalize_command,
    normalize_motion,
)
from cmg_jax.model._padding import Tile
from cmg_jax.model._precision import Precision, with_precision

__all__ = [
    "CMG",
    "CMGConfig",
    "CMGModel",
    "MotionBank",
    "MotionLibrary",
    "MotionStats",
    "Precision",
    "Tile",
    "apply",
    "apply_normalized",
    "default_model",
    "default_model_path",
    "denormalize_command",
    "denormalize_motion",
    "expert_coefficients",
    "load",
    "model_of_library",
    "normalize_command",
    "normalize_motion",
    "param_shapes",
    "save",
    "with_kernels",
    "with_library",
    "with_precision",
    "without_kernels",
]
