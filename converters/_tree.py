"""The content of a checkpoint, flattened: every value under its dotted name, at any depth."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from cmg_jax.pickles import Placeholder
from converters._torch_file import Tensor

MAX_DEPTH = 16
MAX_NAME = 1000  # characters
MAX_ITEMS = 64  # of a list that is searched: longer lists hold training windows, not networks
MAX_LISTED = 8


class Leaf(NamedTuple):
    """A value that is not a dictionary."""

    name: str
    """Keys of the dictionaries around it and its own, joined by dots, as a state_dict joins the names of modules."""
    value: Any
    node: int
    """The same number for all values of one dictionary."""


def leaves(content: Any) -> list[Leaf]:
    """All values in nested dictionaries, short lists of them and pickled modules, each container only once."""
    found: list[Leaf] = []
    seen: set[int] = set()
    queue: list[tuple[str, Any, int, int]] = [("", content, 0, 0)]
    for name, value, node, depth in queue:  # it grows in this loop
        items = _items(value)
        if items is None:
            found.append(Leaf(name, value, node))
        elif id(value) not in seen and depth < MAX_DEPTH:
            seen.add(id(value))
            for key, item in items:
                key = str(key)
                if len(name) + len(key) < MAX_NAME:
                    queue.append((f"{name}.{key}" if name else key, item, id(value), depth + 1))
    return found


def _items(value: Any) -> Iterator[tuple[Any, Any]] | None:
    """Keys and values of a container; None for anything else."""
    if isinstance(value, dict):
        return iter(value.items())
    if isinstance(value, list | tuple) and len(value) <= MAX_ITEMS and any(isinstance(item, dict) for item in value):
        return iter(enumerate(value))
    if isinstance(value, Placeholder) and isinstance(value.state, dict) and "_modules" in value.state:
        # A whole torch.nn.Module; its state names its parts as its state_dict does.
        parts = [value.state.get(part) for part in ("_parameters", "_buffers", "_modules")]
        return itertools.chain.from_iterable(part.items() for part in parts if isinstance(part, dict))
    return None


def listing(found: Sequence[Leaf]) -> str:
    """The first names and the kinds of their values, for a message."""
    text = ", ".join(f"{leaf.name[:60] or 'the file'} {_kind(leaf.value)}" for leaf in found[:MAX_LISTED])
    others = len(found) - MAX_LISTED
    return f"it holds {text or 'nothing'}{f' and {others} more' if others > 0 else ''}"


def _kind(value: Any) -> str:
    if isinstance(value, Tensor | np.ndarray):
        return f"[{', '.join(map(str, value.shape))}]"
    return f"({kind(value)})"


def kind(value: Any) -> str:
    """A description of a value that is not an array, for a message."""
    return value.name if isinstance(value, Placeholder) else type(value).__name__
