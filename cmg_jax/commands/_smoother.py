"""Smoothers: commands that change without jumps.

The state of a smoother has both the requested command and the smoothed one, for each row.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from cmg_jax._errors import InputError, check_shape


class SmootherState(NamedTuple):
    """The state of a smoother for each row. Commands are physical."""

    smoothed: Float[Array, "B C"]  # the command for the generator
    requested: Float[Array, "B C"]  # the command to reach
    start: Float[Array, "B C"]  # the smoothed command when the requested one was set
    elapsed: Int[Array, "B"]  # steps since then


class SmootherInitFn(Protocol):
    def __call__(self, command: ArrayLike) -> SmootherState:
        """A state that rests at `command` [B, C]."""
        ...


class RequestFn(Protocol):
    def __call__(self, state: SmootherState, command: ArrayLike, changed: ArrayLike | None = None) -> SmootherState:
        """Request `command` [B, C] in the rows where `changed` [B], by default in those where it differs."""
        ...


class SmootherStepFn(Protocol):
    def __call__(self, state: SmootherState) -> SmootherState:
        """Bring `smoothed` one step nearer to `requested`."""
        ...


class SmootherResetFn(Protocol):
    def __call__(self, state: SmootherState, done: ArrayLike, command: ArrayLike) -> SmootherState:
        """Rest at `command` [B, C] in the rows where `done` [B]."""
        ...


class Smoother(NamedTuple):
    """Pure functions. Commands are [B, C], with the B and C of the state, and rows are independent of one another.

    Each function raises InputError for an array of another shape, which would otherwise be broadcast.
    """

    init: SmootherInitFn
    request: RequestFn
    step: SmootherStepFn
    reset: SmootherResetFn


def ramp(steps: int = 25, *, form: Literal["linear", "compounding"] = "linear") -> Smoother:
    """Reach a requested command `steps` steps after it was set.

    "linear" goes in a straight line. "compounding" is the PyTorch original's rule: the weight i / steps
    of the requested command is applied to the *smoothed* command again at each step i = 0, 1, ..., which starts
    slowly and arrives early; its first step changes nothing.

    Raises:
      InputError: fewer than 1 step, or another form.

    Examples:
      >>> from cmg_jax import commands
      >>> smoother = commands.ramp(steps=25)  # half a second at 50 steps a second
      >>> state = smoother.request(smoother.init(jnp.zeros((1, 3))), jnp.ones((1, 3)))
      >>> state = smoother.step(state)
      >>> state.smoothed.round(2)
      Array([[0.04, 0.04, 0.04]], dtype=float32)
    """
    if steps < 1 or form not in ("linear", "compounding"):
        raise InputError(f"steps {steps}, form {form!r}: at least 1 step; linear or compounding")

    def linear(state: SmootherState) -> SmootherState:
        weight = jnp.minimum((state.elapsed + 1).astype(jnp.float32) / steps, 1.0)[:, None]
        # Written so that the last command is exactly the requested one.
        way = state.start + (state.requested - state.start) * weight
        smoothed = jnp.where(weight < 1, way, state.requested)
        return state._replace(smoothed=smoothed, elapsed=_next(state.elapsed))

    def compounding(state: SmootherState) -> SmootherState:
        weight = jnp.minimum(state.elapsed.astype(jnp.float32) / steps, 1.0)[:, None]
        smoothed = (1 - weight) * state.smoothed + weight * state.requested
        return state._replace(smoothed=smoothed, elapsed=_next(state.elapsed))

    return _smoother(linear if form == "linear" else compounding)


def rate_limit(limit: ArrayLike | Sequence[float], fps: float) -> Smoother:
    """Change a command by at most `limit` a second (m/s^2, m/s^2, rad/s^2) at `fps` steps a second.

    Args:
      limit: [C], the same for all rows, or one number for all components.
      fps: steps a second.

    Raises:
      InputError: a limit or a rate that is not positive, or limits [B, C]; and the functions of what is returned
        raise it for commands of another C.

    Examples:
      >>> from cmg_jax import commands
      >>> smoother = commands.rate_limit([2.0, 1.0, 3.0], fps=50.0)
      >>> state = smoother.request(smoother.init(jnp.zeros((1, 3))), jnp.ones((1, 3)))
      >>> smoother.step(state).smoothed.round(2)
      Array([[0.04, 0.02, 0.06]], dtype=float32)
    """
    limits = np.asarray(limit, np.float32)
    if limits.ndim > 1:
        raise InputError(f"limit has shape {limits.shape}; it must be [C], the same for all rows, or a number")
    if not (fps > 0 and limits.size and (limits > 0).all()):
        raise InputError(f"limit {limits} and fps {fps} must be positive")

    def step(state: SmootherState) -> SmootherState:
        if limits.ndim:
            check_shape("limit", limits, np.shape(state.smoothed)[-1:])
        largest = jnp.asarray(np.broadcast_to(limits / np.float32(fps), (1, np.shape(state.smoothed)[-1])))
        difference = state.requested - state.smoothed
        smoothed = state.smoothed + jnp.clip(difference, -largest, largest)
        arrived = jnp.abs(difference) <= largest
        smoothed = jnp.where(arrived, state.requested, smoothed)
        return state._replace(smoothed=smoothed, elapsed=_next(state.elapsed))

    return _smoother(step)


def _smoother(step: SmootherStepFn) -> Smoother:
    def init(command: ArrayLike) -> SmootherState:
        check_shape("command", command, ("B", "C"))
        # Copies: a donated state must not hold one array twice, nor the caller's.
        smoothed, requested, start = (jnp.array(command, jnp.float32) for _ in range(3))
        return SmootherState(smoothed, requested, start, jnp.zeros(len(smoothed), jnp.int32))

    def request(state: SmootherState, command: ArrayLike, changed: ArrayLike | None = None) -> SmootherState:
        check_shape("command", command, np.shape(state.requested))
        command = jnp.asarray(command, jnp.float32)
        mask = (command != state.requested).any(-1) if changed is None else _mask("changed", changed, state)
        return state._replace(
            requested=jnp.where(mask[:, None], command, state.requested),
            start=jnp.where(mask[:, None], state.smoothed, state.start),
            elapsed=jnp.where(mask, 0, state.elapsed),
        )

    def reset(state: SmootherState, done: ArrayLike, command: ArrayLike) -> SmootherState:
        check_shape("command", command, np.shape(state.requested))
        mask, fresh = _mask("done", done, state), init(command)
        return jax.tree.map(
            lambda new, old: jnp.where(mask.reshape(-1, *(1,) * (new.ndim - 1)), new, old), fresh, state
        )

    smoother = Smoother(init, request, step, reset)
    for name, contract in Smoother.__annotations__.items():
        function = getattr(smoother, name)
        function.__name__ = function.__qualname__ = name
        function.__doc__ = contract.__call__.__doc__
    return smoother


def _mask(name: str, mask: ArrayLike, state: SmootherState) -> jax.Array:
    """The mask as [B] bool. It may also hold 0 and 1 as floats, as Brax's `done` does."""
    check_shape(name, mask, np.shape(state.elapsed))
    return jnp.asarray(mask).astype(bool)


def _next(elapsed: jax.Array) -> jax.Array:
    """`elapsed` + 1, which stops growing before it overflows."""
    return jnp.minimum(elapsed, 2**30) + 1
