"""`cmg-jax view`: shows the robot live in a browser, driven or played back."""

import contextlib
import dataclasses
import io
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cmg_jax import motion_files
from cmg_jax._errors import InputError
from cmg_jax._files import require_file_target
from cmg_jax.cli import _assume, _options
from cmg_jax.cli._library import read_library
from cmg_jax.cli._program import quiet_logger, warn, warn_beyond_range
from cmg_jax.model import _checkpoint, model_of_library
from cmg_jax.motion_files import Assume, MotionFileError, _clips
from cmg_jax.robot import G1, Robot
from cmg_jax.view import Drive, Page, Playback, Skeleton, _address, read_commands

PROGRAM = "cmg-jax view"
SUMMARY = "drive models, or play a motion file, in a browser"


def add_options(parser: Any) -> None:
    parser.add_argument(
        "--model",
        type=Path,
        action="append",
        metavar="DIR",
        help="model directory, or human or policy (bundled); several models walk side by side (default: human)",
    )
    parser.add_argument(
        "--library",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="recordings to drive by motion matching, without a network: motion files, or one data set of cmg-jax data",
    )
    parser.add_argument(
        "--motion", type=Path, metavar="FILE", help=f"motion file to play ({', '.join(motion_files.SUFFIXES)})"
    )
    _assume.add_options(parser.add_argument_group("motion file"))
    parser.add_argument(
        "--robot",
        type=Path,
        metavar="FILE.xml",
        help="MJCF of the robot to draw, with its meshes; a motion file is read as motion of this robot "
        "(default: the model's robot, for a motion file the G1)",
    )
    parser.add_argument(
        "--schedule",
        type=Path,
        metavar="FILE.csv",
        help="drive by the commands in this file: lines of time in s, vx and vy in m/s, yaw rate in rad/s",
    )
    parser.add_argument("--record", type=Path, metavar="FILE.csv", help="file for the commands of the drive")
    parser.add_argument("--port", type=int, default=8080, metavar="P", help="port number (no unit); 0 for any free one")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen at (default: 127.0.0.1, for this machine only)",
    )
    _options.add_seconds(
        parser, "duration of the motion, which moves only while a page is open,", None, " (default: until Ctrl-C)"
    )
    parser.set_defaults(run=run)


def run(
    *,
    model: Sequence[Path] | None,
    library: Sequence[Path] | None,
    motion: Path | None,
    csv_fps: float | None,
    joint_names: str | None,
    assume: Sequence[str],
    robot: Path | None,
    schedule: Path | None,
    record: Path | None,
    port: int,
    host: str,
    seconds: float | None,
) -> None:
    if motion and (model or library or schedule or record):
        raise InputError("--motion plays a file; it cannot be combined with --model, --library, --schedule or --record")
    if library and model:
        raise InputError("--library drives recordings and --model networks; show them one at a time")
    if not 0 <= port < 65536:
        raise InputError(f"--port {port}: a port is a number from 0 to 65535")
    if record:
        require_file_target(record, [schedule] if schedule else [])
    assumed = _assume.from_options(assume, csv_fps, joint_names)
    try:
        import viser
    except ImportError:
        raise InputError("the page needs viser: pip install 'cmg_jax[view]'") from None
    free, local = _address.free_port(host, port)
    if not local:
        warn(
            PROGRAM,
            f"listening at {host}: everyone who reaches this machine can drive the robot, without a password",
        )
    source = _playback(motion, assumed, robot) if motion else _drive(model, library, assumed, schedule)
    skeleton = Skeleton(source.robot, robot)
    # A browser may leave in the middle of a message, which websockets logs as an error.
    with quiet_logger("websockets"):
        page = _serve(viser, host, free, source, skeleton, seconds)
    if record and isinstance(source, Drive):
        source.write_schedule(record)
        print(f"wrote {record} ({source.frame} frames)")
    print(page.pacer.text())


def _serve(
    viser: Any, host: str, port: int, source: Drive | Playback, skeleton: Skeleton, seconds: float | None
) -> Page:
    """Show the page until Ctrl-C, until the program is terminated, or for `seconds` of motion; returns the page."""
    with contextlib.redirect_stdout(io.StringIO()):  # viser prints addresses of its own
        server = viser.ViserServer(host, port, label="cmg_jax", verbose=False)
    try:
        page = Page(server, source, skeleton)
        address = f"http://{_address.url_host(host)}:{server.get_port()}"
        print(f"open {address} in a browser; Ctrl-C stops", flush=True)
        with contextlib.suppress(KeyboardInterrupt), _interrupted_by_sigterm():
            page.run(seconds)
    finally:
        with contextlib.redirect_stdout(io.StringIO()):
            server.stop()
    return page


@contextlib.contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM acts as Ctrl-C does, so that a recorded drive is written."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _drive(
    model: Sequence[Path] | None, library: Sequence[Path] | None, assumed: Assume, schedule: Path | None
) -> Drive:
    if library:
        models, labels = [model_of_library(read_library(library, assumed))], [library[0].stem]
    else:
        model = model or [_checkpoint.default_model_path()]
        models, labels = [_checkpoint.load(path) for path in model], [path.name for path in model]
    commands = read_commands(schedule, models[0].config.fps) if schedule else None
    drive = Drive(models, labels, commands=commands)
    if commands is not None:
        warn_beyond_range(PROGRAM, drive.command_range, commands)
    return drive


def _playback(motion: Path, assumed: Assume, robot: Path | None) -> Playback:
    assumed = dataclasses.replace(assumed, robot=Robot.from_mjcf(robot) if robot else G1)
    reading = motion_files.read(motion, assumed)
    clips = reading.clips
    for note in reading.notes:
        warn(PROGRAM, f"{motion}: {note.text}")
    if not clips or len(clips[0].joint_pos) < 2:
        raise InputError(f"{motion}: holds no motion of 2 frames or more")
    if len(clips) > 1:
        warn(PROGRAM, f"{motion} holds {len(clips)} motions; the first is played")
    playback = Playback(clips[0])
    try:
        _clips.check_rate(clips[0])
    except MotionFileError as rejected:
        raise InputError(f"{motion}: {rejected}") from None
    return playback
