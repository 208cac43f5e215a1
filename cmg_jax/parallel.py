"""Environments over many devices: rows of a batch sharded along one mesh axis, the model on all of them.

Each device decides for its own rows whether the network runs and compacts its own rows: nothing passes
between devices. The frames are those of one device.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from cmg_jax import rollout
from cmg_jax.errors import InputError
from cmg_jax.generators import base, ring
from cmg_jax.generators.base import Generator, MotionFrame, State
from cmg_jax.generators.rows import SHARD_AXIS
from cmg_jax.model import CMGModel


def mesh(devices: Any = None) -> Mesh:
    """All devices, of all processes, or the given ones, along the axis that environments are sharded over."""
    return Mesh(np.array(jax.devices() if devices is None else devices), (SHARD_AXIS,))


def replicate(tree: Any, over: Mesh) -> Any:
    """`tree`, a model for instance, on every device of the mesh."""
    return jax.device_put(tree, NamedSharding(over, P()))


def shard_rows(tree: Any, over: Mesh) -> Any:
    """Arrays with rows first, each device its part. With several processes, each gives the rows of its own devices.

    Raises:
      InputError: the rows do not go evenly over this process's devices.
    """
    sharding = NamedSharding(over, P(SHARD_AXIS))
    local = len(over.local_devices)
    for leaf in jax.tree.leaves(tree):
        _check_even(len(leaf), local)
    return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), tree)


def generate(
    model: CMGModel, motion: jax.Array, commands: jax.Array, over: Mesh, *, time_major: bool = False
) -> jax.Array:
    """`cmg_jax.generate` for motion [B, D] and commands [B, T, C], each device its rows. Jit it, or call it in yours.

    Raises:
      InputError: B is no multiple of the number of devices.
    """
    _check_even(len(motion), over.size)

    def local(model: CMGModel, motion: jax.Array, commands: jax.Array) -> jax.Array:
        return rollout.generate(model, motion, commands, time_major=time_major)

    rows = P(None, SHARD_AXIS) if time_major else P(SHARD_AXIS)
    return _on_shards(over, local, (P(), P(SHARD_AXIS), P(SHARD_AXIS)), rows)(model, motion, commands)


def sharded(generator: Generator, over: Mesh) -> Generator:
    """`generator` with its rows over the devices of a mesh.

    Keeps the contract. Draws are those of one device, and so is every frame, to the last bits that another
    shape of a matrix product moves. Commands, masks, first frames and the served frames have all rows; arrays
    that are not sharded yet are distributed by jit.

    Args:
      generator: any mode, wrapped or not.
      over: from `mesh`.

    Raises:
      InputError: (in `init` and `resume`) the rows do not go evenly over the devices.
    """
    rows = P(SHARD_AXIS)

    def specs(model: CMGModel) -> Any:
        """Where in a state the rows are: along the axes that grow with the batch."""

        def state_of(batch: int) -> State:
            command = jax.ShapeDtypeStruct((batch, model.config.command_dim), np.float32)
            return jax.eval_shape(generator.init, model, jax.random.key(0), command)

        return jax.tree.map(_row_spec, state_of(2), state_of(3))

    # What can only be seen outside of a trace is looked at here, on all rows.
    def check_motion(model: CMGModel, motion: Any, batch: int) -> Any:
        return None if motion is None else base.check_array("motion", motion, (batch, model.config.motion_dim))

    def make(function: Callable[..., State]) -> Callable[..., State]:
        def made(model: CMGModel, key: jax.Array, command: Any, motion: Any = None, **options: Any) -> State:
            if command is None and "batch" in options:
                _check_even(options["batch"], over.size)
                options["batch"] //= over.size
            elif command is not None:
                command = base.check_command(model, command)
                _check_even(len(command), over.size)
                motion = check_motion(model, motion, len(command))

            def local(model: CMGModel, key: jax.Array, command: Any, motion: Any) -> State:
                return function(model, key, command, motion, **options)

            wrapped = _on_shards(over, local, (P(), P(), rows, rows), specs(model))
            return wrapped(model, key, command, motion)

        return made

    def step(model: CMGModel, state: State) -> tuple[State, MotionFrame]:
        state_spec = specs(model)
        return _on_shards(over, generator.step, (P(), state_spec), (state_spec, rows))(model, state)

    def reset(model: CMGModel, state: State, done: Any, key: jax.Array, command: Any, motion: Any = None) -> State:
        state_spec, batch = specs(model), len(state.command)
        done = base.check_mask("done", done, batch)
        command = None if command is None else base.check_command(model, command, batch)
        motion = check_motion(model, motion, batch)
        wrapped = _on_shards(over, generator.reset, (P(), state_spec, rows, P(), rows, rows), state_spec)
        return wrapped(model, state, done, key, command, motion)

    def set_command(model: CMGModel, state: State, command: Any, changed: Any = None) -> State:
        state_spec, batch = specs(model), len(state.command)
        command = base.check_command(model, command, batch)
        changed = None if changed is None else base.check_mask("changed", changed, batch)
        wrapped = _on_shards(over, generator.set_command, (P(), state_spec, rows, rows), state_spec)
        return wrapped(model, state, command, changed)

    def lookahead(model: CMGModel, state: State, offsets: Any) -> MotionFrame:
        state_spec = specs(model)
        offsets = ring.offsets_column(offsets)[:, 0]
        return _on_shards(over, generator.lookahead, (P(), state_spec, P()), rows)(model, state, offsets)

    return Generator(make(generator.init), step, reset, set_command, lookahead, make(generator.resume))


def _on_shards(over: Mesh, function: Callable[..., Any], in_specs: Any, out_specs: Any) -> Callable[..., Any]:
    # The rows' counts and clocks decide locally; that scalars agree between devices is the generators' to keep.
    return jax.shard_map(function, mesh=over, in_specs=in_specs, out_specs=out_specs, check_vma=False)


def _row_spec(few: jax.ShapeDtypeStruct, more: jax.ShapeDtypeStruct) -> P:
    axes = [axis for axis, sizes in enumerate(zip(few.shape, more.shape, strict=True)) if sizes[0] != sizes[1]]
    return P(*[None] * axes[0], SHARD_AXIS) if axes else P()


def _check_even(rows: int, devices: int) -> None:
    if rows % devices:
        raise InputError(f"{rows} rows do not go evenly over {devices} devices; take a multiple")
