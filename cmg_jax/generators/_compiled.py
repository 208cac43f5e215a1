"""Compilation before the first call, all programs at once, and a cache of compiled programs on disk."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import overload

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from cmg_jax import _rollout
from cmg_jax._errors import InputError
from cmg_jax.generators._base import Generator, S
from cmg_jax.model._model import CMGModel

Generate = Callable[[CMGModel, ArrayLike, ArrayLike], jax.Array]
"""(model, motion [B, D], commands [B, T, C]) -> the trajectory that `cmg_jax.generate` returns."""


@overload
def compile_ahead(model: CMGModel, num_envs: int, *, steps: int, time_major: bool = False) -> Generate: ...
@overload
def compile_ahead(model: CMGModel, num_envs: int, *, generator: Generator[S], donate: bool = True) -> Generator[S]: ...
def compile_ahead(
    model: CMGModel,
    num_envs: int,
    *,
    steps: int | None = None,
    generator: Generator[S] | None = None,
    time_major: bool = False,
    donate: bool = True,
) -> Generate | Generator[S]:
    """Compile now, for one size: calls of what is returned compile nothing.

    Of a generator, `init`, `step`, `reset` and `set_command` are compiled, at the same time on as many threads;
    `lookahead` compiles when it is called. Arguments must have that size and be arrays: float32
    (`done` and `changed` bool), keys from `jax.random.key`. Meant for a script that steps from Python, or a server; a
    jitted rollout is compiled as a whole anyway.

    Args:
      model: the model. Later calls may take another one of the same architecture, robot and rate, in the same
        precision, with a pool of first frames of the same size (and a bank of the same size, or none, as here).
      num_envs: B.
      steps: T; compiles `cmg_jax.generate`.
      generator: compiles its functions, for calls that pass commands.
      time_major: as for `cmg_jax.generate`.
      donate: `step`, `reset` and `set_command` donate the state that they take: its memory holds the new one.

    Returns:
      `generate` of (model, motion [B, D], commands [B, T, C]), or the generator, whose `reset` takes
      (model, state, done, key, command) and `set_command` (model, state, command).

    Raises:
      InputError: both or neither of `steps` and `generator`, or a size below 1.

    Examples:
      >>> generate = cmg_jax.compile_ahead(model, 2, steps=10)
      >>> generate(model, jnp.tile(cmg_jax.standing_frame(model), (2, 1)), jnp.zeros((2, 10, 3))).shape
      (2, 11, 64)
    """
    if (steps is None) == (generator is None):
        raise InputError("pass either steps, to compile generate, or a generator")
    if num_envs < 1 or (steps is not None and steps < 1):
        raise InputError(f"num_envs {num_envs}, steps {steps}: at least 1 is needed")
    config = model.config
    if generator is None:
        assert steps is not None
        shapes = (_shape(num_envs, config.motion_dim), _shape(num_envs, steps, config.command_dim))
        generate = jax.jit(_rollout.generate, static_argnames="time_major")
        return generate.lower(model, *shapes, time_major=time_major).compile()
    command, done = _shape(num_envs, config.command_dim), jax.ShapeDtypeStruct((num_envs,), jnp.bool_)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(generator.init, model, key, command)
    arguments = {
        "init": (key, command),
        "step": (state,),
        "reset": (state, done, key, command),
        "set_command": (state, command),
    }

    def compile_one(name: str) -> jax.stages.Compiled:
        donated = () if name == "init" or not donate else (1,)
        return jax.jit(getattr(generator, name), donate_argnums=donated).lower(model, *arguments[name]).compile()

    with ThreadPoolExecutor() as pool:
        compiled = dict(zip(arguments, pool.map(compile_one, arguments), strict=True))
    return generator._replace(**compiled)


def compilation_cache(directory: str | Path) -> None:
    """Keep every compiled program in `directory`, and read it from there in later processes.

    This applies to all of jax in this process; call it before anything is compiled. It is the same as setting
    JAX_COMPILATION_CACHE_DIR and JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0, and silences jax's log where its
    level is not set. Use a separate directory for each kind of processor.

    Raises:
      InputError: the directory cannot be made.

    Examples:
      >>> cmg_jax.compilation_cache(Path.home() / ".cache" / "cmg_jax")
    """
    directory = Path(directory).absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{directory}: cannot be a compilation cache: {error.strerror}") from error
    if jax.config.jax_logging_level in (None, "NOTSET"):  # pyright: ignore[reportAttributeAccessIssue]
        # XLA on CPU logs each program that it reads from a cache as though it came from another machine.
        jax.config.update("jax_logging_level", "CRITICAL")
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _shape(*sizes: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sizes, jnp.float32)
