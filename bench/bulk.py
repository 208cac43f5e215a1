"""Compares a bulk run that is killed halfway and resumed with an uninterrupted one: checksums, peak memory and rates.

    python -m bench.bulk [--envs 200000] [--steps 20] [--dtype float32] [--directory DIR] [--memory-envs 20000]

Runs `cmg-jax generate --out DIR.zarr` as a user does: first without interruption; then into another directory, killed
(SIGKILL) when half of its chunks exist, and resumed by the same command. At the defaults, the stores need 2 x 0.97 GB
in a temporary directory that is removed afterwards. The rate is compared with that of the same program without --out
(`--memory-envs` environments, before and after).
"""

import argparse
import hashlib
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cmg_jax.model import _checkpoint
from cmg_jax.store import open_store
from cmg_jax.store._store import configure

PROGRAM = Path(sys.executable).with_name("cmg-jax")


def run(*arguments: object, kill_at: Path | None = None) -> str:
    """The program's output; prints its time and memory. It is killed when the file `kill_at` appears."""
    start = time.perf_counter()
    with subprocess.Popen([PROGRAM, "generate", *map(str, arguments)], stdout=subprocess.PIPE, text=True) as program:
        if kill_at is not None:
            while not kill_at.is_file():
                if program.poll() is not None:
                    raise SystemExit("the program ended before it could be killed")
                time.sleep(0.001)
            program.send_signal(signal.SIGKILL)
        assert program.stdout is not None
        printed = program.stdout.read().strip()
        _, status, usage = os.wait4(program.pid, 0)
        program.returncode = os.waitstatus_to_exitcode(status)
    if program.returncode != (-signal.SIGKILL if kill_at else 0):
        raise SystemExit(f"exit code {program.returncode}")
    # Processor time shows the cost of writing on a machine that other programs use too.
    print(
        f"  {time.perf_counter() - start:.1f} s ({usage.ru_utime + usage.ru_stime:.1f} s of processor time), "
        f"peak memory {usage.ru_maxrss * 1024 / 1e6:.0f} MB",
        *printed.splitlines(),
        sep="\n    ",
    )
    return printed


def checksum(store: Path) -> str:
    """Of the names and contents of all files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in store.rglob("*") if path.is_file()):
        digest.update(path.relative_to(store).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def rate(printed: str) -> float:
    """Frames a second, without compilation."""
    found = re.search(r"([\d,]+) frames/s", printed)
    assert found is not None, printed
    return float(found[1].replace(",", ""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=int, default=200_000)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--directory", type=Path, help="parent of the temporary directory")
    parser.add_argument("--memory-envs", type=int, default=20_000)
    options = parser.parse_args()
    model = _checkpoint.default_model()
    seconds = options.steps / model.config.fps
    config = configure(model, options.envs, options.steps, dtype=options.dtype)
    print(f"{options.envs} environments x {options.steps} frames, {options.dtype}: {config.num_chunks} chunks")

    print("without --out:")
    without = [rate(run("--envs", options.memory_envs, "--seconds", seconds))]
    with tempfile.TemporaryDirectory(dir=options.directory) as temporary:
        whole, killed = Path(temporary) / "whole.zarr", Path(temporary) / "killed.zarr"

        def generate(out: Path, kill_at: Path | None = None) -> str:
            command = ("--envs", options.envs, "--seconds", seconds, "--dtype", options.dtype, "--out", out)
            return run(*command, kill_at=kill_at)

        print("without interruption:")
        with_out = rate(generate(whole))
        print(f"    {sum(path.stat().st_size for path in whole.rglob('*')) / 1e6:.0f} MB on disk")
        print("killed:")
        middle = config.num_chunks // 2
        generate(killed, kill_at=killed / f"motion/c/{middle - 1}/0/0")
        left = len(open_store(killed).missing())
        print(f"    {config.num_chunks - left} of {config.num_chunks} chunks exist")
        print("and resumed by the same command:")
        generate(killed)
        sums = [checksum(store) for store in (whole, killed)]
        print(f"sha256 without interruption {sums[0]}")
        print(f"sha256 resumed              {sums[1]}")
        print("EQUAL" if sums[0] == sums[1] else "DIFFERENT")
    print("without --out:")
    without.append(rate(run("--envs", options.memory_envs, "--seconds", seconds)))
    memory = statistics.mean(without)
    print(
        f"rate with --out {with_out:,.0f} frames/s, without {memory:,.0f} "
        f"({', '.join(f'{value:,.0f}' for value in without)}): ratio {with_out / memory:.2f}"
    )
    if sums[0] != sums[1]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
