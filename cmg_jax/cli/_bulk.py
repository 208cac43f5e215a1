"""`cmg-jax generate --out DIR.zarr`: more motion than fits into memory, by one process or many."""

import argparse
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cmg_jax._errors import InputError
from cmg_jax.cli import _options
from cmg_jax.cli._program import warn
from cmg_jax.cli._progress import progress_reports
from cmg_jax.model._model import CMGModel
from cmg_jax.store import DTYPES, SUFFIX, MotionStore, chunks_of_part, create_store, fill
from cmg_jax.store._store import missing_bytes


def add_options(parser: Any) -> None:
    group = parser.add_argument_group(f"larger than memory (--out DIR{SUFFIX})")
    group.add_argument(
        "--part",
        type=_part,
        metavar="K/N",
        help="generate the K-th of a number of parts N; start N processes, on one machine or several that share a disk "
        "(default: everything that is missing)",
    )
    group.add_argument("--dtype", choices=DTYPES, help="type of the stored frames (default: float32)")
    group.add_argument(
        "--chunk", type=int, metavar="N", help="number of environments in a file (default: as many as give 64 MB)"
    )


def is_store(out: Path | None) -> bool:
    return out is not None and out.suffix == SUFFIX


def refuse(out: Path, unwritten: Mapping[str, Any]) -> None:
    """Raise InputError if an option of `unwritten` is set: a store does not hold what it writes."""
    for option, value in unwritten.items():
        if value:
            raise InputError(
                f"--{option} cannot be combined with --out {out}; "
                "generate a few environments again by the same command, with an .npz file as --out"
            )


def refuse_without_store(options: Mapping[str, Any]) -> None:
    """Raise InputError if an option of a store is set, but --out is not a store."""
    for option, value in options.items():
        if value:
            raise InputError(f"--{option} requires --out DIR{SUFFIX}")


def generate(
    program: str,
    model: CMGModel,
    path: Path,
    *,
    num_envs: int,
    steps: int,
    seed: int,
    commands: np.ndarray | None,
    part: tuple[int, int] | None,
    dtype: str | None,
    chunk: int | None,
) -> None:
    """Create the store, or continue it. `commands` [T, C] are shared; None if each environment draws its own."""
    options = {"commands": commands, "seed": seed, "dtype": dtype or "float32", "chunk_envs": chunk}
    store = create_store(path, model, num_envs, steps, **options)
    config = store.config
    chunks = chunks_of_part(config.num_chunks, part) if part else range(config.num_chunks)
    missing = [chunk for chunk in chunks if not store.is_done(chunk)]
    label = "part {}/{}: ".format(*part) if part else ""
    if missing:
        if len(missing) < len(chunks):
            print(f"{label}continuing {path}: {len(chunks) - len(missing)} of {len(chunks)} chunks exist")
        _warn_of_full_disk(program, store, missing)
        frames = steps * sum(store.rows(chunk).stop - store.rows(chunk).start for chunk in missing)
        try:
            with progress_reports(program) as progress:
                report = fill(model, store, chunks=missing, progress=progress("frames", frames, compiles=True))
        except InputError as error:
            raise InputError(f"{error}; the same command continues from there") from None
        except KeyboardInterrupt:
            raise KeyboardInterrupt("the same command continues from there") from None
        if report.num_bad_envs:
            warn(program, f"{report.num_bad_envs} of {report.num_envs} motions are not finite")
        print(f"{label}{_options.rate_text(report.num_envs, steps, report.run_seconds, report.compile_seconds)}")
    left = len(store.missing())
    if left:
        print(f"{label}finished; {left} of {config.num_chunks} chunks of {path} are still missing")
    else:
        print(f"{path} is finished: {config.num_envs} environments x {steps} frames in {config.num_chunks} chunks")


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
