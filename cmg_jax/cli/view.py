"""`cmg-jax view`: the robot live in a browser, driven or played back."""

import argparse
import contextlib
import io
import ipaddress
import socket
from pathlib import Path
from typing import Any

import numpy as np

from cmg_jax import motion_files
from cmg_jax._errors import InputError
from cmg_jax._files import require_file_target
from cmg_jax.cli import assume as assume_options
from cmg_jax.cli.program import quiet_logger, warn, warn_beyond_range
from cmg_jax.model import _checkpoint
from cmg_jax.motion_files import MotionFileError, _clips
from cmg_jax.robot import G1, Robot
from cmg_jax.view._drive import Drive, read_schedule
from cmg_jax.view._playback import Playback
from cmg_jax.view._skeleton import Skeleton

PROGRAM = "cmg-jax view"


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("view", help="drive models, or play a motion file, in a browser")
    parser.add_argument(
        "--model",
        type=Path,
        action="append",
        metavar="DIR",
        help="model directory; several walk side by side; the bundled model by default",
    )
    parser.add_argument(
        "--motion", type=Path, metavar="FILE", help=f"play a motion file ({', '.join(motion_files.SUFFIXES)})"
    )
    assume_options.add_arguments(parser.add_argument_group("of the motion file"))
    parser.add_argument(
        "--robot",
        type=Path,
        metavar="FILE.xml",
        help="MJCF of the robot to draw, with its meshes; by default the model's. A motion is taken to be its",
    )
    parser.add_argument("--schedule", type=Path, metavar="FILE.csv", help="drive by lines of time, vx, vy, yaw")
    parser.add_argument(
        "--record", type=Path, metavar="FILE.csv", help="write the drive there at the end, as a schedule"
    )
    parser.add_argument("--port", type=int, default=8080, help="(default 8080; 0 for any that is free)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default 127.0.0.1: this machine only)"
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after S seconds of motion")
    parser.set_defaults(function=_view)


def _view(arguments: argparse.Namespace) -> None:
    _check(arguments)
    try:
        import viser
    except ImportError:
        raise InputError("the page needs viser: pip install 'cmg_jax[view]'") from None
    port = free_port(arguments.host, arguments.port)
    source = _playback(arguments) if arguments.motion else _drive(arguments)
    skeleton = Skeleton(source.robot, arguments.robot)
    # Browsers leave in the middle of a message, of which websockets complains.
    with quiet_logger("websockets"):
        page = _serve(viser, arguments, port, source, skeleton)
    if arguments.record and isinstance(source, Drive):
        source.record(arguments.record)
        print(f"wrote {arguments.record} ({source.frame} frames)")
    print(page.pacer.text())


def _serve(viser: Any, arguments: argparse.Namespace, port: int, source: Any, skeleton: Skeleton) -> Any:
    """The page, after it was shown until Ctrl-C or to the end of `--seconds`."""
    from cmg_jax.view._page import Page

    with contextlib.redirect_stdout(io.StringIO()):  # its own box of addresses
        server = viser.ViserServer(arguments.host, port, label="cmg_jax", verbose=False)
    try:
        page = Page(server, source, skeleton)
        print(f"open http://{_url_host(arguments.host)}:{server.get_port()} in a browser; Ctrl-C stops", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            page.run(arguments.seconds)
    finally:
        with contextlib.redirect_stdout(io.StringIO()):
            server.stop()
    return page


def _check(arguments: argparse.Namespace) -> None:
    if arguments.motion and (arguments.model or arguments.schedule or arguments.record):
        raise InputError("--motion plays a file; --model, --schedule and --record belong to driving")
    if arguments.seconds is not None and not 0 < arguments.seconds < np.inf:
        raise InputError(f"--seconds {arguments.seconds:g}: a duration is a positive number of seconds")
    if not 0 <= arguments.port < 65536:
        raise InputError(f"--port {arguments.port}: a port is a number from 0 to 65535")
    if arguments.record:
        require_file_target(arguments.record, [arguments.schedule] if arguments.schedule else [])
    assume_options.from_arguments(arguments)


def _drive(arguments: argparse.Namespace) -> Drive:
    paths = arguments.model or [_checkpoint.default_model_path()]
    models = [_checkpoint.load(path) for path in paths]
    labels = [path.name for path in arguments.model] if arguments.model else ["bundled model"]
    commands = read_schedule(arguments.schedule, models[0].config.fps) if arguments.schedule else None
    drive = Drive(models, labels, commands=commands)
    if commands is not None:
        warn_beyond_range(PROGRAM, drive.command_range, commands)
    return drive


def _playback(arguments: argparse.Namespace) -> Playback:
    robot = Robot.from_mjcf(arguments.robot) if arguments.robot else G1
    reading = motion_files.read(arguments.motion, assume_options.from_arguments(arguments, robot))
    found = reading.clips
    for note in reading.notes:
        warn(PROGRAM, f"{arguments.motion}: {note.text}")
    if not found or len(found[0].joint_pos) < 2:
        raise InputError(f"{arguments.motion}: holds no motion of 2 frames or more")
    if len(found) > 1:
        warn(PROGRAM, f"{arguments.motion} holds {len(found)} motions; the first is played")
    playback = Playback(found[0])
    try:
        _clips.check_rate(found[0])
    except MotionFileError as rejected:
        raise InputError(f"{arguments.motion}: {rejected}") from None
    return playback


def free_port(host: str, port: int) -> int:
    """`port`, or for 0 one that is free; warns of an address that others reach.

    Raises:
      InputError: it is taken, or `host` is no address of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            free = probe.getsockname()[1]
    except OSError as error:
        raise InputError(
            f"cannot listen at {host}:{port}: {error.strerror or error}; choose another --port or --host"
        ) from None
    if not ipaddress.ip_address(address[0]).is_loopback:
        warn(PROGRAM, f"listening at {host}: whoever reaches this machine can drive the robot; there is no password")
    return free


def _url_host(host: str) -> str:
    return "localhost" if host in ("0.0.0.0", "::", "") else f"[{host}]" if ":" in host else host
