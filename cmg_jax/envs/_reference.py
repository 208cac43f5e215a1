"""What an environment reads in `info["reference"]`, and the empty slot that it declares at reset."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from cmg_jax.generators._base import MotionFrame
from cmg_jax.robot._kinematics import BodyPoses, BodyVelocities
from cmg_jax.robot._root_pose import RootPose


class KeyBodies(NamedTuple):
    """Poses and velocities of bodies as seen from the pelvis, which the reference holds upright."""

    poses: BodyPoses
    velocities: BodyVelocities


class Reference(NamedTuple):
    """Reference motion at a state's time; inside `vmap`, as an environment sees it, without the axis B.

    A command has three names on its way: it is `requested` (drawn, or set by `set_command`), then `smoothed`, which
    the generator is given, and then active, which is `command`: the one that the frames obey. Under `on_tick` a
    command waits for its tick before it is active, and a bank plays the motion of the nearest one that it has.
    """

    joint_pos: jax.Array  # [B, J] rad
    joint_vel: jax.Array  # [B, J] rad/s
    ahead: MotionFrame
    """Frames to come at the offsets of the wrapper, leaves [B, L, J]."""
    root: RootPose
    """Where a robot stands that walked by the active commands since the episode began: [B, 2] m and [B] rad."""
    root_velocity: jax.Array  # [B, 2] m/s in the world; it turns at command[:, 2]
    command: jax.Array  # [B, C] active: what the frames obey
    smoothed: jax.Array  # [B, C] what the generator was given last
    requested: jax.Array  # [B, C] where the smoothed command is going
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

    def zeros(*shape: int) -> jax.Array:
        return jnp.zeros(shape, jnp.float32)

    def bodies(*axes: int) -> KeyBodies:
        shape = (*axes, key_bodies)
        linear, angular, position = (zeros(*shape, 3) for _ in range(3))
        return KeyBodies(BodyPoses(position, zeros(*shape, 4)), BodyVelocities(linear, angular))

    return Reference(
        zeros(num_joints),
        zeros(num_joints),
        MotionFrame(zeros(lookahead, num_joints), zeros(lookahead, num_joints)),
        RootPose(zeros(2), zeros()),
        zeros(2),
        zeros(command_dim),
        zeros(command_dim),
        zeros(command_dim),
        bodies() if key_bodies else None,
        bodies(lookahead) if key_bodies else None,
    )
