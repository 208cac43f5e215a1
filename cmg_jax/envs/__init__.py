"""Reference motion around environments of Brax and MuJoCo Playground.

    from cmg_jax.envs import ReferenceSource, make_wrap_env_fn

    source = ReferenceSource(model, generator, command_sampler, lookahead=(1, 5))
    ppo.train(env, wrap_env_fn=make_wrap_env_fn(source), ...)

An environment must declare `info["reference"] = empty_reference(lookahead=2)` in its `reset`, and have a method
`write_reference(self, obs, reference)` that returns the observation with the reference's part written. It may have
`begin_on_reference(self, state, reference)`, which puts an episode's first state where its reference is. The wrapper
needs the extra `rl`; `Reference` and `empty_reference` need no extra.
"""

from typing import TYPE_CHECKING

from cmg_jax._lazy import import_name
from cmg_jax.envs._reference import KeyBodies, Reference, empty_reference

if TYPE_CHECKING:
    from cmg_jax.envs._source import ReferenceSource
    from cmg_jax.envs._wrapper import ReferenceMotionWrapper, WrapEnvFn, make_wrap_env_fn

__all__ = [
    "KeyBodies",
    "Reference",
    "ReferenceMotionWrapper",
    "ReferenceSource",
    "WrapEnvFn",
    "empty_reference",
    "make_wrap_env_fn",
]

_MODULES = {
    "ReferenceMotionWrapper": "_wrapper",
    "ReferenceSource": "_source",
    "WrapEnvFn": "_wrapper",
    "make_wrap_env_fn": "_wrapper",
}


def __getattr__(name: str) -> object:
    return import_name(__name__, name, _MODULES, extra="rl")
