"""How long the floating G1 stays up under zero actions: from the reference, and from standing.

    python -m bench.reference_starts [--envs 256] [--steps 200] [--model DIR] [--noise 0.0]

A zero action sets the PD targets to the reference's joint positions; nothing balances. An episode ends where the height
or the lean of the pelvis, or the joints, are far from the reference's (`termination` of `G1Tracking`). Commands are
drawn from the trained range of the model and held. Prints how many steps of 20 ms the robots last, by commanded speed,
and how many of them last to the end. Needs the extra `rl`.
"""

import argparse
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import cmg_jax
from bench._measure import Section, device
from bench._report import table_text
from cmg_jax import commands
from cmg_jax.envs import ReferenceSource, make_wrap_env_fn
from cmg_jax.rl import G1Tracking

COLUMNS = {
    "start": "|s",
    "vx": "vx [m/s]|s",
    "robots": "robots|d",
    "mean": "steps, mean|.1f",
    "median": "median|.0f",
    "low": "10 %|.0f",
    "high": "90 %|.0f",
    "through": "to the end|.3f",
}

SPEEDS = (-np.inf, -0.1, 0.45, 1.05, 1.75, np.inf)
"""m/s; edges of the bands of commanded forward speed."""


def survived(
    model: cmg_jax.CMGModel, standing_fraction: float, arguments: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray]:
    """Steps [num_envs] before the first episode ends, at most `--steps`, and commanded forward speeds [num_envs]."""
    env = G1Tracking(config_overrides={"floating": True, "reset_noise": arguments.noise, "rewards.key_bodies": 0.0})
    drawn = commands.trained_range(model)
    source = ReferenceSource(
        model,
        cmg_jax.streaming(max(env.wrapping["lookahead"])),
        lambda key, num_envs: commands.uniform(key, drawn, num_envs),
        hold_interval=(2**30, 2**30),
        standing_fraction=standing_fraction,
        **env.wrapping,
    )
    wrapped = make_wrap_env_fn(source)(env, 2**30)
    action = jnp.zeros((arguments.envs, env.action_size))

    def step(carry: Any, _: None) -> tuple[Any, None]:
        state, up, steps = carry
        state = wrapped.step(state, action)
        up = up & (state.done == 0)
        return (state, up, steps + up), None

    def run(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = wrapped.reset(jax.random.split(key, arguments.envs))
        speed = state.info["reference"].command[:, 0]
        start = state, jnp.ones(arguments.envs, bool), jnp.zeros(arguments.envs, jnp.int32)
        return jax.lax.scan(step, start, None, length=arguments.steps)[0][2], speed

    steps, speed = jax.jit(run)(jax.random.PRNGKey(arguments.seed))
    return np.asarray(steps), np.asarray(speed)


def figures(steps: np.ndarray, most: int) -> dict[str, Any]:
    low, median, high = np.quantile(steps, (0.1, 0.5, 0.9))
    through = float((steps == most).mean())
    return {
        "robots": len(steps),
        "mean": float(steps.mean()),
        "median": median,
        "low": low,
        "high": high,
        "through": through,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=int, default=256)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--model", help="model directory; the bundled one by default")
    parser.add_argument("--noise", type=float, default=0.0, help="rad on the joints of the first frame")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    model = cmg_jax.load(arguments.model) if arguments.model else cmg_jax.default_model()
    print("  ".join(f"{key} {value}" for key, value in device().items()))
    rows = []
    for start, fraction in (("standing", 1.0), ("on the reference", 0.0)):
        steps, speed = survived(model, fraction, arguments)
        rows.append({"start": start, "vx": "all"} | figures(steps, arguments.steps))
        for low, high in pairwise(SPEEDS):
            chosen = (low <= speed) & (speed < high)
            if chosen.any():
                rows.append({"start": "", "vx": f"{low:g} to {high:g}"} | figures(steps[chosen], arguments.steps))
    root = "with" if model.config.has_root else "without"
    notes = (f"{arguments.envs} robots, up to {arguments.steps} steps, a model {root} a root channel",)
    print(table_text(Section("steps survived under zero actions", COLUMNS, rows, notes)))


if __name__ == "__main__":
    main()
