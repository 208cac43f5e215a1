"""`cmg-jax bench`: what generation costs on this machine, as tables, JSON and pictures."""

import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from bench import _gpu, _measure, _peers, _plots, _report, _rollout
from bench._measure import Section
from bench._plan import MODES, plan
from cmg_jax._errors import InputError
from cmg_jax._files import atomic_path, require_file_target, require_parent
from cmg_jax.cli import _options
from cmg_jax.cli._program import beside_the_result
from cmg_jax.cli._progress import progress_reports
from cmg_jax.viz import _plot

PROGRAM = "cmg-jax bench"
SUMMARY = "measure what generation costs on this machine"


def add_options(parser: Any) -> None:
    parser.epilog = "modes: " + "; ".join(f"{mode}: {what}" for mode, what in MODES.items())
    parser.add_argument("--mode", choices=MODES, default="quick", help="what to measure; see below")
    _options.add_model(parser)
    parser.add_argument(
        "--envs",
        type=_options.count,
        nargs="+",
        metavar="N",
        help="number of environments, one or several (default: by mode)",
    )
    parser.add_argument(
        "--steps",
        type=_options.count,
        default=500,
        metavar="N",
        help="number of steps of a rollout, and of frames in the mode memory",
    )
    parser.add_argument(
        "--repeats",
        type=_options.count,
        default=5,
        metavar="N",
        help="number of timings, of which the median is printed; at most 2 in the mode quick",
    )
    parser.add_argument(
        "--generators",
        nargs="+",
        choices=_rollout.MODES,
        metavar="NAME",
        help=f"generators of the modes rollout and gpu: {', '.join(_rollout.MODES)} (default: all; by mode)",
    )
    parser.add_argument(
        "--save", type=Path, metavar="FILE.json", help="write all figures to this file, even if interrupted"
    )
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write pictures into this directory")
    parser.add_argument("--profile", type=Path, metavar="DIR", help="write a trace of jax.profiler into this directory")
    parser.set_defaults(run=run)


def run(
    *,
    mode: str,
    model: Path | None,
    envs: Sequence[int] | None,
    steps: int,
    repeats: int,
    generators: Sequence[str] | None,
    save: Path | None,
    pictures: Path | None,
    profile: Path | None,
) -> None:
    if mode == "scaling" and envs:
        raise InputError("--envs: the sizes of --mode scaling are fixed, 512 to 8192")
    if generators and mode not in ("rollout", "gpu"):
        raise InputError("--generators requires --mode rollout or gpu")
    _check_targets(save, pictures, profile)
    if mode == "peers":
        _peers.require()
    measurements = plan(
        mode, _options.load_model(model), num_envs=envs, steps=steps, repeats=repeats, generators=generators
    )
    if mode == "gpu" and not _gpu.runs_kernels():
        print(_gpu.NO_KERNELS)
    machine = _measure.device()
    peak, bandwidth = _measure.matmul_peak(), _measure.bandwidth()
    print("  ".join(f"{key} {value}" for key, value in machine.items()))
    print(f"float32 matrix-product peak {peak / 1e9:.0f} GFLOP/s, memory {bandwidth / 1e9:.0f} GB/s", flush=True)
    machine |= {"matmul_peak": peak, "bandwidth": bandwidth}
    sections: list[Section] = []

    def save_figures(unfinished: Section | None = None) -> None:
        if save:
            figures = _report.as_json(mode, machine, [*sections, *([unfinished] if unfinished else [])])
            with atomic_path(save) as partial:
                partial.write_text(json.dumps(figures, indent=1) + "\n")

    trace = jax.profiler.trace(str(profile)) if profile else contextlib.nullcontext()
    with progress_reports(PROGRAM) as progress, trace:
        for parts, run_measurement in measurements:
            bar = progress(f"{mode}, parts", parts)

            def advance(done: int, section: Section | None = None, /, bar: Callable[[int], Any] = bar) -> None:
                bar(done)
                if section:
                    save_figures(section)

            section = run_measurement(advance)
            print(f"\n{_report.table_text(section)}", flush=True)
            sections.append(section)
            save_figures()
    if save:
        print(f"\nwrote {save}")
    if pictures:
        pictures.mkdir(exist_ok=True)
        with beside_the_result(PROGRAM, pictures):
            for path in _plots.plot_sections(pictures, sections, machine):
                print(f"wrote {path}")
    if profile:
        print(f"wrote a trace to {profile}; look at it with xprof or ui.perfetto.dev")


def _check_targets(save: Path | None, pictures: Path | None, profile: Path | None) -> None:
    if save:
        if save.suffix != ".json":
            raise InputError(f"{save}: figures are written as .json")
        require_file_target(save)
    if pictures:
        _plot.require_matplotlib()
    for directory in (pictures, profile):
        if directory is not None:
            if directory.exists() and not directory.is_dir():
                raise InputError(f"{directory} is not a directory")
            require_parent(directory)
