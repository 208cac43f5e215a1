"""`cmg-jax motions`: a folder of motions, its index and its picture."""

import csv
import pickle

import jax
import numpy as np
import pytest
from PIL import Image

import cmg_jax
from cmg_jax.evaluation import _measure
from cmg_jax.generators._base import first_frames
from cmg_jax.viz import _contact_sheet
from tests.conftest import refused_line, run_program


def test_a_folder_an_index_and_a_picture(tmp_path, bundled):
    result = run_program(
        "cmg-jax", "motions", "--out", "set", "--grid=0,1.2:0:-0.5", "--per-command", 2, "--seconds", 3, "--seed", 6,
        "--format", "twist", "--joints", 23, cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "4 motions of 151 frames" in result.stdout
    with (tmp_path / "set" / "index.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(float(row["vx"]), float(row["yaw"])) for row in rows] == [(0, -0.5), (0, -0.5), (1.2, -0.5), (1.2, -0.5)]
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == sorted(
        ["contact_sheet.png", "index.csv", *(row["file"] for row in rows)]
    )
    commands = np.array([[0, 0, -0.5], [0, 0, -0.5], [1.2, 0, -0.5], [1.2, 0, -0.5]], np.float32)
    first = first_frames(bundled, jax.random.key(6), 4)
    trajectory = jax.jit(cmg_jax.generate)(bundled, first, np.repeat(commands[:, None], 150, axis=1))
    measured = _measure.measured_velocity(bundled, np.asarray(trajectory))[:, 50:].mean(axis=1)
    told = np.array([[float(row[f"walked_{part}"]) for part in ("vx", "vy", "yaw")] for row in rows])
    np.testing.assert_allclose(told, measured, atol=2e-3)
    assert np.abs(told - commands).max() < 0.25  # some begin at a run
    assert all(0 < float(row["foot_sliding_m_s"]) < 0.3 for row in rows)
    for row, frames in zip(rows, np.asarray(trajectory), strict=True):
        content = pickle.loads((tmp_path / "set" / row["file"]).read_bytes())
        assert content["dof_pos"].shape == (151, 23)
        np.testing.assert_allclose(content["dof_pos"][:, :19], frames[:, :19], atol=1e-3)
    with Image.open(tmp_path / "set" / "contact_sheet.png") as sheet:
        strips = [np.asarray(sheet.convert("L"))[60:150, x : x + 300] for x in (0, 688)]
        assert np.abs(strips[0].astype(float) - strips[1]).mean() > 1, "every command has the same picture"


def test_a_sheet_of_many_motions_shows_some_of_them_evenly():
    assert _contact_sheet.choose(5) == [0, 1, 2, 3, 4]
    many = _contact_sheet.choose(1000)
    assert len(many) == _contact_sheet.MAX_MOTIONS
    assert (many[0], many[-1]) == (0, 999)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--out", "."), "exists"),
        (("--out", "absent/set"), "create it first"),
        (("--out", "set", "--grid", "1:2"), "three lists"),
        (("--out", "set", "--grid", "1:nan:0"), "not finite"),
        (("--out", "set", "--per-command", 0), "at least 1"),
        (("--out", "set", "--seconds", 1), "at least 1.6"),
        (("--out", "set", "--seconds", "inf"), "positive"),
        (("--out", "set", "--per-command", 100000), "ask for fewer"),
        (("--out", "set", "--seed", -1), "--seed: -1"),
        (("--out", "set", "--model", "absent"), "not a model directory"),
        (("--out", "set", "--format", "bvh"), "invalid choice"),
        ((), "--out"),
    ],
)
def test_bad_arguments_are_one_clear_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert words in refused_line(capsys, "motions", *arguments)
    assert not list(tmp_path.iterdir())
