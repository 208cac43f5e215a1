"""The type checker of the import hook in `conftest.py`: it checks what is annotated with a shape, and nothing else."""

from collections.abc import Callable
from typing import Any, TypeVar, get_args

from beartype import beartype
from jaxtyping import AbstractArray

F = TypeVar("F", bound=Callable[..., Any])


def check_shapes(function: F) -> F:
    """`function` with its arguments and results checked against the shapes and dtypes in its annotations.

    Other annotations are pyright's: beartype knows no generic NamedTuple. A pytree's constructor takes any leaves, for
    instance shardings.
    """
    if function.__name__ == "__init__":
        return function
    annotations = function.__annotations__
    function.__annotations__ = {name: hint if _has_shape(hint) else Any for name, hint in annotations.items()}
    return beartype(function)


def _has_shape(hint: Any) -> bool:
    return (isinstance(hint, type) and issubclass(hint, AbstractArray)) or any(map(_has_shape, get_args(hint)))
