"""`cmg-jax train`: a data set in, a trained model out."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any, get_args, get_type_hints

from cmg_jax import evaluation
from cmg_jax._errors import InputError
from cmg_jax.cli.program import progress_bars
from cmg_jax.data import _dataset
from cmg_jax.model import _checkpoint
from cmg_jax.model._model import CMGConfig
from cmg_jax.training import RunOptions, TrainConfig, train


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("train", help="train a model on a data set")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE.npz", help="data set of cmg-jax data")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory of the run")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--init", type=Path, metavar="MODEL_DIR", help="model to start from (fine-tuning)")
    parser.add_argument("--description", default="", metavar="TEXT", help="a line for the model's card")
    network = parser.add_argument_group("network")
    network.add_argument("--experts", type=int, default=4)
    network.add_argument("--width", type=int, default=512)
    network.add_argument("--layers", type=int, default=3)
    group = parser.add_argument_group("training")
    hints = get_type_hints(TrainConfig)
    for field in dataclasses.fields(TrainConfig):
        flag = f"--{field.name.replace('_', '-')}"
        if isinstance(field.default, bool):
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=field.default)
        elif choices := get_args(hints[field.name]):
            group.add_argument(flag, choices=choices, default=field.default)
        else:
            group.add_argument(flag, type=hints[field.name], default=field.default)
    options = RunOptions()
    group.add_argument("--validate-every", type=int, default=options.validate_every, metavar="STEPS")
    parser.set_defaults(function=_train)


def _train(arguments: argparse.Namespace) -> None:
    data = _dataset.load(arguments.data)
    config = TrainConfig(**{field.name: getattr(arguments, field.name) for field in dataclasses.fields(TrainConfig)})
    initial = _checkpoint.load(arguments.init) if arguments.init else None
    provenance = (
        ("trained", f"by cmg_jax on {len(data.motion)} frames of {arguments.data.name}, seed {config.seed}"),
        ("recipe", ", ".join(f"{key} {value}" for key, value in dataclasses.asdict(config).items())),
    )
    if arguments.init:
        provenance += (("from", arguments.init.name),)
    if arguments.description:
        provenance += (("description", arguments.description),)
    if initial is not None:
        if initial.config.robot != data.robot or initial.config.fps != data.fps:
            raise InputError(f"{arguments.init}: its robot or frame rate are not those of {arguments.data}")
        model_config = dataclasses.replace(initial.config, provenance=provenance)
    else:
        if arguments.layers < 1:
            raise InputError(f"--layers {arguments.layers}: at least 1 is needed")
        widths = (arguments.width,) * (arguments.layers - 1)
        dims = (data.motion.shape[1], data.command.shape[1], arguments.experts)
        model_config = CMGConfig(*dims, (arguments.width,), widths, data.robot, data.fps, provenance)
    with progress_bars() as progress:
        advance = progress("train", config.steps)
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

        options = RunOptions(validate_every=arguments.validate_every)
        best = train(
            data,
            arguments.out,
            config,
            model_config,
            options=options,
            resume=arguments.resume,
            initial=initial,
            progress=report,
        )
    print(f"best at step {best['step']} (score {best['score']:.3f}); wrote {arguments.out / 'model'}")
