"""Terms of a motion tracker's reward, for one environment: likenesses between 0 and 1, and costs from 0 up.

The terms are those that trackers of humanoid motion use (joint positions and velocities, key bodies, root velocity,
and costs of effort and haste), as in DeepMimic and its successors such as TWIST. Their widths are our own.
"""

import jax
import jax.numpy as jnp


def likeness(error: jax.Array, width: float) -> jax.Array:
    """exp(-mean(error^2) / width^2): 1 without error, 1/e where its root mean square is `width`."""
    return jnp.exp(-jnp.mean(jnp.square(error)) / width**2)


def action_rate(action: jax.Array, last_action: jax.Array) -> jax.Array:
    """Mean square of the change of the action [J] from step to step."""
    return jnp.mean(jnp.square(action - last_action))


def effort(torque: jax.Array, limit: jax.Array) -> jax.Array:
    """Mean square of torques [J] N m as a part of the motors' limits [J]."""
    return jnp.mean(jnp.square(torque / limit))


def beyond_limits(joint_pos: jax.Array, limits: jax.Array, share: float = 0.95) -> jax.Array:
    """rad, by how much joints [J] leave the middle `share` of their range [J, 2], summed."""
    middle, half = limits.mean(axis=-1), share * (limits[:, 1] - limits[:, 0]) / 2
    return jnp.maximum(jnp.abs(joint_pos - middle) - half, 0.0).sum()
