"""Figures of motion under held commands: how well it tracks them, and which experts it uses."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from cmg_jax.evaluation._measure import MOVING, Settings, by_component, measured_velocity
from cmg_jax.model._model import CMGModel, expert_coefficients

FOLLOWED = 0.25
"""Fraction of its command below which the velocity of a motion along the command counts as not moving."""


def tracking(model: CMGModel, trajectory: np.ndarray, commands: np.ndarray, settings: Settings) -> dict[str, Any]:
    """Mean velocity of each trajectory [B, T+1, D] after it has settled, against its command [B, 3]."""
    velocity = measured_velocity(model, trajectory)[:, round(settings.settle_seconds * model.config.fps) :].mean(axis=1)
    error = velocity - commands
    command_size = np.abs(commands).max(axis=-1)
    speed = np.linalg.norm(velocity, axis=-1)
    moving, still = command_size >= MOVING, command_size == 0
    # Only the velocity along the command counts: a robot that goes in another direction does not obey.
    along = (velocity * commands).sum(-1) / np.maximum(np.square(commands).sum(-1), 1e-9)
    return {
        "rmse": by_component(np.sqrt(np.square(error).mean(axis=0))),
        "bias": by_component(error.mean(axis=0)),
        "rows_that_do_not_move": int((along[moving] < FOLLOWED).sum()),
        "rows_that_should": int(moving.sum()),
        "speed_at_zero": float(speed[still].max()) if still.any() else None,
        "rows": [
            {"command": [round(float(c), 4) for c in command], "walked": [round(float(v), 4) for v in mean]}
            for command, mean in zip(commands, velocity, strict=True)
        ],
    }


def gate_usage(model: CMGModel, trajectory: np.ndarray, commands: np.ndarray) -> dict[str, Any]:
    """How much each expert is used: its mean coefficient, and the entropy of the gate (1 if all are used alike)."""
    motion = jnp.asarray(trajectory[:, ::10])
    command = jnp.broadcast_to(jnp.asarray(commands)[:, None], (*motion.shape[:-1], commands.shape[-1]))
    weights = np.asarray(expert_coefficients(model, motion, command)).reshape(-1, model.config.num_experts)
    entropy = -(weights * np.log(np.maximum(weights, 1e-12))).sum(-1).mean() / np.log(max(weights.shape[-1], 2))
    return {"mean": [round(float(mean), 4) for mean in weights.mean(axis=0)], "entropy": float(entropy)}
