"""Models and motions for programs without jax."""
