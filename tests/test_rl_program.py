"""`cmg-jax rl` as a user starts it from a shell."""

import csv
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("brax")

from PIL import Image, ImageSequence

from cmg_jax import InputError
from cmg_jax.commands import _sampler
from cmg_jax.rl import _config, _play, _setup
from tests.conftest import DATA, XLA_FLAGS, assert_one_clear_line, refused_line, run_program

SMALL, RESUMED = DATA / "rl_small.yaml", DATA / "rl_resumed.yaml"


def rl(*arguments, **environment):
    return run_program("cmg-jax", "rl", *arguments, **environment)


@pytest.mark.slow
def test_a_run_is_trained_and_played(tmp_path):
    out = tmp_path / "run"
    trained = rl("train", "--config", SMALL, "--out", out, "--seed", 3, JAX_DEBUG_NANS="1")
    assert trained.returncode == 0, trained.stderr
    outside = "outside the trained range -0.43 .. +1.51"
    assert f"vx +3.00 is {outside}; the commands of the training are clipped to it" in trained.stderr
    assert "(zero action)" in trained.stdout.splitlines()[0]
    with (out / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [0, 40]
    unmeasured = ("cost_of_transport", "vx_error", "vy_error", "yaw_error")  # a fixed base goes nowhere, and is short
    figures = {name: float(value) for name, value in rows[1].items() if not name.endswith(unmeasured)}
    assert np.isfinite(list(figures.values())).all()
    assert figures["survived"] == pytest.approx(0.24)
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["000000000000", "000000000040"]
    with Image.open(out / "curve.png") as curve:
        assert len(np.unique(np.asarray(curve.convert("L")))) > 50, "an empty picture"
    expected = _config.read_config(SMALL)
    found = _config.read_config(out / "config.yaml")
    assert (found.seed, found.ppo, found.commands, found.env) == (3, expected.ppo, expected.commands, expected.env)

    options = ["--command", 2, 0, 0.2, "--seconds", 0.8, "--video", "play.gif"]
    played = rl("play", out, *options, cwd=tmp_path)
    assert played.returncode == 0, played.stderr
    assert "joint error" in played.stdout
    assert f"warning: vx +2.00 is {outside}\n" in played.stderr
    with Image.open(tmp_path / "play.gif") as video:
        assert (video.width, video.height) == (960, 320)
        milliseconds = sum(picture.info["duration"] for picture in ImageSequence.Iterator(video))
        assert milliseconds == 800, "for any length of a control step"

    assert_one_clear_line(rl("train", "--config", SMALL, "--out", out), "run exists; pass --resume")
    assert_one_clear_line(rl("train", "--resume", "--out", out, "--seed", 3), "--seed: a run is continued with")


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_to_the_same_figures(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert rl("train", "--config", RESUMED, "--out", whole).returncode == 0
    program = Path(sys.executable).with_name("cmg-jax")
    command = [program, "rl", "train", "--config", RESUMED, "--out", killed]
    environment = {**os.environ, "XLA_FLAGS": XLA_FLAGS}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line.split()[1]) >= 80:
                process.kill()  # SIGKILL: it writes nothing more
                break
    resumed = rl("train", "--resume", "--out", killed)
    assert resumed.returncode == 0, resumed.stderr
    expected, found = (_metrics(directory) for directory in (whole, killed))
    assert [row["step"] for row in found] == ["0", "40", "80", "120", "160"]
    assert found == expected
    names = [path.name for path in sorted((whole / "checkpoints").iterdir())]
    assert names == [path.name for path in sorted((killed / "checkpoints").iterdir())]
    assert (whole / "best.json").read_text() == (killed / "best.json").read_text()

    further, config = tmp_path / "further", tmp_path / "further.yaml"
    config.write_text("env: {rewards: {effort: -1.0}}")
    result = rl("train", "--start-from", "whole", "--config", config, "--steps", 80, "--out", further, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"(the policy of {whole})" in result.stdout.splitlines()[0]
    begun = _config.read_config(further / "config.yaml")
    assert begun.env == {**_config.read_config(RESUMED).env, "rewards": {"key_bodies": 0.0, "effort": -1.0}}
    assert begun.start_from == str(whole)
    best = json.loads((whole / "best.json").read_text())["step"]
    assert _evaluated(_metrics(further)[0]) == _evaluated(next(row for row in expected if row["step"] == str(best)))
    assert _metrics(further)[-1]["reward"] != _metrics(further)[0]["reward"]


def _metrics(directory):
    """The rows of a run, but for what a clock measured."""
    with (directory / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: value for name, value in row.items() if name not in ("seconds", "steps_per_second")} for row in rows]


def _evaluated(row):
    return {name: row[name] for name in ("survived", "joint_error", "target_change")}


EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "rl_ppo.py"


@pytest.mark.slow
def test_the_example_trains():
    call = f"runpy.run_path({str(EXAMPLE)!r})['main'](steps=640, num_envs=8, episode_length=6, evaluations=1)"
    command = [sys.executable, "-c", f"import runpy; {call}"]
    environment = {**os.environ, "XLA_FLAGS": XLA_FLAGS}
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert result.returncode == 0, result.stderr
    rows = [re.fullmatch(r"step (\d+): reward (-?[\d.]+)", line) for line in result.stdout.strip().splitlines()]
    assert [int(row[1]) for row in rows if row] == [640]


def test_feasibility_is_a_table():
    result = rl("feasibility", "--grid=0,0.9:0:0.3", "--seconds", 1.2)
    assert result.returncode == 0, result.stderr
    heading, still, walking = result.stdout.splitlines()
    assert "peak torque" in heading
    errors = [float(line.split()[3]) for line in (still, walking)]
    assert 0 < errors[0] < errors[1] < 0.3
    assert walking.startswith("+0.90 +0.00 +0.30")
    assert "(reference 100 %)" in walking


def test_settings_are_checked(tmp_path):
    path = tmp_path / "run.yaml"
    for content, words in (
        ("speed: 3", "speed: no such setting; there are model, seed"),
        ("ppo: {num_env: 3}", "ppo.num_env: no such setting"),
        ("ppo: {num_envs: many}", "ppo.num_envs 'many' is not of the type int"),
        ("ppo: {learning_rate: -1}", "ppo.learning_rate -1.0 must be a positive"),
        ("ppo: {learning_rate_schedule: COSINE}", "'COSINE' is not one of ADAPTIVE_KL, NONE"),
        ("ppo: {batch_size: 3}", "is not a multiple of"),
        ("ppo: {num_evals: 1}", "at least 2"),
        ("commands: {vx: [1, 0]}", "the lower one comes first"),
        ("commands: {vx: [0]}", "not a list of 2 numbers"),
        ("commands: {hold: [0, 3]}", "at least 1 step"),
        ("commands: {still: 1.5}", "commands.still 1.5 is not between 0 and 1"),
        ("commands: 3", "commands is not a mapping"),
        ("env: 3", "env is not a mapping"),
        ("hidden_layers: []", "at least one layer"),
        ("randomize: 1", "randomize 1 is not of the type bool"),
        ("- 1", "it is not a mapping"),
        ("a: [", "cannot be read as YAML"),
    ):
        path.write_text(content)
        with pytest.raises(InputError, match=r".*") as error:
            _config.read_config(path)
        assert words in str(error.value)
        assert str(error.value).startswith(f"{path}: ")
        assert "\n" not in str(error.value)
    path.write_text("")
    assert _config.read_config(path) == _config.RunConfig()
    path.write_text(_config.config_text(_config.RunConfig(seed=4, env={"rewards": {"effort": -1.0}})))
    assert _config.read_config(path).env == {"rewards": {"effort": -1.0}}


def test_mistakes_are_one_clear_line(tmp_path, capsys):
    bad = tmp_path / "bad.yaml"
    bad.write_text("env: {rewards: {joy: 1.0}}")
    other = tmp_path / "other.yaml"
    other.write_text("hidden_layers: [8]\nenv: {lookahead: [1, 2, 3]}")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=r"config\.yaml: no such file"):
        _play.play(empty, [(0.0, 0.0, 0.0)], 1.0)
    for arguments, words in (
        (["train", "--out", tmp_path / "run", "--config", bad], "joy"),
        (["train", "--out", tmp_path / "a" / "run"], "no directory"),
        (["train", "--out", tmp_path / "run", "--steps", 0], "num_timesteps 0"),
        (["train", "--out", tmp_path / "none", "--resume"], "there is no run to resume"),
        (["train", "--out", tmp_path / "run", "--start-from", tmp_path / "none"], "none/config.yaml: no such file"),
        (["train", "--out", tmp_path / "run", "--config", other, "--start-from"], "has another env.lookahead, hidden"),
        (["train", "--out", empty, "--resume", "--start-from"], "--start-from: a run is continued with"),
        (["train", "--out", empty, "--resume"], "config.yaml: no such file"),
        (["play", tmp_path / "none"], "none: no such directory"),
        (["evaluate", tmp_path / "none"], "none: no such directory"),
        (["evaluate", empty], "config.yaml: no such file"),
        (["evaluate", empty, "--push", -1], "--push -1.0"),
        (["play", empty, "--video", "walk.txt"], ".gif or .mp4"),
        (["feasibility", "--grid", "1:2"], "three lists"),
        (["feasibility", "--seconds", 0.02], "1 frames"),
    ):
        assert words in refused_line(capsys, "rl", *arguments)
    assert not (tmp_path / "run").exists()


def test_commands_of_a_training_stay_inside_what_the_model_was_trained_on(bundled):
    trained = _sampler.trained_range(bundled)
    found = _setup.set_up(_config.RunConfig(commands=_config.CommandConfig(vx=(-5.0, 5.0), vy=(0.1, 0.2)))).commands
    np.testing.assert_allclose(found.low, [trained.low[0], 0.1, -0.6])
    np.testing.assert_allclose(found.high, [trained.high[0], 0.2, 0.6])
    example = runpy.run_path(str(EXAMPLE))["command_range"]
    for edge in example[:2]:
        assert (np.asarray(edge) >= np.asarray(trained.low)).all()
        assert (np.asarray(edge) <= np.asarray(trained.high)).all()


def test_a_look_ahead_beyond_the_generator_is_refused():
    with pytest.raises(InputError, match="10 frames ahead, lookahead_frames only 5"):
        _setup.set_up(_config.RunConfig(lookahead_frames=5))


def test_without_the_extra_the_error_says_what_to_install(tmp_path):
    for name in ("brax", "mujoco_playground"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('not here')")
    result = rl("train", "--out", tmp_path / "run", PYTHONPATH=str(tmp_path))
    assert_one_clear_line(result, "pip install 'cmg_jax[rl]'")


@pytest.mark.slow
def test_the_bundled_policy_stays_up_whatever_happens_to_its_reference(tmp_path):
    out = tmp_path / "figures.json"
    result = rl("evaluate", "--seconds", 2.5, "--push", 0.2, "--friction", "--out", out)
    assert result.returncode == 0, result.stderr
    rows = {row["condition"]: row for row in json.loads(out.read_text())}
    assert list(rows) == [
        "commands held",
        "new command every 2 s",
        "reference restarts in the middle",
        "pushes of 0.2 m/s",
    ]
    assert all(f"{name:32s}  " in result.stdout for name in rows)
    assert rows["commands held"]["survived"] > 2.4
    assert rows["commands held"]["walked_vx_error"] < 0.2
    assert rows["reference restarts in the middle"]["joint_error"] > rows["commands held"]["joint_error"]
