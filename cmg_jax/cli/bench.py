"""`cmg-jax bench`: what generation costs on this machine, as tables, JSON and pictures."""

import argparse
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from bench import generation, measure, memory, modes, peers, plots, report, rollout
from bench.measure import Section
from cmg_jax._errors import InputError
from cmg_jax._files import atomic_path, require_file_target, require_parent
from cmg_jax.cli.program import beside_the_result, progress_bars
from cmg_jax.model import _checkpoint
from cmg_jax.model._model import CMGModel
from cmg_jax.viz import _plot

PROGRAM = "cmg-jax bench"
SIZES = (512, 1024, 2048, 4096, 8192)
MODES = {
    "quick": "rate, modes and time to first frame at 512 and 4096 environments (3 minutes on 2 cores)",
    "full": "the same at 512 to 8192 environments, with streaming and bank (25 minutes)",
    "scaling": "how time and memory grow with environments and with frames",
    "preload": "pregenerated trajectories: init, reads and memory, with half-precision stores",
    "buffer": "the realtime buffer: init, reads and memory, with half-precision stores",
    "peers": "beside PyTorch and onnxruntime, those that are installed",
    "rollout": "each generator inside a rollout, with resets and changes of command",
    "memory": "peak memory of a process that makes 500 frames of all environments",
}


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "bench",
        help="measure what generation costs on this machine",
        description="Measure what generation costs on this machine.",
        epilog="modes: " + "; ".join(f"{mode}: {what}" for mode, what in MODES.items()),
    )
    parser.add_argument("--mode", choices=MODES, default="quick")
    parser.add_argument("--model", type=Path, metavar="DIR", help="model directory; the bundled model by default")
    parser.add_argument("--envs", type=int, nargs="+", metavar="N", help="numbers of environments; by mode otherwise")
    parser.add_argument("--steps", type=int, default=500, help="of a rollout, and frames of the memory mode")
    parser.add_argument("--repeats", type=int, default=5, help="of every timing; medians are printed")
    parser.add_argument("--generators", nargs="+", choices=rollout.MODES, help="those of a rollout; all by default")
    parser.add_argument("--save", type=Path, metavar="FILE.json", help="write all figures there")
    parser.add_argument("--plot", type=Path, metavar="DIR", help="write pictures there")
    parser.add_argument("--profile", type=Path, metavar="DIR", help="write a trace of jax.profiler there")
    parser.set_defaults(function=_bench)


def _bench(arguments: argparse.Namespace) -> None:
    _check(arguments)
    model = _checkpoint.load(arguments.model) if arguments.model else _checkpoint.default_model()
    machine = measure.device()
    peak, bandwidth = measure.matmul_peak(), measure.bandwidth()
    print("  ".join(f"{key} {value}" for key, value in machine.items()))
    print(f"float32 matrix-product peak {peak / 1e9:.0f} GFLOP/s, memory {bandwidth / 1e9:.0f} GB/s", flush=True)
    machine |= {"matmul_peak": peak, "bandwidth": bandwidth}
    trace = jax.profiler.trace(str(arguments.profile)) if arguments.profile else contextlib.nullcontext()
    sections: list[Section] = []
    with progress_bars() as progress, trace:
        for total, run in _plan(arguments, model):
            section = run(progress(arguments.mode, total))
            for table in section if isinstance(section, list) else [section]:
                print(f"\n{report.text(table)}", flush=True)
                sections.append(table)
    if arguments.save:
        with atomic_path(arguments.save) as partial:
            partial.write_text(json.dumps(report.as_json(arguments.mode, machine, sections), indent=1) + "\n")
        print(f"\nwrote {arguments.save}")
    if arguments.plot:
        arguments.plot.mkdir(exist_ok=True)
        with beside_the_result(PROGRAM, arguments.plot):
            for path in plots.plot_sections(arguments.plot, sections, machine):
                print(f"wrote {path}")
    if arguments.profile:
        print(f"wrote a trace to {arguments.profile}; look at it with xprof or ui.perfetto.dev")


def _plan(arguments: argparse.Namespace, model: CMGModel) -> list[tuple[int, Callable[..., Any]]]:
    """The measurements of a mode: how often each advances the bar, and what makes its tables."""
    mode, repeats = arguments.mode, arguments.repeats
    sizes = arguments.envs or {"quick": (512, 4096), "peers": peers.SIZES, "rollout": (1024, 4096)}.get(mode, SIZES)
    if mode in ("quick", "full"):
        names = ("pregenerated", "realtime", *(("streaming", "bank") if mode == "full" else ()))
        few = repeats if mode == "full" else min(repeats, 2)
        return [
            (2, lambda advance: memory.first_frame(min(repeats, 3), advance)),
            (len(sizes), lambda advance: generation.rate(model, sizes, repeats, advance)),
            (len(sizes) * len(names), lambda advance: modes.table(model, names, sizes, few, advance)),
        ]
    if mode == "scaling":
        return [(generation.scaling_calls(repeats), lambda advance: generation.scaling(model, repeats, advance))]
    if mode in ("preload", "buffer"):
        names = ("pregenerated",) if mode == "preload" else ("realtime",)
        total = len(sizes) * len(memory.STORES)
        return [(total, lambda advance: modes.table(model, names, sizes, repeats, advance, memory.STORES))]
    if mode == "peers":
        return [(len(sizes), lambda advance: peers.compare(model, sizes, repeats, advance))]
    if mode == "rollout":
        names = tuple(arguments.generators or rollout.MODES)
        total = len(sizes) * rollout.cases(names)
        return [(total, lambda advance: rollout.cost(model, names, sizes, arguments.steps, repeats, advance))]
    envs = (arguments.envs or (4096,))[0]
    return [(len(memory.PEAK_CASES), lambda advance: memory.peaks(envs, arguments.steps, advance))]


def _check(arguments: argparse.Namespace) -> None:
    for name in ("envs", "steps", "repeats"):
        given = getattr(arguments, name)
        if given is not None and min(given if isinstance(given, list) else [given]) < 1:
            raise InputError(f"--{name} must be at least 1")
    if arguments.mode == "scaling" and arguments.envs:
        raise InputError("--envs: the sizes of --mode scaling are fixed, 512 to 8192")
    if arguments.generators and arguments.mode != "rollout":
        raise InputError("--generators goes with --mode rollout")
    if arguments.save:
        if arguments.save.suffix != ".json":
            raise InputError(f"{arguments.save}: figures are written as .json")
        require_file_target(arguments.save)
    if arguments.mode == "peers":
        peers.require()
    if arguments.plot:
        _plot.require_matplotlib()
    for directory in (arguments.plot, arguments.profile):
        if directory is not None:
            if directory.exists() and not directory.is_dir():
                raise InputError(f"{directory} is not a directory")
            require_parent(directory)
