"""Episodes that begin on their reference: an environment's hook, called for the rows that begin one and no others.

The hook costs what the number of those rows costs: they are taken out of the state in chunks of fixed sizes.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from cmg_jax._errors import InputError
from cmg_jax.envs._reference import Reference
from cmg_jax.generators._rows import update_rows

HOOK = "begin_on_reference"

EnvState = TypeVar("EnvState")
BeginOnReference = Callable[[Any, Reference], Any]
"""The hook of one row: its state, and the reference of its new episode -> its state."""


def begin_rows(hook: BeginOnReference, state: EnvState, reference: Reference, rows: jax.Array, name: str) -> EnvState:
    """`state` with `hook` applied to the rows where `rows` [B] bool.

    Leaves of the state whose first axis is not B belong to no row: the hook sees them whole, and its changes of them
    are dropped.

    Args:
      hook: of one row.
      state: of all rows.
      reference: of all rows.
      rows: which begin an episode.
      name: of the environment, for errors.

    Raises:
      InputError: the hook changes the structure of the state, or the shape or dtype of a leaf.
    """
    leaves, structure = jax.tree.flatten(state)
    of_row = [jnp.ndim(leaf) > 0 and len(leaf) == len(rows) for leaf in leaves]
    vectorised = jax.vmap(hook, in_axes=(jax.tree.unflatten(structure, [0 if row else None for row in of_row]), 0))
    changed = _changed(vectorised, state, reference, of_row, name)
    written = [index for index, row in enumerate(of_row) if row and changed[index]]

    def update(values: list[jax.Array], chunk: jax.Array) -> list[jax.Array]:
        def take(leaf: jax.Array) -> jax.Array:
            return leaf.at[chunk].get(mode="clip")

        current = dict(enumerate(leaves)) | dict(zip(written, values, strict=True))
        taken = [
            take(current[index]) if row else leaf for index, (leaf, row) in enumerate(zip(leaves, of_row, strict=True))
        ]
        after = jax.tree.leaves(vectorised(jax.tree.unflatten(structure, taken), jax.tree.map(take, reference)))
        return [value.at[chunk].set(after[index], mode="drop") for index, value in zip(written, values, strict=True)]

    out = dict(zip(written, update_rows(rows, [leaves[index] for index in written], update), strict=True))
    return jax.tree.unflatten(structure, [out.get(index, leaf) for index, leaf in enumerate(leaves)])


def _changed(hook: BeginOnReference, state: Any, reference: Reference, of_row: list[bool], name: str) -> list[bool]:
    """Of every leaf of the state, whether the hook returns another one than it is given.

    Raises:
      InputError: the hook returns other leaves, shapes or dtypes.
    """
    program, after = jax.make_jaxpr(hook, return_shape=True)(state, reference)
    before, found = dict(jax.tree.leaves_with_path(state)), dict(jax.tree.leaves_with_path(after))
    shapes = [leaf.shape[1:] if row else leaf.shape for leaf, row in zip(before.values(), of_row, strict=True)]
    given = {path: (leaf.dtype, shape) for (path, leaf), shape in zip(before.items(), shapes, strict=True)}
    returned = {path: (leaf.dtype, leaf.shape[1:]) for path, leaf in found.items()}
    for path in given | returned:
        what = f"{name}.{HOOK}: the leaf {jax.tree_util.keystr(path)} of the state"
        if path not in returned:
            raise InputError(f"{what} is missing in what it returns; return all leaves that it was given")
        if path not in given:
            raise InputError(f"{what} is new; return only the leaves that it was given")
        if given[path] != returned[path]:
            was, becomes = (f"{dtype}{list(shape)}" for dtype, shape in (given[path], returned[path]))
            raise InputError(f"{what} was {was} and becomes {becomes}; shapes and dtypes must stay")
    if jax.tree.structure(after) != jax.tree.structure(state):
        raise InputError(f"{name}.{HOOK} returns a state of another structure than it was given")
    return [one is not other for one, other in zip(program.jaxpr.outvars, program.jaxpr.invars, strict=False)]
