"""The search of motion matching: the frame of a library that continues a row's pose and goes where the row should."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from cmg_jax.model._library import MotionLibrary

CPU_GROUPS, GROUPS = 8, 64
"""Groups of candidates whose costs are known at a time, on a CPU and elsewhere: 8 x 128 x 512 rows fit its cache."""


def nearest(
    library: MotionLibrary, query: Float[Array, "R F"], avoid: Float[Array, "R 3"]
) -> tuple[Int[Array, "R"], Float[Array, "R"]]:
    """The best candidates [R], as frames of the library, and their costs.

    The cost is the squared distance of normalized features, less the square of the query, which no candidate changes.

    Args:
      library: the library.
      query: normalized features.
      avoid: what a candidate costs more that lifts no foot soon, the left one, or the right one.
    """
    rows = len(query)
    weights = jnp.concatenate([-2 * query, jnp.ones((rows, 1), query.dtype), avoid], axis=-1)  # [R, F+4]
    groups, size = library.candidates.shape[:2]

    def least(number: int) -> jax.Array:
        """The least cost of each group [G, R]: one matrix product for each `number` of groups."""

        def some(group: jax.Array) -> jax.Array:
            cost = _product(group, weights.T)  # [128, R]
            return cost.min(axis=0)

        return lax.map(some, library.candidates, batch_size=min(number, groups))

    # Which is best within a group is found again for one group a row: a plain minimum is several times faster.
    least_cost = lax.platform_dependent(cpu=lambda: least(CPU_GROUPS), default=lambda: least(GROUPS))
    group = jnp.argmin(least_cost, axis=0).astype(jnp.int32)
    cost = jnp.einsum("rcf,rf->rc", library.candidates[group], weights, precision=lax.Precision.HIGHEST)
    within = jnp.argmin(cost, axis=-1).astype(jnp.int32)
    index = jnp.minimum(group * size + within, len(library.candidate_index) - 1)
    return library.candidate_index[index], jnp.take_along_axis(cost, within[:, None], axis=1)[:, 0]


def cost_of(library: MotionLibrary, place: Int[Array, "R"], query: Float[Array, "R F"]) -> Float[Array, "R"]:
    """The cost of one frame of the library for each row, as `nearest` has it where nothing is avoided."""
    features = library.features[place]
    return jnp.square(features).sum(axis=-1) - 2 * (features * query).sum(axis=-1)


def normalized(library: MotionLibrary, physical: Float[Array, "R n"], first: int) -> Float[Array, "R n"]:
    """Some of the features, from index `first` on, in the units of a search."""
    part = slice(first, first + physical.shape[-1])
    return (physical - library.center[None, part]) * library.scale[None, part]


def physical(library: MotionLibrary, place: Int[Array, "R"]) -> Float[Array, "R F"]:
    """The features of frames of the library, in their own units."""
    return library.features[place] / library.scale[None] + library.center[None]


def _product(left: jax.Array, right: jax.Array) -> jax.Array:
    # Ranks of candidates depend on small differences of large numbers.
    return jnp.dot(left, right, precision=lax.Precision.HIGHEST)
