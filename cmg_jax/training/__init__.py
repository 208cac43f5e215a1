"""Training a CMG on a data set, in a directory from which an interrupted run continues.

    best = train(dataset, Path("run"), TrainConfig(steps=6000), model_config)
    model = cmg_jax.load("run/model")

`cmg-jax train` does the same from the command line.
"""

from cmg_jax.training._run import RunOptions, train, validate
from cmg_jax.training._trainer import TrainConfig

__all__ = ["RunOptions", "TrainConfig", "train", "validate"]
