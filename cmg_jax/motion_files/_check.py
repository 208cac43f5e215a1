"""What a check of a motion file finds."""

from typing import NamedTuple

OK, WRONG, UNKNOWN, ASK = "ok", "wrong", "unknown", "ask"


class Check(NamedTuple):
    """One question about a motion file, and its answer."""

    name: str
    verdict: str
    """OK ("ok"), WRONG ("wrong"), UNKNOWN ("unknown") where the file holds nothing that would answer the question, or
    ASK ("ask") where the user has to answer it."""
    reason: str
