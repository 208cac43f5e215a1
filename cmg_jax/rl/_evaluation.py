"""Episodes of a policy under given commands: how long it stays up, and how well it obeys meanwhile."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax.rl._g1_tracking import G1Tracking

WARM_UP = 1.0
"""s from the beginning of an episode, which begins standing, to the first step whose velocity counts."""

VELOCITY_SCALE = (0.25, 0.15, 0.3)
"""m/s, m/s, rad/s; errors of the velocity that count alike in the score."""

GRAVITY = 9.81


class Trace(NamedTuple):
    """A rollout, each leaf [T, N, ...]."""

    up: Any
    """Whether the first episode of the row goes on after the step."""
    command: Any
    velocity: Any
    """m/s, m/s, rad/s; of the base in its heading frame, [T, N, 3]; 0 for a fixed base."""
    joint_error: Any
    """rad, root mean square over the joints."""
    reward: Any
    power: Any
    """W, the sum of |torque x joint velocity|."""
    target: Any
    """rad, PD targets, [T, N, 29]."""
    joint_pos: Any
    """rad, [T, N, 29]."""
    root: Any
    """m, [T, N, 3], place of the base; 0 for a fixed one."""


class Figures(NamedTuple):
    """Of each row of a rollout, [N] or [N, 3]; those of rows that fall soon are NaN where nothing was measured."""

    survived: np.ndarray
    """s."""
    velocity_error: np.ndarray
    """m/s, m/s, rad/s; root mean square over the steps after the first second."""
    walked_error: np.ndarray
    """The same of the velocity's mean over one second, which leaves out how the base sways in a stride."""
    joint_error: np.ndarray
    """rad."""
    reward: np.ndarray
    """Of the episode."""
    cost_of_transport: np.ndarray
    """Energy over weight x distance; NaN below 0.2 m/s."""
    target_change: np.ndarray
    """rad, root mean square of the change of the PD targets from step to step."""


def evaluation_grid() -> np.ndarray:
    """Commands [36, 3] of an evaluation: vx 0 to 0.9 m/s, vy +-0.2 m/s, yaw +-0.5 rad/s."""
    grid = itertools.product((0.0, 0.3, 0.6, 0.9), (-0.2, 0.0, 0.2), (-0.5, 0.0, 0.5))
    return np.array(list(grid), np.float32)


class Disturbances(NamedTuple):
    """What happens to the rows of a rollout before each of its steps; None for nothing of the kind."""

    pushes: np.ndarray | None = None
    """m/s, [T, N, 2], changes of the base's horizontal velocity."""
    restarts: np.ndarray | None = None
    """[T, N] bool, whether the reference begins again."""


UNDISTURBED = Disturbances()


def make_rollout(env: Any) -> Callable[..., Trace]:
    """A function that runs a policy in a wrapped environment; it is compiled once for rollouts of the same shapes.

    Args:
      env: wrapped by `make_wrap_env_fn`.

    Returns:
      a function of `policy`, which maps parameters and observations to actions; its parameters; commands [T, N, C] of
      each step; `Disturbances`; and the seed of the beginnings.
    """
    unwrapped: G1Tracking = env.unwrapped

    def disturbed(state: Any, disturbances: Disturbances) -> Any:
        if disturbances.pushes is not None:
            qvel = state.data.qvel.at[:, :2].add(disturbances.pushes)
            state = state.replace(data=state.data.replace(qvel=qvel))
        if disturbances.restarts is not None:
            state = env.restart_reference(state, disturbances.restarts)
        return state

    def rollout(policy: Any, params: Any, commands: jax.Array, disturbances: Any, key: jax.Array) -> Trace:
        def step(carry: Any, now: Any) -> tuple[Any, Trace]:
            (state, up), (command, disturbance) = carry, now
            state = disturbed(state, disturbance)
            action = policy(params, state.obs)
            state = env.step(env.set_command(state, command), action)
            up = up & (state.done == 0)
            data, reference = state.data, state.info["reference"]
            motors = data.actuator_force.shape[-1]
            return (state, up), Trace(
                up=up,
                command=command,
                velocity=jax.vmap(unwrapped.base_velocity)(data),
                joint_error=state.metrics["joint_error"],
                reward=state.reward,
                power=jnp.sum(jnp.abs(data.actuator_force * data.qvel[:, -motors:]), axis=-1),
                target=jax.vmap(unwrapped.target)(reference, action),
                joint_pos=data.qpos[:, -motors:],
                root=data.qpos[:, :3] if unwrapped.floating else jnp.zeros((len(up), 3)),
            )

        rows = commands.shape[1]
        start = env.set_command(env.reset(jax.random.split(key, rows)), commands[0])
        return jax.lax.scan(step, (start, jnp.ones(rows, bool)), (commands, disturbances))[1]

    compiled = jax.jit(rollout, static_argnums=0)

    def run(
        policy: Any, params: Any, commands: np.ndarray, disturbances: Disturbances = UNDISTURBED, seed: int = 0
    ) -> Trace:
        out = compiled(policy, params, jnp.asarray(commands, jnp.float32), disturbances, jax.random.PRNGKey(seed))
        return Trace(*(np.asarray(leaf) for leaf in out))

    return run


def figures(trace: Trace, dt: float, mass: float) -> Figures:
    """What a rollout shows.

    Args:
      trace: of the rollout.
      dt: s of a step.
      mass: kg of the robot.
    """
    up, late = trace.up, np.arange(len(trace.up))[:, None] * dt >= WARM_UP
    counted = up & late
    speed = np.linalg.norm(trace.velocity[..., :2], axis=-1)
    distance = np.sum(speed * counted, axis=0) * dt
    energy = np.sum(trace.power * counted, axis=0) * dt
    walks = distance > 0.2 * np.sum(counted, axis=0) * dt
    second = max(round(1 / dt), 1)
    whole = counted[second - 1 :] & up[: len(up) - second + 1] & late[: len(late) - second + 1]
    change = np.mean(np.square(np.diff(trace.target, axis=0)), axis=-1)
    return Figures(
        survived=up.sum(axis=0) * dt,
        velocity_error=_rms(trace.velocity - trace.command, counted),
        walked_error=_rms(_means(trace.velocity, second) - _means(trace.command, second), whole),
        joint_error=_rms(trace.joint_error[..., None], up)[:, 0],
        reward=np.sum(trace.reward * up, axis=0),
        cost_of_transport=np.where(walks, energy / np.maximum(mass * GRAVITY * distance, 1e-9), np.nan),
        target_change=_rms(np.sqrt(change)[..., None], up[1:])[:, 0],
    )


def summary(found: Figures, seconds: float, *, floating: bool) -> dict[str, float]:
    """Means over the rows (of errors: root mean squares), and a score of which more is better."""
    errors, walked = _mean_square(found.velocity_error) ** 0.5, _mean_square(found.walked_error) ** 0.5
    out = {
        "survived": float(found.survived.mean()),
        "survived_fraction": float((found.survived > seconds - 1e-3).mean()),
    }
    for name, values in (("", errors), ("walked_", walked)):
        out |= {f"{name}{axis}_error": float(value) for axis, value in zip(("vx", "vy", "yaw"), values, strict=True)}
    for name in ("joint_error", "reward", "cost_of_transport", "target_change"):
        known = [value for value in getattr(found, name) if np.isfinite(value)]
        out[name] = float(np.mean(known)) if known else np.nan
    missed = float(np.mean(np.nan_to_num(errors, nan=10.0) / VELOCITY_SCALE))
    score = out["survived"] / seconds - 0.25 * missed if floating else -out["joint_error"]
    return out | {"score": score}


def _mean_square(values: np.ndarray) -> np.ndarray:
    """Over the rows [N, k] that are not NaN; NaN if all are."""
    known = np.isfinite(values)
    total = np.sum(np.where(known, np.square(values, dtype=np.float64), 0.0), axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def _rms(error: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Over the counted steps of [T, N, k]; NaN for rows without one."""
    total = np.sum(np.where(counted[..., None], np.square(error), 0.0), axis=0)
    count = counted.sum(axis=0)[:, None]
    return np.sqrt(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def _means(values: np.ndarray, length: int) -> np.ndarray:
    """Means over `length` steps in a row, [T - length + 1, N, k]."""
    total = np.cumsum(np.concatenate([np.zeros_like(values[:1]), values]), axis=0, dtype=np.float64)
    return (total[length:] - total[:-length]) / length
