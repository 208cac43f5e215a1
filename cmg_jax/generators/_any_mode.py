"""What is done with a generator of any mode: read its motion between frames, and go on in another mode."""

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from cmg_jax.generators._base import Generator, GeneratorState, S, as_arrays, is_traced
from cmg_jax.model._model import CMGModel
from cmg_jax.robot import MotionFrame, join_frame

T = TypeVar("T", bound=GeneratorState)


def at_time(generator: Generator[S], model: CMGModel, state: S, seconds: Sequence[float] | ArrayLike) -> MotionFrame:
    """The reference between frames, for a control step that is not a multiple of the motion's.

    Linear between the two frames around each time.

    Args:
      generator: the generator that made `state`.
      model: the model.
      state: the generator's state.
      seconds: times [n] after the frame last served, from 0 to `generator.horizon` frames.

    Returns:
      Frames with leaves [B, n, J].

    Raises:
      InputError: a time outside of that range. Where times are traced, its frame is NaN.

    Examples:
      >>> generator = cmg_jax.streaming(5)
      >>> state = generator.init(model, jax.random.key(0), jnp.zeros((4, 3)))
      >>> cmg_jax.at_time(generator, model, state, (0.005, 0.033)).joint_pos.shape  # s ahead
      (4, 2, 29)
    """
    # Times that are known stay NumPy arrays: inside jit, jax.numpy would trace them.
    xp: Any = jnp if is_traced(seconds) else np
    position = xp.atleast_1d(xp.asarray(seconds, np.float32)) * np.float32(model.config.fps)
    # Rounding may turn the time of frame 3 into 2.9999998.
    position = xp.where(xp.abs(position - xp.round(position)) < 1e-4, xp.round(position), position)
    before, after = (edge.astype(np.int32) for edge in (xp.floor(position), xp.ceil(position)))
    weight = jnp.asarray(position - before.astype(np.float32))[None, :, None]
    frames = [generator.lookahead(model, state, offsets) for offsets in (before, after)]
    return jax.tree.map(lambda first, second: first * (1 - weight) + second * weight, *frames)


def switch(generator: Generator[S], to: Generator[T], model: CMGModel, state: S, key: jax.Array) -> T:
    """Switch to another mode: a state of `to` that continues from the frame last served by `generator`.

    Every row keeps its active command.

    Args:
      generator: the generator that made `state`.
      to: the generator to continue with.
      model: the model.
      state: the state of `generator`.
      key: consumed.

    Examples:
      >>> before, after = cmg_jax.streaming(5), cmg_jax.realtime(8)
      >>> state = before.init(model, jax.random.key(0), jnp.zeros((4, 3)))
      >>> state = cmg_jax.switch(before, after, model, state, jax.random.key(1))  # no jump
      >>> state, frame = after.step(model, state)
    """
    model, state = as_arrays((model, state))
    served = generator.lookahead(model, state, (0,))
    return to.init(model, key, state.command, join_frame(served)[:, 0])
