"""Damages files and reads them: a reader must raise InputError, or read the content of the undamaged file.

    python -m bench.damaged_files [--files 10000] [--seed 0] [--jobs 2] [--kind NAME ...]

Files of every kind that this project reads are damaged, by flipped bits, by bytes that are cut off, zeroed, swapped,
duplicated or removed, and by members and files that are emptied or deleted; then they are read. The exit code is 1 if a
reader raised anything but InputError, took longer than 20 seconds, or returned other content without an
error. Kinds without checksums (CSV, pickles, safetensors, PyTorch's older format) are counted separately: there, other
content is not a failure, because nothing in the file reveals the damage. A store has checksums of each shard, so one
whole shard in the place of another cannot be noticed; that is not tried.
"""

import argparse
import collections
import dataclasses
import functools
import io
import json
import logging
import multiprocessing
import os
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides XLA's log about programs in a compilation cache

import jax
import jax.numpy as jnp
import numpy as np

import cmg_jax
from cmg_jax import _digests, motion_files
from cmg_jax.data import _dataset
from cmg_jax.data._dataset import Dataset
from cmg_jax.export import state_dict, torch_file
from cmg_jax.model._model import CMGConfig, CMGModel
from cmg_jax.model._normalization import MotionStats
from cmg_jax.motion_files import Motion
from cmg_jax.robot import G1, Robot
from cmg_jax.store import create_store, fill
from converters import load_model

SECONDS = 20
BATCH = 200
"""Number of files of one kind that a process damages before it reports."""

TORCH_FILES = Path(__file__).parents[1] / "tests" / "data"
REFUSED, IDENTICAL, DIFFERENT, ERROR, HANG = OUTCOMES = ("refused", "identical", "different", "other error", "hang")


class Kind(NamedTuple):
    make: Callable[[Path, CMGModel], Any]
    """Writes an undamaged file or directory."""
    read: Callable[[Path, CMGModel], Any]
    """Reads the content as a pytree of arrays and other values."""
    name: str
    """Of the file."""
    checksums: bool = True
    parts: bool = True
    """Whether members of an archive are deleted too (all of them are needed), and files of a directory exchanged."""


def small_model(robot: Robot = G1) -> CMGModel:
    config = CMGConfig(
        2 * robot.num_joints, 3, 2, (6,), (8,), robot, provenance=(("made", "by bench/damaged_files.py"),)
    )
    random = np.random.default_rng(3)
    motion, command = jnp.zeros((1, config.motion_dim)), jnp.zeros((1, 3))
    params = jax.jit(config.network.init)(jax.random.key(1), motion, command)["params"]
    mean, std = jnp.asarray(random.uniform(0.5, 1.5, size=(2, config.motion_dim)), jnp.float32)
    stats = MotionStats(mean, std, jnp.array([-1.0, -0.5, -0.8]), jnp.array([1.5, 0.5, 0.8]))
    pool = jnp.asarray(random.normal(size=(5, config.motion_dim)), jnp.float32)
    return CMGModel(params, stats, pool, config)


def walk() -> Motion:
    time, joint = np.arange(48)[:, None] / 50, np.arange(29)
    # Within the limits, or the joint order of a CSV would be ambiguous.
    joint_pos = (G1.standing_joint_pos + 0.1 * np.sin(2 * time + joint)).astype(np.float32)
    joint_vel = (0.2 * np.cos(2 * time + joint)).astype(np.float32)
    root_pos = np.concatenate([0.5 * time, 0.1 * time, 0 * time + 0.79], axis=1).astype(np.float32)
    half = 0.1 * time
    root_quat = np.concatenate([np.cos(half), 0 * half, 0 * half, np.sin(half)], axis=1).astype(np.float32)
    command = np.tile(np.array([0.5, 0.1, 0.2], np.float32), (47, 1))
    return Motion(50.0, G1, joint_pos, joint_vel, command, root_pos, root_quat)


def frames() -> Dataset:
    motion = walk()
    clip = np.repeat([0, 1], 24).astype(np.int32)
    command = np.concatenate([motion.commands, motion.commands[-1:]])
    joints = np.concatenate([motion.joint_pos, motion.joint_vel], axis=-1)
    return Dataset(joints, command, clip, (np.arange(48) % 24 == 3).astype(np.int8), ("a", "b"), G1, 50.0)


def make_store(path: Path, model: CMGModel) -> None:
    fill(model, create_store(path, model, 40, 6, seed=1, chunk_envs=16))


def make_safetensors(path: Path, model: CMGModel) -> None:
    header, data = {}, b""
    for name, array in state_dict(model).items():
        content = np.ascontiguousarray(array).tobytes()
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    path.with_name("stats.pt").write_bytes(torch_file(model))


def converted(path: Path, _: CMGModel, names: tuple[str, ...] | None = None) -> Any:
    stats = path.with_name("stats.pt")
    model = load_model(path, stats if stats.exists() else None, names=names)[0]
    return model.params, model.stats, model.initial_motion, repr(dataclasses.replace(model.config, provenance=()))


def loaded(path: Path, _: CMGModel) -> Any:
    model = cmg_jax.load(path)
    return model.params, model.stats, model.initial_motion, repr(model.config)


def clips_of(path: Path, _: CMGModel) -> Any:
    return [clip._asdict() for clip in motion_files.read(path).clips]


def motion_kind(name: str, format_name: str, **kwargs: Any) -> Kind:
    def make(path: Path, _: CMGModel) -> None:
        motion_files.write(path, walk(), format_name, bodies=True)

    return Kind(make, clips_of, name, **kwargs)


def compressed_motion(path: Path, _: CMGModel) -> None:
    motion_files.write(path, walk(), "npz", bodies=True)
    with np.load(path) as arrays:
        np.savez_compressed(path, **arrays)


def copy_of(name: str) -> Callable[[Path, CMGModel], Any]:
    return lambda path, _: path.write_bytes((TORCH_FILES / name).read_bytes())


# Files of torch.save do not name their joints.
of_two_joints = functools.partial(converted, names=("hip", "knee"))

KINDS = {
    "checkpoint": Kind(lambda path, model: path.write_bytes(torch_file(model)), converted, "cmg.pt"),
    "checkpoint of torch": Kind(copy_of("ckpt_4.pt"), of_two_joints, "ckpt_4.pt", parts=False),
    "model directory": Kind(lambda path, model: cmg_jax.save(model, path), loaded, "model"),
    "motion NPZ": motion_kind("walk.npz", "npz", parts=False),
    "motion NPZ, compressed": Kind(
        compressed_motion,
        clips_of,
        "walk.npz",
        parts=False,
    ),
    "tracking NPZ": motion_kind("walk.npz", "mjlab", parts=False),
    "data set": Kind(
        lambda path, _: _dataset.save(path, frames()),
        lambda path, _: dataclasses.asdict(_dataset.load(path)),
        "data.npz",
    ),
    "store": Kind(make_store, lambda path, model: cmg_jax.load_bank(path, model)._asdict(), "bank.zarr", parts=False),
    "checkpoint, older format": Kind(copy_of("final_legacy.pt"), of_two_joints, "final.pt", checksums=False),
    "safetensors": Kind(make_safetensors, converted, "cmg.safetensors", checksums=False),
    "motion CSV": motion_kind("walk.csv", "csv", checksums=False),
    "motion PKL": motion_kind("walk.pkl", "twist", checksums=False),
}


def damage(content: bytes, random: np.random.Generator) -> tuple[str, bytes]:
    """Damage of a random kind to the bytes of a file."""
    size = len(content)
    out = bytearray(content)
    how = random.choice(
        ["bit", "bit", "bit", "bits", "cut", "cut front", "zeros", "swap", "double", "leave out", "noise", "empty"]
    )
    first, second = sorted(random.integers(size + 1, size=2).tolist())
    length = int(min(random.integers(1, 200), size))
    at, other = (int(random.integers(size - length + 1)) for _ in range(2))
    if how in ("bit", "bits"):
        for position in random.integers(8 * size, size=1 if how == "bit" else 5).tolist():
            out[position // 8] ^= 1 << position % 8
    elif how == "cut":
        out = out[:first]
    elif how == "cut front":
        out = out[at:]
    elif how == "zeros":
        out[at : at + length] = bytes(length)
    elif how == "swap":
        out[at : at + length], out[other : other + length] = content[other : other + length], content[at : at + length]
        out = out[:size]
    elif how == "double":
        out[first:first] = content[first:second]
    elif how == "leave out":
        del out[at : at + length]
    elif how == "noise":
        out[at : at + length] = random.bytes(length)
    else:
        out.clear()
    return how, bytes(out)


def damage_member(content: bytes, delete: bool, random: np.random.Generator) -> tuple[str, bytes]:
    """A zip archive with a member emptied or deleted and correct checksums."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w") as new:
        infos = old.infolist()
        # Members that torch writes and does not read do not matter.
        chosen = [info for info in infos if info.filename.endswith((".npy", ".pkl")) or "/data/" in info.filename]
        hit = chosen[int(random.integers(len(chosen)))].filename
        for info in infos:
            if info.filename != hit:
                new.writestr(info, old.read(info))
            elif not delete:
                new.writestr(info, b"")
    return f"{'delete' if delete else 'empty'} member {hit}", stream.getvalue()


@dataclasses.dataclass
class Damaged:
    """A file or directory of a kind, which is damaged in one way after another."""

    kind: Kind
    path: Path

    def hit(self, random: np.random.Generator) -> tuple[str, Callable[[], None]]:
        """Damage it at random; returns a description and a function that restores the content."""
        inside = sorted(path for path in self.path.rglob("*") if path.is_file()) or [self.path]
        target = inside[int(random.integers(len(inside)))]
        content = target.read_bytes()
        chance = random.random()
        if self.path.is_dir() and chance < 0.05:
            how = "delete"
            target.unlink()
        elif self.path.is_dir() and self.kind.parts and chance < 0.1:
            source = inside[int(random.integers(len(inside)))]
            how = f"overwrite with {source.relative_to(self.path)}"
            target.write_bytes(source.read_bytes())
        elif zipfile.is_zipfile(target) and chance < 0.1:
            how, changed = damage_member(content, self.kind.parts and chance < 0.05, random)
            target.write_bytes(changed)
        else:
            how, changed = damage(content, random)
            target.write_bytes(changed)
        name = target.relative_to(self.path) if target != self.path else target.name

        def undo() -> None:
            target.write_bytes(content)

        return f"{name}: {how}", undo


class Outcome(NamedTuple):
    kind: str
    number: int
    what: str
    message: str


def run(name: str, first: int, last: int, seed: int) -> Iterator[Outcome]:
    """Damage and read the files `first` to `last` of a kind; each one depends on the seed and its index alone."""
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    sys.unraisablehook = lambda _: None
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _too_long)
    kind, model = KINDS[name], small_model()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / kind.name
        kind.make(path, model)
        whole = _digest(kind.read(path, model))
        damaged = Damaged(kind, path)
        for index in range(first, last):
            random = np.random.default_rng([seed, index, sum(name.encode())])
            how, undo = damaged.hit(random)
            what, message = _read(kind, path, model, whole)
            undo()
            yield Outcome(name, index, what, f"{how}: {message}")
        assert _digest(kind.read(path, model)) == whole


def _read(kind: Kind, path: Path, model: CMGModel, whole: str) -> tuple[str, str]:
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        return (IDENTICAL if _digest(kind.read(path, model)) == whole else DIFFERENT), ""
    except cmg_jax.InputError as error:
        return (REFUSED, str(error)) if len(str(error).splitlines()) == 1 else (ERROR, f"several lines: {error}")
    except TimeoutError:
        return HANG, ""
    except Exception as error:  # the failures that this program looks for
        return ERROR, f"{type(error).__name__} {error} in {traceback.extract_tb(error.__traceback__)[-1]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _too_long(*_: Any) -> None:
    raise TimeoutError


def _digest(content: Any) -> str:
    leaves = jax.tree.leaves_with_path(content, is_leaf=lambda leaf: leaf is None)
    text = [f"{jax.tree_util.keystr(path)} {leaf!r}" for path, leaf in leaves if not hasattr(leaf, "dtype")]
    arrays = {jax.tree_util.keystr(path): leaf for path, leaf in leaves if hasattr(leaf, "dtype")}
    return _digests.of_arrays(arrays) + _digests.of_arrays(np.array(text))


def _batch(arguments: tuple[str, int, int, int]) -> list[Outcome]:
    return list(run(*arguments))


def check_undamaged(names: Sequence[str]) -> None:
    """Exit with a message if an undamaged file of these kinds is refused."""
    model = small_model()
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / KINDS[name].name
            KINDS[name].make(path, model)
            try:
                KINDS[name].read(path, model)
            except cmg_jax.InputError as error:
                sys.exit(f"{name}: the undamaged file is refused: {error}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Read damaged files, and count the outcomes.")
    parser.add_argument("--files", type=int, default=1000, help="of all kinds together (default 1000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--all", action="store_true", help="print the damage and the message of every file")
    arguments = parser.parse_args()
    start = time.perf_counter()
    names = arguments.kind
    check_undamaged(names)
    each = -(-arguments.files // len(names))
    tasks = [
        (name, first, min(first + BATCH, each), arguments.seed) for first in range(0, each, BATCH) for name in names
    ]
    counts = {name: collections.Counter() for name in names}
    failures = []
    with ProcessPoolExecutor(arguments.jobs, multiprocessing.get_context("spawn")) as pool:
        for outcomes in pool.map(_batch, tasks):
            for outcome in outcomes:
                counts[outcome.kind][outcome.what] += 1
                bad = (ERROR, HANG, DIFFERENT) if KINDS[outcome.kind].checksums else (ERROR, HANG)
                if outcome.what in bad:
                    failures.append(outcome)
                if arguments.all or outcome.what in bad:
                    print(f"{outcome.kind} {outcome.number}: {outcome.what}: {outcome.message}", flush=True)
    print(f"{'':<26}" + "".join(f"{text:>13}" for text in ("files", *OUTCOMES)))
    for checksums, title in ((True, "with checksums"), (False, "without checksums: other content is not noticed")):
        print(title)
        rows = [name for name in names if KINDS[name].checksums == checksums]
        for name in rows:
            print(f"  {name:<24}" + _row(counts[name]))
        print(f"  {'together':<24}" + _row(sum((counts[name] for name in rows), collections.Counter())))
    print(f"{len(failures)} failures, {time.perf_counter() - start:.0f} s")
    return int(bool(failures))


def _row(counts: collections.Counter) -> str:
    return "".join(f"{number:>13}" for number in (sum(counts.values()), *(counts[what] for what in OUTCOMES)))


if __name__ == "__main__":
    sys.exit(main())
