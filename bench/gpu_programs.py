"""What each mode's program holds on a GPU, compiled for one that is not there.

    pip install 'cmg_jax[gpu-compile]'
    python -m bench.gpu_programs [--gpu h100] [--envs 4096] [PROGRAM ...]

Nothing is run: kernels and megabytes of a step, copies, conditionals and loops whose end the host decides, and
temporary memory are read from the compiled program. Products are not tuned, as they would be on a device. `quiet`
programs only step; the others reset and change commands too, as in `cmg-jax bench --mode rollout`. Programs with
`kernels` are those of a model of `with_kernels`; `matching` plays a library of half an hour of recordings.
"""

import argparse
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

import cmg_jax
from bench import _rollout, _roofline
from bench._gpu_compiler import GPUS, Program, compile_for_gpu, missing
from bench._measure import Section
from bench._report import table_text
from cmg_jax._errors import InputError
from cmg_jax.generators import _motion_bank
from cmg_jax.model import _library, with_kernels, with_precision
from cmg_jax.model._model import CMGModel
from cmg_jax.model._normalization import MotionStats
from cmg_jax.robot import G1

STEPS = 100

RECORDED, CANDIDATES = 175_000, 75_000
"""Frames and candidates of the library: half an hour at 50 frames per second, and its mirror image."""

COLUMNS = {
    "program": "program|s",
    "kernels": "kernels|d",
    "megabytes": "MB|,.1f",
    "copies_mb": "copied MB|,.1f",
    "conditionals": "conditionals|d",
    "open_loops": "open loops|d",
    "reads_quiet": "host reads|d",
    "reads_busy": "with events|d",
    "temporary_mb": "temporary MB|,.1f",
    "estimate_us": "estimate us|,.0f",
}
NOTES = (
    "compiled, not timed; of one step: kernels and MB (read and written) of what every step does, MB that copies write",
    "open loops: their end is not known when compiling, so the host reads a number before each turn, and before each "
    "conditional; with events: each open loop turns once",
    "estimate: of the kernels that every step runs, at 65 % of the peak of products or 85 % of that of memory, and "
    "1.5 us between kernels, without what the host does",
)


def programs(model: CMGModel, num_envs: int) -> dict[str, Callable[[], Program]]:
    """Every program by its name, made when it is called."""
    made: dict[str, Callable[[], Program]] = {}
    for precision in ("float32", "tf32", "float16"):
        changed = with_precision(model, precision)
        label = "generate" if precision == "float32" else f"generate, {precision}"
        made[label] = functools.partial(_generate, changed, num_envs)
        made[f"{label}, kernels"] = functools.partial(_generate, with_kernels(changed), num_envs)
    modes: dict[str, Any] = _rollout.MODES | {"extend-500": lambda: cmg_jax.pregenerated(500, on_end="extend")}
    for name, make in modes.items():
        for events in (False, True):
            made[name if events else f"{name}, quiet"] = functools.partial(_mode, make, model, num_envs, events)
    for events in (False, True):
        name = "matching" if events else "matching, quiet"
        made[name] = functools.partial(_mode, cmg_jax.matching, _recorded(), num_envs, events)
    for name in ("streaming-20", "realtime-100"):
        made[f"{name}, kernels"] = functools.partial(_mode, modes[name], with_kernels(model), num_envs, True)
    for name in ("streaming-20", "bank-256x500", "streaming-20-bank-tick"):
        made[f"wrapper, {name}"] = functools.partial(_wrapper, modes[name], model, num_envs)
    return made


def _with_bank(model: CMGModel) -> CMGModel:
    num_motions, num_frames = _rollout.POOL
    command = jnp.zeros((num_motions, model.config.command_dim))
    frames = jnp.zeros((num_frames, num_motions, model.config.motion_dim))
    return model.replace(bank=_motion_bank.MotionBank(frames, command, -command[0], command[0]))


def _recorded() -> CMGModel:
    """A model of a library of the G1 that is known by its shapes alone."""
    size, groups = 2 * G1.num_joints + 6, -(-CANDIDATES // _library.GROUP)

    def array(*shape: int, dtype: Any = jnp.float32) -> Any:
        return jax.ShapeDtypeStruct(shape, dtype)

    library = _library.MotionLibrary(
        frames=array(RECORDED, size),
        clearance=array(RECORDED),
        soles=array(RECORDED, 2, 3),
        contact=array(RECORDED, 2),
        features=array(RECORDED, _library.FEATURES),
        center=array(_library.FEATURES),
        scale=array(_library.FEATURES),
        last=array(RECORDED, dtype=jnp.int32),
        allowed=array(RECORDED, dtype=jnp.bool_),
        support=array(RECORDED, dtype=jnp.int32),
        standing=array(RECORDED, dtype=jnp.bool_),
        first_foot=array(RECORDED, dtype=jnp.int32),
        command=array(RECORDED, 3),
        candidates=array(groups, _library.GROUP, _library.FEATURES + 4),
        candidate_index=array(CANDIDATES, dtype=jnp.int32),
        standing_index=array(dtype=jnp.int32),
        stats=MotionStats(array(size), array(size), array(3), array(3)),
        robot=G1,
        fps=50.0,
    )
    return cmg_jax.model_of_library(library)


def _generate(model: CMGModel, num_envs: int) -> Program:
    def run(model: CMGModel, motion: jax.Array, commands: jax.Array) -> jax.Array:
        return cmg_jax.generate(model, motion, commands, time_major=True)

    config = model.config
    motion = jax.ShapeDtypeStruct((num_envs, config.motion_dim), jnp.float32)
    commands = jax.ShapeDtypeStruct((num_envs, STEPS, config.command_dim), jnp.float32)
    return Program(run, (model, motion, commands))


def _mode(make: Callable[[], Any], model: CMGModel, num_envs: int, events: bool) -> Program:
    generator, model = make(), _with_bank(model)
    command = jax.ShapeDtypeStruct((num_envs, model.config.command_dim), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(generator.init, model, key, command)
    return Program(_rollout.rollout(generator, num_envs, STEPS, events), (model, state, key), (1,))


def _wrapper(make: Callable[[], Any], model: CMGModel, num_envs: int) -> Program:
    """The wrapper's step around an environment without physics, from which the wrapper's own kernels are seen."""
    from bench._still_env import wrapped

    env = wrapped(_with_bank(model), make())
    keys = jax.ShapeDtypeStruct((num_envs, 2), jnp.uint32)
    actions = jax.ShapeDtypeStruct((STEPS, num_envs, env.action_size), jnp.float32)
    state = jax.eval_shape(env.reset, keys)

    def run(actions: jax.Array, state: Any) -> Any:
        def step(state: Any, action: jax.Array) -> Any:
            state = env.step(state, action)
            return state, state.reward.sum()

        return jax.lax.scan(step, state, actions)

    return Program(run, (actions, state), (1,))


def table(model: CMGModel, names: Sequence[str], num_envs: int, gpu: str = "h100") -> Section:
    """One row for each program."""
    made, rows = programs(model, num_envs), []
    for name in names or made:
        if name not in made:
            raise InputError(f"program {name!r} is not one of {'; '.join(made)}")
        compiled = compile_for_gpu(made[name](), gpu)
        estimate = {"estimate_us": 1e6 * _roofline.seconds(compiled.costs.work, gpu)}
        rows.append({"program": name, "temporary_mb": compiled.temporary_mb, **compiled.costs._asdict(), **estimate})
    return Section(f"programs for one {GPUS[gpu]}", COLUMNS, rows, (f"{num_envs} environments", *NOTES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help="by default all")
    parser.add_argument("--gpu", choices=GPUS, default="h100", help="to compile for")
    parser.add_argument("--envs", type=int, default=4096)
    arguments = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")  # the plugin for CUDA is to compile, not to run
    if reason := missing():
        parser.exit(2, f"{parser.prog}: error: {reason}\n")
    print(table_text(table(cmg_jax.load("policy"), arguments.programs, arguments.envs, arguments.gpu)))


if __name__ == "__main__":
    main()
