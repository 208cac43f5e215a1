"""Trajectories on disk: zarr 3 arrays that any number of processes write, a chunk of environments at a time.

    DIR.zarr/zarr.json    a zarr group; its attributes say what the store holds (`StoreConfig`), with their digest
    DIR.zarr/motion/      [num_envs, T+1, D] float32 or float16, physical: joint_pos [rad], joint_vel [rad/s] and,
                          of a model that has one, the root channel
    DIR.zarr/command/     [num_envs, C] float32, held by each environment; or [T, C], shared by all

A chunk is one shard file of each array that has environments, and it is done when these files exist: tensorstore
writes a shard under a temporary name, syncs it, renames it and syncs the directory, so a file with the final name is
complete and durable. Each piece of a shard, and the list of them, has a checksum that is compared on every read.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cmg_jax import _digests
from cmg_jax._blocks import CPU_BLOCK_ROWS
from cmg_jax._errors import InputError
from cmg_jax._files import atomic_directory, first_line
from cmg_jax._version import __version__
from cmg_jax.model._model import CMGModel, without_kernels
from cmg_jax.robot._frame import has_root

FORMAT = "cmg_jax motion store 1"
_KEYS = {"num_envs": "envs", "num_frames": "steps", "chunk_envs": "chunk"}
"""Keys of the file that differ from the field names of `StoreConfig`."""

SUFFIX = ".zarr"
"""Suffix of a store's directory."""

DTYPES = ("float32", "float16")
DRAWN = "drawn"
"""The value of `StoreConfig.commands` if each environment holds a command that was drawn for it."""

CHUNK_BYTES = 2**26
"""Default size of a chunk: the most that a killed process loses, and the unit of memory (one chunk is filled while
another is written).

Writing 64 MB takes much longer than a system call, and a large store still has hundreds of chunks to share among
processes. A chunk is a whole shard, so no two processes ever write into one file."""

READ_BYTES = 2**20
"""Shards are made of pieces of at most this size, each with its checksum; a reader of one environment reads one."""


@dataclasses.dataclass(frozen=True)
class StoreConfig:
    """Everything that the bytes of a store depend on."""

    num_envs: int
    num_frames: int
    """Frames T of each motion, the first frame not counted."""
    seed: int
    commands: str
    """`DRAWN`, or a digest of the commands that all environments share."""
    dtype: str
    """Of the frames: "float32" or "float16"."""
    chunk_envs: int
    """Environments in a chunk."""
    model: str
    """`fingerprint` of the model."""
    fps: float
    joint_names: tuple[str, ...]
    command_dim: int
    motion_dim: int
    """Numbers D in a frame."""

    @property
    def num_chunks(self) -> int:
        return -(-self.num_envs // self.chunk_envs)


class MotionStore(NamedTuple):
    """An open store. Its arrays are read when a part of them is: `read(store, store.motion[:10])`."""

    path: Path
    config: StoreConfig
    motion: Any
    """`tensorstore.TensorStore` [num_envs, T+1, D], physical."""
    command: Any
    """`tensorstore.TensorStore` [num_envs, C], or [T, C] if all environments share their commands."""

    @property
    def shares_commands(self) -> bool:
        """Whether all environments follow the same commands."""
        return self.config.commands != DRAWN

    def rows(self, chunk: int) -> slice:
        """The environments of a chunk."""
        first = chunk * self.config.chunk_envs
        return slice(first, min(first + self.config.chunk_envs, self.config.num_envs))

    def is_done(self, chunk: int) -> bool:
        """Whether a chunk is complete on disk."""
        shards = [self.path / "motion" / "c" / str(chunk) / "0" / "0"]
        if not self.shares_commands:
            shards.append(self.path / "command" / "c" / str(chunk) / "0")
        return all(shard.is_file() for shard in shards)

    def missing(self) -> list[int]:
        """Indices of the chunks that are not done."""
        return [chunk for chunk in range(self.config.num_chunks) if not self.is_done(chunk)]

    def write(self, chunk: int, motion: np.ndarray, command: np.ndarray) -> Any:
        """Begin to write a chunk.

        Args:
          chunk: its index.
          motion: [B, T+1, D] of the chunk's environments; it and `command` are copied before the call returns.
          command: [B, C]; not written if all environments share their commands.

        Returns:
          A future; its `result()` waits until the chunk is durable.
        """
        import tensorstore as ts

        rows = self.rows(chunk)
        transaction = ts.Transaction()  # without one, a shard is rewritten for each of its pieces
        copies = [self.motion.with_transaction(transaction)[rows].write(motion)]
        if not self.shares_commands:
            copies.append(self.command.with_transaction(transaction)[rows].write(command))
        for copy in copies:
            copy.copy.result()  # a write that is released before is silently left out of the transaction
        return transaction.commit_async()


def fingerprint(model: CMGModel) -> str:
    """A digest of all arrays of a model."""
    model = without_kernels(model)
    return _digests.of_arrays((model.params, model.stats, model.initial_motion))


def create_store(
    path: Path,
    model: CMGModel,
    num_envs: int,
    num_frames: int,
    *,
    commands: np.ndarray | None = None,
    seed: int = 0,
    dtype: str = "float32",
    chunk_envs: int | None = None,
) -> MotionStore:
    """The store at `path`: a new one without motions, or the one that a process has begun with the same arguments.

    Args:
      path: the directory, whose name should end in `SUFFIX`.
      model: the model that will generate the motions.
      num_envs: number of motions.
      num_frames: frames T of each motion, the first frame not counted.
      commands: [T, C], shared by all environments; by default each holds a command that is drawn for it.
      seed: draws first frames and commands.
      dtype: of the frames on disk: "float32" or "float16".
      chunk_envs: environments in a chunk; by default as many as give 64 MB.

    Raises:
      InputError: a number out of range, an unknown dtype, or chunks of which memory cannot hold two; `path`
        is not a store, or one that was begun with other arguments; or nothing can be written there.

    Examples:
      >>> from cmg_jax import store
      >>> made = store.create_store(Path("bank.zarr"), model, num_envs=8, num_frames=10)
      >>> made.missing()  # chunks
      [0]
    """
    commands = None if commands is None else np.asarray(commands, np.float32)
    config = configure(model, num_envs, num_frames, commands=commands, seed=seed, dtype=dtype, chunk_envs=chunk_envs)
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        with atomic_directory(path, once=True) as partial:  # of several processes, the first one creates it
            partial.mkdir()
            _create(partial, config, commands)
    return _same(open_store(path), config)


def configure(
    model: CMGModel,
    num_envs: int,
    num_frames: int,
    *,
    commands: np.ndarray | None = None,
    seed: int = 0,
    dtype: str = "float32",
    chunk_envs: int | None = None,
) -> StoreConfig:
    """The configuration of a store with these arguments of `create_store`.

    Raises:
      InputError: a number out of range, an unknown dtype, or chunks of which memory cannot hold two.
    """
    if not 1 <= num_envs < 2**32:
        raise InputError(f"{num_envs} environments: a store holds from 1 to {2**32 - 1}")
    if dtype not in DTYPES:
        raise InputError(f"dtype {dtype!r}: a store is of {' or '.join(DTYPES)}")
    if commands is not None and commands.shape != (num_frames, model.config.command_dim):
        raise InputError(f"commands of shape {commands.shape}: [{num_frames}, {model.config.command_dim}] are needed")
    row_bytes = _row_bytes(num_frames, model.config.motion_dim, dtype)
    if num_frames < 1 or row_bytes > 16 * CHUNK_BYTES:
        raise InputError(
            f"{num_frames} frames: an environment must fit into {16 * CHUNK_BYTES / 1e6:.0f} MB, ask for fewer"
        )
    if chunk_envs is not None and not 1 <= chunk_envs * row_bytes <= 64 * CHUNK_BYTES:
        most = 64 * CHUNK_BYTES // row_bytes
        raise InputError(f"chunk {chunk_envs}: at least one environment, and at most {most} (memory holds two)")
    return StoreConfig(
        num_envs=num_envs,
        num_frames=num_frames,
        seed=seed,
        commands=DRAWN if commands is None else hashlib.sha256(commands.tobytes()).hexdigest(),
        dtype=dtype,
        chunk_envs=min(num_envs, chunk_envs or _default_chunk(row_bytes)),
        model=fingerprint(model),
        fps=model.config.fps,
        joint_names=model.config.joint_names,
        command_dim=model.config.command_dim,
        motion_dim=model.config.motion_dim,
    )


def open_store(path: Path) -> MotionStore:
    """Open an existing store, finished or not.

    Raises:
      InputError: `path` is not a store, or the store is damaged or of another version.

    Examples:
      >>> from cmg_jax import store
      >>> made = store.create_store(Path("bank.zarr"), model, num_envs=8, num_frames=10)
      >>> store.open_store(Path("bank.zarr")).config.num_envs
      8
    """
    config = _read_config(path)
    try:
        return MotionStore(path, config, *(_open(path, config, name) for name in ("motion", "command")))
    except ValueError as error:
        raise InputError(f"{path}: its arrays are not those that its zarr.json describes; make it again") from error


def read(store: MotionStore, array: Any) -> np.ndarray:
    """Read `array`, a part of one of the store's arrays: `read(store, store.motion[:10])`.

    Raises:
      InputError: a shard is damaged.

    Examples:
      >>> from cmg_jax import store
      >>> made = store.create_store(Path("bank.zarr"), model, num_envs=8, num_frames=10)
      >>> _ = store.fill(model, made)
      >>> store.read(made, made.motion[:2]).shape
      (2, 11, 64)
    """
    try:
        return array.read().result()
    except ValueError as error:
        raise InputError(
            f"{store.path} is damaged ({first_line(error)}); delete the damaged file and run its command again"
        ) from error


def check_model(store: MotionStore, model: CMGModel) -> None:
    """Raise InputError unless `model` is the one that generates the motions of `store`."""
    in_store, expected = store.config, model.config
    if in_store.joint_names != expected.joint_names:
        raise InputError(f"{store.path} holds motions of {len(in_store.joint_names)} joints that are not the model's")
    if in_store.fps != expected.fps:
        raise InputError(f"{store.path} is of {in_store.fps:g} frames per second, the model of {expected.fps:g}")
    if in_store.model != fingerprint(model):
        raise InputError(f"{store.path} was made by another model; load that one, or make the store again")


def missing_bytes(store: MotionStore, chunks: Iterable[int]) -> int:
    """Bytes of motion that `chunks` will add to the store."""
    config = store.config
    num_envs = sum(store.rows(chunk).stop - store.rows(chunk).start for chunk in chunks)
    return num_envs * _row_bytes(config.num_frames, config.motion_dim, config.dtype)


def _row_bytes(num_frames: int, motion_dim: int, dtype: str) -> int:
    return (num_frames + 1) * motion_dim * np.dtype(dtype).itemsize


def _power_of_two_up_to(number: int) -> int:
    return 1 << (max(number, 1).bit_length() - 1)


def _default_chunk(row_bytes: int) -> int:
    rows = CHUNK_BYTES // row_bytes
    # A multiple of the rows that go through the network together on a CPU.
    return rows // CPU_BLOCK_ROWS * CPU_BLOCK_ROWS or _power_of_two_up_to(rows)


def _metadata(config: StoreConfig, name: str) -> dict[str, Any]:
    """The zarr metadata of the array `name`."""
    plain = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    if name == "command" and config.commands != DRAWN:
        shape = shard = piece = (config.num_frames, config.command_dim)
        names = ("frame", "command")
    else:
        row = (config.num_frames + 1, config.motion_dim) if name == "motion" else (config.command_dim,)
        names = ("environment", "frame", "motion") if name == "motion" else ("environment", "command")
        row_bytes = _row_bytes(config.num_frames, config.motion_dim, config.dtype)
        # Motion hardly compresses, so pieces are stored uncompressed.
        pieces = math.gcd(config.chunk_envs, _power_of_two_up_to(READ_BYTES // row_bytes))
        shape, shard, piece = (config.num_envs, *row), (config.chunk_envs, *row), (pieces, *row)
    sharding = {"chunk_shape": piece, "codecs": plain, "index_codecs": plain}
    return {
        "shape": shape,
        "data_type": config.dtype if name == "motion" else "float32",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}},
        "chunk_key_encoding": {"name": "default"},
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        # Marks values that are not written yet. No chunk equals it: tensorstore would not write such a chunk.
        "fill_value": "NaN",
        "dimension_names": names,
    }


def _open(path: Path, config: StoreConfig, name: str, *, create: bool = False) -> Any:
    import tensorstore as ts  # a slow import, needed only here

    kvstore = {"driver": "file", "path": f"{path.absolute() / name}/"}
    spec = {"driver": "zarr3", "kvstore": kvstore, "metadata": _metadata(config, name)}
    return ts.open(spec, create=create, open=not create).result()


def _create(path: Path, config: StoreConfig, commands: np.ndarray | None) -> None:
    import tensorstore as ts

    _open(path, config, "motion", create=True)
    command = _open(path, config, "command", create=True)
    if commands is not None:
        command.write(commands).result()
    fields = {_KEYS.get(name, name): value for name, value in dataclasses.asdict(config).items()}
    attributes = {"format": FORMAT, **fields, "made_by": f"cmg_jax {__version__}"}
    attributes = _digests.sealed(json.loads(json.dumps(attributes)))
    group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    # tensorstore writes it, because it syncs the file.
    files = ts.KvStore.open({"driver": "file", "path": f"{path.absolute()}/"}).result()
    files.write("zarr.json", (json.dumps(group, indent=2) + "\n").encode()).result()


_WORDS = {
    "num_envs": "environments",
    "num_frames": "frames",
    "chunk_envs": "environments a file",
    "command_dim": "command size",
    "motion_dim": "frame size",
}


def _same(store: MotionStore, config: StoreConfig) -> MotionStore:
    for field in dataclasses.fields(config):
        begun_with, wanted = getattr(store.config, field.name), getattr(config, field.name)
        if begun_with != wanted:
            word = _WORDS.get(field.name, field.name.replace("_", " "))
            raise InputError(
                f"{store.path} was begun with {word} {_short(begun_with)}, not {_short(wanted)}; "
                "give the same options to continue it, or choose another directory"
            )
    return store


def _short(value: Any) -> str:
    return str(value)[:8]  # enough of a digest


def _read_config(path: Path) -> StoreConfig:
    if not path.is_dir():
        raise InputError(f"{path} is not a directory; a store is a directory" if path.exists() else f"no {path}")
    try:
        content = json.loads((path / "zarr.json").read_text())
        attributes = dict(content["attributes"])
    except (FileNotFoundError, LookupError, TypeError, ValueError, RecursionError):
        attributes = {}
    if attributes.get("format") != FORMAT:
        raise InputError(f"{path} is not of the format {FORMAT!r}; choose another directory")
    if _digests.SEAL in attributes and not _digests.is_intact(attributes):  # stores before this digest lack it
        raise InputError(f"{path}: its zarr.json is damaged or was edited; make the store again")
    try:
        names = [field.name for field in dataclasses.fields(StoreConfig)]
        attributes.setdefault("motion_dim", 2 * len(attributes["joint_names"]))  # stores before the root lack it
        fields = {name: attributes[_KEYS.get(name, name)] for name in names}
        config = StoreConfig(**{**fields, "joint_names": tuple(map(str, fields["joint_names"]))})
        has_root(config.motion_dim, len(config.joint_names))
        numbers = (config.num_envs, config.num_frames, config.chunk_envs, config.command_dim)
        if not all(isinstance(number, int) and number >= 1 for number in numbers) or config.dtype not in DTYPES:
            raise ValueError(f"{numbers}, {config.dtype}")
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(f"{path}: its zarr.json is damaged ({first_line(error)}); make the store again") from error
    return config
