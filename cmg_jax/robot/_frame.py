"""What a frame of motion holds: joint positions, joint velocities and, in some models, a root channel.

A model's network sees a frame as D numbers in a row. `frame_parts` lists them; everything that takes a frame apart or
puts one together does so here.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from cmg_jax._errors import InputError
from cmg_jax.robot import _joints
from cmg_jax.robot._robot import Robot


class FramePart(NamedTuple):
    """Some of the numbers of a frame."""

    name: str
    size: int
    unit: str


class RootMotion(NamedTuple):
    """How the root moves, independent of where it is and which way it faces. Every leaf has a last axis.

    The heading frame stands upright below the root and faces along the horizontal part of the root's x axis.
    """

    height: Float[Array, "... 1"]  # m above the floor
    gravity: Float[Array, "... 2"]  # x and y of the unit vector that points down, in the frame of the root: its lean
    velocity: Float[Array, "... 2"]  # m/s forward and left in the heading frame, from the frame before to this one
    yaw_rate: Float[Array, "... 1"]  # rad/s of the heading, from the frame before to this one


class MotionFrame(NamedTuple):
    """Reference motion, physical. `lookahead` puts an axis of offsets before the last axis of every leaf.

    Examples:
      >>> from cmg_jax.robot import MotionFrame, join_frame
      >>> standing = MotionFrame(jnp.zeros(29), jnp.zeros(29))  # without a root channel
      >>> join_frame(standing).shape
      (58,)
    """

    joint_pos: Float[Array, "... J"]  # rad
    joint_vel: Float[Array, "... J"]  # rad/s
    root: RootMotion | None = None
    """None for a model without a root channel."""


ROOT_PARTS = (
    FramePart("root height", 1, "m"),
    FramePart("root gravity x, y", 2, "1"),
    FramePart("root forward, left velocity", 2, "m/s"),
    FramePart("root yaw rate", 1, "rad/s"),
)
"""The root channel, in the order of `RootMotion`."""

ROOT_SIZE = sum(part.size for part in ROOT_PARTS)


def frame_parts(num_joints: int, *, root: bool) -> tuple[FramePart, ...]:
    """The parts of a frame in their order.

    Examples:
      >>> from cmg_jax.robot import frame_parts
      >>> [(part.name, part.size, part.unit) for part in frame_parts(29, root=True)][:3]
      [('joint positions', 29, 'rad'), ('joint velocities', 29, 'rad/s'), ('root height', 1, 'm')]
    """
    joints = FramePart("joint positions", num_joints, "rad"), FramePart("joint velocities", num_joints, "rad/s")
    return (*joints, *ROOT_PARTS) if root else joints


def frame_size(num_joints: int, *, root: bool) -> int:
    """D, the number of numbers in a frame."""
    return 2 * num_joints + (ROOT_SIZE if root else 0)


def split_frame(motion: Float[Array | np.ndarray, "... D"], num_joints: int) -> MotionFrame:
    """The parts of frames, JAX's or NumPy's: D is 2 J, or 2 J + 6 with a root channel.

    Raises:
      InputError: D is neither.

    Examples:
      >>> from cmg_jax import robot
      >>> frames = robot.split_frame(model.initial_motion[:8], 29)  # leaves [8, n]
      >>> frames.joint_pos.shape, frames.root.velocity.shape
      ((8, 29), (8, 2))
    """
    sizes = [part.size for part in frame_parts(num_joints, root=has_root(motion.shape[-1], num_joints))]
    edges = np.cumsum([0, *sizes]).tolist()
    parts: list[Any] = [motion[..., low:high] for low, high in pairwise(edges)]
    joint_pos, joint_vel, *root = parts
    return MotionFrame(joint_pos, joint_vel, RootMotion(*root) if root else None)


def join_frame(frame: MotionFrame) -> Float[Array, "... D"]:
    """Frames from their parts.

    Examples:
      >>> from cmg_jax import robot
      >>> frames = robot.split_frame(model.initial_motion[:8], 29)  # leaves [8, n]
      >>> robot.join_frame(frames).shape
      (8, 64)
    """
    return jnp.concatenate(jax.tree.leaves(frame), axis=-1)


def has_root(size: int, num_joints: int) -> bool:
    """Whether frames of `size` numbers have a root channel.

    Raises:
      InputError: frames of that size hold something else.
    """
    for root in (False, True):
        if size == frame_size(num_joints, root=root):
            return root
    raise InputError(
        f"a frame of {size} numbers does not add up: {num_joints} joint positions and as many velocities are "
        f"{2 * num_joints}, with a root channel {2 * num_joints + ROOT_SIZE}"
    )


def mirror_motion(motion: Float[ArrayLike, "*batch D"], robot: Robot) -> Float[Array, "*batch D"]:
    """Reflect frames: joint positions and velocities, and the root channel where there is one.

    Examples:
      >>> from cmg_jax import robot
      >>> frame = cmg_jax.standing_frame(model)
      >>> mirrored = robot.mirror_motion(frame, robot.G1)
      >>> bool(jnp.allclose(robot.mirror_motion(mirrored, robot.G1), frame))
      True
    """
    return join_frame(mirror_frame(split_frame(jnp.asarray(motion), robot.num_joints), robot))


def mirror_frame(frame: MotionFrame, robot: Robot) -> MotionFrame:
    """Reflect frames, leaves [..., n].

    Examples:
      >>> from cmg_jax import robot
      >>> frames = robot.split_frame(model.initial_motion[:8], 29)  # leaves [8, n]
      >>> mirrored = robot.mirror_frame(frames, robot.G1)
      >>> bool(jnp.allclose(mirrored.root.yaw_rate, -frames.root.yaw_rate))
      True
    """
    joint_pos, joint_vel = (_joints.mirror_joints(values, robot) for values in (frame.joint_pos, frame.joint_vel))
    return MotionFrame(joint_pos, joint_vel, None if frame.root is None else mirror_root(frame.root))


def mirror_root(root: RootMotion) -> RootMotion:
    """Reflect the root channel: the sideways lean and velocity and the yaw rate change sign."""

    def mirror_planar(vector: jax.Array) -> jax.Array:
        return jnp.concatenate([vector[..., :1], -vector[..., 1:]], axis=-1)

    return RootMotion(root.height, mirror_planar(root.gravity), mirror_planar(root.velocity), -root.yaw_rate)


def describe(parts: Sequence[FramePart]) -> str:
    """The parts of a frame in one line of text."""
    return "; ".join(f"{part.size} {part.name} [{part.unit}]" for part in parts)
