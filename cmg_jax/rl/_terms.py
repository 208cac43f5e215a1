"""Terms of the reward of `G1Tracking`, by name; each is a function of what is `Seen` after a step.

Tracking terms compare the robot with its reference; they are in [0, 1]. Their kinds are those of trackers of humanoid
motion such as DeepMimic and TWIST (joint positions and velocities, key bodies, root, effort, action rate), their
widths our own. Task terms need no reference: they are those of the joystick task of MuJoCo Playground's G1
(Apache-2.0), whose scales are the configuration `joystick` of the presets. Penalties are at least 0.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from cmg_jax.envs import Reference
from cmg_jax.robot import RootState
from cmg_jax.robot._rotation import inverse, rotate

TRACKING_SIGMA = 0.25
"""(m/s)^2 and (rad/s)^2, of the rewards for the command's velocity."""

SHORTEST_AIR_TIME, LONGEST_AIR_TIME = 0.2, 0.5
"""s; a foot that lands is rewarded for the time that it was in the air beyond the first, at most up to the second."""

MOVING = 0.1
"""Norm of a command, from which on the robot should step."""


class Seen(NamedTuple):
    """What the reward of a step depends on, of one environment. Joints are the model's unless they are `all`."""

    reference: Reference
    joint_pos: jax.Array
    joint_vel: jax.Array
    all_joint_pos: jax.Array
    standing: jax.Array
    """rad, the joints while standing."""
    limits: jax.Array
    """rad, [29, 2], of all joints."""
    torque: jax.Array
    torque_limits: jax.Array
    action: jax.Array
    last_action: jax.Array
    key_bodies: tuple[jax.Array, jax.Array] | None
    """m, [N, 3], those of the robot and those of the reference."""
    root: RootState | None
    """In the world; None for a fixed base, which has no terms of the root."""
    contacts: jax.Array
    """[2], whether the feet touch the floor."""
    air_time: jax.Array
    """s, [2], how long a foot that has landed in this step was in the air; 0 for others."""
    widths: Any
    """At which errors the tracking terms are 1/e."""


def tracking_reward(error: jax.Array, width: float) -> jax.Array:
    """exp(-mean(error^2) / width^2): 1 without error, 1/e where its root mean square is `width`."""
    return jnp.exp(-jnp.mean(jnp.square(error)) / width**2)


def down(rotation: jax.Array) -> jax.Array:
    """The unit vector down [3] in the frame of a rotation [4]."""
    return rotate(inverse(rotation), jnp.array([0.0, 0.0, -1.0], rotation.dtype))


def _key_bodies(seen: Seen) -> jax.Array:
    if seen.key_bodies is None:
        return jnp.zeros((), jnp.float32)
    return tracking_reward(seen.key_bodies[0] - seen.key_bodies[1], seen.widths.key_bodies)


def _beyond_limits(seen: Seen, share: float = 0.95) -> jax.Array:
    """rad, how far joints are outside the middle `share` of their range, summed over the joints."""
    middle = seen.limits.mean(axis=-1)
    half = share * (seen.limits[:, 1] - seen.limits[:, 0]) / 2
    return jnp.maximum(jnp.abs(seen.all_joint_pos - middle) - half, 0.0).sum()


def _command_velocity(seen: Seen, root: RootState) -> jax.Array:
    error = root.in_heading()[0][:2] - seen.reference.command[:2]
    return jnp.exp(-jnp.sum(jnp.square(error)) / TRACKING_SIGMA)


def _command_yaw_rate(seen: Seen, root: RootState) -> jax.Array:
    return jnp.exp(-jnp.square(root.angular_velocity[2] - seen.reference.command[2]) / TRACKING_SIGMA)


def _feet_air_time(seen: Seen, _: RootState) -> jax.Array:
    beyond = jnp.minimum(seen.air_time, LONGEST_AIR_TIME) - SHORTEST_AIR_TIME
    return jnp.sum(jnp.where(seen.air_time > 0, beyond, 0.0)) * _moving(seen)


def _stand_still(seen: Seen, _: RootState) -> jax.Array:
    return jnp.sum(jnp.abs(seen.joint_pos - seen.standing)) * ~_moving(seen)


def _moving(seen: Seen) -> jax.Array:
    return jnp.linalg.norm(seen.reference.command) > MOVING


JOINT_TERMS: Mapping[str, Callable[[Seen], jax.Array]] = {
    "joint_pos": lambda seen: tracking_reward(seen.joint_pos - seen.reference.joint_pos, seen.widths.joint_pos),
    "joint_vel": lambda seen: tracking_reward(seen.joint_vel - seen.reference.joint_vel, seen.widths.joint_vel),
    "key_bodies": _key_bodies,
    # Mean square of the change of the action from step to step.
    "action_rate": lambda seen: jnp.mean(jnp.square(seen.action - seen.last_action)),
    # Mean square of torques as fractions of the motors' limits.
    "effort": lambda seen: jnp.mean(jnp.square(seen.torque / seen.torque_limits)),
    "limits": _beyond_limits,
    "pose": lambda seen: jnp.sum(jnp.square(seen.joint_pos - seen.standing)),
}
"""Terms that a fixed base has too."""

ROOT_TERMS: Mapping[str, Callable[[Seen, RootState], jax.Array]] = {
    "root_height": lambda seen, root: tracking_reward(
        root.position[2:] - seen.reference.root.position[2:], seen.widths.root_height
    ),
    "tilt": lambda seen, root: tracking_reward(
        down(root.rotation) - down(seen.reference.root.rotation), seen.widths.tilt
    ),
    "linear_velocity": lambda seen, root: tracking_reward(
        root.in_heading()[0] - seen.reference.root.in_heading()[0], seen.widths.linear_velocity
    ),
    "angular_velocity": lambda seen, root: tracking_reward(
        root.in_heading()[1] - seen.reference.root.in_heading()[1], seen.widths.angular_velocity
    ),
    "contacts": lambda seen, _: jnp.mean(seen.contacts == seen.reference.contacts),
    "command_velocity": _command_velocity,
    "command_yaw_rate": _command_yaw_rate,
    "lean": lambda _, root: jnp.sum(jnp.square(down(root.rotation)[:2])),
    "sway": lambda _, root: jnp.sum(jnp.square(root.in_heading()[1][:2])),
    "feet_air_time": _feet_air_time,
    "stand_still": _stand_still,
}
"""Terms of a floating base."""

TERMS = (*JOINT_TERMS, *ROOT_TERMS)


def reward_terms(seen: Seen, names: Any) -> dict[str, jax.Array]:
    """The terms of these names; those of the root are 0 for a fixed base."""
    out = {name: term(seen) for name, term in JOINT_TERMS.items() if name in names}
    for name, term in ROOT_TERMS.items():
        if name in names:
            out[name] = jnp.zeros((), jnp.float32) if seen.root is None else term(seen, seen.root)
    return out
