"""Training states on disk: the newest ones and the best one, written while training continues."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from cmg_jax import _digests
from cmg_jax._errors import InputError
from cmg_jax._files import first_line
from cmg_jax.training._trainer import TrainState

_REMEDY = "delete that directory to continue from the checkpoint before it"


class Checkpoints:
    """orbax checkpoints of a run under DIR/checkpoints, each with a digest of its arrays.

    Use it as a context manager, which waits for the last write at its end.

    Raises:
      InputError: the metadata of an existing checkpoint is damaged.
    """

    def __init__(self, directory: Path, keep: int):
        import orbax.checkpoint as ocp  # a slow import, needed only here

        policy = ocp.checkpoint_managers
        best = policy.BestN(get_metric_fn=_score, reverse=True, n=1, keep_checkpoints_without_metrics=False)
        kept = [policy.LatestN(n=keep), best]
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policy.AnyPreservationPolicy(kept), enable_async_checkpointing=True
        )
        self._args = ocp.args
        path = (directory / "checkpoints").absolute()
        try:
            self._manager = ocp.CheckpointManager(path, options=options)
        except (
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
        ) as error:  # orbax reads the metadata of all checkpoints
            raise InputError(f"{path}: a checkpoint's metadata is damaged ({first_line(error)}); delete it") from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: Any) -> None:
        self._manager.close()

    def save(self, state: TrainState, score: float) -> None:
        """Begin to write `state`; `score` is that of its validation (smaller is better)."""
        arrays = jax.tree.map(np.asarray, _stored(state))
        self._manager.save(
            int(state.step),
            args=self._args.StandardSave(arrays),
            metrics={"score": score},
            custom_metadata={"sha256": _digests.of_arrays(arrays)},
        )

    def restore(self, like: TrainState) -> TrainState:
        """The newest complete state, with the structure and devices of `like`; or `like` if there is none.

        Raises:
          InputError: the checkpoint is damaged or is of another network.
        """
        step = self._manager.latest_step()
        if step is None:
            return like
        expected = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), _stored(like))
        where = f"{self._manager.directory}: checkpoint {step}"
        try:
            arrays = jax.tree.map(np.asarray, self._manager.restore(step, args=self._args.StandardRestore(expected)))
            digest = self._manager.metadata(step).custom_metadata.get("sha256")
        except Exception as error:  # orbax and tensorstore raise many kinds of errors
            raise InputError(f"{where} cannot be read ({first_line(error)}); {_REMEDY}") from error
        if digest not in (None, _digests.of_arrays(arrays)):  # checkpoints of older versions have no digest
            raise InputError(f"{where} is damaged; {_REMEDY}")
        places = jax.tree.map(lambda leaf: leaf.sharding, _stored(like))
        return like._replace(**jax.device_put(arrays, places))


def _score(metrics: Any) -> float:
    return metrics["score"]


def _stored(state: TrainState) -> dict[str, Any]:
    """All fields but the key, which follows from the seed of the run."""
    return {name: value for name, value in state._asdict().items() if name != "key"}
