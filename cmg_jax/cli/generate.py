"""`cmg-jax generate`: commands in; motion, plot and video out."""

import argparse
import contextlib
import functools
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cmg_jax import _rollout, motion_files
from cmg_jax._errors import InputError
from cmg_jax._files import require_file_target, require_parent
from cmg_jax.cli import bulk
from cmg_jax.cli.program import Progress, beside_the_result, progress_bars, warn, warn_beyond_range
from cmg_jax.commands import _sampler, _schedule
from cmg_jax.generators._base import first_frames
from cmg_jax.model import _checkpoint
from cmg_jax.model._model import CMGModel
from cmg_jax.motion_files import Motion
from cmg_jax.robot._g1 import is_g1, robot_of_size
from cmg_jax.viz import _plot, _render

PROGRAM = "cmg-jax generate"
DEFAULT_COMMAND = (0.8, 0.0, 0.0)
DEFAULT_SECONDS = 10.0
MAX_FRAMES = 100_000_000
"""Frames of one call, which are kept in memory: 23 GB."""

MAX_BODY_FRAMES = 200_000
"""Frames up to which body poses are written unasked: 840 bytes each."""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "generate",
        help="generate motion under velocity commands",
        description="Generate motion under velocity commands; without --out, --plot or --video only the rate is shown.",
    )
    parser.add_argument("--model", type=Path, metavar="DIR", help="model directory; the bundled model by default")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--command",
        type=float,
        nargs=3,
        action="append",
        metavar=("VX", "VY", "YAW"),
        help="m/s, m/s, rad/s; several are held in turn, with a ramp of 0.5 s between them (default 0.8 0 0)",
    )
    source.add_argument(
        "--schedule", type=Path, metavar="FILE.csv", help="lines of time, vx, vy, yaw; straight lines between them"
    )
    parser.add_argument("--envs", type=int, default=1, metavar="N", help="environments, each from its own first frame")
    parser.add_argument("--seconds", type=float, metavar="S", help="duration (default 10, or the schedule's)")
    parser.add_argument("--seed", type=int, default=0, metavar="K", help="draws the first frames (default 0)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="motion file: .npz; for one environment .csv (LAFAN1) or .pkl (TWIST); or a directory .zarr past memory",
    )
    parser.add_argument(
        "--format",
        choices=tuple(motion_files.FORMATS),
        help="of --out: npz, csv and twist by its suffix; mjlab and beyondmimic are the .npz of their tracking tasks",
    )
    parser.add_argument(
        "--root",
        choices=motion_files.ROOTS,
        default="command",
        help="where the robot goes: as commanded (default), or as its stance feet walk",
    )
    parser.add_argument("--joints", type=int, choices=(29, 23), help="of the G1 to write (default: the model's)")
    parser.add_argument(
        "--bodies",
        action=argparse.BooleanOptionalAction,
        help=f"write body poses to the .npz (by default up to {MAX_BODY_FRAMES:,} frames)",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="joint angles and command of environment 0")
    parser.add_argument("--video", type=Path, metavar="FILE", help="environment 0 walking: .gif or .mp4")
    bulk.add_arguments(parser)
    parser.set_defaults(function=_generate)


def _generate(arguments: argparse.Namespace) -> None:
    name = _check(arguments)
    if arguments.video:
        _render.choose_gl()
    model = _checkpoint.load(arguments.model) if arguments.model else _checkpoint.default_model()
    commands = _commands(arguments, model)
    if bulk.wanted(arguments):
        shared = commands if arguments.command or arguments.schedule else None
        bulk.generate(PROGRAM, model, arguments, len(commands), shared)
        return
    robot = model.config.robot
    needs_feet = arguments.root != "command" or (name and not motion_files.FORMATS[name].environments)
    if not robot.walks and (arguments.video or arguments.bodies or needs_feet):
        raise InputError(
            "the MJCF of the model's robot is not known: only --out FILE.npz without bodies and --plot work"
        )
    if arguments.joints and not is_g1(robot):
        raise InputError(f"--joints {arguments.joints}: says how many joints of the G1 to write; this is another robot")

    with progress_bars() as progress:
        trajectory, timing = generate_batch(model, commands, arguments.envs, arguments.seed, progress)
        _report_bad_frames(trajectory)
        motion = _motion(model, trajectory, commands, arguments.root)
        if arguments.joints:
            motion = motion.with_joints(robot_of_size(arguments.joints).joint_names)
        first = Motion(
            motion.fps, motion.robot, *(array[0] for array in motion[2:]) if arguments.envs > 1 else motion[2:]
        )
        frames = motion.joint_pos[..., 0].size
        beside = functools.partial(beside_the_result, PROGRAM) if arguments.out else contextlib.nullcontext
        if arguments.out:
            bodies = robot.walks and (frames <= MAX_BODY_FRAMES if arguments.bodies is None else arguments.bodies)
            advance = progress("body poses", frames) if bodies else lambda _: None
            motion_files.write(arguments.out, motion, name, bodies=bodies, progress=advance)
            _say_written(arguments.out, " without body poses" if name == "npz" and not bodies else "")
        if arguments.plot:
            with beside(arguments.plot):
                _plot.plot_motion(arguments.plot, first, title=str(arguments.model or "cmg_jax, bundled model"))
                _say_written(arguments.plot)
        if arguments.video:
            with beside(arguments.video):
                pictures = _render.num_pictures(first, arguments.video)
                drawn_by = _render.render_motion(arguments.video, first, progress("video", pictures))
                _say_written(arguments.video, f" (drawn by {drawn_by})")
    steps = len(commands)
    print(
        f"{arguments.envs} environments x {steps} frames on {jax.devices()[0].device_kind}: "
        f"{arguments.envs * steps / timing.run:,.0f} frames/s "
        f"({timing.run:.2f} s, and {timing.compile:.2f} s to compile)"
    )


class Timing(NamedTuple):
    """Seconds."""

    compile: float
    run: float


def generate_batch(
    model: CMGModel, commands: np.ndarray, envs: int, seed: int, progress: Progress
) -> tuple[np.ndarray, Timing]:
    """Trajectories [envs, T+1, D] in host memory, generated in blocks of rows that fill one preallocated array."""
    steps = len(commands)
    motion = first_frames(model, jax.random.key(seed), envs)
    block = min(envs, _rollout.CPU_BLOCK_ROWS if jax.default_backend() == "cpu" else 16384)
    shared = jnp.broadcast_to(jnp.asarray(commands), (block, *commands.shape))

    start = time.perf_counter()
    compiled = jax.jit(_rollout.generate).lower(model, motion[:block], shared).compile()
    compile_seconds = time.perf_counter() - start

    out = np.empty((envs, steps + 1, model.config.motion_dim), np.float32)
    advance = progress("generate", envs * steps)
    start = time.perf_counter()
    for row in range(0, envs, block):
        first = min(row, envs - block)  # the last block begins early: every block has the compiled shape
        out[first : first + block] = compiled(model, motion[first : first + block], shared)
        advance(min(block, envs - row) * steps)
    return out, Timing(compile_seconds, time.perf_counter() - start)


def _check(arguments: argparse.Namespace) -> str | None:
    """Refuses whatever can be refused before any work is done; the format of --out."""
    if arguments.envs < 1:
        raise InputError(f"--envs {arguments.envs}: at least one environment is needed")
    if not 0 <= arguments.seed < 2**32:
        raise InputError(f"--seed {arguments.seed}: a seed is a number from 0 to {2**32 - 1}")
    if arguments.seconds is not None and not (np.isfinite(arguments.seconds) and arguments.seconds > 0):
        raise InputError(f"--seconds {arguments.seconds}: a duration is a positive number of seconds")
    for command in arguments.command or ():
        if not (np.abs(command) < np.finfo(np.float32).max).all():
            raise InputError(f"--command {' '.join(map(str, command))}: a command is three finite numbers")
    bulk.check(arguments)
    suffixes = {"out": (*motion_files.SUFFIXES, bulk.SUFFIX), "plot": _plot.SUFFIXES, "video": _render.SUFFIXES}
    for option, known in suffixes.items():
        path = getattr(arguments, option)
        if path is None:
            continue
        if path.suffix not in known:
            raise InputError(f"--{option} {path}: the name must end in {' or '.join(known)}")
        if path.suffix == bulk.SUFFIX:
            require_parent(path)
        else:
            require_file_target(path, [arguments.schedule] if arguments.schedule else [])
    if arguments.plot:
        _plot.pyplot()
    if arguments.video:
        _render.require_writer(arguments.video)
    if arguments.out is None:
        if arguments.format or arguments.joints:
            raise InputError(
                f"--{'format' if arguments.format else 'joints'}: says how to write --out, which is missing"
            )
        return None
    if bulk.wanted(arguments):
        return None
    name = motion_files.format_name(arguments.out, arguments.format)
    if not motion_files.FORMATS[name].environments and arguments.envs > 1:
        raise InputError(
            f"--out {arguments.out}: a {name} file holds one environment; use --format npz for {arguments.envs}"
        )
    return name


def _commands(arguments: argparse.Namespace, model: CMGModel) -> np.ndarray:
    """The command at each step, [T, C]; warns where it leaves the trained range."""
    if model.config.command_dim != 3:
        raise InputError(f"the model takes commands of {model.config.command_dim} numbers; use cmg_jax.generate")
    envs = 1 if bulk.wanted(arguments) else arguments.envs
    if arguments.schedule:
        times, values = _schedule.read_schedule(arguments.schedule)
        seconds = arguments.seconds or times[-1]
        _check_size(seconds * model.config.fps, envs)
        commands = _schedule.interpolate(times, values, seconds, model.config.fps)
    else:
        seconds = arguments.seconds or DEFAULT_SECONDS
        _check_size(seconds * model.config.fps, envs)
        commands = _schedule.hold_each(arguments.command or [DEFAULT_COMMAND], seconds, model.config.fps)
    if not len(commands):
        raise InputError(f"{seconds:g} s hold no frame at {model.config.fps:g} frames per second; ask for more")
    if not np.isfinite(commands).all():
        raise InputError(f"{arguments.schedule}: its commands are too large for float32")
    warn_beyond_range(PROGRAM, _sampler.trained_range(model), commands)
    return commands


def _check_size(steps: float, envs: int) -> None:
    if steps * envs > MAX_FRAMES:
        raise InputError(f"{envs} environments x {steps:.3g} frames are more than {MAX_FRAMES:,}; ask for fewer")


def _motion(model: CMGModel, trajectory: np.ndarray, commands: np.ndarray, root: str) -> Motion:
    """The trajectory with its root; one environment is written without an environment axis."""
    if len(trajectory) == 1:
        trajectory = trajectory[0]
    else:
        commands = np.broadcast_to(commands, (len(trajectory), *commands.shape))
    return motion_files.of_trajectory(model.config, trajectory, commands, root)


def _report_bad_frames(trajectory: np.ndarray) -> None:
    finite = np.isfinite(trajectory).all(axis=-1)
    if not finite.all():
        rows = int((~finite.all(axis=-1)).sum())
        frame = int(np.argmin(finite.all(axis=0)))
        warn(PROGRAM, f"{rows} of {len(trajectory)} motions are not finite from frame {frame} on")


def _say_written(path: Path, remark: str = "") -> None:
    print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB){remark}")
