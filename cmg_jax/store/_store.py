"""Many trajectories on disk: zarr 3 arrays that any number of processes write, a chunk of environments at a time.

    DIR.zarr/zarr.json    a zarr group; its attributes say what the store holds (`StoreConfig`), with their digest
    DIR.zarr/motion/      [envs, T+1, D] float32 or float16, physical: joint_pos [rad], then joint_vel [rad/s]
    DIR.zarr/command/     [envs, C] float32, held by each environment; or [T, C], the same for all

A chunk is one shard file of each array that has environments, and it is done when they are there: tensorstore writes
a shard beside its name, syncs it, renames it and syncs the directory, so a file with the name is whole and durable.
Each piece of a shard, and the list of them, has a checksum that is compared whenever it is read.
"""

import dataclasses
import hashlib
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cmg_jax import _digests
from cmg_jax._blocks import CPU_BLOCK_ROWS
from cmg_jax._errors import InputError
from cmg_jax._files import atomic_directory, first_line
from cmg_jax._version import __version__
from cmg_jax.model._model import CMGModel

FORMAT = "cmg_jax motion store 1"
SUFFIX = ".zarr"
DTYPES = ("float32", "float16")
DRAWN = "drawn"
"""`StoreConfig.commands` where each environment holds a command of its own."""

CHUNK_BYTES = 2**26
"""Least work that a kill can lose, and the unit of memory: two chunks are in memory, one filled, one written.

64 MB take a disk longer than a system call, and leave hundreds of chunks to share among processes where there are
hundreds of environments a chunk. A chunk is a whole shard, so no two processes ever write into one file."""

READ_BYTES = 2**20
"""What a reader of one environment reads: shards are made of pieces of at most this size, each with its checksum."""


@dataclasses.dataclass(frozen=True)
class StoreConfig:
    """All that the bytes of a store depend on."""

    envs: int
    steps: int
    seed: int
    commands: str
    """DRAWN, or a digest of the commands that all environments share."""
    dtype: str
    chunk: int
    """Environments a chunk."""
    model: str
    """`fingerprint` of the model."""
    fps: float
    joint_names: tuple[str, ...]
    command_dim: int

    @property
    def motion_dim(self) -> int:
        return 2 * len(self.joint_names)

    @property
    def num_chunks(self) -> int:
        return -(-self.envs // self.chunk)


class MotionStore(NamedTuple):
    """A store that is open."""

    path: Path
    config: StoreConfig
    motion: Any  # tensorstore [envs, T+1, D]
    command: Any  # tensorstore [envs, C] or [T, C]

    def rows(self, chunk: int) -> slice:
        """The environments of a chunk."""
        first = chunk * self.config.chunk
        return slice(first, min(first + self.config.chunk, self.config.envs))

    def is_done(self, chunk: int) -> bool:
        shards = [self.path / "motion" / "c" / str(chunk) / "0" / "0"]
        if self.config.commands == DRAWN:
            shards.append(self.path / "command" / "c" / str(chunk) / "0")
        return all(shard.is_file() for shard in shards)

    def missing(self) -> list[int]:
        """The chunks that are not done."""
        return [chunk for chunk in range(self.config.num_chunks) if not self.is_done(chunk)]

    def write(self, chunk: int, motion: np.ndarray, command: np.ndarray) -> Any:
        """Begin to write a chunk; the `result()` of what is returned waits until it is done.

        Args:
          chunk: its index.
          motion: [B, T+1, D] of the chunk's environments; like `command` it may change again after the call.
          command: [B, C]; not written where all environments share their commands.
        """
        import tensorstore as ts

        rows = self.rows(chunk)
        transaction = ts.Transaction()  # without one, a shard is rewritten for each of its pieces
        copies = [self.motion.with_transaction(transaction)[rows].write(motion)]
        if self.config.commands == DRAWN:
            copies.append(self.command.with_transaction(transaction)[rows].write(command))
        for copy in copies:
            copy.copy.result()  # a write that is let go before is left out of the transaction, silently
        return transaction.commit_async()


def fingerprint(model: CMGModel) -> str:
    """A digest of all arrays of a model."""
    return _digests.of_arrays((model.params, model.stats, model.initial_motion))


def configure(
    model: CMGModel, envs: int, steps: int, seed: int, commands: np.ndarray | None, dtype: str, chunk: int | None
) -> StoreConfig:
    """What a store will hold. `commands` [T, C] are shared by all environments, None where each draws its own.

    Raises:
      InputError: a number out of range, an unknown dtype, or more frames than memory can hold two chunks of.
    """
    if not 1 <= envs < 2**32:
        raise InputError(f"{envs} environments: a store holds from 1 to {2**32 - 1}")
    if dtype not in DTYPES:
        raise InputError(f"dtype {dtype!r}: a store is of {' or '.join(DTYPES)}")
    row_bytes = _row_bytes(steps, model.config.motion_dim, dtype)
    if steps < 1 or row_bytes > 16 * CHUNK_BYTES:
        raise InputError(f"{steps} frames: an environment must fit into {16 * CHUNK_BYTES / 1e6:.0f} MB, ask for fewer")
    if chunk is not None and not 1 <= chunk * row_bytes <= 64 * CHUNK_BYTES:
        raise InputError(
            f"chunk {chunk}: at least one environment, and at most {64 * CHUNK_BYTES // row_bytes} (memory holds two)"
        )
    return StoreConfig(
        envs=envs,
        steps=steps,
        seed=seed,
        commands=DRAWN if commands is None else hashlib.sha256(commands.tobytes()).hexdigest(),
        dtype=dtype,
        chunk=min(envs, chunk or _default_chunk(row_bytes)),
        model=fingerprint(model),
        fps=model.config.fps,
        joint_names=model.config.joint_names,
        command_dim=model.config.command_dim,
    )


def create_or_open(path: Path, config: StoreConfig, commands: np.ndarray | None) -> MotionStore:
    """The store at `path`, made by whichever process comes first.

    Args:
      path: the directory.
      config: from `configure`.
      commands: [T, C], if all environments share them.

    Raises:
      InputError: what is there is no store or one of another configuration, or nothing can be written there.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        return _same(open_store(path), config)
    with atomic_directory(path, once=True) as partial:
        partial.mkdir()
        _create(partial, config, commands)
    return _same(open_store(path), config)


def open_store(path: Path) -> MotionStore:
    """An existing store, finished or not.

    Raises:
      InputError: no store, a damaged one, or one of another version.
    """
    config = _read_config(path)
    try:
        return MotionStore(path, config, *(_open(path, config, name) for name in ("motion", "command")))
    except ValueError as error:
        raise InputError(f"{path}: its arrays are not those that its zarr.json describes; make it again") from error


def read(store: MotionStore, array: Any) -> np.ndarray:
    """The numbers of `array`, a part of one of the store's arrays.

    Raises:
      InputError: a shard is damaged.
    """
    try:
        return array.read().result()
    except ValueError as error:
        raise InputError(
            f"{store.path} is damaged ({first_line(error)}); delete the damaged file and run its command again"
        ) from error


def _row_bytes(steps: int, motion_dim: int, dtype: str) -> int:
    return (steps + 1) * motion_dim * np.dtype(dtype).itemsize


def _power_of_two_up_to(number: int) -> int:
    return 1 << (max(number, 1).bit_length() - 1)


def _default_chunk(row_bytes: int) -> int:
    rows = CHUNK_BYTES // row_bytes
    # A multiple of the rows that go through the network together on a CPU.
    return rows // CPU_BLOCK_ROWS * CPU_BLOCK_ROWS or _power_of_two_up_to(rows)


def _metadata(config: StoreConfig, name: str) -> dict[str, Any]:
    """The zarr metadata of an array."""
    plain = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    if name == "command" and config.commands != DRAWN:
        shape = shard = piece = (config.steps, config.command_dim)
        names = ("frame", "command")
    else:
        row = (config.steps + 1, config.motion_dim) if name == "motion" else (config.command_dim,)
        names = ("environment", "frame", "motion") if name == "motion" else ("environment", "command")
        row_bytes = _row_bytes(config.steps, config.motion_dim, config.dtype)
        # Motion hardly compresses; pieces are left as they are.
        pieces = math.gcd(config.chunk, _power_of_two_up_to(READ_BYTES // row_bytes))
        shape, shard, piece = (config.envs, *row), (config.chunk, *row), (pieces, *row)
    sharding = {"chunk_shape": piece, "codecs": plain, "index_codecs": plain}
    return {
        "shape": shape,
        "data_type": config.dtype if name == "motion" else "float32",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}},
        "chunk_key_encoding": {"name": "default"},
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "fill_value": "NaN",  # what is not written yet is seen; and no chunk equals it, for those are not written
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
    attributes = {"format": FORMAT, **dataclasses.asdict(config), "made_by": f"cmg_jax {__version__}"}
    attributes = _digests.sealed(json.loads(json.dumps(attributes)))
    group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    # By tensorstore, because it syncs what it writes.
    files = ts.KvStore.open({"driver": "file", "path": f"{path.absolute()}/"}).result()
    files.write("zarr.json", (json.dumps(group, indent=2) + "\n").encode()).result()


_WORDS = {"envs": "environments", "steps": "frames", "chunk": "environments a file", "command_dim": "command size"}


def _same(store: MotionStore, config: StoreConfig) -> MotionStore:
    for field in dataclasses.fields(config):
        there, here = getattr(store.config, field.name), getattr(config, field.name)
        if there != here:
            word = _WORDS.get(field.name, field.name.replace("_", " "))
            raise InputError(
                f"{store.path} was begun with {word} {_short(there)}, not {_short(here)}; "
                "give the same options to go on with it, or choose another directory"
            )
    return store


def _short(value: Any) -> str:
    return str(value)[:8]  # a digest needs no more


def _read_config(path: Path) -> StoreConfig:
    if not path.is_dir():
        raise InputError(f"{path} is not a directory; a store of motions is one" if path.exists() else f"no {path}")
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
        fields = {field.name: attributes[field.name] for field in dataclasses.fields(StoreConfig)}
        config = StoreConfig(**{**fields, "joint_names": tuple(map(str, fields["joint_names"]))})
        numbers = (config.envs, config.steps, config.chunk, config.command_dim)
        if not all(isinstance(number, int) and number >= 1 for number in numbers) or config.dtype not in DTYPES:
            raise ValueError(f"{numbers}, {config.dtype}")
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(f"{path}: its zarr.json is damaged ({first_line(error)}); make the store again") from error
    return config
