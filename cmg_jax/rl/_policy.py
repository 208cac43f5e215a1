"""Networks of a run on disk, and the policy that they make.

DIR/checkpoints/STEP   normalization, policy and value network at an evaluation, with a digest of their arrays
DIR/best.json          which of them had the best evaluation
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from brax.training.acme import running_statistics, specs
from brax.training.agents.ppo import networks

from cmg_jax import _array_files, _digests
from cmg_jax._errors import InputError
from cmg_jax._files import atomic_directory, atomic_path, first_line
from cmg_jax.rl._config import RunConfig, read_config

DIGEST = "sha256"
"""Name of the array of a checkpoint that holds the digest of the others; older checkpoints lack it."""

Params = tuple[running_statistics.RunningStatisticsState, Any, Any]
"""Normalization, policy and value network."""


Policy = Callable[[Any, jax.Array], jax.Array]
"""Parameters and observations [N, K] to actions [N, J]."""


def read_run(directory: Path) -> RunConfig:
    """The configuration of the run in a directory.

    Raises:
      InputError: there is none.
    """
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory; see cmg-jax rl train")
    return read_config(directory / "config.yaml")


def make_policy(network: networks.PPONetworks) -> Policy:
    """The policy without noise, of `Params`."""
    make = networks.make_inference_fn(network)
    return lambda params, obs: make(params, deterministic=True)(obs, jax.random.PRNGKey(0))[0]


def save_arrays(path: Path, tree: Any, require_ours: Callable[[Path], None] | None = None) -> None:
    """Write the leaves of a pytree, numbered, with a digest; empty ones, which orbax refuses, are left out."""
    leaves = {_name(index): np.asarray(jnp.asarray(leaf)) for index, leaf in enumerate(jax.tree.leaves(tree))}
    arrays = {name: leaf for name, leaf in leaves.items() if leaf.size}
    digest = np.frombuffer(bytes.fromhex(_digests.of_arrays(arrays)), np.uint8)
    with atomic_directory(path, require_ours=require_ours) as partial:
        _array_files.save(partial, arrays | {DIGEST: digest})


def load_arrays(path: Path, like: Any) -> Any:
    """The pytree of `save_arrays`, with the structure, shapes and dtypes of `like`.

    Raises:
      InputError: it is damaged, or its arrays are others.
    """
    expected = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(like)]
    empty = {_name(index): np.zeros(*kind) for index, kind in enumerate(expected) if 0 in kind[0]}
    try:
        arrays = _array_files.load(path)
        digest = arrays.pop(DIGEST, None)
        if digest is not None and bytes(np.asarray(digest)).hex() != _digests.of_arrays(arrays):
            raise ValueError("damaged")
        arrays |= empty
        leaves = [jnp.asarray(arrays[_name(index)]) for index in range(len(expected))]
        if len(arrays) != len(expected) or [(leaf.shape, leaf.dtype) for leaf in leaves] != expected:
            raise ValueError("its arrays belong to another network")
    except Exception as error:  # orbax and tensorstore raise many kinds
        raise InputError(f"{path}: cannot be read ({first_line(error)})") from error
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def save_policy(directory: Path, step: int, params: Params) -> None:
    """Write a checkpoint of a run; one that a killed process left there is replaced."""
    save_arrays(directory / "checkpoints" / f"{step:012d}", params, require_ours=lambda _: None)


def load_policy(directory: Path, network: networks.PPONetworks, obs_size: Any) -> Params:
    """The policy of a run with the best evaluation, or the newest if the run does not say.

    Raises:
      InputError: there is none, or it is damaged.
    """
    best = _read_best(directory)
    found = sorted(path for path in (directory / "checkpoints").glob("*") if path.name.isdigit())
    if best is not None:
        found = [path for path in found if int(path.name) == best["step"]] or found
    if not found:
        raise InputError(f"{directory}: holds no checkpoint")
    key = jax.random.PRNGKey(0)
    like = jax.eval_shape(
        lambda: (
            running_statistics.init_state(specs.Array((obs_size,), jnp.dtype("float32"))),
            network.policy_network.init(key),
            network.value_network.init(key),
        )
    )
    return load_arrays(found[-1], like)


def keep_best(directory: Path, row: dict[str, Any]) -> None:
    """Note the row's step as the best if its score is the largest so far."""
    best = _read_best(directory)
    if best is None or row["score"] > best["score"]:
        with atomic_path(directory / "best.json") as partial:
            partial.write_text(json.dumps({"step": row["step"], "score": row["score"]}) + "\n")


def _read_best(directory: Path) -> dict[str, Any] | None:
    try:
        best = json.loads((directory / "best.json").read_text())
        return {"step": int(best["step"]), "score": float(best["score"])}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        raise InputError(f"{directory / 'best.json'} is damaged; delete it, and the newest policy is taken") from None


def _name(index: int) -> str:
    return f"{index:03d}"
