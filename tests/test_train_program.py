"""`cmg-jax train`, run, killed and resumed as by a user."""

import csv
import dataclasses
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import cmg_jax
from cmg_jax.data import _dataset
from cmg_jax.data._dataset import Dataset
from cmg_jax.robot import G1, root_channel
from cmg_jax.training import TrainConfig
from tests.conftest import XLA_FLAGS, refused_line, run_in_process, run_program
from tests.data_tools import recorded, walking

RECIPE = ["--steps", 400, "--validate-every", 200, "--batch-size", 8, "--window", 4, "--width", 8, "--experts", 2]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "walk.npz"
    _dataset.save(path, walking(clips=4, frames=120))
    return path


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    result = run_program("cmg-jax", "train", "--data", data, "--out", out, *RECIPE)
    assert result.returncode == 0, result.stderr
    return out, result.stdout


def rows(directory):
    with (directory / "metrics.csv").open(newline="") as file:
        return [{key: row[key] for key in ("step", "loss", "score")} for row in csv.DictReader(file)]


def test_a_run_leaves_a_model_and_its_figures(whole):
    out, printed = whole
    assert [int(row["step"]) for row in rows(out)] == list(range(100, 401, 100))
    assert [row["score"] != "" for row in rows(out)] == [False, True] * 2
    assert "best at step" in printed
    model = cmg_jax.load(out / "model")
    assert model.config.num_experts == 2
    assert "recipe" in dict(model.config.provenance)
    losses = [float(row["loss"]) for row in rows(out)]
    assert losses[-1] < 0.7 * losses[0], "it did not learn"


@pytest.mark.slow
def test_a_killed_and_resumed_run_has_the_same_losses(whole, data, tmp_path):
    out = tmp_path / "killed"
    program = Path(sys.executable).with_name("cmg-jax")
    command = [str(value) for value in (program, "train", "--data", data, "--out", out, *RECIPE)]
    environment = {**os.environ, "XLA_FLAGS": XLA_FLAGS}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    deadline = time.monotonic() + 200
    while not (out / "metrics.csv").is_file() or len(rows(out)) < 3:  # one checkpoint, and steps after it
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was done before it was killed"
    result = run_program("cmg-jax", "train", "--data", data, "--out", out, *RECIPE, "--resume")
    assert result.returncode == 0, result.stderr
    assert rows(out) == rows(whole[0])
    models = [cmg_jax.load(directory / "model") for directory in (out, whole[0])]
    jax.tree.map(np.testing.assert_array_equal, *(model.params for model in models))


def test_validations_need_not_be_a_multiple_of_the_steps_between_two_figures(data, tmp_path):
    out = tmp_path / "run"
    arguments = ["--data", data, "--out", out, *RECIPE, "--steps", 170, "--validate-every", 150]
    result = run_program("cmg-jax", "train", *arguments)
    assert result.returncode == 0, result.stderr
    assert [(row["step"], row["score"] != "") for row in rows(out)] == [("100", False), ("150", True), ("170", True)]


@pytest.mark.slow
def test_fine_tuning_begins_with_the_weights_of_init(whole, data, tmp_path):
    arguments = ["--data", data, "--out", tmp_path / "tuned", "--init", whole[0] / "model", *RECIPE[:-4]]
    options = ["--learning-rate", 1e-9, "--schedule", "constant", "--steps", 100]
    result = run_program("cmg-jax", "train", *arguments, *options)
    assert result.returncode == 0, result.stderr
    tuned, first = (cmg_jax.load(path / "model") for path in (tmp_path / "tuned", whole[0]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), tuned.params, first.params)
    np.testing.assert_array_equal(tuned.stats.motion_mean, first.stats.motion_mean)


@pytest.mark.slow
def test_a_full_disk_is_one_clear_line_and_the_run_continues_when_there_is_room(whole, data, tmp_path):
    out = tmp_path / "run"
    program = Path(sys.executable).with_name("cmg-jax")
    command = " ".join(shlex.quote(str(value)) for value in (program, "train", "--data", data, "--out", out, *RECIPE))
    # No file may exceed 8 blocks of 1024 bytes, which the first checkpoint does. jax's cache is off, because its files
    # would too.
    environment = {**os.environ, "XLA_FLAGS": XLA_FLAGS, "JAX_COMPILATION_CACHE_DIR": ""}
    limited = ["bash", "-c", f"ulimit -f 8; {command}"]
    full = subprocess.run(limited, capture_output=True, text=True, timeout=200, env=environment)
    assert full.returncode == 2, full.stderr
    *_, last = full.stderr.strip().splitlines()  # a slow machine may report progress first
    assert "run: cannot be written: File too large" in last
    if (out / "model").exists():
        cmg_jax.load(out / "model")  # files that were small enough are complete
    result = run_program("cmg-jax", "train", "--data", data, "--out", out, *RECIPE, "--resume")
    assert result.returncode == 0, result.stderr
    assert rows(out) == rows(whole[0])


def test_a_preset_sets_what_no_option_says(data, tmp_path, monkeypatch):
    from cmg_jax.cli import _train
    from cmg_jax.cli.main import main

    seen = []
    monkeypatch.setattr(
        _train, "train", lambda dataset, out, config, *_, **__: seen.append(config) or {"step": 1, "score": 0.5}
    )
    for arguments in ([], ["--preset", "human"], ["--feet-weight", "0.2", "--preset", "human", "--window", "12"]):
        assert main(["train", "--data", str(data), "--out", str(tmp_path / "run"), *arguments]) == 0
    human = TrainConfig(steps=8000, feet_weight=1.0, start_weight=12.0)
    assert seen == [TrainConfig(), human, dataclasses.replace(human, feet_weight=0.2, window=12)]


def test_mistakes_are_one_clear_line(whole, data, tmp_path, capsys):
    out, _ = whole
    (tmp_path / "text.npz").write_text("nothing")
    for arguments, word in (
        (["--data", data, "--out", out], "--resume"),
        (["--data", data, "--out", out, "--resume", *RECIPE, "--seed", 5], "train seed 0, not 5"),
        (["--data", data, "--out", tmp_path / "new", "--resume"], "no run to resume"),
        (["--data", tmp_path / "text.npz", "--out", tmp_path / "new"], "not a data set"),
        (["--data", tmp_path / "none.npz", "--out", tmp_path / "new"], "none.npz"),
        (["--data", data, "--out", tmp_path / "a" / "b"], "no directory"),
        (["--data", data, "--out", tmp_path / "new", "--window", 500], "take a shorter window"),
        (["--data", data, "--out", tmp_path / "new", "--window", 1, "--agreement-weight", 0], "less than 2"),
        (["--data", data, "--out", tmp_path / "new", "--stride", 0], "stride 0 is not from 1"),
        (["--data", data, "--out", tmp_path / "new", "--learning-rate", 0], "learning_rate 0.0 is not a positive"),
        (["--data", data, "--out", tmp_path / "new", "--validate-every", 0], "validate_every 0"),
        (["--data", data, "--out", tmp_path / "new", "--noise", "nan"], "noise nan"),
    ):
        assert word in refused_line(capsys, "train", *arguments)
    assert not (tmp_path / "new").exists()


def test_the_data_says_whether_the_model_has_a_root(whole, tmp_path, capsys):
    clip = recorded(120)
    motion = [clip.joint_pos, np.gradient(clip.joint_pos, 1 / clip.fps, axis=0)]
    motion = np.concatenate([*motion, *root_channel(clip.root_pos, clip.root_quat, clip.fps)], axis=-1)
    rest = np.zeros(120, np.int32), np.zeros(120, np.int8), ("walk",), G1, clip.fps
    rooted = tmp_path / "rooted.npz"
    _dataset.save(rooted, Dataset(motion.astype(np.float32), motion[:, -3:].astype(np.float32), *rest))
    recipe = ["--steps", 100, "--validate-every", 100, *RECIPE[4:]]
    result = run_in_process(capsys, "cmg-jax", "train", "--data", rooted, "--out", tmp_path / "run", *recipe)
    assert result.returncode == 0, result.stderr
    model = cmg_jax.load(tmp_path / "run" / "model")
    assert model.config.has_root
    assert model.initial_motion is not None
    assert model.initial_motion.shape[1] == 64
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        assert float(next(csv.DictReader(file))["slide_m_s"]) > 0
    line = refused_line(
        capsys, "train", "--data", rooted, "--out", tmp_path / "tuned", "--init", whole[0] / "model", *RECIPE[:-4]
    )
    assert "the model has no root channel, the data has a root channel" in line
