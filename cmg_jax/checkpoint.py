"""A model on disk: a directory of orbax arrays and a `config.json`.

    DIR/config.json    architecture, fps, joint names, provenance, and the robot where it is not the G1
    DIR/arrays/        params, stats and the pool of initial frames (zarr, one folder an array)

Arrays are read into host memory and placed on the default device, whatever they were saved on. Both
parts are data: nothing in them can name code.
"""

import dataclasses
import json
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax.errors import InputError
from cmg_jax.files import atomic_path, first_line, require_parent
from cmg_jax.model import CMGConfig, CMGModel, param_shapes
from cmg_jax.normalization import MotionStats
from cmg_jax.robot import saved

FORMAT = "cmg_jax model 3"


def save(model: CMGModel, path: str | Path, *, overwrite: bool = False) -> None:
    """Write `model` to the directory `path`, which appears whole or not at all.

    Raises:
      InputError: `path` exists and `overwrite` is not set, its parent does not exist, or the model is not in float32.
    """
    path = Path(path)
    check_target(path, overwrite=overwrite)
    arrays = _arrays(model)
    if any(leaf.dtype != jnp.float32 for leaf in jax.tree.leaves(arrays)):
        raise InputError("only models in float32 are saved; change the precision again after loading")
    header = {"format": FORMAT, "initial_motions": 0 if model.initial_motion is None else len(model.initial_motion)}
    fields = {field.name: getattr(model.config, field.name) for field in dataclasses.fields(model.config)}
    robot = saved.to_json(fields.pop("robot"))
    config = fields | {"provenance": dict(model.config.provenance)} | robot
    with atomic_path(path) as partial:
        partial.mkdir()
        (partial / "config.json").write_text(json.dumps(header | config, indent=2) + "\n")
        with _checkpointer() as checkpointer:
            checkpointer.save(partial / "arrays", jax.tree.map(np.asarray, arrays))
        (partial / "arrays" / "commit_success.txt").unlink(missing_ok=True)  # names a path of this machine


def check_target(path: Path, *, overwrite: bool) -> None:
    """Raise InputError unless a model may be saved as `path`."""
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; choose another directory, or pass --force (overwrite=True) to replace it")
    if path.exists() and not (path / "config.json").is_file():
        raise InputError(f"{path} exists and is not a model directory; it is not replaced")
    require_parent(path)


def load(path: str | Path) -> CMGModel:
    """The model in the directory `path`, its arrays on the default device.

    Raises:
      InputError: no model directory, a damaged one, or one of another version.
    """
    path = Path(path).absolute()
    config, initial_motions = _read_config(path / "config.json")
    expected = _expected_arrays(config, initial_motions)
    try:
        with _checkpointer() as checkpointer:
            arrays = checkpointer.restore(path / "arrays", restore_args=jax.tree.map(_as_numpy, expected))
    except Exception as error:  # orbax and tensorstore raise many kinds
        raise InputError(f"{path}: its arrays cannot be read ({first_line(error)}); convert the model again") from error
    found = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), arrays)
    if found != expected:
        raise InputError(f"{path}: its arrays are not those that config.json describes; convert the model again")
    arrays = jax.tree.map(jnp.asarray, arrays)
    return CMGModel(arrays["params"], MotionStats(**arrays["stats"]), arrays.get("initial_motion"), config)


def default_model() -> CMGModel:
    """The model bundled with this package; `cmg-jax info` prints its card."""
    return load(default_model_path())


def default_model_path() -> Path:
    return Path(str(resources.files("cmg_jax"))) / "assets" / "default_model"


def _arrays(model: CMGModel) -> dict[str, Any]:
    arrays = {"params": model.params, "stats": model.stats._asdict()}
    return arrays if model.initial_motion is None else {**arrays, "initial_motion": model.initial_motion}


def _checkpointer() -> Any:
    import orbax.checkpoint as ocp  # a slow import, needed only here

    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=False, use_zarr3=True))


def _as_numpy(_: Any) -> Any:
    import orbax.checkpoint as ocp

    return ocp.RestoreArgs(restore_type=np.ndarray)


def _expected_arrays(config: CMGConfig, initial_motions: int) -> dict[str, Any]:
    """What `_arrays` has in it for a model of this configuration, as shapes and dtypes."""
    sizes = (config.motion_dim, config.motion_dim, config.command_dim, config.command_dim)
    stats = [jax.ShapeDtypeStruct((size,), jnp.float32) for size in sizes]
    arrays = {"params": param_shapes(config), "stats": dict(zip(MotionStats._fields, stats, strict=True))}
    pool = jax.ShapeDtypeStruct((initial_motions, config.motion_dim), jnp.float32)
    return {**arrays, "initial_motion": pool} if initial_motions else arrays


def _read_config(path: Path) -> tuple[CMGConfig, int]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path.parent} is not a model directory (it has no config.json); see cmg-convert") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}); convert the model again") from error
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise InputError(f"{path} is not of the format {FORMAT!r}; convert the model with this version of cmg_jax")
    try:
        config = CMGConfig(
            motion_dim=int(content["motion_dim"]),
            command_dim=int(content["command_dim"]),
            num_experts=int(content["num_experts"]),
            gate_dims=tuple(int(n) for n in content["gate_dims"]),
            hidden_dims=tuple(int(n) for n in content["hidden_dims"]),
            robot=saved.from_json(content, str(path)),
            fps=float(content["fps"]),
            provenance=tuple((str(key), str(text)) for key, text in content["provenance"].items()),
        )
        return config, int(content["initial_motions"])
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise InputError(
            f"{path}: {type(error).__name__} {error} in the configuration; convert the model again"
        ) from error
