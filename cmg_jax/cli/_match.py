"""`cmg-jax match`: rolls a library of recordings out under random commands, as a data set to train on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cmg_jax._errors import InputError
from cmg_jax._files import require_file_target
from cmg_jax.cli import _options
from cmg_jax.cli._program import warn
from cmg_jax.cli._progress import progress_reports
from cmg_jax.data import _dataset
from cmg_jax.library import RolloutOptions, beyond_library, build_library
from cmg_jax.library._rollouts import play, to_dataset

PROGRAM = "cmg-jax match"
SUMMARY = "make a data set of recordings that obey commands, by motion matching"


def add_options(parser: Any) -> None:
    defaults = RolloutOptions()
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="data set of recordings, from cmg-jax data")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.npz", help="data set to write (required)")
    parser.add_argument(
        "--envs",
        type=_options.count,
        default=defaults.episodes,
        metavar="N",
        help="number of episodes, played together",
    )
    _options.add_seconds(parser, "duration of each episode, which begins standing,", defaults.seconds)
    for edge, values in (("low", defaults.low), ("high", defaults.high)):
        widest = " ".join(f"{value:g}" for value in values)
        parser.add_argument(
            f"--{edge}",
            type=_options.velocity,
            nargs=3,
            metavar=("VX", "VY", "YAW"),
            help=f"{edge}est forward and sideways velocity in m/s and yaw rate in rad/s of the commands "
            f"(default: that of the recordings, but not beyond {widest})",
        )
    parser.add_argument(
        "--hold-seconds",
        type=_options.duration,
        nargs=2,
        default=defaults.hold_seconds,
        metavar="S",
        help="a command is held for a time in seconds between these",
    )
    parser.add_argument(
        "--standing",
        type=float,
        default=defaults.standing,
        metavar="SHARE",
        help="share of the commands that are zero, from 0 to 1",
    )
    _options.add_seed(parser, "the commands")
    parser.set_defaults(run=run)


def run(
    *,
    dataset: Path,
    out: Path,
    envs: int,
    seconds: float,
    low: Sequence[float] | None,
    high: Sequence[float] | None,
    hold_seconds: Sequence[float],
    standing: float,
    seed: int,
) -> None:
    if out.suffix != ".npz":
        raise InputError(f"{out}: a data set is written as .npz")
    require_file_target(out, [dataset])
    if not 0 <= standing <= 1:
        raise InputError(f"--standing {standing:g}: a share is a number from 0 to 1")
    recordings = _dataset.load(dataset)
    try:
        library = build_library(recordings)
    except InputError as error:
        raise InputError(f"{dataset}: {error}") from None
    widest = RolloutOptions()
    low_ = np.maximum(widest.low, library.stats.command_min) if low is None else low
    high_ = np.minimum(widest.high, library.stats.command_max) if high is None else high
    low_, high_, hold = (tuple(map(float, edge)) for edge in (low_, high_, hold_seconds))
    options = RolloutOptions(envs, seconds, low_, high_, hold, standing, seed)  # pyright: ignore[reportArgumentType]
    corners = [(x, 0.0, 0.0) for x in (options.low[0], options.high[0])]
    for line in beyond_library(library, np.array(corners, np.float32)):
        warn(PROGRAM, line)
    with progress_reports(PROGRAM) as progress:
        advance = progress("frames", envs * round(seconds * library.fps), compiles=True)
        motion, command = play(library, options, progress=advance)
    made = to_dataset(library, motion, command)
    held = command.reshape(-1, 3).any(axis=-1)
    missed = np.sqrt(np.square(made.command - command.reshape(-1, 3))[held].mean(axis=0)) if held.any() else np.zeros(3)
    _dataset.save(out, made)
    print(
        f"{envs} episodes, {len(made.motion)} frames, {made.seconds / 60:.1f} min at {made.fps:g} fps, of a library of "
        f"{library.num_frames} frames\n"
        f"walked velocity against the command (RMSE): vx {missed[0]:.3f} m/s, vy {missed[1]:.3f} m/s, "
        f"yaw {missed[2]:.3f} rad/s\n"
        f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)"
    )
