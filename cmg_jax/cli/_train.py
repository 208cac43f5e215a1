"""`cmg-jax train`: trains a model on a data set."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any, get_args, get_type_hints

from cmg_jax import evaluation
from cmg_jax._errors import InputError
from cmg_jax.cli._progress import progress_reports
from cmg_jax.data import _dataset
from cmg_jax.model import _checkpoint
from cmg_jax.model._model import CMGConfig, CMGModel
from cmg_jax.training import RunOptions, TrainConfig, train

PROGRAM = "cmg-jax train"
SUMMARY = "train a model on a data set"
HELP = {
    "steps": "number of training steps",
    "batch_size": "number of windows in a step",
    "window": "number of frames that are predicted in a window",
    "learning_rate": "learning rate after the warm-up (no unit)",
    "warmup_steps": "number of steps in which the learning rate rises from 0",
    "schedule": "learning rate after the warm-up: falls along a cosine, halved on a plateau of the loss, or constant",
    "final_learning_rate": "learning rate at the end of the schedule (no unit)",
    "plateau_steps": "plateau: the rate is halved when the loss has not fallen for ten times this number of steps",
    "weight_decay": "weight decay (no unit)",
    "clip_norm": "largest norm of the gradient (no unit)",
    "ema": "decay per step, from 0 to 1, of the averaged weights that are validated and kept",
    "teacher_start": "probability from 0 to 1, at the first step, that a frame is predicted from the data's frame",
    "teacher_end": "the same probability from 0 to 1 after --teacher-steps",
    "teacher_steps": "number of steps in which that probability changes",
    "through_predictions": "let gradients pass through the network's own predictions",
    "feet_weight": "weight of the squared error of the feet's positions, in units of (5 cm)^2, and with a root channel "
    "of their velocity on the floor, in (0.7 m/s)^2",
    "walk_weight": "weight of the squared error of the walked velocity, in units of (0.1 m/s)^2 and (0.1 rad/s)^2",
    "agreement_weight": "weight of the squared difference of joint velocities and position differences, in (rad/s)^2",
    "noise": "standard deviation of the noise on a window's first frame, normalized (no unit)",
    "mirror": "probability from 0 to 1 that a window is mirrored, if it may be",
    "stride": "number of frames from the start of one window to the next",
    "start_weight": "factor on the probability of windows that contain a start from standing (no unit)",
    "balance": "from 0, all windows are equally likely, to 1, all walking speeds are (no unit)",
    "seed": "seed (no unit) that draws the first weights and the windows",
}
"""A help text for each field of `TrainConfig`."""

PRESETS = {"human": {"steps": 8000, "feet_weight": 1.0, "start_weight": 12.0}}
"""Recipes by name, as what differs from the default one; docs/matching.md and docs/model_card.md have their figures."""


def add_options(parser: Any) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="FILE.npz", help="data set to train on (required)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory of the run (required)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument("--init", type=Path, metavar="DIR", help="model to fine-tune (default: a new network)")
    parser.add_argument("--description", default="", metavar="TEXT", help="a line for the model's card")
    network = parser.add_argument_group("network")
    network.add_argument("--experts", type=int, default=4, metavar="N", help="number of experts")
    network.add_argument("--width", type=int, default=512, metavar="N", help="number of units of a hidden layer")
    network.add_argument("--layers", type=int, default=3, metavar="N", help="number of layers")
    group = parser.add_argument_group("training")
    human = ", ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in PRESETS["human"].items())
    group.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        help=f"recipe for human motion with a root, from cmg-jax match or gaits: {human}, unless they are given "
        "(default: the recipe below)",
    )
    hints = get_type_hints(TrainConfig)
    for field in dataclasses.fields(TrainConfig):
        flag = f"--{field.name.replace('_', '-')}"
        words = {"default": argparse.SUPPRESS, "help": f"{HELP[field.name]} (default: {field.default})"}
        if isinstance(field.default, bool):
            group.add_argument(flag, action=argparse.BooleanOptionalAction, **words)
        elif choices := get_args(hints[field.name]):
            group.add_argument(flag, choices=choices, **words)
        else:
            kind = hints[field.name]
            group.add_argument(flag, type=kind, metavar="N" if kind is int else "X", **words)
    group.add_argument(
        "--validate-every",
        type=int,
        default=RunOptions().validate_every,
        metavar="N",
        help="number of steps from one validation and checkpoint to the next",
    )
    parser.set_defaults(run=run)


def run(
    *,
    data: Path,
    out: Path,
    resume: bool,
    init: Path | None,
    description: str,
    experts: int,
    width: int,
    layers: int,
    preset: str | None,
    validate_every: int,
    **recipe: Any,
) -> None:
    dataset = _dataset.load(data)
    config = TrainConfig(**(PRESETS.get(preset or "", {}) | recipe))
    initial = _checkpoint.load(init) if init else None
    provenance = (
        ("trained", f"by cmg_jax on {len(dataset.motion)} frames of {data.name}, seed {config.seed}"),
        ("recipe", ", ".join(f"{key} {value}" for key, value in dataclasses.asdict(config).items())),
    )
    if init:
        provenance += (("from", init.name),)
    if description:
        provenance += (("description", description),)
    if init and initial is not None:
        model_config = _fine_tuned(initial, dataset, f"{init}: its robot or frame rate are not those of {data}")
    else:
        if layers < 1:
            raise InputError(f"--layers {layers}: at least 1 is needed")
        dims = (dataset.motion.shape[1], dataset.command.shape[1], experts)
        model_config = CMGConfig(*dims, (width,), (width,) * (layers - 1), dataset.robot, dataset.fps)
    with progress_reports(PROGRAM) as progress:
        advance = progress("steps", config.steps, compiles=True)
        done = 0

        def report(step: int, figures: dict[str, Any]) -> None:
            nonlocal done
            advance(step - done)
            done = step
            if figures["score"] != "":
                errors = ", ".join(f"{name} {figures[name]:.3f}" for name in evaluation.COMPONENTS)
                print(
                    f"step {step}  loss {figures['loss']:.5f}  walked: {errors}  score {figures['score']:.3f}  "
                    f"{figures['windows_per_second']:.0f} windows/s",
                    flush=True,
                )

        best = train(
            dataset,
            out,
            config,
            dataclasses.replace(model_config, provenance=provenance),
            options=RunOptions(validate_every=validate_every),
            resume=resume,
            initial=initial,
            progress=report,
        )
    print(f"best at step {best['step']} (score {best['score']:.3f}); wrote {out / 'model'}")


def _fine_tuned(initial: CMGModel, dataset: _dataset.Dataset, message: str) -> CMGConfig:
    if initial.config.robot != dataset.robot or initial.config.fps != dataset.fps:
        raise InputError(message)
    if initial.config.motion_dim != dataset.motion.shape[1]:
        has = ("has no root channel", "has a root channel")
        remedy = "make the data with cmg-jax data --root drop" if dataset.has_root else "train a new network"
        raise InputError(f"the model {has[initial.config.has_root]}, the data {has[dataset.has_root]}; {remedy}")
    return initial.config
