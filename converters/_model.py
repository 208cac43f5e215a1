"""A PyTorch checkpoint as a `CMGModel`."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.model._model import CMGConfig, CMGModel, apply_normalized
from cmg_jax.model._normalization import MotionStats
from cmg_jax.robot import G1, Robot
from cmg_jax.robot._g1 import robot_of
from converters import _joint_names, _reference, _source, _state_dict, _stats

CHECK_TOLERANCE = 1e-4


class Conversion(NamedTuple):
    """A converted checkpoint."""

    model: CMGModel
    rows: tuple[_state_dict.Row, ...]
    """Origin and target of each tensor."""
    tensors: dict[str, np.ndarray]
    """The state_dict's own arrays, for `check`."""


def load_model(
    path: Path,
    stats_file: Path | None = None,
    *,
    fps: float = 50.0,
    description: str = "",
    weights: str | None = None,
    names: Sequence[str] | None = None,
    robot: Robot = G1,
) -> Conversion:
    """Convert the model in a PyTorch checkpoint.

    Args:
      path: the checkpoint: a file of `torch.save`, `.safetensors`, `.npz` or a pickle.
      stats_file: a file with the stats, if the checkpoint has none; a data set also gives the pool of first frames.
      fps: frames per second of the model.
      description: a line for the model's card.
      weights: the name of the weights, if the file has several.
      names: the joint names in the model's order; by default those in the files, else those of `robot`.
      robot: the robot of the model.

    Raises:
      InputError: a file cannot be used; the message names it.
    """
    content = _source.load(path)
    with _naming(path):
        where, tensors = _state_dict.find(content, weights)
        converted = _state_dict.convert(tensors)
        raw = _stats.find(content)
        stated = _stats.num_joints(raw)
        found = None if raw is None else _stats.parse(raw, converted.motion_dim, converted.command_dim)
    data = None
    if stats_file is not None:
        data = _stats.read(stats_file)
        with _naming(stats_file):
            raw = _stats.find(data)
            if raw is None:
                raise InputError("holds no stats")
            listed = _stats.parse(raw, converted.motion_dim, converted.command_dim)
            stated = _stats.num_joints(raw) if stated is None else stated
        if found is not None and not _stats.same(found, listed):
            raise InputError(
                f"{stats_file}: its stats are not those that {path} carries; "
                "leave --stats out, or give the data set that this model was trained on"
            )
        found = found or listed
    if found is None:
        raise InputError(f"{path}: holds no stats; pass cmg_training_data.pt or cmg_stats.yaml as --stats")
    pool = None
    if stats_file is not None and isinstance(data, dict) and "samples" in data:
        with _naming(stats_file):
            pool = jnp.asarray(_stats.initial_motions(data["samples"], converted.motion_dim))
    with _naming(path):
        names, origin = _joint_names.choose(converted.motion_dim, names, content, data, stated=stated, robot=robot)

    provenance = {
        "source": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "weights": f"{where or 'the file itself'}, {', '.join(sorted({row.dtype for row in converted.rows}))}",
        "joints": origin,
        **({"stats": stats_file.name} if stats_file else {}),
        **({"description": description} if description else {}),
    }
    config = CMGConfig(
        motion_dim=converted.motion_dim,
        command_dim=converted.command_dim,
        num_experts=converted.num_experts,
        gate_dims=converted.gate_dims,
        hidden_dims=converted.hidden_dims,
        robot=robot_of(tuple(names), robot),
        fps=fps,
        provenance=tuple(provenance.items()),
    )
    params = jax.tree.map(jnp.asarray, converted.params)
    model = CMGModel(params, MotionStats(**{name: jnp.asarray(found[name]) for name in _stats.FIELDS}), pool, config)
    return Conversion(model, converted.rows, converted.tensors)


def check(model: CMGModel, tensors: dict[str, np.ndarray]) -> float:
    """Compare a converted model with an independent NumPy forward pass of the PyTorch arrays.

    Returns:
      the largest difference, relative to the output.

    Raises:
      InputError: it is larger than 1e-4: the conversion is wrong.
    """
    random = np.random.default_rng(0)
    motion = random.normal(size=(16, model.config.motion_dim)).astype(np.float32)
    command = random.uniform(-1, 1, size=(16, model.config.command_dim)).astype(np.float32)
    expected = _reference.forward(tensors, motion, command)
    with jax.default_matmul_precision("highest"):  # a GPU's default may round products to 10 bits
        output = apply_normalized(model, jnp.asarray(motion), jnp.asarray(command))
    difference = np.abs(np.asarray(output) - expected)
    error = float(difference.max() / max(1.0, np.abs(expected).max()))
    if not error <= CHECK_TOLERANCE:
        raise InputError(f"the converted model differs from the checkpoint by {error:.1e}; please report this file")
    return error


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the name of the file before an error about its content."""
    try:
        yield
    except InputError as error:
        raise error if str(error).startswith(str(path)) else InputError(f"{path}: {error}") from error
