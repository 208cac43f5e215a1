"""Left-right mirroring of some rows: a walk and its mirror image are equally good as a reference."""

from typing import Generic, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from cmg_jax._errors import InputError
from cmg_jax.generators import _base
from cmg_jax.generators._base import Generator, MotionFrame, S
from cmg_jax.generators._rows import draw_rows
from cmg_jax.model._model import CMGModel
from cmg_jax.robot import _joints, join_frame, mirror_frame, split_frame


class MirroredState(NamedTuple, Generic[S]):
    """The state of a `mirrored` generator around the state of the generator inside."""

    inner: S
    mirror: Bool[Array, "B"]

    @property
    def command(self) -> Float[Array, "B C"]:
        """The active command [B, C], physical: the one that the frames obey as they are served."""
        return _reflect_command(self.mirror, self.inner.command)


def mirrored(generator: Generator[S], fraction: float = 0.5) -> Generator[MirroredState[S]]:
    """`generator` with about `fraction` of the rows mirrored, drawn at every reset.

    A mirrored row runs the network under the mirrored command and serves the mirror image: it obeys the
    command that the caller set, with left and right of the body exchanged. Mirroring is invisible to the caller:
    commands, first frames and served frames have the same meaning as without it. Only a command that a bank draws is
    mirrored after the draw.

    Args:
      generator: any mode.
      fraction: 0 to 1.

    Raises:
      InputError: a fraction outside of that. The functions raise it if a joint of the model has no other side, or
        its robot is not known.

    Examples:
      >>> generator = cmg_jax.mirrored(cmg_jax.streaming(5), fraction=0.5)
      >>> state = generator.init(model, jax.random.key(0), jnp.zeros((4, 3)))
      >>> state.mirror.shape
      (4,)
    """
    if not 0 <= fraction <= 1:
        raise InputError(f"fraction {fraction} is not between 0 and 1")

    def draw(key: jax.Array, num_envs: int) -> tuple[jax.Array, jax.Array]:
        key, mirror_key = jax.random.split(key)
        uniform = draw_rows(lambda key, shape: jax.random.uniform(key, shape, jnp.float32), mirror_key, num_envs)
        return key, uniform < fraction

    def init(
        model: CMGModel, key: jax.Array, command: jax.Array | None, motion: jax.Array | None, num_envs: int
    ) -> MirroredState[S]:
        key, mirror = draw(key, num_envs)
        command, motion = _reflect(model, mirror, command, motion)
        return MirroredState(generator.init(model, key, command, motion, num_envs=num_envs), mirror)

    def step(model: CMGModel, state: MirroredState[S]) -> tuple[MirroredState[S], MotionFrame]:
        inner, frame = generator.step(model, state.inner)
        return state._replace(inner=inner), _reflect_frame(model, state.mirror, frame)

    def reset(
        model: CMGModel,
        state: MirroredState[S],
        done: jax.Array,
        key: jax.Array,
        command: jax.Array | None,
        motion: jax.Array | None,
    ) -> MirroredState[S]:
        key, drawn = draw(key, len(done))
        mirror = jnp.where(done, drawn, state.mirror)
        inner = generator.reset(model, state.inner, done, key, *_reflect(model, mirror, command, motion))
        return MirroredState(inner, mirror)

    def set_command(
        model: CMGModel, state: MirroredState[S], command: jax.Array, changed: jax.Array | None
    ) -> MirroredState[S]:
        command = _reflect_command(state.mirror, command)
        return state._replace(inner=generator.set_command(model, state.inner, command, changed))

    def lookahead(model: CMGModel, state: MirroredState[S], offsets: jax.Array | np.ndarray) -> MotionFrame:
        return _reflect_frame(model, state.mirror, generator.lookahead(model, state.inner, offsets))

    return _base.checked(
        init=init,
        step=step,
        reset=reset,
        set_command=set_command,
        lookahead=lookahead,
        horizon=generator.horizon,
    )


def _reflect(
    model: CMGModel, mirror: jax.Array, command: jax.Array | None, motion: jax.Array | None
) -> tuple[jax.Array | None, jax.Array | None]:
    """Command and first frames, or None for each, with the rows where `mirror` reflected."""
    if command is not None:
        command = _reflect_command(mirror, command)
    if motion is not None:
        motion = join_frame(_reflect_frame(model, mirror, split_frame(motion, model.config.num_joints)))
    return command, motion


def _reflect_command(mirror: jax.Array, command: jax.Array) -> jax.Array:
    return jnp.where(mirror[:, None], _joints.mirror_command(command), command)


def _reflect_frame(model: CMGModel, mirror: jax.Array, frame: MotionFrame) -> MotionFrame:
    def choose(image: jax.Array, values: jax.Array) -> jax.Array:
        return jnp.where(mirror.reshape(-1, *(1,) * (values.ndim - 1)), image, values)

    return jax.tree.map(choose, mirror_frame(frame, model.config.robot), frame)
