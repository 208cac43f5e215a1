"""How robust the policy of a run is: changes of command, pushes, friction, and a reference that jumps."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from cmg_jax.rl import _evaluation, _policy
from cmg_jax.rl._onnx import chosen_policy
from cmg_jax.rl._setup import evaluation_env, set_up

CHANGE_INTERVAL = 2.0
"""s between two changes of command, and between two pushes."""


class Condition(NamedTuple):
    """What one row of the report is about."""

    name: str
    commands: np.ndarray
    """[T, N, 3]."""
    disturbances: _evaluation.Disturbances
    settings: Mapping[str, Any] = MappingProxyType({})
    """Of the environment."""


def evaluate(
    directory: Path,
    *,
    seconds: float = 10.0,
    pushes: Sequence[float] = (0.3, 0.6, 1.0),
    frictions: Sequence[float] = (0.4, 0.7),
    settings: dict[str, Any] | None = None,
    onnx: Path | None = None,
    seed: int = 0,
    progress: Callable[[int], object] = lambda _: None,
) -> list[dict[str, Any]]:
    """Evaluate the best policy of a run; each condition has the 36 commands of the grid twice.

    Args:
      directory: of the run.
      seconds: of an episode, which ends sooner where the robot falls.
      pushes: m/s, changes of the base's horizontal velocity, in a random direction every 2 s.
      frictions: coefficients between soles and floor; training has 1.
      settings: of the environment, that differ from the run's: {"engine": "mjx"}, for instance.
      onnx: file of the policy, in place of the run's.
      seed: of the beginnings, and of the directions of pushes.
      progress: called with 1 after each condition.

    Returns:
      for each condition its name, and the figures of `summary`.

    Raises:
      InputError: no run, or one that is damaged.

    Examples:
      >>> from cmg_jax import rl
      >>> rows = rl.evaluate(Path("run"), seconds=4.0, pushes=(0.5,), frictions=())
      >>> rows[0]["condition"], rows[0]["survived"]
    """
    config = _policy.read_run(directory)
    setup = set_up(config)
    policy, params = chosen_policy(directory, setup, onnx)
    dt = setup.control_dt
    steps, mass = round(seconds / dt), float(setup.env.mj_model.body_mass.sum())
    rollouts: dict[Any, Any] = {}
    rows = []
    for condition in _conditions(steps, dt, pushes, frictions, seed):
        chosen = dict(condition.settings) | (settings or {})
        key = tuple(sorted(chosen.items()))
        if key not in rollouts:
            rollouts[key] = _evaluation.make_rollout(evaluation_env(config, steps + 1, chosen))
        trace = rollouts[key](policy, params, condition.commands, condition.disturbances, seed)
        found = _evaluation.summary(_evaluation.figures(trace, dt, mass), steps * dt, floating=setup.env.floating)
        rows.append({"condition": condition.name} | found)
        progress(1)
    return rows


def num_conditions(pushes: Sequence[float], frictions: Sequence[float]) -> int:
    """Number of rows that `evaluate` returns."""
    return 3 + len(pushes) + len(frictions)


def _conditions(
    steps: int, dt: float, pushes: Sequence[float], frictions: Sequence[float], seed: int
) -> Iterator[Condition]:
    grid = np.tile(_evaluation.evaluation_grid(), (2, 1))
    held = np.tile(grid, (steps, 1, 1))
    every = max(round(CHANGE_INTERVAL / dt), 1)
    now = (np.arange(steps) % every == 0) & (np.arange(steps) > 0)
    rng = np.random.default_rng(seed)
    # Zeros, and not None: one compiled program is for all conditions of an environment.
    none = _evaluation.Disturbances(np.zeros((steps, len(grid), 2), np.float32), np.zeros((steps, len(grid)), bool))
    yield Condition("commands held", held, none)
    order = np.stack([rng.permutation(grid) for _ in range(steps // every + 1)])
    yield Condition(f"new command every {CHANGE_INTERVAL:g} s", order[np.arange(steps) // every], none)
    middle = np.zeros((steps, len(grid)), bool)
    middle[steps // 2] = True
    yield Condition("reference restarts in the middle", held, none._replace(restarts=middle))
    angle = rng.uniform(0, 2 * np.pi, (steps, len(grid)))
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * now[:, None, None]
    for speed in pushes:
        push = (speed * direction).astype(np.float32)
        yield Condition(f"pushes of {speed:g} m/s", held, none._replace(pushes=push))
    for friction in frictions:
        yield Condition(f"friction {friction:g}", held, none, {"friction": friction})
