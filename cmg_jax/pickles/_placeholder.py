"""Placeholders for objects that are not built, and the error that reading a pickle raises."""

from collections.abc import Callable
from typing import Any

from cmg_jax._errors import InputError

Handler = Callable[..., Any]

MAX_MESSAGE = 300  # characters; names and sizes in a message come from the file
MAX_NAME = 80


class PickleError(InputError):
    """The pickle is damaged, or what is needed of it is not plain data."""

    def __init__(self, message: str):
        super().__init__(" ".join(message.split())[:MAX_MESSAGE])


class Placeholder:
    """Takes the place of an object that is not built. It keeps the object's name, and does nothing."""

    __slots__ = ("name", "state")

    def __init__(self, name: str):
        self.name = name if len(name) <= MAX_NAME and name.isprintable() else " ".join(name.split())[:MAX_NAME]
        self.state: Any = None
        """The attributes that the file sets, as stored."""

    def __repr__(self) -> str:
        return f"<{self.name}, not read>"
