"""Normalization (stats) and initial frames from a checkpoint, a training data set or a `cmg_stats.yaml`."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cmg_jax._errors import InputError
from cmg_jax._files import first_line
from cmg_jax.pickles import Placeholder
from cmg_jax.robot._frame import frame_size
from converters import _source, _tree
from converters._torch_file import to_numpy

MAX_INITIAL_MOTIONS = 4096
FIELDS = ("motion_mean", "motion_std", "command_min", "command_max")

REMEDY = "use the stats of the data that this model was trained on"

Stats = dict[str, np.ndarray]


def find(content: Any) -> Any:
    """The stats in the content of a file: its entry `stats`, or the arrays wherever they are; None if there are none.

    Raises:
      InputError: they are in several places.
    """
    if isinstance(content, dict) and "stats" in content:
        return content["stats"]
    groups: dict[str, dict[str, Any]] = {}
    for leaf in _tree.leaves(content):
        where, _, name = leaf.name.rpartition(".")
        groups.setdefault(where, {})[name] = leaf.value
    some = {where: group for where, group in groups.items() if set(FIELDS) & set(group)}
    found = {where: group for where, group in some.items() if set(FIELDS) <= set(group)} or some
    if len(found) > 1:
        raise InputError(f"holds stats in {', '.join(map(repr, found))}; pass those of its data set as --stats")
    return next(iter(found.values()), None)


def read(path: Path) -> Any:
    """The content of a `.yaml` file, a data set or a checkpoint.

    Raises:
      InputError: the file is damaged or of another kind.
      OSError: it cannot be opened.
    """
    if path.suffix.lower() not in (".yaml", ".yml"):
        return _source.load(path)
    try:
        return yaml.safe_load(path.read_text())
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(f"{path}: not a YAML file ({first_line(error)})") from error


def parse(raw: Any, motion_dim: int, command_dim: int) -> Stats:
    """The stats in float32, checked against the sizes of the network.

    Raises:
      InputError: a field is missing, of the wrong length, not finite, or cannot normalize.
    """
    if isinstance(raw, Placeholder):
        raise InputError(f"its stats are stored as {raw.name}, which is not read; pass them as --stats")
    if not isinstance(raw, dict):
        raise InputError("its stats are not a dictionary of arrays")
    if missing := [name for name in FIELDS if name not in raw]:
        raise InputError(f"its stats lack {', '.join(missing)}; {REMEDY}")
    stats: Stats = {}
    for name in FIELDS:
        size = motion_dim if name.startswith("motion") else command_dim
        values = _vector(raw[name], name)
        if values.shape != (size,):
            raise InputError(f"stats {name} has shape {values.shape}; this network needs {size}; {REMEDY}")
        if not np.isfinite(values).all():
            raise InputError(f"stats {name}[{int(np.argmin(np.isfinite(values)))}] is not finite; {REMEDY}")
        stats[name] = values
    if (stats["motion_std"] <= 0).any():
        index = int(np.argmax(stats["motion_std"] <= 0))
        raise InputError(f"stats motion_std[{index}] is {stats['motion_std'][index]}; it must be above zero; {REMEDY}")
    if (stats["command_min"] >= stats["command_max"]).any():
        index = int(np.argmax(stats["command_min"] >= stats["command_max"]))
        low, high = stats["command_min"][index], stats["command_max"][index]
        raise InputError(f"stats command_min[{index}] = {low} is not below command_max[{index}] = {high}; {REMEDY}")
    stated = num_joints(raw)
    if stated is not None and motion_dim not in [frame_size(stated, root=root) for root in (False, True)]:
        raise InputError(f"stats num_joints = {stated}, but the network's frame has {motion_dim} numbers; {REMEDY}")
    return stats


def num_joints(raw: Any) -> int | None:
    """The number of joints that stats state; None where they state none."""
    stated = raw.get("num_joints") if isinstance(raw, dict) else None
    stated = stated if isinstance(stated, int) else to_numpy(stated)
    return None if stated is None or np.ndim(stated) else int(stated)


def same(first: Stats, second: Stats) -> bool:
    return all(np.allclose(first[name], second[name], rtol=1e-5, atol=1e-6) for name in FIELDS)


def initial_motions(samples: Any, motion_dim: int) -> np.ndarray:
    """The first frames [N, D] of at most 4096 training windows, evenly spread.

    Raises:
      InputError: the samples are not windows of frames of this width, or a frame is not finite.
    """
    if not isinstance(samples, list) or not samples:
        raise InputError("its samples are not a list of training windows")
    count = min(len(samples), MAX_INITIAL_MOTIONS)
    frames = []
    for index in np.linspace(0, len(samples) - 1, count).round().astype(int):
        window = samples[index].get("motion") if isinstance(samples[index], dict) else None
        window = to_numpy(window)
        if window is None or window.ndim != 2 or window.shape[1] != motion_dim or not len(window):
            raise InputError(f"sample {index} is not a window of frames of {motion_dim} numbers")
        frames.append(window[0].astype(np.float32))
    pool = np.stack(frames)
    if not np.isfinite(pool).all():
        raise InputError("its samples hold frames that are not finite")
    return pool


def _vector(value: Any, name: str) -> np.ndarray:
    """An array, or a list of numbers of any kind, as a vector in float32."""
    if isinstance(value, Placeholder):
        raise InputError(f"stats {name} is stored as {value.name}, which is not read; save it as a list of numbers")
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.tolist()
    if isinstance(value, list | tuple):
        numbers = [number if isinstance(number, int | float) else to_numpy(number) for number in value]
        plain = all(number is not None and np.ndim(number) == 0 for number in numbers)
        value = numbers if plain else None
    else:
        value = to_numpy(value)
    if value is None:
        raise InputError(f"stats {name} is not a list of numbers")
    try:
        with np.errstate(over="ignore"):
            values = np.asarray(value, np.float32)
    except OverflowError:
        raise InputError(f"stats {name} holds a number that is not finite") from None
    # A mean that kept the axis it was taken over.
    return values.reshape(-1) if values.ndim and values.size == max(values.shape) else values
