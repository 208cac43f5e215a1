"""`Reference`, which an environment reads in `info["reference"]`, and the empty slot that it declares at reset."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from cmg_jax.generators._base import MotionFrame
from cmg_jax.robot import BodyPoses, BodyVelocities, RootState
from cmg_jax.robot._rotation import multiply, rotate


class KeyBodies(NamedTuple):
    """Poses and velocities of bodies."""

    poses: BodyPoses[jax.Array]
    velocities: BodyVelocities

    def placed(self, root: RootState) -> "KeyBodies":
        """Bodies that are given in the frame of a root, leaves [..., N, k], where that root is, leaves [..., k]."""
        at = RootState(*(leaf[..., None, :] for leaf in root))
        rotation = jnp.broadcast_to(at.rotation, self.poses.rotation.shape)
        offset = rotate(rotation, self.poses.position)
        linear = rotate(rotation, self.velocities.linear) + jnp.cross(at.angular_velocity, offset)
        return KeyBodies(
            BodyPoses(at.position + offset, multiply(rotation, self.poses.rotation)),
            BodyVelocities(
                at.linear_velocity + linear, at.angular_velocity + rotate(rotation, self.velocities.angular)
            ),
        )


class Reference(NamedTuple):
    """Reference motion at a state's time. An environment sees it inside `vmap`, without the axis B of environments.

    The root comes from the model's root channel. For a model without one, it is upright, its lower foot is on the
    floor, and it moves as the active command says.

    A command has three stages: it is `requested` (drawn, or set by `set_command`), then `smoothed`, and then active,
    which is `command`: the one that the frames obey. The generator receives the smoothed command. Under `on_tick` it
    waits for its tick before it is active, and a bank plays the motion of the nearest command that it has.
    """

    joint_pos: Float[Array, "... J"]  # rad
    joint_vel: Float[Array, "... J"]  # rad/s
    root: RootState
    """In the world, leaves [B, k]; an episode begins above the origin and faces along x."""
    contacts: Bool[Array, "... 2"] | None
    """Whether the feet are on the floor, [B, 2] bool, left foot first; None where the robot's feet are unknown."""
    ahead: MotionFrame
    """Frames to come, at the offsets `lookahead` of the source, leaves [B, L, J]; their roots are `ahead_root`."""
    ahead_root: RootState
    """In the heading frame of the root at the state's time, leaves [B, L, k]; heights are above the floor."""
    ahead_contacts: Bool[Array, "... L 2"] | None
    command: Float[Array, "... C"]  # active: what the frames obey
    smoothed: Float[Array, "... C"]  # the latest that the generator received
    requested: Float[Array, "... C"]  # the target of the smoothed command
    bodies: KeyBodies | None
    """Key bodies in the frame of the root, leaves [B, N, k]; None where the source has no `key_bodies`."""
    ahead_bodies: KeyBodies | None
    """Key bodies in the frames to come, in the frame of each one's root, leaves [B, L, N, k]."""

    @property
    def bodies_in_world(self) -> KeyBodies | None:
        """Key bodies in the world, leaves [B, N, k]."""
        return None if self.bodies is None else self.bodies.placed(self.root)

    @property
    def ahead_bodies_in_heading(self) -> KeyBodies | None:
        """Key bodies to come, in the frame of `ahead_root`, leaves [B, L, N, k]."""
        return None if self.ahead_bodies is None else self.ahead_bodies.placed(self.ahead_root)


def empty_reference(
    *, num_joints: int = 29, lookahead: int = 0, key_bodies: int = 0, command_dim: int = 3, contacts: bool = True
) -> Reference:
    """The slot of one environment: `info["reference"] = empty_reference(...)` in its `reset`.

    Args:
      num_joints: J, of the model.
      lookahead: L, number of offsets in the source's `lookahead`.
      key_bodies: N, number of the source's `key_bodies`.
      command_dim: C, of the model.
      contacts: whether the feet of the model's robot are known.

    Examples:
      >>> from cmg_jax.envs import empty_reference
      >>> slot = empty_reference(num_joints=29, lookahead=2)
      >>> slot.joint_pos.shape, slot.ahead.joint_pos.shape
      ((29,), (2, 29))
    """

    def zeros(*shape: int) -> jax.Array:
        return jnp.zeros(shape, jnp.float32)

    def root(*axes: int) -> RootState:
        return RootState(*(zeros(*axes, size) for size in (3, 4, 3, 3)))

    def feet(*axes: int) -> jax.Array | None:
        return jnp.zeros((*axes, 2), bool) if contacts else None

    def bodies(*axes: int) -> KeyBodies | None:
        linear, angular, position = (zeros(*axes, key_bodies, 3) for _ in range(3))
        empty = KeyBodies(BodyPoses(position, zeros(*axes, key_bodies, 4)), BodyVelocities(linear, angular))
        return empty if key_bodies else None

    return Reference(
        joint_pos=zeros(num_joints),
        joint_vel=zeros(num_joints),
        root=root(),
        contacts=feet(),
        ahead=MotionFrame(zeros(lookahead, num_joints), zeros(lookahead, num_joints)),
        ahead_root=root(lookahead),
        ahead_contacts=feet(lookahead),
        command=zeros(command_dim),
        smoothed=zeros(command_dim),
        requested=zeros(command_dim),
        bodies=bodies(),
        ahead_bodies=bodies(lookahead),
    )
