"""Commands on a shared tick: one replan serves all rows whose command changed since the last tick."""

from typing import Generic, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from cmg_jax._errors import InputError
from cmg_jax.generators import _base
from cmg_jax.generators._base import Generator, MotionFrame, S
from cmg_jax.model._model import CMGModel


class TickState(NamedTuple, Generic[S]):
    """The state of a generator `on_tick` around the state of the generator inside."""

    inner: S
    requested: Float[Array, "B C"]  # physical: the command last set
    waiting: Bool[Array, "B"]  # rows where it is not active yet
    until_tick: Int[Array, ""]  # steps before the next tick

    @property
    def command(self) -> Float[Array, "B C"]:
        """The active command [B, C], physical: the one that the frames obey."""
        return self.inner.command


def on_tick(generator: Generator[S], num_frames: int = 25) -> Generator[TickState[S]]:
    """`generator` with commands that become active every `num_frames` steps, for all rows at once.

    A replan costs L network calls in sequence, however few rows it has; this wrapper pays for it once a tick
    instead of once a change. `set_command` stores the command as `requested` (a later one replaces it). The step
    that is a tick makes it the active one, `command`, before it makes its frame; the first step is a tick.
    `lookahead` shows the plan under the active command. A reset acts at once and drops the requests of its rows, and
    so does `switch`, which keeps the active command.

    Args:
      generator: any mode.
      num_frames: steps from tick to tick, 1 or more.

    Raises:
      InputError: fewer than 1.

    Examples:
      >>> generator = cmg_jax.on_tick(cmg_jax.streaming(5), num_frames=25)
      >>> state = generator.init(model, jax.random.key(0), jnp.zeros((4, 3)))
      >>> state = generator.set_command(model, state, jnp.full((4, 3), 0.2))  # waits for the tick
      >>> state.command.max(), state.requested.max()
      (Array(0., dtype=float32), Array(0.2, dtype=float32))
    """
    if num_frames < 1:
        raise InputError(f"num_frames {num_frames} is less than 1")

    def init(
        model: CMGModel, key: jax.Array, command: jax.Array | None, motion: jax.Array | None, num_envs: int
    ) -> TickState[S]:
        inner = generator.init(model, key, command, motion, num_envs=num_envs)
        return TickState(inner, jnp.copy(inner.command), jnp.zeros(num_envs, bool), jnp.int32(0))

    def step(model: CMGModel, state: TickState[S]) -> tuple[TickState[S], MotionFrame]:
        tick = state.until_tick == 0
        inner = generator.set_command(model, state.inner, state.requested, state.waiting & tick)
        inner, frame = generator.step(model, inner)
        until_tick = jnp.where(tick, num_frames, state.until_tick) - 1
        return TickState(inner, state.requested, state.waiting & ~tick, until_tick), frame

    def reset(
        model: CMGModel,
        state: TickState[S],
        done: jax.Array,
        key: jax.Array,
        command: jax.Array | None,
        motion: jax.Array | None,
    ) -> TickState[S]:
        inner = generator.reset(model, state.inner, done, key, command, motion)
        requested = jnp.where(done[:, None], inner.command, state.requested)
        return state._replace(inner=inner, requested=requested, waiting=state.waiting & ~done)

    def set_command(
        model: CMGModel, state: TickState[S], command: jax.Array, changed: jax.Array | None
    ) -> TickState[S]:
        mask = _base.changed_rows(state.requested, command, changed)
        requested = jnp.where(mask[:, None], command, state.requested)
        waiting = state.waiting | mask
        if changed is None:  # a command that is withdrawn before its tick needs no replan
            waiting = waiting & (requested != state.inner.command).any(axis=-1)
        return state._replace(requested=requested, waiting=waiting)

    def lookahead(model: CMGModel, state: TickState[S], offsets: jax.Array | np.ndarray) -> MotionFrame:
        return generator.lookahead(model, state.inner, offsets)

    return _base.checked(
        init=init,
        step=step,
        reset=reset,
        set_command=set_command,
        lookahead=lookahead,
        horizon=generator.horizon,
    )
