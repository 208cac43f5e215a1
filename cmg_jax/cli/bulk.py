"""`cmg-jax generate --out DIR.zarr`: more motion than fits into memory, by one process or many."""

import argparse
import re
import shutil
from typing import Any

import jax
import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.cli.program import progress_bars, warn
from cmg_jax.model._model import CMGModel
from cmg_jax.store import _fill, _store
from cmg_jax.store._store import SUFFIX, MotionStore


def add_arguments(parser: Any) -> None:
    group = parser.add_argument_group(f"past memory (--out DIR{SUFFIX})")
    group.add_argument(
        "--part",
        type=_part,
        metavar="K/N",
        help="this process makes the K-th of N parts; start N of them, on one machine or on many that share the disk",
    )
    group.add_argument("--dtype", choices=_store.DTYPES, help="of the stored frames (default float32)")
    group.add_argument("--chunk", type=int, metavar="N", help="environments a file (default: as many as give 64 MB)")


def wanted(arguments: argparse.Namespace) -> bool:
    return arguments.out is not None and arguments.out.suffix == SUFFIX


def check(arguments: argparse.Namespace) -> None:
    """Refuse what does not go together."""
    if wanted(arguments):
        refused = ("plot", "video", "bodies", "format", "joints")
        remedy = f"does not go with --out {arguments.out}; make a few environments again, by the same command to .npz"
    else:
        refused = ("part", "dtype", "chunk")
        remedy = f"goes with --out DIR{SUFFIX} only"
    if wanted(arguments) and arguments.root != "command":
        refused = ("root",)
    for option in refused:
        if getattr(arguments, option):
            raise InputError(f"--{option} {remedy}")


def generate(program: str, model: CMGModel, arguments: argparse.Namespace, steps: int, commands: Any) -> None:
    """Make the store, or go on with it. `commands` [T, C] are shared, None where each environment draws its own."""
    path, dtype = arguments.out, arguments.dtype or "float32"
    config = _store.configure(model, arguments.envs, steps, arguments.seed, commands, dtype, arguments.chunk)
    chunks = _fill.part_of(config.num_chunks, arguments.part) if arguments.part else range(config.num_chunks)
    store = _store.create_or_open(path, config, commands)
    missing = [chunk for chunk in chunks if not store.is_done(chunk)]
    part = "part {}/{}: ".format(*arguments.part) if arguments.part else ""
    if missing:
        if len(missing) < len(chunks):
            print(f"{part}going on with {path}: {len(chunks) - len(missing)} of {len(chunks)} chunks are there")
        frames = _warn_of_full_disk(program, store, missing)
        try:
            with progress_bars() as progress:
                report = _fill.fill(model, store, commands, missing, progress("generate", frames))
        except InputError as error:
            raise InputError(f"{error}; the same command goes on from there") from None
        except KeyboardInterrupt:
            raise KeyboardInterrupt("the same command goes on from there") from None
        if report.bad_envs:
            warn(program, f"{report.bad_envs} of {report.envs} motions are not finite")
        print(
            f"{part}{report.envs} environments x {steps} frames on {jax.devices()[0].device_kind}: "
            f"{report.envs * steps / report.run_seconds:,.0f} frames/s "
            f"({report.run_seconds:.2f} s, and {report.compile_seconds:.2f} s to compile)"
        )
    left = len(store.missing())
    if left:
        print(f"{part}finished; {left} of {config.num_chunks} chunks of {path} are still missing")
    else:
        print(f"{path} is finished: {config.envs} environments x {steps} frames in {config.num_chunks} chunks")


def _warn_of_full_disk(program: str, store: MotionStore, missing: list[int]) -> int:
    """The frames to be made; warns if they do not fit."""
    spans = [store.rows(chunk) for chunk in missing]
    envs = sum(span.stop - span.start for span in spans)
    config = store.config
    needed = envs * (config.steps + 1) * config.motion_dim * np.dtype(config.dtype).itemsize
    free = shutil.disk_usage(store.path).free
    if needed > free:
        warn(program, f"{store.path} needs {needed / 1e9:.1f} GB more; {free / 1e9:.1f} GB are free there")
    return envs * config.steps


def _part(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a part K/N with K from 1 to N, 2/8 for instance")
    return int(match[1]), int(match[2])
