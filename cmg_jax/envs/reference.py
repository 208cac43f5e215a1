"""What an environment reads in `info["reference"]`, and the empty slot that it declares at reset."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from cmg_jax.generators.base import MotionFrame
from cmg_jax.robot.kinematics import BodyPoses, BodyVelocities
from cmg_jax.robot.root_pose import RootPose


class KeyBodies(NamedTuple):
    """Poses and velocities of bodies as seen from the pelvis, which the reference holds upright."""

    poses: BodyPoses
    velocities: BodyVelocities


class Reference(NamedTuple):
    """Reference motion at a state's time; inside `vmap`, as an environment sees it, without the axis B."""

    joint_pos: jax.Array  # [B, J] rad
    joint_vel: jax.Array  # [B, J] rad/s
    ahead: MotionFrame
    """Frames to come at the offsets of the wrapper, leaves [B, L, J]."""
    root: RootPose
    """Where a robot stands that walked as commanded since the episode began: [B, 2] m and [B] rad."""
    root_velocity: jax.Array  # [B, 2] m/s in the world; it turns at command[:, 2]
    command: jax.Array  # [B, C] smoothed: what the generator is given
    raw_command: jax.Array  # [B, C] what was asked for
    bodies: KeyBodies | None
    """Of the frame, leaves [B, N, ...]; None unless the wrapper was given `key_bodies`."""
    ahead_bodies: KeyBodies | None
    """Of the frames to come, leaves [B, L, N, ...]."""


def empty_reference(
    *, num_joints: int = 29, lookahead: int = 0, key_bodies: int = 0, command_dim: int = 3
) -> Reference:
    """The slot of one environment: `info["reference"] = empty_reference(...)` in its `reset`.

    Args:
      num_joints: J, of the model.
      lookahead: L, number of offsets that the wrapper is given.
      key_bodies: N, number of bodies that the wrapper is given.
      command_dim: C, of the model.
    """

    def bodies(*axes: int) -> KeyBodies:
        shape = (*axes, key_bodies)
        linear, angular, position = (jnp.zeros((*shape, 3)) for _ in range(3))
        return KeyBodies(BodyPoses(position, jnp.zeros((*shape, 4))), BodyVelocities(linear, angular))

    return Reference(
        jnp.zeros(num_joints),
        jnp.zeros(num_joints),
        MotionFrame(jnp.zeros((lookahead, num_joints)), jnp.zeros((lookahead, num_joints))),
        RootPose(jnp.zeros(2), jnp.zeros(())),
        jnp.zeros(2),
        jnp.zeros(command_dim),
        jnp.zeros(command_dim),
        bodies() if key_bodies else None,
        bodies(lookahead) if key_bodies else None,
    )
