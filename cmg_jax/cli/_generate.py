"""`cmg-jax generate`: generates motion, a plot and a video from commands."""

import argparse
import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cmg_jax import _host_rollout, motion_files
from cmg_jax._errors import InputError
from cmg_jax._files import require_file_target, require_parent
from cmg_jax.cli import _bulk, _library, _options
from cmg_jax.cli._program import beside_the_result, warn, warn_beyond_range
from cmg_jax.cli._progress import progress_reports
from cmg_jax.commands import _sampler, _schedule
from cmg_jax.model._model import CMGModel
from cmg_jax.motion_files import Motion
from cmg_jax.motion_files._motion import choose_root
from cmg_jax.robot._g1 import is_g1, robot_of_size
from cmg_jax.viz import _plot, _render

PROGRAM = "cmg-jax generate"
SUMMARY = "generate motion under velocity commands, as file, plot or video"
DEFAULT_SECONDS = 10.0
MAX_FRAMES = 100_000_000
"""Largest number of frames in one call, which are kept in memory: 23 GB."""

MAX_BODY_FRAMES = 200_000
"""Number of frames up to which body poses are written unless --no-bodies is given: 840 bytes each."""


def add_options(parser: Any) -> None:
    _library.add_options(parser)
    source = parser.add_mutually_exclusive_group()
    _options.add_command(source, ", with a ramp of 0.5 s between them")
    source.add_argument(
        "--schedule",
        type=Path,
        metavar="FILE.csv",
        help="lines of time in s, vx and vy in m/s, yaw rate in rad/s, joined by straight lines",
    )
    parser.add_argument(
        "--envs",
        type=_options.count,
        default=1,
        metavar="N",
        help="number of environments, each from its own first frame",
    )
    _options.add_seconds(parser, "duration", None, f" (default: {DEFAULT_SECONDS:g}, or the schedule's)")
    _options.add_seed(parser, "the first frames")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="motion file: .npz; for one environment .csv (LAFAN1) or .pkl (TWIST); or a directory .zarr, which may be "
        "larger than memory (default: nothing is written, only the rate is shown)",
    )
    parser.add_argument(
        "--format",
        choices=tuple(motion_files.FORMATS),
        help="format of --out; mjlab and beyondmimic are the .npz of their tracking tasks (default: by the suffix)",
    )
    _options.add_root_and_joints(parser)
    parser.add_argument(
        "--bodies",
        action=argparse.BooleanOptionalAction,
        help=f"write body poses to the .npz (default: up to {MAX_BODY_FRAMES:,} frames)",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="picture of joint angles and command of environment 0"
    )
    parser.add_argument("--video", type=Path, metavar="FILE", help="video of environment 0: .gif or .mp4")
    _bulk.add_options(parser)
    parser.set_defaults(run=run)


def run(
    *,
    model: Path | None,
    library: Sequence[Path] | None,
    command: Sequence[Sequence[float]] | None,
    schedule: Path | None,
    envs: int,
    seconds: float | None,
    seed: int,
    out: Path | None,
    format: str | None,
    root: str | None,
    joints: int | None,
    bodies: bool | None,
    plot: Path | None,
    video: Path | None,
    part: tuple[int, int] | None,
    dtype: str | None,
    chunk: int | None,
) -> None:
    if out and _bulk.is_store(out):
        unwritten = {
            "library": library,
            "root": root,
            "plot": plot,
            "video": video,
            "bodies": bodies,
            "format": format,
            "joints": joints,
        }
        _bulk.refuse(out, unwritten)
    else:
        _bulk.refuse_without_store({"part": part, "dtype": dtype, "chunk": chunk})
    _check_targets({"out": out, "plot": plot, "video": video}, schedule)
    if plot:
        _plot.require_matplotlib()
    if video:
        _render.require_writer(video)
    if out is None and (format or joints):
        raise InputError(f"--{'format' if format else 'joints'} requires --out")
    if out and _bulk.is_store(out):
        loaded = _options.load_model(model)
        commands = _commands(loaded, command, schedule, seconds, num_envs=1)
        shared = commands if command or schedule else None
        sizes = {"num_envs": envs, "steps": len(commands), "seed": seed, "commands": shared}
        _bulk.generate(PROGRAM, loaded, out, **sizes, part=part, dtype=dtype, chunk=chunk)
        return
    written_as = _format_name(out, format, envs) if out else None
    if video:
        _render.choose_gl()
    loaded, title = _library.load(model, library)
    root = choose_root(loaded.config, root)
    commands = _commands(loaded, command, schedule, seconds, num_envs=envs)
    robot = loaded.config.robot
    needs_feet = root == "odometry" or (written_as and not motion_files.FORMATS[written_as].environments)
    if not robot.walks and (video or bodies or needs_feet):
        raise InputError(
            "the MJCF of the model's robot is not known: only --out FILE.npz without bodies and --plot work"
        )
    if joints and not is_g1(robot):
        raise InputError(f"--joints {joints}: selects joints of the G1; this is another robot")

    with progress_reports(PROGRAM) as progress:
        advance = progress("frames", envs * len(commands), compiles=True)
        trajectory, timing = _host_rollout.generate(loaded, commands, num_envs=envs, seed=seed, progress=advance)
        _warn_of_bad_frames(trajectory)
        motion = _motion(loaded, trajectory, commands, root)
        if joints:
            motion = motion.with_joints(robot_of_size(joints).joint_names)
        first = Motion(motion.fps, motion.robot, *(array[0] for array in motion[2:]) if envs > 1 else motion[2:])
        frames = motion.joint_pos[..., 0].size
        beside = functools.partial(beside_the_result, PROGRAM) if out else contextlib.nullcontext
        if out:
            with_bodies = robot.walks and (frames <= MAX_BODY_FRAMES if bodies is None else bodies)
            advance = progress("body poses", frames) if with_bodies else lambda _: None
            motion_files.write(out, motion, written_as, bodies=with_bodies, progress=advance)
            _print_written(out, " without body poses" if written_as == "npz" and not with_bodies else "")
        if plot:
            with beside(plot):
                _plot.plot_motion(plot, first, title=title)
                _print_written(plot)
        if video:
            with beside(video):
                pictures = _render.num_pictures(first, video)
                drawn_by = _render.render_motion(video, first, progress=progress("pictures", pictures))
                _print_written(video, f" (drawn by {drawn_by})")
    print(_options.rate_text(envs, len(commands), timing.run, timing.compile))


def _check_targets(targets: dict[str, Path | None], schedule: Path | None) -> None:
    """Raise InputError if a file cannot be written under its name."""
    suffixes = {"out": (*motion_files.SUFFIXES, _bulk.SUFFIX), "plot": _plot.SUFFIXES, "video": _render.SUFFIXES}
    for option, path in targets.items():
        if path is None:
            continue
        if path.suffix not in suffixes[option]:
            raise InputError(f"--{option} {path}: the name must end in {' or '.join(suffixes[option])}")
        if _bulk.is_store(path):
            require_parent(path)
        else:
            require_file_target(path, [schedule] if schedule else [])


def _format_name(out: Path, format: str | None, num_envs: int) -> str:
    name = motion_files.format_name(out, format)
    if not motion_files.FORMATS[name].environments and num_envs > 1:
        raise InputError(f"--out {out}: a {name} file holds one environment; use --format npz for {num_envs}")
    return name


def _commands(
    model: CMGModel,
    held: Sequence[Sequence[float]] | None,
    schedule: Path | None,
    seconds: float | None,
    *,
    num_envs: int,
) -> np.ndarray:
    """The command at each step, [T, C]; warns if it leaves the trained range."""
    fps = model.config.fps
    model.config.check_velocity_commands(PROGRAM)
    if schedule:
        times, values = _schedule.read_schedule(schedule)
        seconds = seconds or float(times[-1])
        _check_size(seconds * fps, num_envs)
        commands = _schedule.interpolate(times, values, seconds, fps)
    else:
        seconds = seconds or DEFAULT_SECONDS
        _check_size(seconds * fps, num_envs)
        commands = _schedule.hold_each(held or [_options.DEFAULT_COMMAND], seconds, fps)
    if not len(commands):
        raise InputError(f"{seconds:g} s are less than one frame at {fps:g} frames per second; ask for more")
    if not np.isfinite(commands).all():
        raise InputError(f"{schedule}: its commands are too large for float32")
    warn_beyond_range(PROGRAM, _sampler.trained_range(model), commands)
    return commands


def _check_size(steps: float, num_envs: int) -> None:
    if steps * num_envs > MAX_FRAMES:
        raise InputError(f"{num_envs} environments x {steps:.3g} frames are more than {MAX_FRAMES:,}; ask for fewer")


def _motion(model: CMGModel, trajectory: np.ndarray, commands: np.ndarray, root: str) -> Motion:
    """The trajectory with its root; one environment is written without an environment axis."""
    if len(trajectory) == 1:
        trajectory = trajectory[0]
    else:
        commands = np.broadcast_to(commands, (len(trajectory), *commands.shape))
    return motion_files.of_trajectory(model.config, trajectory, commands, root)


def _warn_of_bad_frames(trajectory: np.ndarray) -> None:
    finite = np.isfinite(trajectory).all(axis=-1)
    if not finite.all():
        rows = int((~finite.all(axis=-1)).sum())
        frame = int(np.argmin(finite.all(axis=0)))
        warn(PROGRAM, f"{rows} of {len(trajectory)} motions are not finite from frame {frame} on")


def _print_written(path: Path, remark: str = "") -> None:
    print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB){remark}")
