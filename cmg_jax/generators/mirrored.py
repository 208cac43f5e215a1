"""Left-right mirroring of some rows: a walk and its mirror image are equally good references."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from cmg_jax.errors import InputError
from cmg_jax.generators import base
from cmg_jax.generators.base import Generator, MotionFrame
from cmg_jax.generators.rows import draw_rows
from cmg_jax.model import CMGModel
from cmg_jax.robot import joints


class MirroredState(NamedTuple):
    inner: Any
    mirror: jax.Array  # [B] bool

    @property
    def command(self) -> jax.Array:
        """[B, C] physical: the command as it was given."""
        return _reflect_command(self.mirror, self.inner.command)


def mirrored(generator: Generator, fraction: float = 0.5) -> Generator:
    """`generator` with about `fraction` of the rows mirrored, drawn anew at every reset.

    A mirrored row runs the network under the mirrored command and serves the mirror image: it obeys the
    command it was given, with left and right of the body exchanged. Whatever goes in or comes out is
    the caller's: commands and first frames are given, and frames are served, as ever. Only a command that
    a bank draws is drawn before the mirror.

    Args:
      generator: any mode.
      fraction: 0 to 1.

    Raises:
      InputError: a fraction outside of that.
      InputError: (in `init`, too) a joint of the model has no other side, or its robot is not known.
    """
    if not 0 <= fraction <= 1:
        raise InputError(f"fraction {fraction} is not between 0 and 1")

    def draw(key: jax.Array, batch: int) -> tuple[jax.Array, jax.Array]:
        key, mirror_key = jax.random.split(key)
        return key, draw_rows(jax.random.uniform, mirror_key, batch) < fraction

    def init(
        model: CMGModel, key: jax.Array, command: Any, motion: Any = None, *, batch: int | None = None
    ) -> MirroredState:
        key, mirror = draw(key, base.batch_size(command, batch))
        options = {"batch": batch} if command is None else {}
        return MirroredState(generator.init(model, key, *_reflect(model, mirror, command, motion), **options), mirror)

    def step(model: CMGModel, state: MirroredState) -> tuple[MirroredState, MotionFrame]:
        inner, frame = generator.step(model, state.inner)
        return state._replace(inner=inner), _reflect_frame(model, state.mirror, frame)

    def reset(
        model: CMGModel, state: MirroredState, done: Any, key: jax.Array, command: Any, motion: Any = None
    ) -> MirroredState:
        done = base.check_mask("done", done, len(state.mirror))
        key, drawn = draw(key, len(done))
        mirror = jnp.where(done, drawn, state.mirror)
        inner = generator.reset(model, state.inner, done, key, *_reflect(model, mirror, command, motion))
        return MirroredState(inner, mirror)

    def set_command(model: CMGModel, state: MirroredState, command: Any, changed: Any = None) -> MirroredState:
        command, _ = _reflect(model, state.mirror, command, None)
        return state._replace(inner=generator.set_command(model, state.inner, command, changed))

    def lookahead(model: CMGModel, state: MirroredState, offsets: Any) -> MotionFrame:
        return _reflect_frame(model, state.mirror, generator.lookahead(model, state.inner, offsets))

    def resume(model: CMGModel, key: jax.Array, command: Any, motion: Any) -> MirroredState:
        key, mirror = draw(key, base.batch_size(command, None))
        return MirroredState(generator.resume(model, key, *_reflect(model, mirror, command, motion)), mirror)

    return Generator(init, step, reset, set_command, lookahead, resume)


def _reflect(model: CMGModel, mirror: jax.Array, command: Any, motion: Any) -> tuple[Any, Any]:
    """Command and first frames, where they are given, with the rows where `mirror` reflected."""
    if command is not None:
        command = _reflect_command(mirror, base.check_command(model, command, len(mirror)))
    if motion is not None:
        motion = base.check_array("motion", motion, (len(mirror), model.config.motion_dim))
        frame = MotionFrame(*jnp.split(motion, 2, axis=-1))
        motion = jnp.concatenate(_reflect_frame(model, mirror, frame), axis=-1)
    return command, motion


def _reflect_command(mirror: jax.Array, command: jax.Array) -> jax.Array:
    return jnp.where(mirror[:, None], joints.mirror_command(command), command)


def _reflect_frame(model: CMGModel, mirror: jax.Array, frame: MotionFrame) -> MotionFrame:
    def reflect(values: jax.Array) -> jax.Array:
        mask = mirror.reshape(-1, *(1,) * (values.ndim - 1))
        return jnp.where(mask, joints.mirror_joints(values, model.config.robot), values)

    return jax.tree.map(reflect, frame)
