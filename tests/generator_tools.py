"""Helpers for the generators' tests: inputs that differ from row to row, and ways to play a generator."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

import cmg_jax
from cmg_jax import MotionFrame

BATCH = 11
GOLDEN_TOLERANCE = 1e-3  # rad or rad/s
LOW, HIGH = jnp.array([-0.5, -0.7, -1.5]), jnp.array([1.7, 0.7, 1.5])


def sampler(key, number):
    return jax.random.uniform(key, (number, 3)) * (HIGH - LOW)[None] + LOW[None]


def commands(seed, batch=BATCH):
    return sampler(jax.random.key(seed), batch)


def first(seed, batch=BATCH):
    pool = cmg_jax.load("policy").initial_motion
    assert pool is not None
    return pool[jax.random.randint(jax.random.key(seed), (batch,), 0, len(pool))]


def flat(frame: MotionFrame) -> np.ndarray:
    return np.concatenate(jax.tree.leaves(frame), axis=-1)


def arrays_in(jaxpr, inside: tuple[str, ...] = ()) -> Iterator[tuple[tuple[int, ...], tuple[str, ...]]]:
    """Shape of every intermediate array, and the names of the loops and branches around it."""
    for equation in jaxpr.eqns:
        for variable in equation.outvars:
            yield getattr(variable.aval, "shape", ()), inside
        for part in jax.tree.leaves(
            equation.params, is_leaf=lambda leaf: hasattr(leaf, "eqns") or hasattr(leaf, "jaxpr")
        ):
            nested = getattr(part, "jaxpr", part)
            if hasattr(nested, "eqns"):
                yield from arrays_in(nested, (*inside, equation.primitive.name))


def jitted(generator):
    """The generator with every function jitted; look-ahead offsets are static, as in a rollout."""
    functions = {name: jax.jit(getattr(generator, name)) for name in ("init", "step", "reset", "set_command")}
    return generator._replace(**functions, lookahead=jax.jit(generator.lookahead, static_argnums=2))


def play(generator, model, state, steps):
    """Served frames [steps, B, D]."""

    def body(state, _):
        return generator.step(model, state)

    state, frames = jax.jit(lambda model, state: jax.lax.scan(body, state, None, length=steps))(model, state)
    return state, flat(frames)


def reference(model, motion, command, steps):
    """Frames 0 to steps, [steps+1, B, D], from successive network calls."""
    held = jnp.repeat(command[:, None], steps, axis=1)
    return np.asarray(jax.jit(cmg_jax.generate, static_argnames="time_major")(model, motion, held, time_major=True))
