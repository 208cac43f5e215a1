"""From the command that is requested to a smoothed one: no jumps.

A smoother's state keeps both, for every row.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax._errors import InputError, check_shape


class SmootherState(NamedTuple):
    smoothed: jax.Array  # [B, C] what the generator is given
    requested: jax.Array  # [B, C] where it is going
    start: jax.Array  # [B, C] the smoothed command when the requested one was set
    elapsed: jax.Array  # [B] int32, steps since then


class Smoother(NamedTuple):
    """Pure functions; rows are independent of one another. Commands are [B, C], of the state's own B and C.

    All of them raise InputError for an array of another shape, which would otherwise be broadcast.
    """

    init: Callable[[Any], SmootherState]
    """init(command) -> state that rests at command [B, C]."""

    request: Callable[..., SmootherState]
    """request(state, command, changed=None) -> state; rows where `changed` [B], by default those that differ."""

    step: Callable[[SmootherState], SmootherState]
    """step(state) -> state, whose `smoothed` is one step nearer to its `requested`."""

    reset: Callable[..., SmootherState]
    """reset(state, done, command) -> state; rows where `done` [B] rest at their row of `command` [B, C]."""


def ramp(steps: int = 25, *, form: Literal["linear", "compounding"] = "linear") -> Smoother:
    """Reach a requested command `steps` steps after it was set.

    "linear" goes in a straight line. "compounding" is the PyTorch original's rule: the weight i / steps
    of the requested command is applied to the *smoothed* command again at each step i = 0, 1, ..., which starts
    slowly and arrives early; its first step is no step at all.

    Raises:
      InputError: fewer than 1 step, or another form.
    """
    if steps < 1 or form not in ("linear", "compounding"):
        raise InputError(f"steps {steps}, form {form!r}: at least 1 step; linear or compounding")

    def linear(state: SmootherState) -> SmootherState:
        weight = jnp.minimum((state.elapsed + 1).astype(jnp.float32) / steps, 1.0)[:, None]
        # Written so that the end is the requested command to the bit.
        way = state.start + (state.requested - state.start) * weight
        smoothed = jnp.where(weight < 1, way, state.requested)
        return state._replace(smoothed=smoothed, elapsed=_next(state.elapsed))

    def compounding(state: SmootherState) -> SmootherState:
        weight = jnp.minimum(state.elapsed.astype(jnp.float32) / steps, 1.0)[:, None]
        smoothed = (1 - weight) * state.smoothed + weight * state.requested
        return state._replace(smoothed=smoothed, elapsed=_next(state.elapsed))

    return _smoother(linear if form == "linear" else compounding)


def rate_limit(limit: Any, fps: float) -> Smoother:
    """Change a command by at most `limit` a second (m/s^2, m/s^2, rad/s^2) at `fps` steps a second.

    Args:
      limit: [C], the same for all rows, or one number for all components.
      fps: steps a second.

    Raises:
      InputError: a limit or a rate that is not positive, or limits [B, C]; and the functions of what is returned
        raise it for commands of another C.
    """
    limit = np.asarray(limit, np.float32)
    if limit.ndim > 1:
        raise InputError(f"limit has shape {limit.shape}; it must be [C], the same for all rows, or a number")
    if not (fps > 0 and limit.size and (limit > 0).all()):
        raise InputError(f"limit {limit} and fps {fps} must be positive")

    def step(state: SmootherState) -> SmootherState:
        if limit.ndim:
            check_shape("limit", limit, np.shape(state.smoothed)[-1:])
        largest = jnp.asarray(np.broadcast_to(limit / np.float32(fps), (1, np.shape(state.smoothed)[-1])))
        difference = state.requested - state.smoothed
        smoothed = state.smoothed + jnp.clip(difference, -largest, largest)
        arrived = jnp.abs(difference) <= largest
        smoothed = jnp.where(arrived, state.requested, smoothed)
        return state._replace(smoothed=smoothed, elapsed=_next(state.elapsed))

    return _smoother(step)


def _smoother(step: Callable[[SmootherState], SmootherState]) -> Smoother:
    def init(command: Any) -> SmootherState:
        check_shape("command", command, ("B", "C"))
        # Copies: a donated state must not hold one array twice, nor the caller's.
        smoothed, requested, start = (jnp.array(command, jnp.float32) for _ in range(3))
        return SmootherState(smoothed, requested, start, jnp.zeros(len(smoothed), jnp.int32))

    def request(state: SmootherState, command: Any, changed: Any = None) -> SmootherState:
        check_shape("command", command, np.shape(state.requested))
        command = jnp.asarray(command, jnp.float32)
        mask = (command != state.requested).any(-1) if changed is None else _mask("changed", changed, state)
        return state._replace(
            requested=jnp.where(mask[:, None], command, state.requested),
            start=jnp.where(mask[:, None], state.smoothed, state.start),
            elapsed=jnp.where(mask, 0, state.elapsed),
        )

    def reset(state: SmootherState, done: Any, command: Any) -> SmootherState:
        check_shape("command", command, np.shape(state.requested))
        mask, fresh = _mask("done", done, state), init(command)
        return jax.tree.map(
            lambda new, old: jnp.where(mask.reshape(-1, *(1,) * (new.ndim - 1)), new, old), fresh, state
        )

    return Smoother(init, request, step, reset)


def _mask(name: str, mask: Any, state: SmootherState) -> jax.Array:
    """[B] bool; 0 and 1 as floats (Brax's `done`) are taken as well."""
    check_shape(name, mask, np.shape(state.elapsed))
    return jnp.asarray(mask).astype(bool)


def _next(elapsed: jax.Array) -> jax.Array:
    """Counts on without ever running over."""
    return jnp.minimum(elapsed, 2**30) + 1
