"""The shapes in annotations are checked while the tests run, in functions and in what they return."""

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float, TypeCheckError, jaxtyped

from cmg_jax.commands._schedule import interpolate
from cmg_jax.robot import mirror_command
from tests.shape_checks import check_shapes


def test_an_argument_of_another_shape_is_refused():
    with pytest.raises(TypeCheckError, match="command"):
        mirror_command(jnp.zeros((2, 4)))


def test_arguments_that_contradict_one_another_are_refused():
    with pytest.raises(TypeCheckError, match="values"):
        interpolate(np.array([0.0, 1.0]), np.zeros((3, 3)), 1.0, 50.0)


def test_a_result_of_another_shape_is_refused():
    def cut(values: Float[Array, "B C"]) -> Float[Array, "B C"]:
        return values[1:]

    with pytest.raises(TypeCheckError, match="return"):
        jaxtyped(cut, typechecker=check_shapes)(jnp.zeros((3, 2)))
