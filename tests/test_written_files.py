"""Commands replace only files that they may replace, and a failing picture does not lose their result."""

import json

import numpy as np
import pytest

import cmg_jax
from cmg_jax import InputError, motion_files
from cmg_jax.cli.main import main
from cmg_jax.data import _dataset
from cmg_jax.motion_files import Motion
from cmg_jax.robot import G1
from cmg_jax.viz import _contact_sheet, _plot, _render
from converters import cli as convert
from tests.conftest import DATA, refused_line
from tests.data_tools import walking


@pytest.fixture(scope="module")
def walk():
    """3 s at a constant velocity: a clip of one command."""
    time = np.arange(150)[:, None] / 50
    swing = 0.2 * np.sin(2 * np.pi * 1.4 * time + np.linspace(0, 3, 29))
    velocity = 0.2 * 2 * np.pi * 1.4 * np.cos(2 * np.pi * 1.4 * time + np.linspace(0, 3, 29))
    root_pos = np.concatenate([0.6 * time, 0 * time, 0 * time + 0.79], axis=1)
    root_quat = np.tile([1.0, 0, 0, 0], (150, 1))
    return Motion(50.0, G1, swing, velocity, np.tile([0.6, 0, 0], (149, 1)), root_pos, root_quat)


@pytest.fixture
def users_directory(tmp_path):
    """Make a user's directory under the name that a command writes to: `users_directory(name)`."""

    def make(name):
        directory = tmp_path / name
        directory.mkdir()
        (directory / "notes.tex").write_text("a user's notes")
        return directory

    yield make
    found = list(tmp_path.rglob("notes.tex"))
    assert found
    assert all(path.read_text() == "a user's notes" for path in found)
    assert not list(tmp_path.rglob("*.partial*"))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("a.npz", ("generate", "--out")),
        ("a.csv", ("generate", "--out")),
        ("a.pkl", ("generate", "--seconds", 1, "--out")),
        ("a.png", ("generate", "--plot")),
        ("a.gif", ("generate", "--video")),
        ("a.npz", ("data", "walk.npz", "--out")),
        ("a.svg", ("data", "walk.npz", "--out", "new.npz", "--plot")),
        ("a.png", ("inspect", "walk.npz", "--plot")),
        ("a.onnx", ("export", "--format", "onnx", "--out")),
        ("a.pt", ("export", "--format", "torch", "--out")),
        ("a.json", ("bench", "--save")),
        ("a.csv", ("view", "--record")),
    ],
)
def test_a_directory_is_not_replaced_by_a_file(name, arguments, users_directory, walk, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    motion_files.write(tmp_path / "walk.npz", walk)
    users_directory(name)
    assert f"{name}: is a directory" in refused_line(capsys, *arguments, name)
    assert not (tmp_path / "new.npz").exists()


def test_no_function_replaces_a_directory(users_directory, walk, tmp_path):
    writers = {
        "a.npz": [
            lambda path: motion_files.write(path, walk, "npz"),
            lambda path: motion_files.write(path, walk, "mjlab"),
            lambda path: _dataset.save(path, walking(clips=2, frames=60)),
        ],
        "a.csv": [lambda path: motion_files.write(path, walk)],
        "a.pkl": [lambda path: motion_files.write(path, walk)],
        "a.png": [
            lambda path: _plot.plot_motion(path, walk),
            lambda path: _plot.plot_commands(path, np.zeros((5, 3)), 0.1),
            lambda path: _contact_sheet.draw_contact_sheet(path, [_contact_sheet.SheetEntry(walk, np.zeros(3))]),
        ],
        "a.gif": [lambda path: _render.render_motion(path, walk)],
    }
    for name, functions in writers.items():
        path = users_directory(name)
        for write in functions:
            with pytest.raises(InputError, match=f"{name}: is a directory"):
                write(path)


def test_an_input_is_not_overwritten(walk, tmp_path, capsys):
    motion_files.write(tmp_path / "walk.npz", walk)
    (tmp_path / "drive.csv").write_text("0,0.1,0,0\n2,0.5,0,0\n")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for arguments in (
        ("data", tmp_path, "--out", tmp_path / "walk.npz"),
        ("generate", "--schedule", tmp_path / "drive.csv", "--out", tmp_path / "drive.csv"),
        ("view", "--schedule", tmp_path / "drive.csv", "--record", tmp_path / "drive.csv"),
    ):
        assert "is also an input, which would be lost" in refused_line(capsys, *arguments)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_picture_beside_a_data_set_replaces_no_picture_of_others(walk, tmp_path, capsys):
    motion_files.write(tmp_path / "walk.npz", walk)
    (tmp_path / "set.png").write_bytes(b"a photo")
    arguments = ["data", str(tmp_path / "walk.npz"), "--out", str(tmp_path / "set.npz"), "--percentiles", "0", "100"]
    assert "set.png: exists" in refused_line(capsys, *arguments)
    assert (tmp_path / "set.png").read_bytes() == b"a photo"
    assert main([*arguments, "--plot", str(tmp_path / "speeds.png")]) == 0
    (tmp_path / "set.png").unlink()
    for _ in range(2):  # the second time, the picture is ours
        assert main(arguments) == 0


def test_a_report_replaces_a_report_only(tmp_path, capsys):
    for name, content in (
        ("report.json", json.dumps({"tracking": "of parcels"})),
        ("report.json", "[1, 2]"),
        ("report.png", "a photo"),
    ):
        directory = tmp_path / f"{name}{len(content)}"
        directory.mkdir()
        (directory / name).write_text(content)
        assert f"holds a {name} that is not a report" in refused_line(capsys, "evaluate", "--report", directory)
        assert (directory / name).read_text() == content


def test_a_conversion_replaces_a_model_only(tmp_path, capsys):
    out = tmp_path / "model"
    arguments = [str(DATA / "final.pt"), "--joint-names", "hip,knee", "--out"]
    out.mkdir()
    (out / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (out / "weights.safetensors").write_bytes(b"of days")
    assert convert.main([*arguments, str(out), "--force"]) == 2
    captured = capsys.readouterr()
    assert "is not a model directory" in captured.err
    assert captured.out == "", "refused before any work"
    assert (out / "weights.safetensors").read_bytes() == b"of days"

    ours = tmp_path / "ours"
    assert convert.main([*arguments, str(ours)]) == 0
    assert convert.main([*arguments, str(ours)]) == 2
    assert convert.main([*arguments, str(ours), "--force"]) == 0
    (ours / "README.md").write_text("notes")
    cmg_jax.load(ours)  # notes beside a model are not damage
    capsys.readouterr()
    assert convert.main([*arguments, str(ours), "--force"]) == 2
    assert "also holds README.md" in capsys.readouterr().err
    assert (ours / "README.md").read_text() == "notes"


@pytest.mark.parametrize(("suffix", "name"), [(".npz", "mjlab"), (".pkl", "twist"), (".npz", "npz"), (".csv", "csv")])
def test_a_data_set_of_one_even_pace_is_drawn(suffix, name, walk, tmp_path, capsys):
    path = tmp_path / f"walk{suffix}"
    motion_files.write(path, walk, name)
    arguments = ["data", str(path), "--out", str(tmp_path / "set.npz"), "--csv-fps", "50"]
    assert main([*arguments, "--percentiles", "0", "100"]) == 0
    assert (tmp_path / "set.png").stat().st_size > 5000
    assert len(_dataset.load(tmp_path / "set.npz").motion) == 150
    assert capsys.readouterr().err == ""


def test_a_picture_that_fails_does_not_lose_the_written_result(walk, tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        raise ZeroDivisionError("in the middle of a font")

    for function in ("plot_commands", "plot_motion"):
        monkeypatch.setattr(_plot, function, fail)
    monkeypatch.setattr(_render, "render_motion", fail)
    monkeypatch.setattr(_contact_sheet, "draw_contact_sheet", fail)
    monkeypatch.chdir(tmp_path)
    motion_files.write(tmp_path / "walk.npz", walk)
    second = ["--command", "0.5", "0", "0", "--seconds", "0.5"]
    for arguments, written, pictures in (
        (["data", "walk.npz", "--out", "set.npz", "--percentiles", "0", "100"], "set.npz", ["set.png"]),
        (["generate", *second, "--out", "a.csv", "--plot", "a.png", "--video", "a.gif"], "a.csv", ["a.png", "a.gif"]),
        (
            ["motions", "--grid", "0.5:0:0", "--seconds", "2", "--out", "set"],
            "set/index.csv",
            ["set/contact_sheet.png"],
        ),
    ):
        assert main(arguments) == 0
        captured = capsys.readouterr()
        assert (tmp_path / written).is_file()
        assert captured.err.splitlines() == [
            f"cmg-jax {arguments[0]}: warning: the result is written, but not {picture}: in the middle of a font"
            for picture in pictures
        ]
