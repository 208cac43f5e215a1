"""`cmg-jax generate --out DIR.zarr`: more motion than fits into memory, from one process or many."""

import argparse
import re
import shutil
from typing import Any

import jax

from cmg_jax._errors import InputError
from cmg_jax.cli.program import progress_bars, warn
from cmg_jax.model._model import CMGModel
from cmg_jax.store import DTYPES, SUFFIX, MotionStore, chunks_of_part, create_store, fill
from cmg_jax.store._store import missing_bytes


def add_arguments(parser: Any) -> None:
    group = parser.add_argument_group(f"larger than memory (--out DIR{SUFFIX})")
    group.add_argument(
        "--part",
        type=_part,
        metavar="K/N",
        help="this process makes the K-th of N parts; start N of them, on one machine or on many that share the disk",
    )
    group.add_argument("--dtype", choices=DTYPES, help="of the stored frames (default float32)")
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
    options = {"commands": commands, "seed": arguments.seed, "dtype": dtype, "chunk_envs": arguments.chunk}
    store = create_store(path, model, arguments.envs, steps, **options)
    config = store.config
    chunks = chunks_of_part(config.num_chunks, arguments.part) if arguments.part else range(config.num_chunks)
    missing = [chunk for chunk in chunks if not store.is_done(chunk)]
    part = "part {}/{}: ".format(*arguments.part) if arguments.part else ""
    if missing:
        if len(missing) < len(chunks):
            print(f"{part}going on with {path}: {len(chunks) - len(missing)} of {len(chunks)} chunks are there")
        _warn_of_full_disk(program, store, missing)
        frames = steps * sum(store.rows(chunk).stop - store.rows(chunk).start for chunk in missing)
        try:
            with progress_bars() as progress:
                report = fill(model, store, chunks=missing, progress=progress("generate", frames))
        except InputError as error:
            raise InputError(f"{error}; the same command goes on from there") from None
        except KeyboardInterrupt:
            raise KeyboardInterrupt("the same command goes on from there") from None
        if report.num_bad_envs:
            warn(program, f"{report.num_bad_envs} of {report.num_envs} motions are not finite")
        print(
            f"{part}{report.num_envs} environments x {steps} frames on {jax.devices()[0].device_kind}: "
            f"{report.num_envs * steps / report.run_seconds:,.0f} frames/s "
            f"({report.run_seconds:.2f} s, and {report.compile_seconds:.2f} s to compile)"
        )
    left = len(store.missing())
    if left:
        print(f"{part}finished; {left} of {config.num_chunks} chunks of {path} are still missing")
    else:
        sizes = f"{config.num_envs} environments x {config.num_frames} frames in {config.num_chunks} chunks"
        print(f"{path} is finished: {sizes}")


def _warn_of_full_disk(program: str, store: MotionStore, missing: list[int]) -> None:
    needed = missing_bytes(store, missing)
    free = shutil.disk_usage(store.path).free
    if needed > free:
        warn(program, f"{store.path} needs {needed / 1e9:.1f} GB more; {free / 1e9:.1f} GB are free there")


def _part(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a part K/N with K from 1 to N, 2/8 for instance")
    return int(match[1]), int(match[2])
