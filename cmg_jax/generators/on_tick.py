"""Commands on a shared tick: one replan serves all rows whose command changed since the last one."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from cmg_jax.errors import InputError
from cmg_jax.generators import base
from cmg_jax.generators.base import Generator, MotionFrame
from cmg_jax.model import CMGModel


class TickState(NamedTuple):
    inner: Any
    wanted: jax.Array  # [B, C] physical: the command last set
    waiting: jax.Array  # [B] bool: rows where it is not in force yet
    until_tick: jax.Array  # [] int32, steps before the next tick

    @property
    def command(self) -> jax.Array:
        """[B, C] physical: the command in force."""
        return self.inner.command


def on_tick(generator: Generator, frames: int = 25) -> Generator:
    """`generator` with commands that take effect every `frames` steps, for all rows at once.

    A replan costs L network calls in sequence however few its rows are; here they are paid once a tick
    and not once a change. `set_command` notes the command (a later one replaces it), the step that is a
    tick puts it in force before it makes its frame, and the first step is one. `lookahead` shows the
    plan under the command in force. A reset acts at once and drops what its rows were waiting for, and so
    does `switch`, which takes the command in force along.

    Args:
      generator: any mode.
      frames: steps from tick to tick, 1 or more.

    Raises:
      InputError: fewer than 1.
    """
    if frames < 1:
        raise InputError(f"frames {frames} is less than 1")

    def wrap(inner: Any) -> TickState:
        return TickState(inner, jnp.copy(inner.command), jnp.zeros(len(inner.command), bool), jnp.int32(0))

    def init(model: CMGModel, key: jax.Array, command: Any, motion: Any = None, **options: Any) -> TickState:
        return wrap(generator.init(model, key, command, motion, **options))

    def step(model: CMGModel, state: TickState) -> tuple[TickState, MotionFrame]:
        tick = state.until_tick == 0
        inner = generator.set_command(model, state.inner, state.wanted, state.waiting & tick)
        inner, frame = generator.step(model, inner)
        until_tick = jnp.where(tick, frames, state.until_tick) - 1
        return TickState(inner, state.wanted, state.waiting & ~tick, until_tick), frame

    def reset(
        model: CMGModel, state: TickState, done: Any, key: jax.Array, command: Any, motion: Any = None
    ) -> TickState:
        done = base.check_mask("done", done, len(state.waiting))
        inner = generator.reset(model, state.inner, done, key, command, motion)
        wanted = jnp.where(done[:, None], inner.command, state.wanted)
        return state._replace(inner=inner, wanted=wanted, waiting=state.waiting & ~done)

    def set_command(model: CMGModel, state: TickState, command: Any, changed: Any = None) -> TickState:
        command = base.check_command(model, command, len(state.wanted))
        mask = base.changed_rows(state.wanted, command, changed)
        wanted = jnp.where(mask[:, None], command, state.wanted)
        waiting = state.waiting | mask
        if changed is None:  # a command taken back before its tick asks for nothing
            waiting = waiting & (wanted != state.inner.command).any(axis=-1)
        return state._replace(wanted=wanted, waiting=waiting)

    def lookahead(model: CMGModel, state: TickState, offsets: Any) -> MotionFrame:
        return generator.lookahead(model, state.inner, offsets)

    def resume(model: CMGModel, key: jax.Array, command: Any, motion: Any) -> TickState:
        return wrap(generator.resume(model, key, command, motion))

    return Generator(init, step, reset, set_command, lookahead, resume)
