"""Peak memory and time to the first frame, each in a new process.

`python -m bench._memory CASE ENVS STEPS` is such a process; it prints one line of JSON.
"""

import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench._measure import Advance, Section
from cmg_jax._errors import InputError

PEAK_COLUMNS = {
    "case": "case|s",
    "envs": "envs|d",
    "steps": "frames|d",
    "trajectory_mb": "trajectory MB|.1f",
    "idle_mb": "process before MB|.1f",
    "peak_mb": "peak MB|.1f",
    "above_idle": "above idle / trajectory|.3f",
    "above_idle_float32": "above idle / float32 trajectory|.3f",
}
FIRST_COLUMNS = {"case": "case|s", "seconds": "seconds|.2f"}

STORES = ("float32", "float16", "bfloat16")
PEAK_CASES = ("generate", *(f"pregenerated {dtype}" for dtype in STORES))


def peaks(num_envs: int, steps: int, advance: Advance) -> Section:
    """Peak memory of a process that makes one trajectory of all environments, beyond its memory before."""
    rows: list[dict[str, Any]] = []
    section = Section("peak memory", PEAK_COLUMNS, rows, ("compiling and its memory included",))
    for case in PEAK_CASES:
        figures = in_process([*case.split(), num_envs, steps])
        trajectory, above = figures["trajectory"], figures["peak"] - figures["idle"]
        float32 = trajectory * (1 if case.endswith(("generate", "float32")) else 2)
        rows.append(
            {
                "case": case,
                "envs": num_envs,
                "steps": steps,
                "trajectory_mb": trajectory / 1e6,
                "idle_mb": figures["idle"] / 1e6,
                "peak_mb": figures["peak"] / 1e6,
                "above_idle": above / trajectory,
                "above_idle_float32": above / float32,
            }
        )
        advance(1, section)
    return section


def first_frame(repeats: int, advance: Advance) -> Section:
    """Seconds from the start of a process to frames of the bundled model: 1 environment x 100 frames."""
    rows: list[dict[str, Any]] = []
    notes = ("a new process: imports, model, compiling, 100 frames",)
    section = Section("time to first frame", FIRST_COLUMNS, rows, notes)
    with tempfile.TemporaryDirectory() as cache:
        filled = {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        in_process(["first", 1, 100], **filled)
        cases = {"nothing compiled yet": {"JAX_COMPILATION_CACHE_DIR": ""}, "with a compilation cache": filled}
        for case, variables in cases.items():
            times = [in_process(["first", 1, 100], **variables)["seconds"] for _ in range(repeats)]
            rows.append({"case": case, "seconds": statistics.median(times)})
            advance(1, section)
    return section


def in_process(case: Sequence[Any], **variables: str) -> dict[str, float]:
    """The figures of a case, measured in a new process."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **variables}
    start = time.perf_counter()
    command = [sys.executable, "-m", __name__, *map(str, case)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    if result.returncode:
        last = (result.stderr.strip().splitlines() or [f"exit code {result.returncode}"])[-1]
        raise InputError(f"the process of case {' '.join(map(str, case))} failed: {last}")
    return {**json.loads(result.stdout.splitlines()[-1]), "seconds": time.perf_counter() - start}


def main(arguments: Sequence[str]) -> None:
    """The work of the new process."""
    import jax

    from bench._measure import inputs
    from cmg_jax import _rollout
    from cmg_jax.generators._pregenerated import pregenerated
    from cmg_jax.model import _checkpoint

    case, *options, num_envs, steps = arguments
    model, num_envs, steps = _checkpoint.default_model(), int(num_envs), int(steps)
    motion, commands = jax.block_until_ready(inputs(model, num_envs, steps))
    idle = peak_bytes()
    if case == "pregenerated":
        generator = pregenerated(steps, dtype=options[0])
        state = jax.block_until_ready(jax.jit(generator.init)(model, jax.random.key(0), commands[:, 0], motion))
        trajectory = state.frames
    else:
        generate = jax.jit(_rollout.generate, static_argnames="time_major")
        trajectory = generate(model, motion, commands, time_major=True).block_until_ready()
    print(json.dumps({"idle": idle, "peak": peak_bytes(), "trajectory": trajectory.nbytes}))


def peak_bytes() -> int:
    """Peak memory of this process; getrusage would include its parent's from before the start."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(re.findall(r"VmHWM:\s*(\d+) kB", status.read_text())[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main(sys.argv[1:])
