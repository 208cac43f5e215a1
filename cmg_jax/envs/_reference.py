"""`Reference`, which an environment reads in `info["reference"]`, and the empty slot that it declares at reset."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cmg_jax.generators._base import MotionFrame
from cmg_jax.robot import BodyPoses, BodyVelocities, RootPose


class KeyBodies(NamedTuple):
    """Poses and velocities of bodies relative to the pelvis, which is upright in the reference."""

    poses: BodyPoses[jax.Array]
    velocities: BodyVelocities


class Reference(NamedTuple):
    """Reference motion at a state's time. An environment sees it inside `vmap`, without the axis B of environments.

    A command has three stages: it is `requested` (drawn, or set by `set_command`), then `smoothed`, and then active,
    which is `command`: the one that the frames obey. The generator receives the smoothed command. Under `on_tick` it
    waits for its tick before it is active, and a bank plays the motion of the nearest command that it has.
    """

    joint_pos: Float[Array, "B J"]  # rad
    joint_vel: Float[Array, "B J"]  # rad/s
    ahead: MotionFrame
    """Frames to come, at the offsets `lookahead` of the source, leaves [B, L, J]."""
    root: RootPose
    """Root pose of a robot that has obeyed the active commands since the episode began: [B, 2] m and [B] rad."""
    root_velocity: Float[Array, "B 2"]  # m/s in the world; it turns at command[:, 2]
    command: Float[Array, "B C"]  # active: what the frames obey
    smoothed: Float[Array, "B C"]  # the latest that the generator received
    requested: Float[Array, "B C"]  # the target of the smoothed command
    bodies: KeyBodies | None
    """Key bodies in the frame, leaves [B, N, ...]; None if the source has no `key_bodies`."""
    ahead_bodies: KeyBodies | None
    """Key bodies in the frames to come, leaves [B, L, N, ...]."""


def empty_reference(
    *, num_joints: int = 29, lookahead: int = 0, key_bodies: int = 0, command_dim: int = 3
) -> Reference:
    """The slot of one environment: `info["reference"] = empty_reference(...)` in its `reset`.

    Args:
      num_joints: J, of the model.
      lookahead: L, number of offsets in the source's `lookahead`.
      key_bodies: N, number of the source's `key_bodies`.
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
