"""`cmg-jax rl`: trains and plays a policy for the G1 that follows the reference, and checks whether motors can."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cmg_jax._errors import InputError
from cmg_jax._files import atomic_path, require_file_target, require_parent
from cmg_jax.cli import _options
from cmg_jax.cli._program import beside_the_result, warn_beyond_range
from cmg_jax.cli._progress import progress_reports
from cmg_jax.commands import _grid, _sampler
from cmg_jax.rl import RunConfig, read_config
from cmg_jax.rl._config import BUNDLED, ENGINES
from cmg_jax.rl._presets import PRESETS
from cmg_jax.training._metrics import read_metrics
from cmg_jax.viz import _plot, _render

PROGRAM = "cmg-jax rl"
SUMMARY = "train and show a policy that follows the reference (pip install 'cmg_jax[rl]')"
GRID = _grid.parse("-0.3,0,0.3,0.6,0.9,1.2:0:-0.6,0,0.6")

BALANCE = {"time up [s]": ("survived",), "velocity error (RMSE)": ("vx_error", "vy_error", "yaw_error")}
"""Panels of the picture of a training with a floating base."""


def add_options(parser: Any) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    train = actions.add_parser(
        "train", help="train a policy with PPO on the G1", description="Train a policy with PPO on the G1."
    )
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory of the run (required)")
    train.add_argument(
        "--preset",
        choices=sorted(PRESETS),
        help="fixed: joints on a fixed base, minutes; walk: a free robot that walks, an hour or two (default: fixed)",
    )
    train.add_argument("--config", type=Path, metavar="FILE.yaml", help="settings; others are the preset's")
    train.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="number of environment steps, ppo.num_timesteps (default: the preset's or --config's)",
    )
    train.add_argument(
        "--seed", type=_options.seed, metavar="K", help="seed (no unit) of the run (default: 0 or --config's)"
    )
    train.add_argument(
        "--start-from",
        type=Path,
        nargs="?",
        const=BUNDLED,
        metavar="RUN",
        help="run to train further: begin with its best policy, and with its settings but for those of --preset or "
        "--config (default: new networks; without RUN: the bundled run, a walk)",
    )
    train.add_argument("--resume", action="store_true", help="continue the run in --out, as it was begun")
    train.set_defaults(run=_train)

    play = actions.add_parser(
        "play",
        help="make a video of a run's policy beside its reference",
        description="Make a video of a run's policy beside its reference.",
    )
    _add_run(play)
    _add_engine(play)
    _add_onnx(play)
    _options.add_command(play)
    _options.add_seconds(play, "duration", 8.0)
    play.add_argument(
        "--video",
        type=Path,
        metavar="FILE",
        help="video to write: .gif or .mp4 (default: play.mp4 in RUN, or here)",
    )
    play.set_defaults(run=_play)

    evaluate = actions.add_parser(
        "evaluate",
        help="measure how robust a run's policy is",
        description="Measure how long a run's policy stays up and how well it obeys: under commands, changes of "
        "command, pushes, friction, and a reference that begins again.",
    )
    _add_run(evaluate)
    _add_engine(evaluate)
    _add_onnx(evaluate)
    _options.add_seconds(evaluate, "duration of an episode", 10.0)
    evaluate.add_argument(
        "--push",
        type=float,
        nargs="*",
        default=[0.3, 0.6, 1.0],
        metavar="V",
        help="pushes in m/s, changes of the base's velocity every 2 s (default: 0.3 0.6 1)",
    )
    evaluate.add_argument(
        "--friction",
        type=float,
        nargs="*",
        default=[0.4, 0.7],
        metavar="MU",
        help="coefficients of friction (no unit) of the soles and the floor (default: 0.4 0.7)",
    )
    evaluate.add_argument("--seed", type=_options.seed, default=0, metavar="K", help="seed (no unit; default: 0)")
    evaluate.add_argument("--out", type=Path, metavar="FILE.json", help="file to write the figures to")
    evaluate.set_defaults(run=_evaluate)

    export = actions.add_parser(
        "export",
        help="write a run's policy as an ONNX graph",
        description="Write a run's policy as an ONNX graph with its normalization, and compare it with the policy.",
    )
    _add_run(export)
    export.add_argument("--out", type=Path, required=True, metavar="FILE.onnx", help="file to write (required)")
    export.add_argument(
        "--with-reference",
        action="store_true",
        help="a graph that also generates the reference, from a command (default: its observation has the reference)",
    )
    export.set_defaults(run=_export)

    feasible = actions.add_parser(
        "feasibility",
        help="follow the reference by PD control, without a policy",
        description="Follow the reference by PD control in MuJoCo, without a policy; report joint errors and torques.",
    )
    _options.add_model(feasible)
    _options.add_grid(feasible, GRID)
    _options.add_seconds(feasible, "duration of the motion under each command", 6.0)
    feasible.set_defaults(run=_feasibility)


def _add_run(parser: Any) -> None:
    parser.add_argument(
        "directory",
        type=Path,
        nargs="?",
        default=BUNDLED,
        metavar="RUN",
        help="directory of a run (default: the bundled one, whose robot is free and walks)",
    )


def _add_engine(parser: Any) -> None:
    parser.add_argument("--engine", choices=ENGINES, help="physics by MJX or by C MuJoCo (default: the run's)")
    parser.add_argument(
        "--sim-dt",
        type=float,
        metavar="S",
        help="length of a physics step in seconds, a fraction of 0.02 (default: the run's)",
    )


def _add_onnx(parser: Any) -> None:
    parser.add_argument("--onnx", type=Path, metavar="FILE.onnx", help="policy of rl export, in place of the run's")


def _physics(engine: str | None, sim_dt: float | None) -> dict[str, Any]:
    """Settings of the environment that differ from the run's."""
    return {name: value for name, value in {"engine": engine, "sim_dt": sim_dt}.items() if value is not None}


def _require_rl() -> None:
    try:
        import brax  # noqa: F401
        import mujoco_playground  # noqa: F401
    except ImportError:
        raise InputError("this needs Brax and MuJoCo Playground: pip install 'cmg_jax[rl]'") from None


def _train(
    *,
    action: str,
    out: Path,
    preset: str | None,
    config: Path | None,
    steps: int | None,
    seed: int | None,
    start_from: Path | None,
    resume: bool,
) -> None:
    if resume:
        others = {"--preset": preset, "--config": config, "--steps": steps, "--seed": seed, "--start-from": start_from}
        settings = _resumed(out, others)
    else:
        settings = _settings(preset, config, steps, seed, start_from)
        if out.exists():
            raise InputError(f"{out} exists; pass --resume to continue its run, or choose another directory")
        require_parent(out)
    _require_rl()
    _plot.require_matplotlib()
    from cmg_jax.rl import _run, _setup

    total = settings.ppo.num_updates * settings.ppo.steps_per_update
    done = _last_step(out) if resume else 0
    with progress_reports(f"{PROGRAM} {action}") as progress:
        advance = progress("environment steps", total, compiles=True, done=done)
        setup = _setup.set_up(settings)
        trained = _sampler.trained_range(setup.model)
        warn_beyond_range(
            PROGRAM, trained, settings.commands.range[:2], "; the commands of the training are clipped to it"
        )
        _run.train(
            settings,
            setup,
            out,
            lambda row: print(_line(row, settings, floating=setup.env.floating), flush=True),
            resume=resume,
            progress=advance,
        )
    curve = out / "curve.png"
    with beside_the_result(PROGRAM, curve):
        panels = _plot.REWARD_AND_ERROR | (BALANCE if setup.env.floating else {})
        kind = "floating" if setup.env.floating else "fixed"
        title = f"G1 tracking, {kind} base, PPO, seed {settings.seed}"
        _plot.plot_learning_curve(curve, read_metrics(out), title, panels)
    print(f"wrote {out / 'metrics.csv'}, {curve.name}, and {len(list((out / 'checkpoints').iterdir()))} checkpoints")


def _settings(
    preset: str | None, config: Path | None, steps: int | None, seed: int | None, start_from: Path | None
) -> RunConfig:
    settings = PRESETS[preset or "fixed"]
    if start_from is not None and preset is None:
        settings = read_config(start_from / "config.yaml")
    if start_from is not None:
        settings = dataclasses.replace(settings, start_from=str(start_from))
    if config:
        settings = read_config(config, settings)
    if steps is not None:
        settings = dataclasses.replace(settings, ppo=dataclasses.replace(settings.ppo, num_timesteps=steps))
    if settings.start_from:  # so that it can be resumed from any directory
        settings = dataclasses.replace(settings, start_from=str(Path(settings.start_from).resolve()))
    return settings if seed is None else dataclasses.replace(settings, seed=seed)


def _last_step(directory: Path) -> int:
    """The environment steps that a run has done."""
    rows = read_metrics(directory) if (directory / "metrics.csv").is_file() else []
    return int(rows[-1]["step"]) if rows else 0


def _resumed(out: Path, others: dict[str, object]) -> RunConfig:
    given = [name for name, value in others.items() if value is not None]
    if given:
        raise InputError(
            f"{', '.join(given)}: a run is continued with the settings that it has; leave --resume or these"
        )
    if not out.is_dir():
        raise InputError(f"{out}: no such directory; there is no run to resume")
    return read_config(out / "config.yaml")


def _line(row: dict[str, Any], settings: RunConfig, *, floating: bool) -> str:
    """What is printed of an evaluation."""
    first = f"(the policy of {settings.start_from})" if settings.start_from else "(zero action)"
    parts = [f"step {row['step']:9d}", f"reward {row['reward']:.3f}"]
    if floating:
        velocity = " ".join(f"{row[f'{axis}_error']:.2f}" for axis in ("vx", "vy", "yaw"))
        parts += [f"up {row['survived']:.1f} s", f"velocity error {velocity}"]
    parts += [f"joint error {row['joint_error']:.4f} rad", f"{row['seconds']:.0f} s"]
    return "  ".join([*parts, f"{row['steps_per_second']} steps/s" if row["step"] else first])


def _play(
    *,
    action: str,
    directory: Path,
    command: Sequence[Sequence[float]] | None,
    seconds: float,
    video: Path | None,
    engine: str | None,
    sim_dt: float | None,
    onnx: Path | None,
) -> None:
    target = video or (Path() if directory == BUNDLED else directory) / "play.mp4"
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
    from cmg_jax.rl import _play as playing

    commands = command or [_options.DEFAULT_COMMAND]
    result = playing.play(directory, commands, seconds, settings=_physics(engine, sim_dt), onnx=onnx)
    warn_beyond_range(PROGRAM, result.trained, commands)
    print(f"reward {result.reward:.4f} a step, joint error {result.joint_error:.4f} rad, {result.falls} falls")
    with progress_reports(f"{PROGRAM} {action}") as progress:
        pictures = progress("pictures", _render.num_pictures(result.policy, target))
        drawn_by = _render.render_motion(target, result.policy, beside=result.reference, progress=pictures)
    print(f"wrote {target} ({target.stat().st_size / 1e6:.1f} MB) (drawn by {drawn_by})")


def _evaluate(
    *,
    action: str,
    directory: Path,
    engine: str | None,
    sim_dt: float | None,
    onnx: Path | None,
    seconds: float,
    push: Sequence[float],
    friction: Sequence[float],
    seed: int,
    out: Path | None,
) -> None:
    if not 2 <= seconds <= 600:
        raise InputError(f"--seconds {seconds}: from 2 to 600")
    for name, values in (("--push", push), ("--friction", friction)):
        if not all(0 <= value < math.inf for value in values):
            raise InputError(f"{name} {' '.join(map(str, values))}: numbers that are not negative")
    if out is not None:
        require_file_target(out)
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory; see cmg-jax rl train")
    _require_rl()
    from cmg_jax.rl import _evaluate as evaluation

    with progress_reports(f"{PROGRAM} {action}") as progress:
        rows = evaluation.evaluate(
            directory,
            seconds=seconds,
            pushes=push,
            frictions=friction,
            settings=_physics(engine, sim_dt),
            onnx=onnx,
            seed=seed,
            progress=progress("conditions", evaluation.num_conditions(push, friction), compiles=True),
        )
    print(f"{'':32s}   up [s]  whole   vx    vy    yaw (walked: vx, vy, yaw)  joints  transport")
    for row in rows:
        errors, walked = (
            " ".join(f"{row[f'{kind}{axis}_error']:5.2f}" for axis in ("vx", "vy", "yaw")) for kind in ("", "walked_")
        )
        print(
            f"{row['condition']:32s}  {row['survived']:6.2f}  {row['survived_fraction']:5.2f}  {errors} ({walked})  "
            f"{row['joint_error']:6.3f}  {row['cost_of_transport']:6.2f}"
        )
    if out is not None:
        with atomic_path(out) as partial:
            partial.write_text(json.dumps(rows, indent=2) + "\n")
        print(f"wrote {out}")


def _export(*, action: str, directory: Path, out: Path, with_reference: bool) -> None:
    require_file_target(out)
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory; see cmg-jax rl train")
    _require_rl()
    from cmg_jax.rl import _onnx, _policy, _setup

    setup = _setup.set_up(_policy.read_run(directory))
    params = _policy.load_policy(directory, setup.network(), setup.env.observation_size)
    content = _onnx.policy_onnx(setup, params, with_reference=with_reference).SerializeToString()
    with atomic_path(out) as partial:
        partial.write_bytes(content)
        difference = _onnx.check(setup, params, partial)
    print(
        f"wrote {out} ({len(content) / 1e6:.1f} MB); its actions differ from the policy's by at most {difference:.1e}"
    )


def _feasibility(*, action: str, model: Path | None, grid: Sequence[Sequence[float]], seconds: float) -> None:
    from cmg_jax.rl import _feasibility

    loaded = _options.load_model(model)
    frames = round(seconds * loaded.config.fps)
    with progress_reports(f"{PROGRAM} {action}") as progress:
        found = _feasibility.check_feasibility(loaded, grid, frames, progress=progress("commands", len(grid)))
    warn_beyond_range(PROGRAM, _sampler.trained_range(loaded), grid)
    print(_feasibility.feasibility_table(found))
