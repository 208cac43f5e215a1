"""A model on disk: a directory of arrays and a `config.json`.

    DIR/config.json    architecture, fps, joint names, provenance, and the robot if it is not the G1; digests of all
                       files of arrays/ and one of itself
    DIR/arrays/        params, stats and the pool of initial frames (zarr, one folder an array)

Arrays are read into host memory and placed on the default device, even if they were saved from another kind of
device. Both parts are data: nothing in them can name code. A file of `arrays/` that is damaged, missing or unexpected
is refused, and so is a `config.json` that was damaged or edited. Directories of the previous format, without
digests, are read with a warning.
"""

import dataclasses
import json
import re
import warnings
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from cmg_jax import _array_files, _digests
from cmg_jax._errors import InputError
from cmg_jax._files import atomic_directory, files_in, first_line, require_parent
from cmg_jax.model._model import CMGConfig, CMGModel, param_shapes, without_kernels
from cmg_jax.model._normalization import MotionStats
from cmg_jax.robot import _saved

FORMAT = "cmg_jax model 4"
WITHOUT_DIGESTS = "cmg_jax model 3"

BUNDLED = ("human", "policy")
"""Names of the models bundled with this package; the first one is the default."""

_LISTING_SINCE = 4
"""The first number of a format in which config.json lists the files of arrays/."""

_UNLISTED = re.compile(
    r"arrays/(|_METADATA|_CHECKPOINT_METADATA|((params|stats)(\.\w+)+|initial_motion)/(|zarr\.json|c(/\d+)*/?))"
)
"""Contents of arrays/ in earlier formats, which list no files; a directory ends with a slash."""


def save(model: CMGModel, path: str | Path, *, overwrite: bool = False) -> None:
    """Write `model` to the directory `path`, which appears complete or not at all.

    Args:
      model: the model, in float32.
      path: the directory; its parent must exist.
      overwrite: replace a model directory. One that holds anything else is never replaced.

    Raises:
      InputError: `path` exists and may not be replaced, its parent does not exist, or the model is not in float32 or
        has no network.

    Examples:
      >>> cmg_jax.save(model, "my_model")
      >>> cmg_jax.load("my_model").config == model.config
      True
    """
    path = Path(path)
    if not model.params:
        raise InputError("this model has no network to save; a library is made again from its data set (build_library)")
    check_target(path, overwrite=overwrite)
    arrays = _arrays(model)
    if any(leaf.dtype != jnp.float32 for leaf in jax.tree.leaves(arrays)):
        raise InputError("only models in float32 are saved; change the precision again after loading")
    with atomic_directory(path, require_ours=_require_ours if overwrite else None) as partial:
        partial.mkdir()
        _array_files.save(partial / "arrays", arrays)
        _write_config(partial, model)


def check_target(path: Path, *, overwrite: bool, option: str = "overwrite=True") -> None:
    """Raise InputError unless a model may be saved as `path`; `option` is what would let it replace a model."""
    if path.exists():
        if not overwrite:
            raise InputError(f"{path} exists; choose another directory, or pass {option} to replace it")
        _require_ours(path)
    require_parent(path)


def load(path: str | Path) -> CMGModel:
    """The model in the directory `path`, its arrays on the default device.

    If there is no such directory, "human" and "policy" are the bundled models: the default one, which walks and runs
    like a person, and one with the gait of a robot's walking policy, whose frames have no root.

    Warns of a directory without digests, in which damage cannot be detected; saving the model again adds them.

    Raises:
      InputError: `path` is not a model directory, is damaged, or has another version.

    Examples:
      >>> cmg_jax.load("policy").config.has_root  # a bundled model; others are directories
      False
    """
    path = model_directory(path).absolute()
    content = _read_config(path)
    config, *counts = _parse_config(path, content)
    expected = _expected_arrays(config, *counts)
    if content["format"] == WITHOUT_DIGESTS:
        warnings.warn(
            f"{path} is of an older format, in which damage cannot be detected; "
            "save it again with cmg_jax.save(model, path, overwrite=True)",
            stacklevel=2,
        )
    elif wrong := _digests.difference(path / "arrays", content["files"]):
        raise InputError(f"{path}: arrays/{wrong}; copy it again, or convert the model again")
    try:
        arrays = _array_files.load(path / "arrays", expected)
    except Exception as error:  # orbax and tensorstore raise many kinds
        raise InputError(f"{path}: its arrays cannot be read ({first_line(error)}); convert the model again") from error
    found = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), arrays)
    if found != expected:
        raise InputError(f"{path}: its arrays are not those that config.json describes; convert the model again")
    arrays = jax.tree.map(jnp.asarray, arrays)
    return CMGModel(arrays["params"], MotionStats(**arrays["stats"]), arrays.get("initial_motion"), config)


def default_model() -> CMGModel:
    """The default of the models bundled with this package, "human"; `cmg-jax info` prints its card.

    Examples:
      >>> cmg_jax.default_model().config.has_root
      True
    """
    return load(default_model_path())


def default_model_path() -> Path:
    """The directory of the default model.

    Examples:
      >>> from cmg_jax.model import default_model_path
      >>> default_model_path().name
      'human'
    """
    return _bundled(BUNDLED[0])


def model_directory(path: str | Path) -> Path:
    """`path`, or the directory of the bundled model of that name if no model, whole or in part, is there."""
    own = any((Path(path) / part).exists() for part in ("config.json", "arrays"))
    return Path(path) if own or str(path) not in BUNDLED else _bundled(str(path))


def _bundled(name: str) -> Path:
    return Path(str(resources.files("cmg_jax"))) / "assets" / name


def _arrays(model: CMGModel) -> dict[str, Any]:
    stats = {name: array for name, array in model.stats._asdict().items() if array is not None}
    arrays = {"params": without_kernels(model).params, "stats": stats}
    return arrays if model.initial_motion is None else {**arrays, "initial_motion": model.initial_motion}


def _expected_arrays(config: CMGConfig, initial_motions: int, region_knots: int) -> dict[str, Any]:
    """Shapes and dtypes of what `_arrays` returns for a model of this configuration."""
    motion, command = config.motion_dim, config.command_dim
    shapes = [(motion,), (motion,), (command,), (command,)] + ([(region_knots, command)] if region_knots else [])
    stats = zip(MotionStats._fields, (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes), strict=False)
    arrays = {"params": param_shapes(config), "stats": dict(stats)}
    pool = jax.ShapeDtypeStruct((initial_motions, config.motion_dim), jnp.float32)
    return {**arrays, "initial_motion": pool} if initial_motions else arrays


def _write_config(directory: Path, model: CMGModel) -> None:
    """Write `config.json`; the arrays must be there, because it holds their digests."""
    optional = {"initial_motions": model.initial_motion, "region_knots": model.stats.command_region}
    header = {"format": FORMAT, **{name: 0 if array is None else len(array) for name, array in optional.items()}}
    fields = {field.name: getattr(model.config, field.name) for field in dataclasses.fields(model.config)}
    robot = _saved.to_json(fields.pop("robot"))
    config = fields | robot | {"provenance": dict(model.config.provenance)}
    files = {"files": _digests.of_files(directory / "arrays")}
    content = json.loads(json.dumps(header | config | files))
    (directory / "config.json").write_text(json.dumps(_digests.sealed(content), indent=2) + "\n")


def _require_ours(path: Path) -> None:
    """Raise InputError unless `path` is a model directory, of any format, that holds nothing else.

    Missing files do not matter: a damaged model may be replaced too.
    """
    content = _read_json(path) if (path / "config.json").is_file() else None
    number = re.fullmatch(r"cmg_jax model (\d{1,9})", str(content.get("format"))) if isinstance(content, dict) else None
    if content is None or number is None:
        raise InputError(f"{path} exists and is not a model directory; it is not replaced, choose another one")
    listed = content.get("files")
    ours = {"config.json", *(f"arrays/{name}" for name in (listed if isinstance(listed, dict) else ()))}
    ours |= {f"{parent}/" for name in ours for parent in Path(name).parents}
    without_list = int(number[1]) < _LISTING_SINCE
    for name in files_in(path, empty_directories=True):
        if name not in ours and not (without_list and _UNLISTED.fullmatch(name)):
            raise InputError(
                f"{path} also holds {name}, which is not part of a model; it is not replaced, move that file first"
            )


def _read_json(path: Path) -> Any:
    try:
        return json.loads((path / "config.json").read_text())
    except FileNotFoundError:
        raise InputError(f"{path} is not a model directory (it has no config.json); see cmg-convert") from None
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(f"{path}/config.json cannot be read ({first_line(error)}); convert the model again") from error


def _read_config(path: Path) -> dict[str, Any]:
    content = _read_json(path)
    if not isinstance(content, dict) or content.get("format") not in (FORMAT, WITHOUT_DIGESTS):
        raise InputError(
            f"{path}/config.json is not of the format {FORMAT!r}; convert the model with this version of cmg_jax"
        )
    if content["format"] == FORMAT and not (_digests.is_intact(content) and isinstance(content.get("files"), dict)):
        raise InputError(f"{path}/config.json is damaged or was edited; copy it again, or convert the model again")
    if content["format"] == WITHOUT_DIGESTS and _digests.SEAL in content:
        raise InputError(f"{path}/config.json is damaged; copy it again, or convert the model again")
    return content


def _parse_config(path: Path, content: dict[str, Any]) -> tuple[CMGConfig, int, int]:
    """The configuration, and the lengths of the pool of first frames and of the command region; 0 is none."""
    robot = _saved.from_json(content, f"{path}/config.json")
    try:
        config = CMGConfig(
            motion_dim=int(content["motion_dim"]),
            command_dim=int(content["command_dim"]),
            num_experts=int(content["num_experts"]),
            gate_dims=tuple(int(n) for n in content["gate_dims"]),
            hidden_dims=tuple(int(n) for n in content["hidden_dims"]),
            robot=robot,
            fps=float(content["fps"]),
            provenance=tuple((str(key), str(text)) for key, text in content["provenance"].items()),
        )
        return config, int(content["initial_motions"]), int(content.get("region_knots", 0))
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise InputError(
            f"{path}/config.json: {type(error).__name__} {error} in the configuration; convert the model again"
        ) from error
