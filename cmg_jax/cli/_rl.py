"""`cmg-jax rl`: trains and plays a policy for the G1 that follows the reference, and checks whether motors can."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cmg_jax._errors import InputError
from cmg_jax._files import require_file_target, require_parent
from cmg_jax.cli import _options
from cmg_jax.cli._program import beside_the_result, warn_beyond_range
from cmg_jax.cli._progress import progress_reports
from cmg_jax.commands import _grid, _sampler
from cmg_jax.rl import PPOConfig, RunConfig, read_config
from cmg_jax.viz import _plot, _render

PROGRAM = "cmg-jax rl"
SUMMARY = "train and show a policy that follows the reference (pip install 'cmg_jax[rl]')"
GRID = _grid.parse("-0.3,0,0.3,0.6,0.9,1.2:0:-0.6,0,0.6")


def add_options(parser: Any) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    train = actions.add_parser(
        "train", help="train a policy with PPO on the G1", description="Train a policy with PPO on the G1."
    )
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory of the run (required)")
    train.add_argument("--config", type=Path, metavar="FILE.yaml", help="settings; others have their defaults")
    train.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help=f"number of environment steps, ppo.num_timesteps (default: {PPOConfig().num_timesteps} or --config's)",
    )
    train.add_argument(
        "--seed", type=_options.seed, metavar="K", help="seed (no unit) of the run (default: 0 or --config's)"
    )
    train.add_argument(
        "--floating", action="store_true", help="a floating base over a floor (default: a fixed base, or --config's)"
    )
    train.set_defaults(run=_train)

    play = actions.add_parser(
        "play",
        help="make a video of a run's policy beside its reference",
        description="Make a video of a run's policy beside its reference.",
    )
    play.add_argument("directory", type=Path, metavar="RUN", help="directory of a run")
    _options.add_command(play)
    _options.add_seconds(play, "duration", 8.0)
    play.add_argument(
        "--video", type=Path, metavar="FILE", help="video to write: .gif or .mp4 (default: play.mp4 in the run)"
    )
    play.set_defaults(run=_play)

    feasible = actions.add_parser(
        "feasibility",
        help="follow the reference by PD control, without a policy",
        description="Follow the reference by PD control in MuJoCo, without a policy; report joint errors and torques.",
    )
    _options.add_model(feasible)
    _options.add_grid(feasible, GRID)
    _options.add_seconds(feasible, "duration of the motion under each command", 6.0)
    feasible.set_defaults(run=_feasibility)


def _require_rl() -> None:
    try:
        import brax  # noqa: F401
        import mujoco_playground  # noqa: F401
    except ImportError:
        raise InputError("this needs Brax and MuJoCo Playground: pip install 'cmg_jax[rl]'") from None


def _train(*, action: str, out: Path, config: Path | None, steps: int | None, seed: int | None, floating: bool) -> None:
    settings = read_config(config) if config else RunConfig()
    if steps is not None:
        settings = dataclasses.replace(settings, ppo=dataclasses.replace(settings.ppo, num_timesteps=steps))
    if seed is not None:
        settings = dataclasses.replace(settings, seed=seed)
    if floating:
        settings = dataclasses.replace(settings, env=settings.env | {"floating": True})
    if out.exists():
        raise InputError(f"{out} exists; choose another directory")
    require_parent(out)
    _require_rl()
    _plot.require_matplotlib()
    from cmg_jax.rl import _run

    with progress_reports(f"{PROGRAM} {action}") as progress:
        advance = progress("environment steps", settings.ppo.num_timesteps)
        setup = _run.set_up(settings)
        trained = _sampler.trained_range(setup.model)
        warn_beyond_range(
            PROGRAM, trained, settings.commands.range[:2], "; the commands of the training are clipped to it"
        )
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

        rows = _run.train(settings, setup, out, report)
    curve = out / "curve.png"
    kind = "floating" if settings.env.get("floating") else "fixed"
    print(f"wrote {out / 'metrics.csv'} and {len(rows)} checkpoints")
    with beside_the_result(PROGRAM, curve):
        _plot.plot_learning_curve(curve, rows, f"G1 tracking, {kind} base, PPO, seed {settings.seed}")
        print(f"wrote {curve}")


def _play(
    *, action: str, directory: Path, command: Sequence[Sequence[float]] | None, seconds: float, video: Path | None
) -> None:
    target = video or directory / "play.mp4"
    if target.suffix not in _render.SUFFIXES:
        raise InputError(f"--video {target}: the name must end in {' or '.join(_render.SUFFIXES)}")
    if not 0.1 <= seconds <= 600:
        raise InputError(f"--seconds {seconds}: from 0.1 to 600")
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory; see cmg-jax rl train")
    require_file_target(target)
    _render.choose_gl()
    _require_rl()
    _render.require_writer(target)
    from cmg_jax.rl import _run

    commands = command or [_options.DEFAULT_COMMAND]
    result = _run.play(directory, commands, seconds)
    warn_beyond_range(PROGRAM, result.trained, commands)
    print(f"reward {result.reward:.4f} a step, joint error {result.joint_error:.4f} rad, {result.falls} falls")
    with progress_reports(f"{PROGRAM} {action}") as progress:
        pictures = progress("pictures", _render.num_pictures(result.policy, target))
        drawn_by = _render.render_motion(target, result.policy, beside=result.reference, progress=pictures)
    print(f"wrote {target} ({target.stat().st_size / 1e6:.1f} MB) (drawn by {drawn_by})")


def _feasibility(*, action: str, model: Path | None, grid: Sequence[Sequence[float]], seconds: float) -> None:
    from cmg_jax.rl import _feasibility

    loaded = _options.load_model(model)
    frames = round(seconds * loaded.config.fps)
    with progress_reports(f"{PROGRAM} {action}") as progress:
        found = _feasibility.check_feasibility(loaded, grid, frames, progress=progress("commands", len(grid)))
    warn_beyond_range(PROGRAM, _sampler.trained_range(loaded), grid)
    print(_feasibility.feasibility_table(found))
