"""Autoregressive generation: a first frame and a command per step give a trajectory."""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from cmg_jax._blocks import over_blocks
from cmg_jax.model import _normalization
from cmg_jax.model._model import CMGModel, apply_normalized


def generate(
    model: CMGModel,
    motion: ArrayLike,
    commands: ArrayLike,
    *,
    time_major: bool = False,
    block_rows: int | None = None,
) -> Float[Array, "... D"]:
    """Generate a trajectory under one command a step.

    Not jitted: wrap it in `jax.jit` (with `static_argnames` for the options), or call it inside a
    jitted function of yours, `vmap` or `scan`.

    Args:
      model: the model.
      motion: first frame [..., D], physical: joint positions [rad], then joint velocities [rad/s].
      commands: commands [..., T, C], physical: vx, vy [m/s] and yaw rate [rad/s] in the robot's frame.
      time_major: return [T+1, ..., D], the order in which a rollout reads frames.
      block_rows: rows of the batch that are generated together; by default 512 on a CPU and all elsewhere.

    Returns:
      Trajectory [..., T+1, D], physical. Frame 0 is `motion`; frame t+1 follows frame t under commands[t].

    Raises:
      ValueError: shapes that do not fit one another or the model.

    Examples:
      >>> standing = cmg_jax.standing_frame(model)  # [D]
      >>> commands = jnp.tile(jnp.array([0.8, 0.0, 0.0]), (50, 1))  # a second of walking, [T, C]
      >>> trajectory = jax.jit(cmg_jax.generate)(model, standing, commands)
      >>> trajectory.shape  # [T+1, D]
      (51, 64)
    """
    motion, commands = jnp.asarray(motion, jnp.float32), jnp.asarray(commands, jnp.float32)
    _check_shapes(model, motion, commands)
    batch_shape, (steps, command_dim) = motion.shape[:-1], commands.shape[-2:]
    rows, motion_dim = math.prod(batch_shape), motion.shape[-1]
    trajectory = _generate_blocks(
        model,
        motion.reshape(rows, motion_dim),
        commands.reshape(rows, steps, command_dim),
        time_major,
        block_rows,
    )
    shape = (steps + 1, *batch_shape) if time_major else (*batch_shape, steps + 1)
    return trajectory.reshape(*shape, motion_dim)


def _generate_blocks(
    model: CMGModel, motion: jax.Array, commands: jax.Array, time_major: bool, block_rows: int | None
) -> jax.Array:
    """Blocks of rows one after the other, each frame written in place into the one trajectory array."""
    rows, steps = commands.shape[:2]
    time_axis, row_axis = (0, 1) if time_major else (1, 0)

    def generate_block(trajectory: jax.Array, start: jax.Array, size: int) -> jax.Array:
        block_commands = lax.dynamic_slice_in_dim(commands, start, size)
        normalized_commands = _normalization.normalize_command(model.stats, block_commands).swapaxes(0, 1)

        def step(
            carry: tuple[jax.Array, jax.Array], now: tuple[jax.Array, jax.Array]
        ) -> tuple[tuple[jax.Array, jax.Array], None]:
            (trajectory, last), (index, command) = carry, now
            frame = apply_normalized(model, last, command)
            physical = jnp.expand_dims(_normalization.denormalize_motion(model.stats, frame), time_axis)
            position = [jnp.zeros_like(start)] * 3
            position[time_axis], position[row_axis] = index, start
            return (lax.dynamic_update_slice(trajectory, physical, position), frame), None

        first = _normalization.normalize_motion(model.stats, lax.dynamic_slice_in_dim(motion, start, size))
        indices = jnp.arange(1, steps + 1, dtype=start.dtype)
        return lax.scan(step, (trajectory, first), (indices, normalized_commands))[0][0]

    shape = (steps + 1, *motion.shape) if time_major else (rows, steps + 1, motion.shape[-1])
    trajectory = jnp.zeros(shape, motion.dtype)
    trajectory = lax.dynamic_update_index_in_dim(trajectory, motion, 0, time_axis)
    return over_blocks(rows, generate_block, trajectory, block_rows)


def _check_shapes(model: CMGModel, motion: jax.Array, commands: jax.Array) -> None:
    config = model.config
    if motion.ndim < 1 or motion.shape[-1] != config.motion_dim:
        raise ValueError(f"motion has shape {motion.shape}; its last axis must be the model's {config.motion_dim}")
    if commands.ndim < 2 or commands.shape[-1] != config.command_dim:
        raise ValueError(f"commands has shape {commands.shape}; it must end in [T, {config.command_dim}]")
    if commands.shape[:-2] != motion.shape[:-1]:
        raise ValueError(
            f"motion {motion.shape} and commands {commands.shape} differ in their leading axes; "
            "repeat one with jnp.broadcast_to so that every first frame has its own commands"
        )
