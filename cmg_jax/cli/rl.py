"""`cmg-jax rl`: a policy for the G1 that follows the reference, trained with PPO; and whether motors can follow it."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from cmg_jax._errors import InputError
from cmg_jax._files import require_file_target, require_parent
from cmg_jax.cli.evaluate import parse_grid
from cmg_jax.cli.program import beside_the_result, progress_bars, warn_beyond_range
from cmg_jax.commands import _sampler
from cmg_jax.model import _checkpoint
from cmg_jax.rl import _config
from cmg_jax.viz import _plot, _render

PROGRAM = "cmg-jax rl"
GRID = "-0.3,0,0.3,0.6,0.9,1.2:0:-0.6,0,0.6"


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("rl", help="train and show a policy that follows the reference (extra rl)")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    train = actions.add_parser("train", help="PPO on the G1")
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory of the run")
    train.add_argument("--config", type=Path, metavar="FILE.yaml", help="settings; those left out have their defaults")
    train.add_argument("--steps", type=int, metavar="N", help="environment steps (ppo.num_timesteps)")
    train.add_argument("--seed", type=int, metavar="K")
    train.add_argument("--floating", action="store_true", help="a floating base over a floor; by default it is fixed")
    train.set_defaults(function=_train)

    play = actions.add_parser("play", help="the policy of a run beside its reference")
    play.add_argument("run", type=Path, metavar="DIR", help="directory of a run")
    play.add_argument(
        "--command",
        type=float,
        nargs=3,
        action="append",
        metavar=("VX", "VY", "YAW"),
        help="m/s, m/s, rad/s; several are held in turn (default 0.8 0 0)",
    )
    play.add_argument("--seconds", type=float, default=8.0, metavar="S")
    play.add_argument("--video", type=Path, metavar="FILE", help=".gif or .mp4; by default play.mp4 in the run")
    play.set_defaults(function=_play)

    feasible = actions.add_parser("feasibility", help="PD tracking of the reference without a policy")
    feasible.add_argument("--model", type=Path, metavar="DIR", help="model directory; the bundled one by default")
    feasible.add_argument(
        "--grid", default=GRID, metavar="VX:VY:YAW", help="values separated by commas for each (default %(default)s)"
    )
    feasible.add_argument("--frames", type=int, default=300, help="followed under each command")
    feasible.set_defaults(function=_feasibility)


def _require_rl() -> None:
    try:
        import brax  # noqa: F401
        import mujoco_playground  # noqa: F401
    except ImportError:
        raise InputError("this needs Brax and MuJoCo Playground: pip install 'cmg_jax[rl]'") from None


def _train(arguments: argparse.Namespace) -> None:
    config = _config.read_config(arguments.config) if arguments.config else _config.RunConfig()
    if arguments.steps is not None:
        config = dataclasses.replace(config, ppo=dataclasses.replace(config.ppo, num_timesteps=arguments.steps))
    if arguments.seed is not None:
        config = dataclasses.replace(config, seed=arguments.seed)
    if arguments.floating:
        config = dataclasses.replace(config, env=config.env | {"floating": True})
    if arguments.out.exists():
        raise InputError(f"{arguments.out} exists; choose another directory")
    require_parent(arguments.out)
    _require_rl()
    _plot.pyplot()
    from cmg_jax.rl import _run

    setup = _run.set_up(config)
    trained = _sampler.trained_range(setup.model)
    warn_beyond_range(PROGRAM, trained, config.commands.range, "; the commands of the training are clipped to it")
    with progress_bars() as progress:
        advance = progress("train", config.ppo.num_timesteps)
        done = 0

        def report(row: dict[str, Any]) -> None:
            nonlocal done
            advance(row["step"] - done)
            done = row["step"]
            remark = "  (zero action)" if row["step"] == 0 else f"  {row['steps_per_second']} steps/s"
            print(
                f"step {row['step']:8d}  reward {row['reward']:.3f}  joint error {row['joint_error']:.4f} rad  "
                f"episode {row['episode_length']:.0f} steps  {row['seconds']:.0f} s{remark}",
                flush=True,
            )

        rows = _run.train(config, setup, arguments.out, report)
    curve = arguments.out / "curve.png"
    kind = "floating" if config.env.get("floating") else "fixed"
    print(f"wrote {arguments.out / 'metrics.csv'} and {len(rows)} checkpoints")
    with beside_the_result(PROGRAM, curve):
        _plot.plot_curve(curve, rows, f"G1 tracking, {kind} base, PPO, seed {config.seed}")
        print(f"wrote {curve}")


def _play(arguments: argparse.Namespace) -> None:
    video: Path = arguments.video or arguments.run / "play.mp4"
    if video.suffix not in _render.SUFFIXES:
        raise InputError(f"--video {video}: the name must end in {' or '.join(_render.SUFFIXES)}")
    if not 0.1 <= arguments.seconds <= 600:
        raise InputError(f"--seconds {arguments.seconds}: from 0.1 to 600")
    if not arguments.run.is_dir():
        raise InputError(f"{arguments.run}: no such directory; see cmg-jax rl train")
    require_file_target(video)
    _render.choose_gl()
    _require_rl()
    _render.require_writer(video)
    from cmg_jax.rl import _run

    commands = arguments.command or [(0.8, 0.0, 0.0)]
    rolled = _run.play(arguments.run, commands, arguments.seconds)
    warn_beyond_range(PROGRAM, rolled.trained, commands)
    print(f"reward {rolled.reward:.4f} a step, joint error {rolled.joint_error:.4f} rad, {rolled.falls} falls")
    with progress_bars() as progress:
        pictures = _render.num_pictures(rolled.policy, video)
        drawn_by = _render.render_motion(video, rolled.policy, progress("video", pictures), beside=rolled.reference)
    print(f"wrote {video} ({video.stat().st_size / 1e6:.1f} MB) (drawn by {drawn_by})")


def _feasibility(arguments: argparse.Namespace) -> None:
    from cmg_jax.rl import check_feasibility

    commands = parse_grid(arguments.grid)
    model = _checkpoint.load(arguments.model) if arguments.model else _checkpoint.default_model()
    with progress_bars() as progress:
        advance = progress("feasibility", len(commands))
        found = check_feasibility(model, commands, arguments.frames, progress=advance)
    warn_beyond_range(PROGRAM, _sampler.trained_range(model), commands)
    columns = (
        f"{'error [rad]':<11}  {'largest error':<28}  {'peak torque':<11}  {'beyond torque limit':<27}  inside limits"
    )
    print(f"{'vx, vy, yaw':<17}  {columns}")
    for row in found:
        command = " ".join(f"{number:+.2f}" for number in row.command)
        largest = f"{row.worst_error:.3f} {row.worst_joint.removesuffix('_joint')}"
        beyond = f"{100 * row.saturation:.2f} % {row.saturated_joint.removesuffix('_joint')}"
        print(
            f"{command}  {row.error:<11.4f}  {largest:<28}  {f'{100 * row.peak_torque:.0f} %':<11}  {beyond:<27}  "
            f"{100 * row.inside:.0f} % (reference {100 * row.reference_inside:.0f} %)"
        )
