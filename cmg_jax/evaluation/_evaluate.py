"""All figures of a model in one report."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.data._dataset import Dataset
from cmg_jax.evaluation import _changes, _drift, _gait, _held, _measure, _poses, _quality
from cmg_jax.evaluation._measure import Settings, default_grid, generate
from cmg_jax.model._model import CMGModel

STAGES = ("held commands", "changing commands", "starting and stopping", "drift")
"""Stages of `evaluate`, whose names it passes to its `progress` in this order."""


def evaluate(
    model: CMGModel,
    *,
    grid: Sequence[Sequence[float]] | None = None,
    settings: Settings | None = None,
    data: Dataset | None = None,
    progress: Callable[[str], Any] = lambda _: None,
) -> dict[str, Any]:
    """Measure how well a model obeys its commands.

    Args:
      model: of a robot whose feet are known, with commands vx, vy [m/s] and yaw rate [rad/s]. Of a model without a
        network, `cmg_jax.model_of_library`, the motion is that of `cmg_jax.matching`.
      grid: commands, each held from a standing start; by default `default_grid(model)`.
      settings: how long to generate; see `Settings`.
      data: the training data, whose quality is then reported under "data".
      progress: called with the name of each stage before it begins.

    Returns:
      the report, of the types that JSON has; figures of a motion that is not finite are NaN (`report_json` writes
      null). Its keys are "tracking" (held commands), "quality", "switching" (changing commands), "start_stop",
      "drift", with a network "gate" (use of the experts), with a root channel "gait" (held commands again: how the
      feet carry the root, by command and by band of speed) and, with `data`, "data" and "poses" (how near they are to
      those of the data, and how far apart).

    Raises:
      InputError: the model's robot or commands cannot be measured, the data is of another robot or frame rate, or
        the settings leave nothing to measure.

    Examples:
      >>> from cmg_jax import evaluation
      >>> report = evaluation.evaluate(model, grid=[(0.8, 0.0, 0.0)])
      >>> report["gait"]["rows"][0]["verdict"]
    """
    settings = settings or Settings()
    model.config.check_walks("evaluation")
    if not 0 <= settings.seed < 2**32:
        raise InputError(f"seed {settings.seed} is not a number from 0 to {2**32 - 1}")
    if settings.num_frames < settings.settle_seconds * model.config.fps + 50:
        raise InputError(f"frames {settings.num_frames} are too few to measure after {settings.settle_seconds:g} s")
    if data is not None:
        data = _comparable(data, model)
    data_segments = None if data is None else _quality.segments(data, settings.num_frames)
    commands = np.asarray(default_grid(model) if grid is None else grid, np.float32).reshape(-1, 3)
    progress(STAGES[0])
    ramp = settings.ramp_seconds * model.config.fps
    held = generate(model, _measure.held(commands, settings.num_frames, ramp))
    progress(STAGES[1])
    changing = _changes.changing_commands(model, settings)
    changed = generate(model, changing)
    progress(STAGES[2])
    report = {
        "tracking": _held.tracking(model, held, commands, settings),
        "quality": _quality.quality(held, model.config.robot, model.config.fps),
        "switching": _changes.changes(model, changed, changing, settings),
        "start_stop": _changes.start_stop(model),
    }
    if model.params:
        report["gate"] = _held.gate_usage(model, held, commands)
    if model.config.has_root:
        report["gait"] = _gait.held(model, held, commands, settings)
    progress(STAGES[3])
    report["drift"] = _drift.drift(model, commands, settings)
    if data is not None and data_segments is not None:
        quality = _quality.quality(data_segments[0], data.robot, data.fps)
        bands = {"bands": _gait.of_data(data)} if data.has_root else {}
        report["poses"] = _poses.poses(held[:, 1:], data)
        report["data"] = quality | {"rmse": _quality.data_tracking(data, *data_segments)} | bands
    return report


def _comparable(data: Dataset, model: CMGModel) -> Dataset:
    """The data, without its root channel where the model has none."""
    if (data.robot, data.fps) != (model.config.robot, model.config.fps):
        raise InputError("the data's joints or frame rate are not those of the model")
    if model.config.has_root and not data.has_root:
        raise InputError("the model has a root channel and the data has none; pass the data that the model learnt from")
    return dataclasses.replace(data, motion=data.motion[:, : model.config.motion_dim])
