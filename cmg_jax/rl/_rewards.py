"""Terms of a motion tracker's reward for one environment: tracking rewards in [0, 1], and penalties of at least 0.

The terms are those of trackers of humanoid motion such as DeepMimic and TWIST (joint positions and velocities, key
bodies, root velocity, effort, action rate). Their widths are our own.
"""

import jax
import jax.numpy as jnp


def tracking_reward(error: jax.Array, width: float) -> jax.Array:
    """exp(-mean(error^2) / width^2): 1 without error, 1/e where its root mean square is `width`."""
    return jnp.exp(-jnp.mean(jnp.square(error)) / width**2)


def action_rate(action: jax.Array, last_action: jax.Array) -> jax.Array:
    """Mean square of the change of the action [J] from step to step."""
    return jnp.mean(jnp.square(action - last_action))


def effort(torque: jax.Array, limit: jax.Array) -> jax.Array:
    """Mean square of torques [J] N m as fractions of the motors' limits [J]."""
    return jnp.mean(jnp.square(torque / limit))


def beyond_limits(joint_pos: jax.Array, limits: jax.Array, share: float = 0.95) -> jax.Array:
    """rad, how far joints [J] are outside the middle `share` of their range [J, 2], summed over the joints."""
    middle, half = limits.mean(axis=-1), share * (limits[:, 1] - limits[:, 0]) / 2
    return jnp.maximum(jnp.abs(joint_pos - middle) - half, 0.0).sum()
