"""The `cmg-jax` program: `cmg_jax.cli.main.main(arguments)` runs it and returns the exit code."""
