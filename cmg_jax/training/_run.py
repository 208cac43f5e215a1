"""A training run in a directory: it may be killed at any time, and continues from its last checkpoint.

DIR/run.json       configuration, network and data, which a resumed run must share
DIR/metrics.csv    loss and validation
DIR/checkpoints/   training states
DIR/best.json      figures of the best validation so far
DIR/model/         the model of that validation, for `cmg_jax.load`

A resumed run refuses damaged files that it depends on; `metrics.csv` is not among them and has no digest.
"""

import dataclasses
import json
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from cmg_jax import _digests
from cmg_jax._errors import InputError
from cmg_jax._files import atomic_directory, atomic_path, clear_write_errors
from cmg_jax.data._dataset import Dataset
from cmg_jax.data._windows import make_windows
from cmg_jax.evaluation import _gait, _held, _measure
from cmg_jax.model import _checkpoint
from cmg_jax.model._model import CMGConfig, CMGModel, without_kernels
from cmg_jax.robot import _saved
from cmg_jax.training import _trainer
from cmg_jax.training._checkpoints import Checkpoints
from cmg_jax.training._metrics import MetricsLog
from cmg_jax.training._trainer import TrainConfig

POOL_FRAMES = 512
"""Number of frames of the data that a trained model keeps as first frames."""

SCALE = {"vx": 0.10, "vy": 0.08, "yaw": 0.12}
"""Errors (m/s, m/s, rad/s) that have equal weight in the score of a validation."""


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Options of a run that do not change its result.

    Examples:
      >>> from cmg_jax import training
      >>> training.RunOptions(chunk=50, validate_every=500).keep
      2
    """

    chunk: int = 100
    """Steps in one call of the device, or fewer up to the next validation; each chunk gives a row of metrics."""
    validate_every: int = 1000
    """Steps from one validation and checkpoint to the next."""
    keep: int = 2
    """Number of newest checkpoints to keep, besides the best one."""


def train(
    dataset: Dataset,
    directory: Path,
    config: TrainConfig,
    model_config: CMGConfig,
    *,
    options: RunOptions | None = None,
    resume: bool = False,
    initial: CMGModel | None = None,
    progress: Callable[[int, dict[str, Any]], Any] = lambda *_: None,
) -> dict[str, Any]:
    """Train a model, or continue a run that was interrupted.

    Args:
      dataset: the frames.
      directory: of the run; it must not exist, unless `resume`.
      config: what the result depends on.
      model_config: the network.
      options: what the result does not depend on.
      resume: continue from the newest checkpoint in `directory`.
      initial: a model to start from; its normalization is kept.
      progress: called after each chunk with the number of steps done and the newest figures.

    Returns:
      The figures of the best validation: "step", "vx", "vy" [m/s], "yaw" [rad/s] (RMSE) and "score".

    Raises:
      InputError: the directory exists, or holds a damaged run or one of other data or another configuration; the
        loss is not finite; or the disk is full.

    Examples:
      >>> from cmg_jax import data, training
      >>> dataset = data.load(Path("walks.npz"))
      >>> config = cmg_jax.CMGConfig(64, 3, 4, (512,), (512, 512), dataset.robot)
      >>> best = training.train(dataset, Path("run"), training.TrainConfig(steps=6000), config)
      >>> model = cmg_jax.load("run/model")
    """
    options = options or RunOptions()
    if options.validate_every < 1:
        raise InputError(f"validate_every {options.validate_every}: at least 1 step is needed")
    stats = jax.tree.map(jnp.asarray, dataset.stats()) if initial is None else initial.stats
    pool = _pool(dataset, config.seed)
    drawing = {"stride": config.stride, "start_weight": config.start_weight, "balance": config.balance}
    windows = make_windows(dataset, config.window, **drawing)
    _open(directory, _description(dataset, config, model_config), resume)
    mesh = _mesh(config.batch_size)
    functions = _trainer.make_trainer(config, model_config, stats, mesh)
    first = (
        _trainer.initial_params(model_config, jax.random.key(config.seed))
        if initial is None
        else without_kernels(initial).params
    )
    frames, windows = _trainer.replicate((_trainer.to_device(dataset), windows), mesh)
    with clear_write_errors(directory), Checkpoints(directory, options.keep) as checkpoints:
        state = checkpoints.restore(functions.init(first))
        log = MetricsLog(directory, int(state.step))
        best = _read_best(directory)
        try:
            while (done := int(state.step)) < config.steps:
                start = time.perf_counter()
                to_validation = options.validate_every - done % options.validate_every
                length = min(options.chunk, to_validation, config.steps - done)
                state, metrics = functions.run(state, frames, windows, length=length)
                figures = {"step": done + length, **{name: float(values.mean()) for name, values in metrics.items()}}
                if not np.isfinite(figures["loss"]):
                    raise InputError(f"the loss is {figures['loss']} at step {done + length}; lower the learning rate")
                figures["windows_per_second"] = length * config.batch_size / (time.perf_counter() - start)
                figures |= dict.fromkeys((*SCALE, "score"), "")
                if (done + length) % options.validate_every == 0 or done + length == config.steps:
                    model = CMGModel(state.ema_params, stats, pool, model_config)
                    figures |= validate(model)
                    if best is None or figures["score"] < best["score"]:
                        best = {"step": figures["step"], **{name: figures[name] for name in (*SCALE, "score")}}
                        _keep_best(directory, model, best)
                log.write(figures)
                if figures["score"] != "":  # last, so that everything before the checkpoint is on disk
                    checkpoints.save(state, figures["score"])
                progress(done + length, figures)
        finally:
            log.close()
    if best is None:
        raise InputError(f"{directory}: its best.json is missing; begin another run")
    return best


def validate(model: CMGModel) -> dict[str, float]:
    """Errors (RMSE) of a model's velocity over half of the evaluation's grid, and their score (smaller is better).

    Of a model with a root channel both velocities count, the root's and the one that its feet carry it at: a root that
    glides over standing legs obeys every command. The fraction of commands under which it does not walk is added to
    the score.

    Examples:
      >>> from cmg_jax import training
      >>> training.validate(cmg_jax.load("run/model"))["score"]
    """
    settings = _measure.Settings()
    commands = _measure.default_grid(model)[::2]
    trajectory = _measure.generate(model, np.repeat(commands[:, None], settings.num_frames, axis=1))
    errors, gliding = _held.tracking(model, trajectory, commands, settings)["rmse"], 0.0
    if model.config.has_root:
        gait = _gait.held(model, trajectory, commands, settings)
        errors = {name: float(np.sqrt((errors[name] ** 2 + gait["feet_rmse"][name] ** 2) / 2)) for name in errors}
        gliding = gait["rows_that_do_not_walk"] / max(gait["rows_that_move"], 1)
    return errors | {"score": float(np.mean([errors[name] / scale for name, scale in SCALE.items()])) + gliding}


def _description(dataset: Dataset, config: TrainConfig, model_config: CMGConfig) -> dict[str, Any]:
    network = {field.name: getattr(model_config, field.name) for field in dataclasses.fields(model_config)}
    del network["provenance"]
    robot = _saved.to_json(network.pop("robot"))
    network["joint_names"] = robot["joint_names"]
    if "robot" in robot:
        network["robot"] = f"crc32 {zlib.crc32(json.dumps(robot).encode())}"
    checksum = zlib.crc32(dataset.motion.tobytes() + dataset.command.tobytes())
    data = {"frames": len(dataset.motion), "clips": len(dataset.clip_names), "crc32": checksum}
    return json.loads(json.dumps({"train": dataclasses.asdict(config), "network": network, "data": data}))


def _open(directory: Path, description: dict[str, Any], resume: bool) -> None:
    path = directory / "run.json"
    if not resume:
        if directory.exists():
            raise InputError(f"{directory} exists; pass --resume to continue its run, or choose another directory")
        with atomic_directory(directory) as partial:
            partial.mkdir()
            (partial / "run.json").write_text(json.dumps(description, indent=2) + "\n")
        return
    found = _read_object(path)
    if found is None:
        raise InputError(f"{directory} holds no run to resume (no run.json that can be read)")
    for section, values in description.items():
        found_values = found.get(section)
        for name, value in values.items():
            found_value = found_values.get(name) if isinstance(found_values, dict) else None
            if found_value != value:
                raise InputError(f"{directory}: its run has {section} {name} {found_value}, not {value}")
    if (directory / "model").exists():
        _checkpoint.check_target(directory / "model", overwrite=True)  # before the training, not after it


def _mesh(batch_size: int) -> Mesh | None:
    """All devices, if there are several and they divide the batch evenly."""
    devices = jax.devices()
    if len(devices) == 1 or batch_size % len(devices):
        return None
    return Mesh(np.array(devices), (_trainer.BATCH_AXIS,))


def _pool(dataset: Dataset, seed: int) -> jax.Array:
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(dataset.motion), size=min(POOL_FRAMES, len(dataset.motion)), replace=False)
    return jnp.asarray(dataset.motion[np.sort(chosen)])


def _read_object(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _read_best(directory: Path) -> dict[str, Any] | None:
    path = directory / "best.json"
    if not path.exists():
        return None
    best = _read_object(path)
    without_digest = {"step", "score", *SCALE}  # as older versions wrote it
    if best is None or not (_digests.is_intact(best) or set(best) == without_digest):
        raise InputError(f"{path} is damaged or was edited; delete it, and the next validation counts as the best")
    return {name: value for name, value in best.items() if name != _digests.SEAL}


def _keep_best(directory: Path, model: CMGModel, best: dict[str, Any]) -> None:
    errors = ", ".join(f"{name} {best[name]:.3f}" for name in SCALE)
    validated = ("validated", f"at step {best['step']}, error of the walked velocity (RMSE): {errors}")
    config = dataclasses.replace(model.config, provenance=(*model.config.provenance, validated))
    model = dataclasses.replace(model, config=config)
    _checkpoint.save(model, directory / "model", overwrite=True)
    with atomic_path(directory / "best.json") as partial:
        partial.write_text(json.dumps(_digests.sealed(best), indent=2) + "\n")
