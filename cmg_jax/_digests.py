"""Digests that find damage: of JSON objects, of the files of a directory, and of arrays in memory."""

import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cmg_jax._files import files_in

SEAL = "sha256"
"""The key of the digest in a sealed object."""


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """`content`, which JSON can hold, together with its digest."""
    return content | {SEAL: _of_json(content)}


def is_intact(content: dict[str, Any]) -> bool:
    """Whether a sealed object is unchanged. White space does not matter."""
    return content.get(SEAL) == _of_json({key: value for key, value in content.items() if key != SEAL})


def of_files(directory: Path) -> dict[str, str]:
    """A digest for each file at any depth, by its path. Hidden files, which systems leave anywhere, are ignored."""
    digests = {}
    for name in files_in(directory):
        if not name.rpartition("/")[2].startswith("."):
            with (directory / name).open("rb") as file:
                digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def difference(directory: Path, expected: dict[str, str]) -> str | None:
    """A description of what is wrong with the files of `directory`; None if they match `expected`, from `of_files`."""
    found = of_files(directory)
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            return f"{name} is missing"
        if name not in expected:
            return f"{name} does not belong there"
        if found[name] != expected[name]:
            return f"{name} is damaged"
    return None


def of_arrays(tree: Any) -> str:
    """A digest of the names, dtypes, shapes and numbers of all arrays of a pytree."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


def _of_json(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()
