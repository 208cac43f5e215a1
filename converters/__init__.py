"""PyTorch checkpoints to model directories. Imports cmg_jax, never the reverse; never imports torch."""
