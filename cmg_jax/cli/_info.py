"""`cmg-jax info`: prints the card of a model."""

from pathlib import Path
from typing import Any

from cmg_jax import _card
from cmg_jax.cli import _options
from cmg_jax.model import _checkpoint

SUMMARY = "print a model's card: network, robot, trained range of commands, joints"


def add_options(parser: Any) -> None:
    _options.add_model(parser)
    parser.set_defaults(run=run)


def run(*, model: Path | None) -> None:
    path = _options.model_path(model)
    print(_card.card(_checkpoint.load(path), path))
