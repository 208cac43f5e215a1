"""A model as a PyTorch checkpoint in the original's layout, written without torch.

A torch zip file holds a pickle of the object, in which each tensor refers to its storage, and for each storage a
record of raw numbers. `converters.load_model` reads it.
"""

import io
import pickle
import zipfile
from typing import Any

import jax
import numpy as np

from cmg_jax import pickles
from cmg_jax._errors import InputError
from cmg_jax.model._model import CMGModel, without_kernels
from cmg_jax.model._networks import unpack_experts

ALIGNMENT = 64
"""Storages begin at multiples of this many bytes, so that torch can map the file into memory."""


def state_dict(model: CMGModel) -> dict[str, np.ndarray]:
    """The model's weights under the names and in the order of the PyTorch module, float32.

    Raises:
      InputError: the model is in lower precision.

    Examples:
      >>> from cmg_jax import export
      >>> weights = export.state_dict(model)
      >>> weights["gating.gating_network.0.weight"].shape
      (512, 67)
    """
    model = without_kernels(model)
    if any(leaf.dtype != np.float32 for leaf in jax.tree.leaves(model.params)):
        raise InputError("only models in float32 become PyTorch files; export the model as it was loaded")
    out: dict[str, np.ndarray] = {}
    gating = model.params["gating"]
    for index in range(len(gating)):
        dense = gating[f"Dense_{index}"]
        # Between two Linear modules there is an activation.
        out[f"gating.gating_network.{2 * index}.weight"] = np.asarray(dense["kernel"])
        out[f"gating.gating_network.{2 * index}.bias"] = np.asarray(dense["bias"])
    for index in range(len(model.config.hidden_dims) + 1):
        layer = model.params[f"layers_{index}"]
        bias = np.asarray(layer["bias"])
        for expert, weights in enumerate(unpack_experts(np.asarray(layer["kernel"]), bias)):
            out[f"layers.{index}.expert_weights.{expert}"] = weights
        for expert, row in enumerate(bias):
            out[f"layers.{index}.expert_biases.{expert}"] = row
    return out


def torch_file(model: CMGModel, *, stats: bool = True, name: str = "cmg") -> bytes:
    """The bytes of a checkpoint: `model_state_dict` and `stats`, as in the original's cmg_final.pt, and `joint_names`.

    Args:
      model: in float32.
      stats: False for the state_dict alone, as in cmg_best.pt, which `torch.load` reads with `weights_only=True`.
        The original's stats are NumPy arrays, which have to be allowed explicitly.
      name: name of the folder inside the file.

    Raises:
      InputError: the model is in lower precision.

    Examples:
      >>> from cmg_jax import export
      >>> _ = Path("cmg_final.pt").write_bytes(export.torch_file(model))
    """
    weights = {key: _Tensor(np.ascontiguousarray(array)) for key, array in state_dict(model).items()}
    content: Any = _OrderedDict(weights)
    if stats:
        # The original knows no region of commands.
        arrays = {key: np.asarray(array) for key, array in model.stats._asdict().items() if key != "command_region"}
        config = model.config
        sizes = {"num_joints": config.num_joints, "motion_dim": config.motion_dim, "command_dim": config.command_dim}
        names = list(config.joint_names)  # which the original leaves out
        content = {"model_state_dict": content, "stats": {**arrays, **sizes}, "joint_names": names}
    storages: list[np.ndarray] = []

    def save(writer: pickles.Writer, value: Any) -> bool:
        if isinstance(value, _OrderedDict):
            writer.call("collections", "OrderedDict")
            if value.items:
                writer.sequence(pickle.MARK, [part for item in value.items.items() for part in item], pickle.SETITEMS)
        elif isinstance(value, _Tensor):
            writer.name("torch._utils", "_rebuild_tensor_v2")
            writer.out.append(pickle.MARK)
            _storage(writer, len(storages), value.array.size)
            strides = tuple(stride // value.array.itemsize for stride in value.array.strides)
            for argument in (0, value.array.shape, strides, False, _OrderedDict({})):
                writer.value(argument)
            writer.out.append(pickle.TUPLE + pickle.REDUCE)
            storages.append(value.array)
        else:
            return False
        return True

    pickled = pickles.dumps(content, protocol=2, save=save)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        _record(archive, f"{name}/data.pkl", pickled)
        _record(archive, f"{name}/byteorder", b"little")
        for index, array in enumerate(storages):
            _record(archive, f"{name}/data/{index}", array.astype("<f4").tobytes())
        _record(archive, f"{name}/version", b"3\n")
    return stream.getvalue()


class _Tensor:
    def __init__(self, array: np.ndarray):
        self.array = array


class _OrderedDict:
    def __init__(self, items: dict[str, Any]):
        self.items = items


def _storage(writer: pickles.Writer, key: int, size: int) -> None:
    """Write a reference to a record of `size` float32 numbers."""
    writer.out.append(pickle.MARK)
    writer.value("storage")
    writer.name("torch", "FloatStorage")
    for part in (str(key), "cpu", size):
        writer.value(part)
    writer.out.append(pickle.TUPLE + pickle.BINPERSID)


def _record(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Write a record that is not compressed, has no date, and whose content a padded extra field aligns."""
    record = zipfile.ZipInfo(name)
    assert archive.fp is not None
    padding = -(archive.fp.tell() + 30 + len(name) + 4) % ALIGNMENT
    record.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
    archive.writestr(record, content)
