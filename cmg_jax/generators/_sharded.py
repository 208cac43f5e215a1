"""Environments over many devices: rows of a batch sharded along one mesh axis, the model on all of them.

Each device decides for its own rows whether the network runs: no data passes between devices.
The frames are those of one device.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float

from cmg_jax import _rollout
from cmg_jax._errors import InputError
from cmg_jax.generators import _base, _rows
from cmg_jax.generators._base import Generator, MotionFrame, S, Tree
from cmg_jax.model._model import CMGModel

Result = TypeVar("Result")

SHARD_AXIS = "environments"
"""The mesh axis that rows are sharded over."""
ROWS = P(SHARD_AXIS)
"""An array with rows first, each device its part."""


def mesh(devices: Sequence[object] | None = None) -> Mesh:
    """A mesh of one axis, over which environments are sharded; by default of all devices of all processes.

    Examples:
      >>> from cmg_jax.generators import mesh
      >>> mesh(jax.devices()[:1]).size
      1
    """
    return Mesh(np.array(jax.devices() if devices is None else devices), (SHARD_AXIS,))


def replicate(tree: Tree, over: Mesh) -> Tree:
    """`tree`, such as a model, on every device of the mesh.

    Examples:
      >>> from cmg_jax.generators import mesh, replicate
      >>> over = mesh(jax.devices()[:1])  # all devices by default
      >>> model = replicate(model, over)
    """
    return jax.device_put(tree, NamedSharding(over, P()))


def shard_rows(tree: Tree, over: Mesh) -> Tree:
    """Shard arrays [B, ...] over the mesh, each device its part. Each process passes the rows of its devices.

    Raises:
      InputError: B is not a multiple of the number of this process's devices, or the mesh is not one of `mesh`.

    Examples:
      >>> from cmg_jax.generators import mesh, shard_rows
      >>> over = mesh(jax.devices()[:1])  # all devices by default
      >>> shard_rows(jnp.zeros((64, 3)), over).shape
      (64, 3)
    """
    _check_mesh(over)
    sharding = NamedSharding(over, ROWS)
    local = len(over.local_devices)
    for leaf in jax.tree.leaves(tree):
        _check_even(len(leaf), local)
    return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), tree)


def generate_sharded(
    model: CMGModel, motion: jax.Array, commands: jax.Array, over: Mesh, *, time_major: bool = False
) -> Float[Array, "rows frames D"]:
    """`cmg_jax.generate` for motion [B, D] and commands [B, T, C], each device its rows. Call it under `jax.jit`.

    Raises:
      InputError: B is not a multiple of the number of devices, or the mesh is not one of `mesh`.

    Examples:
      >>> from cmg_jax.generators import generate_sharded, mesh
      >>> over = mesh(jax.devices()[:1])  # all devices by default
      >>> motion = jnp.tile(cmg_jax.standing_frame(model), (4, 1))
      >>> generate = jax.jit(lambda *arrays: generate_sharded(model, *arrays, over))
      >>> generate(motion, jnp.zeros((4, 10, 3))).shape
      (4, 11, 64)
    """
    _check_mesh(over)
    _check_even(len(motion), over.size)

    def local(model: CMGModel, motion: jax.Array, commands: jax.Array) -> jax.Array:
        return _rollout.generate(model, motion, commands, time_major=time_major)

    out = P(None, SHARD_AXIS) if time_major else ROWS
    return _on_shards(over, local, (P(), ROWS, ROWS), out)(model, motion, commands)


def sharded(generator: Generator[S], over: Mesh) -> Generator[S]:
    """`generator` with its rows distributed over the devices of a mesh.

    Draws are those of one device, and so is every frame, up to the last bits, which differ between shapes of a
    matrix product. Commands, masks, first frames and served frames have all rows; jit distributes arrays that are
    not sharded yet.

    Args:
      generator: any mode, wrapped or not.
      over: from `mesh`.

    Raises:
      InputError: the mesh is not one of `mesh`; or, raised by `init`, B is not a multiple of the number of devices.

    Examples:
      >>> from cmg_jax.generators import mesh, replicate, sharded
      >>> over = mesh(jax.devices()[:1])  # all devices by default
      >>> generator = sharded(cmg_jax.streaming(5), over)
      >>> state = jax.jit(generator.init)(replicate(model, over), jax.random.key(0), jnp.zeros((4, 3)))
      >>> state.command.shape
      (4, 3)
    """
    _check_mesh(over)

    def specs(model: CMGModel) -> object:
        """The sharding of a state: along the axes that grow with the batch."""

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


def _on_shards(
    over: Mesh, function: Callable[..., Result], in_specs: object, out_specs: object
) -> Callable[..., Result]:
    def local(*arguments: object) -> Result:
        with _rows.shards_of(SHARD_AXIS):
            return function(*arguments)

    # Counts and clocks of rows are local; generators keep scalars equal on all devices.
    return jax.shard_map(local, mesh=over, in_specs=in_specs, out_specs=out_specs, check_vma=False)


def _row_spec(few: jax.ShapeDtypeStruct, more: jax.ShapeDtypeStruct) -> P:
    axes = [axis for axis, sizes in enumerate(zip(few.shape, more.shape, strict=True)) if sizes[0] != sizes[1]]
    return P(*[None] * axes[0], SHARD_AXIS) if axes else P()


def _check_mesh(over: Mesh) -> None:
    if over.axis_names != (SHARD_AXIS,):
        raise InputError(
            f"the mesh has the axes {', '.join(map(str, over.axis_names))}; rows are sharded over the one axis "
            f"{SHARD_AXIS}: make the mesh with cmg_jax.generators.mesh(devices)"
        )


def _check_even(rows: int, devices: int) -> None:
    if rows % devices:
        raise InputError(f"{rows} rows cannot be shared evenly by {devices} devices; use a multiple")
