"""The clip that a row of motion matching plays, as it is played: faster or slower, turning, a little to the side."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from cmg_jax.model._library import MotionLibrary
from cmg_jax.robot import split_frame
from cmg_jax.robot._hips import turn_legs
from cmg_jax.robot._rotation import rotate_planar


class Target(NamedTuple):
    """The clips that rows play, from the frame before a plan to its last one: leaves [R, K+1, ...].

    In the heading frame of the robot, which the legs turned at the hips let differ from that of the clip.
    """

    place: jax.Array
    fraction: jax.Array
    nearest: jax.Array  # the nearest frame
    joint_pos: jax.Array
    joint_vel: jax.Array
    root: jax.Array  # with clearance for the height
    soles: jax.Array  # [R, K+1, 2, 3]
    contact: jax.Array  # [R, K+1, 2]
    planar: jax.Array  # [R, K+1, 3] velocity of the clip itself, at its playback speed

    @classmethod
    def of(
        cls,
        library: MotionLibrary,
        place: jax.Array,
        fraction: jax.Array,
        rate: jax.Array,
        turn: jax.Array,
        side: jax.Array,
    ) -> "Target":
        """Args:
        library: the library.
        place: frames [R] at which the clips begin.
        fraction: [R] of the way to the next frame.
        rate: [R] of playback.
        turn: rad/s [R] that are added to the yaw rate.
        side: rad [R, K+1] from the robot's heading to that of the clip.
        """
        steps = side.shape[1] - 1
        along = fraction[:, None] + rate[:, None] * jnp.arange(steps + 1, dtype=jnp.float32)[None]
        whole = jnp.floor(along)
        last = library.last[place][:, None]
        before = jnp.minimum(place[:, None] + whole.astype(jnp.int32), last)
        after, share = jnp.minimum(before + 1, last), along - whole

        def between(values: jax.Array) -> jax.Array:
            weight = share.reshape(*share.shape, *(1,) * (values.ndim - 1))
            return (1 - weight) * values[before] + weight * values[after]

        frame = split_frame(between(library.frames), library.robot.num_joints)
        assert frame.root is not None
        # Everything that is a velocity grows with the playback speed: feet that stand keep standing.
        faster = rate[:, None, None]
        # While the legs turn one way at the hips, the root turns the other way: feet and path stay where they are.
        velocity = rotate_planar(frame.root.velocity, side) * faster
        yaw_rate = frame.root.yaw_rate * faster - _slope(side[..., None], library.fps)
        legs = turn_legs(frame.joint_pos, frame.root.gravity, side, library.robot)
        contact = between(library.contact)
        # Feet that both stand would turn on the floor.
        pivots = 1.0 - contact.min(axis=-1, keepdims=True)
        root = [
            between(library.clearance)[..., None],
            frame.root.gravity,
            velocity,
            yaw_rate + turn[:, None, None] * pivots,
        ]
        soles = between(library.soles)
        planar_soles = rotate_planar(soles[..., :2], jnp.broadcast_to(side[..., None], soles.shape[:-1]))
        return cls(
            before,
            share,
            jnp.where(share < 0.5, before, after),
            frame.joint_pos + legs,
            frame.joint_vel * faster + _slope(legs, library.fps),
            jnp.concatenate(root, axis=-1),
            jnp.concatenate([planar_soles, soles[..., 2:]], axis=-1),
            contact,
            jnp.concatenate([velocity, yaw_rate], axis=-1),
        )


def _slope(values: jax.Array, fps: float) -> jax.Array:
    """Rate of change per second of values [R, K+1, ...]."""
    steps = jnp.diff(values, axis=1) * fps
    return jnp.concatenate([steps[:, :1], steps], axis=1)
