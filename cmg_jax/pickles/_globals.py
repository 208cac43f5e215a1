"""Replacements for the globals that a pickle names: a table of our own functions, which build plain data."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cmg_jax.pickles._numpy import numpy_globals
from cmg_jax.pickles._placeholder import Handler, PickleError, Placeholder

MAX_KEY = (1024, 8)  # bits of an integer, numbers of a tuple: which hash quickly


class Global(Placeholder):
    """A name in the file. The opcode REDUCE applies our function for it, if there is one."""

    __slots__ = ("handler",)

    def __init__(self, name: str, handler: Handler | None):
        super().__init__(name)
        self.handler = handler


def _encode(text: Any, encoding: Any) -> bytes:
    # How protocol 2 writes bytes: latin-1 text.
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise PickleError("is damaged: bytes that are not latin-1 text")
    return text.encode("latin-1")


def _dict(pairs: Any = ()) -> dict:
    return {dictionary_key(key): value for key, value in (pairs.items() if isinstance(pairs, dict) else pairs)}


def _new_object(kind: Any, *_: Any) -> Any:
    handler = getattr(kind, "handler", None)
    return handler() if handler else Placeholder(kind.name)


GLOBALS: Mapping[str, Handler] = {
    **numpy_globals(),
    "collections.OrderedDict": _dict,
    "collections.defaultdict": lambda _factory=None, pairs=(): _dict(pairs),
    "collections.Counter": _dict,
    "_codecs.encode": _encode,
    "__builtin__.bytes": lambda: b"",  # how protocol 2 writes empty bytes
    "builtins.bytes": lambda: b"",
    "copy_reg._reconstructor": _new_object,  # how protocols 0 and 1 write any object
    "copyreg._reconstructor": _new_object,
}


def dictionary_key(key: Any) -> Any:
    """The key if it is short and plain, else a placeholder: hashing other keys could take unlimited time."""
    if isinstance(key, tuple) and len(key) <= MAX_KEY[1] and not any(isinstance(_plain(part), tuple) for part in key):
        return tuple(_plain(part) for part in key)
    return _plain(key)


def _plain(key: Any) -> Any:
    if isinstance(key, int) and key.bit_length() > MAX_KEY[0]:
        return Placeholder("a long integer as a dictionary key")
    if isinstance(key, str | int | float | bytes | np.generic | None):
        return key
    return Placeholder(f"a {type(key).__name__} as a dictionary key")
