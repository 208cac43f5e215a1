"""From the command that is wanted to the command that is given: no jumps.

A smoother's state keeps both, the raw `target` and the smoothed `command`, for every row.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from cmg_jax.errors import InputError


class SmootherState(NamedTuple):
    command: jax.Array  # [B, C] smoothed: what the generator is given
    target: jax.Array  # [B, C] raw: what was asked for
    start: jax.Array  # [B, C] the smoothed command when the target was set
    elapsed: jax.Array  # [B] int32, steps since then


class Smoother(NamedTuple):
    """Pure functions; rows are independent of one another."""

    init: Callable[[Any], SmootherState]
    """init(command) -> state that rests at command [B, C]."""

    set_target: Callable[..., SmootherState]
    """set_target(state, target, changed=None) -> state; rows where `changed` [B], by default those that differ."""

    step: Callable[[SmootherState], SmootherState]
    """step(state) -> state, whose `command` is one step nearer to its `target`."""

    reset: Callable[..., SmootherState]
    """reset(state, done, command) -> state; rows where `done` [B] rest at their row of `command`."""


def ramp(steps: int = 25, *, form: Literal["linear", "compounding"] = "linear") -> Smoother:
    """Reach a target `steps` steps after it was set.

    "linear" goes in a straight line. "compounding" is the PyTorch original's rule: the weight i / steps
    of the target is applied to the *smoothed* command again at each step i = 0, 1, ..., which starts
    slowly and arrives early; its first step is no step at all.

    Raises:
      InputError: fewer than 1 step, or another form.
    """
    if steps < 1 or form not in ("linear", "compounding"):
        raise InputError(f"steps {steps}, form {form!r}: at least 1 step; linear or compounding")

    def linear(state: SmootherState) -> SmootherState:
        weight = jnp.minimum((state.elapsed + 1).astype(jnp.float32) / steps, 1.0)[:, None]
        # Written so that the end is the target to the bit.
        command = jnp.where(weight < 1, state.start + (state.target - state.start) * weight, state.target)
        return state._replace(command=command, elapsed=_next(state.elapsed))

    def compounding(state: SmootherState) -> SmootherState:
        weight = jnp.minimum(state.elapsed.astype(jnp.float32) / steps, 1.0)[:, None]
        command = (1 - weight) * state.command + weight * state.target
        return state._replace(command=command, elapsed=_next(state.elapsed))

    return _smoother(linear if form == "linear" else compounding)


def rate_limit(limit: Any, fps: float) -> Smoother:
    """Change a command by at most `limit` [C] a second (m/s^2, m/s^2, rad/s^2) at `fps` steps a second.

    Raises:
      InputError: a limit or a rate that is not positive.
    """
    if not (fps > 0 and (jnp.asarray(limit) > 0).all()):
        raise InputError(f"limit {limit} and fps {fps} must be positive")
    largest = (jnp.asarray(limit, jnp.float32) / fps).reshape(1, -1)

    def step(state: SmootherState) -> SmootherState:
        difference = state.target - state.command
        command = state.command + jnp.clip(difference, -largest, largest)
        arrived = jnp.abs(difference) <= largest
        return state._replace(command=jnp.where(arrived, state.target, command), elapsed=_next(state.elapsed))

    return _smoother(step)


def _smoother(step: Callable[[SmootherState], SmootherState]) -> Smoother:
    def init(command: Any) -> SmootherState:
        # Copies: a donated state must not hold one array twice, nor the caller's.
        command, target, start = (jnp.array(command, jnp.float32) for _ in range(3))
        return SmootherState(command, target, start, jnp.zeros(command.shape[0], jnp.int32))

    def set_target(state: SmootherState, target: Any, changed: Any = None) -> SmootherState:
        wanted = jnp.asarray(target, jnp.float32)
        mask = (wanted != state.target).any(-1) if changed is None else jnp.asarray(changed).astype(bool)
        return state._replace(
            target=jnp.where(mask[:, None], wanted, state.target),
            start=jnp.where(mask[:, None], state.command, state.start),
            elapsed=jnp.where(mask, 0, state.elapsed),
        )

    def reset(state: SmootherState, done: Any, command: Any) -> SmootherState:
        mask = jnp.asarray(done).astype(bool)
        fresh = init(command)
        return jax.tree.map(
            lambda new, old: jnp.where(mask.reshape(-1, *(1,) * (new.ndim - 1)), new, old), fresh, state
        )

    return Smoother(init, set_target, step, reset)


def _next(elapsed: jax.Array) -> jax.Array:
    """Counts on without ever running over."""
    return jnp.minimum(elapsed, 2**30) + 1
