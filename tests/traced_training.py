"""What a call of Brax's PPO would do with an environment, traced and not run; test_rl_program.py trains."""

import functools
import inspect
from typing import Any

import jax


def trace_training(train: Any, *positional: Any, **named: Any) -> None:
    """Check the arguments of `train`, wrap the environment as it does, and trace a reset."""
    call = inspect.signature(train).bind(*positional, **named)
    call.apply_defaults()
    given = call.arguments
    keys = jax.random.split(jax.random.PRNGKey(0), 4)
    randomize = given["randomization_fn"]
    env = given["wrap_env_fn"](
        given["environment"],
        episode_length=given["episode_length"],
        action_repeat=given["action_repeat"],
        randomization_fn=randomize and functools.partial(randomize, rng=keys),
    )
    state = jax.eval_shape(env.reset, keys)
    assert state.info["reference"].joint_pos.shape == (4, 29)
