"""PyTorch checkpoints converted to models of cmg_jax, without torch.

>>> from pathlib import Path
>>> import cmg_jax, converters
>>> model = converters.load_model(Path("cmg_final.pt")).model  # doctest: +SKIP
>>> cmg_jax.save(model, "my_model")  # doctest: +SKIP

This package imports cmg_jax, never the reverse.
"""

from converters._model import Conversion, check, load_model

__all__ = ["Conversion", "check", "load_model"]
