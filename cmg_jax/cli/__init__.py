"""The `cmg-jax` command."""
