"""The whole root and the contacts of frames to come, of every mode and every kind of model."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.generators import _base
from cmg_jax.generators._base import Generator, MotionFrame, S
from cmg_jax.model._model import CMGModel
from cmg_jax.robot import RootPose, RootState, foot_contacts, integrate_command, integrate_root, place_root, root_motion
from cmg_jax.robot._root import planar_velocity


class RootAhead(NamedTuple):
    """Frames of a generator with their whole root."""

    frames: MotionFrame  # leaves [B, n, k]
    root: RootState  # leaves [B, n, k], in the heading frame of the root of the frame last served
    contacts: jax.Array | None
    """Whether the feet are on the floor, [B, n, 2] bool, left foot first; None where the robot's feet are unknown."""


def root_ahead(generator: Generator[S], model: CMGModel, state: S, offsets: Sequence[int] | np.ndarray) -> RootAhead:
    """Frames at offsets from the frame last served, with their roots and contacts.

    `place_root` puts the roots into the world, at the pose that a rollout carries along with `step_root`. Of a model
    without a root channel, the root is upright, its lower foot is on the floor, and it moves as the active command
    says.

    Args:
      generator: the generator that made `state`.
      model: the model.
      state: the generator's state.
      offsets: known whole numbers [n] from 0 to `generator.horizon`. Velocities lead from a frame to the next one; the
        farthest frame that the generator knows repeats those of the frame before it. A generator with a horizon of 0
        only knows the planar velocity of its frame, and contacts by height alone.

    Raises:
      InputError: an offset outside of that range or traced, or commands that are no velocities.

    Examples:
      >>> from cmg_jax.generators import root_ahead
      >>> generator = cmg_jax.streaming(5)
      >>> state = generator.init(model, jax.random.key(0), jnp.zeros((4, 3)))
      >>> ahead = root_ahead(generator, model, state, (0, 5))
      >>> ahead.root.position.shape, ahead.contacts.shape
      ((4, 2, 3), (4, 2, 2))
    """
    config = model.config
    if _base.is_traced(offsets):
        raise InputError("the offsets of root_ahead are traced; they must be known while the program is traced")
    if not config.has_root:
        config.check_velocity_commands("the root of a model without a root channel")
    offsets = np.asarray(_base.check_offsets(offsets, generator.horizon)[0])
    last = int(min(offsets.max(initial=0) + 1, generator.horizon))
    # Every frame with its successor. The last one stands second, behind its predecessor.
    first = np.minimum(offsets, max(last - 1, 0))
    pairs = np.minimum(first[:, None] + np.arange(2 if last else 1, dtype=np.int32), last)
    # The path leads through all frames; where the command says it, only those of the pairs are needed.
    needed = np.arange(last + 1, dtype=np.int32) if config.has_root else np.unique(pairs)
    frames = generator.lookahead(model, state, needed)
    frames_of_pairs: MotionFrame = jax.tree.map(lambda leaf: leaf[:, np.searchsorted(needed, pairs)], frames)

    command = state.command[:, None]
    if frames.root is None:
        planar = jnp.broadcast_to(command, (len(command), last + 1, command.shape[-1]))
    else:
        planar = planar_velocity(frames.root)
    path, yaw = integrate_command(planar[:, 1:], config.fps)
    root = integrate_root(root_motion(frames_of_pairs, command[:, None], config.robot), config.fps)
    root = jax.vmap(place_root, in_axes=1, out_axes=1)(root, RootPose(path[:, first], yaw[:, first]))
    contacts = None
    if config.robot.walks:
        contacts = foot_contacts(frames_of_pairs.joint_pos, root, config.robot, config.fps)
    place = np.arange(len(offsets)), offsets - first
    return jax.tree.map(lambda leaf: leaf[:, *place], RootAhead(frames_of_pairs, root, contacts))
