"""PyTorch checkpoints converted to models of cmg_jax, without torch.

    model = converters.load_model(Path("cmg_final.pt")).model
    cmg_jax.save(model, "my_model")

This package imports cmg_jax, never the reverse.
"""

from converters._model import Conversion, check, load_model

__all__ = ["Conversion", "check", "load_model"]
