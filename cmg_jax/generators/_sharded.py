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

from cmg_jax import _rollout
from cmg_jax._errors import InputError
from cmg_jax.generators import _base, _rows
from cmg_jax.generators._base import Generator, MotionFrame, S
from cmg_jax.model._model import CMGModel

SHARD_AXIS = "environments"
"""The mesh axis that rows are sharded over."""
ROWS = P(SHARD_AXIS)
"""An array with rows first, each device its part."""


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
    sharding = NamedSharding(over, ROWS)
    local = len(over.local_devices)
    for leaf in jax.tree.leaves(tree):
        _check_even(len(leaf), local)
    return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), tree)


def generate_sharded(
    model: CMGModel, motion: jax.Array, commands: jax.Array, over: Mesh, *, time_major: bool = False
) -> jax.Array:
    """`cmg_jax.generate` for motion [B, D] and commands [B, T, C], each device its rows. Jit it, or call it in yours.

    Raises:
      InputError: B is no multiple of the number of devices.
    """
    _check_even(len(motion), over.size)

    def local(model: CMGModel, motion: jax.Array, commands: jax.Array) -> jax.Array:
        return _rollout.generate(model, motion, commands, time_major=time_major)

    out = P(None, SHARD_AXIS) if time_major else ROWS
    return _on_shards(over, local, (P(), ROWS, ROWS), out)(model, motion, commands)


def sharded(generator: Generator[S], over: Mesh) -> Generator[S]:
    """`generator` with its rows over the devices of a mesh.

    Keeps the contract. Draws are those of one device, and so is every frame, to the last bits that another
    shape of a matrix product moves. Commands, masks, first frames and the served frames have all rows; arrays
    that are not sharded yet are distributed by jit.

    Args:
      generator: any mode, wrapped or not.
      over: from `mesh`.

    Raises:
      InputError: (in `init`) the rows do not go evenly over the devices.
    """

    def specs(model: CMGModel) -> Any:
        """Where in a state the rows are: along the axes that grow with the batch."""

        def state_of(num_envs: int) -> S:
            command = jax.ShapeDtypeStruct((num_envs, model.config.command_dim), np.float32)
            return jax.eval_shape(generator.init, model, jax.random.key(0), command)

        return jax.tree.map(_row_spec, state_of(2), state_of(3))

    def init(model: CMGModel, key: jax.Array, command: jax.Array | None, motion: jax.Array | None, num_envs: int) -> S:
        _check_even(num_envs, over.size)

        def local(model: CMGModel, key: jax.Array, command: jax.Array | None, motion: jax.Array | None) -> S:
            return generator.init(model, key, command, motion, num_envs=num_envs // over.size)

        return _on_shards(over, local, (P(), P(), ROWS, ROWS), specs(model))(model, key, command, motion)

    def step(model: CMGModel, state: S) -> tuple[S, MotionFrame]:
        spec = specs(model)
        return _on_shards(over, generator.step, (P(), spec), (spec, ROWS))(model, state)

    def reset(
        model: CMGModel,
        state: S,
        done: jax.Array,
        key: jax.Array,
        command: jax.Array | None,
        motion: jax.Array | None,
    ) -> S:
        spec = specs(model)
        wrapped = _on_shards(over, generator.reset, (P(), spec, ROWS, P(), ROWS, ROWS), spec)
        return wrapped(model, state, done, key, command, motion)

    def set_command(model: CMGModel, state: S, command: jax.Array, changed: jax.Array | None) -> S:
        spec = specs(model)
        return _on_shards(over, generator.set_command, (P(), spec, ROWS, ROWS), spec)(model, state, command, changed)

    def lookahead(model: CMGModel, state: S, offsets: jax.Array | np.ndarray) -> MotionFrame:
        return _on_shards(over, generator.lookahead, (P(), specs(model), P()), ROWS)(model, state, offsets)

    return _base.checked(
        init=init,
        step=step,
        reset=reset,
        set_command=set_command,
        lookahead=lookahead,
        horizon=generator.horizon,
    )


def _on_shards(over: Mesh, function: Callable[..., Any], in_specs: Any, out_specs: Any) -> Callable[..., Any]:
    def local(*arguments: Any) -> Any:
        with _rows.shards_of(SHARD_AXIS):
            return function(*arguments)

    # The rows' counts and clocks decide locally; that scalars agree between devices is the generators' to keep.
    return jax.shard_map(local, mesh=over, in_specs=in_specs, out_specs=out_specs, check_vma=False)


def _row_spec(few: jax.ShapeDtypeStruct, more: jax.ShapeDtypeStruct) -> P:
    axes = [axis for axis, sizes in enumerate(zip(few.shape, more.shape, strict=True)) if sizes[0] != sizes[1]]
    return P(*[None] * axes[0], SHARD_AXIS) if axes else P()


def _check_even(rows: int, devices: int) -> None:
    if rows % devices:
        raise InputError(f"{rows} rows do not go evenly over {devices} devices; take a multiple")
