"""Figures of a long run: whether motion stays finite, and whether its end is like its beginning."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax import _play
from cmg_jax.evaluation._measure import MOVING, Settings, by_component, measured_velocity
from cmg_jax.model._model import CMGModel


def drift(model: CMGModel, commands: np.ndarray, settings: Settings) -> dict[str, Any]:
    """The last segment of a long run under held commands, against the second one; {} if no command moves the robot."""
    chosen = commands[np.abs(commands).max(axis=-1) >= MOVING][::4]
    if not len(chosen):
        return {}
    length = settings.num_frames
    num_between = max(settings.num_drift_frames // length - 3, 1)  # segments, besides the first two and the last

    @jax.jit
    def run(model: CMGModel, commands: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        held = jnp.broadcast_to(commands[:, None], (len(chosen), length, 3))

        def segment(state: _play.State, _: None) -> tuple[_play.State, jax.Array]:
            state, frames = _play.play(model, state, held)
            return state, jnp.isfinite(frames).all()

        state, _ = _play.play(model, _play.begin(model, len(chosen))[0], held)
        state, second = _play.play(model, state, held)
        state, finite = jax.lax.scan(segment, state, None, length=num_between)
        _, late = _play.play(model, state, held)
        return second, late, finite.all() & jnp.isfinite(late).all()

    early, late, finite = map(np.asarray, run(model, jnp.asarray(chosen)))
    change = measured_velocity(model, late).mean(axis=1) - measured_velocity(model, early).mean(axis=1)
    joints = model.config.num_joints
    amplitude = [float(segment[..., :joints].std(axis=1).mean()) for segment in (early, late)]
    return {
        "frames": (num_between + 3) * length,
        "finite": bool(finite),
        "velocity_change": by_component(np.abs(change).max(axis=0)),
        "amplitude_early_rad": amplitude[0],
        "amplitude_late_rad": amplitude[1],
    }
