"""`cmg-jax` as a user starts it from a shell."""

import dataclasses
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from PIL import GifImagePlugin, Image

import cmg_jax
from cmg_jax.cli import _program
from cmg_jax.cli.main import main
from cmg_jax.commands import _schedule, trained_range
from cmg_jax.generators._base import first_frames
from cmg_jax.model import _checkpoint
from cmg_jax.robot import G1
from cmg_jax.robot._bodies import body_poses, qpos
from cmg_jax.robot._g1 import G1_29_JOINTS
from tests.conftest import assert_one_clear_line, refused_line, run_in_process, run_program


def generate(tmp_path, *arguments, **environment):
    return run_program("cmg-jax", "generate", *arguments, cwd=tmp_path, **environment)


@pytest.fixture
def here(tmp_path, capsys):
    """`cmg-jax generate` in this process, for tests that concern neither the process itself nor OpenGL."""
    return lambda *arguments: run_in_process(capsys, "cmg-jax", "generate", *arguments, cwd=tmp_path)


def test_info_prints_the_card(capsys):
    result = run_in_process(capsys, "cmg-jax", "info")
    assert result.returncode == 0, result.stderr
    for words in ("4 experts", "67 -> 512 -> 512 -> 64", "1,358,084", "trained vx", "recipe", "left_knee_joint"):
        assert words in result.stdout
    assert "61 -> 512 -> 512 -> 58" in run_in_process(capsys, "cmg-jax", "info", "--model", "policy").stdout


def test_every_output_of_one_environment(tmp_path, bundled):
    result = generate(
        tmp_path, "--command", 0.8, 0, 0, "--command", "-0.2", 0, 0.5, "--seconds", 2, "--seed", 3,
        "--out", "walk.npz", "--plot", "walk.png", "--video", "walk.gif",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "1 environments x 100 frames" in result.stdout
    assert "frames/s" in result.stdout

    with np.load(tmp_path / "walk.npz", allow_pickle=False) as file:
        walk = dict(file)
    assert walk["fps"].shape == (1,)
    assert walk["fps"].item() == 50
    assert tuple(walk["dof_names"]) == G1_29_JOINTS
    assert tuple(walk["body_names"]) == G1.body_names
    expected_commands = _schedule.hold_each([[0.8, 0, 0], [-0.2, 0, 0.5]], 2, 50)
    np.testing.assert_array_equal(walk["commands"], expected_commands)
    trajectory = jax.jit(cmg_jax.generate)(
        bundled, first_frames(bundled, jax.random.key(3), 1), expected_commands[None]
    )[0]
    np.testing.assert_allclose(walk["dof_positions"], trajectory[:, :29], atol=1e-5)
    np.testing.assert_allclose(walk["dof_velocities"], trajectory[:, 29:58], atol=1e-4)
    positions = qpos(G1, walk["dof_positions"], walk["root_pos"], walk["root_quat_wxyz"])
    bodies = body_poses(G1, positions)
    np.testing.assert_allclose(walk["body_positions"], bodies.position, atol=1e-5)
    np.testing.assert_allclose(walk["body_rotations"], bodies.rotation, atol=1e-5)

    with Image.open(tmp_path / "walk.png") as plot:
        assert plot.width > 600
        assert len(np.unique(np.asarray(plot.convert("L")))) > 50, "an empty picture"
    with Image.open(tmp_path / "walk.gif") as video:
        assert isinstance(video, GifImagePlugin.GifImageFile)
        assert video.n_frames == 51  # 2 s and the first frame, 25 a second
        assert video.info["duration"] == 40
        first = np.asarray(video.convert("RGB"), dtype=float)
        video.seek(25)
        assert np.abs(np.asarray(video.convert("RGB"), dtype=float) - first).mean() > 1, "nothing moves"


def test_csv_is_the_36_column_layout(tmp_path, here):
    assert here("--command", 0.5, 0, 0.3, "--seconds", 1, "--out", "walk.csv").returncode == 0
    assert here("--command", 0.5, 0, 0.3, "--seconds", 1, "--out", "walk.npz").returncode == 0
    table = np.loadtxt(tmp_path / "walk.csv", delimiter=",")
    assert table.shape == (51, 36)
    with np.load(tmp_path / "walk.npz") as walk:
        np.testing.assert_allclose(table[:, :3], walk["root_pos"], atol=1e-5)
        np.testing.assert_allclose(table[:, [6, 3, 4, 5]], walk["root_quat_wxyz"], atol=1e-5)  # xyzw in the file
        np.testing.assert_allclose(table[:, 7:], walk["dof_positions"], atol=1e-5)


def test_many_environments_differ_and_equal_the_python_call(tmp_path, bundled, here):
    (tmp_path / "drive.csv").write_text("0,0.3,0,0\n0.2,1.0,0.1,-0.2\n")
    result = here(
        "--envs",
        700,
        "--schedule",
        "drive.csv",
        "--seconds",
        0.4,
        "--seed",
        5,
        "--no-bodies",
        "--out",
        "m.npz",
    )
    assert result.returncode == 0, result.stderr
    assert "without body poses" in result.stdout
    with np.load(tmp_path / "m.npz") as file:
        walk = dict(file)
    assert "body_positions" not in walk
    assert walk["dof_positions"].shape == (700, 21, 29)
    assert walk["commands"].shape == (700, 20, 3)
    np.testing.assert_allclose(walk["commands"][9, 5], [0.65, 0.05, -0.1], atol=1e-6)
    motion = jnp.concatenate([walk["dof_positions"], walk["dof_velocities"]], axis=-1)
    first = first_frames(bundled, jax.random.key(5), 700)
    np.testing.assert_array_equal(motion[:, 0], first[:, :58])
    expected = jax.jit(cmg_jax.generate)(bundled, first, walk["commands"])
    np.testing.assert_allclose(motion, expected[..., :58], atol=1e-4)
    assert len(np.unique(walk["dof_positions"][:, 0], axis=0)) > 300


def test_seed_decides(tmp_path, here):
    read = []
    for seed in (1, 1, 2):
        here("--seconds", 0.2, "--seed", seed, "--out", "a.npz")
        with np.load(tmp_path / "a.npz") as walk:
            read.append(walk["dof_positions"])
    np.testing.assert_array_equal(read[0], read[1])
    assert np.abs(read[0] - read[2]).max() > 0.01


def test_without_opengl_a_stick_figure_walks(tmp_path):
    result = generate(tmp_path, "--seconds", 0.4, "--video", "walk.gif", MUJOCO_GL="disable")
    assert result.returncode == 0, result.stderr
    assert "drawn by matplotlib" in result.stdout
    with Image.open(tmp_path / "walk.gif") as video:
        assert isinstance(video, GifImagePlugin.GifImageFile)
        assert video.n_frames == 11


def test_mp4_keeps_the_models_frame_rate(tmp_path):
    import imageio_ffmpeg

    result = generate(tmp_path, "--seconds", 0.4, "--video", "walk.mp4", MUJOCO_GL="disable")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    frames, _ = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "walk.mp4"))
    assert frames == 21


def test_a_command_outside_the_trained_range_only_warns(tmp_path, here, bundled):
    result = here("--command", 4, 0, 0, "--seconds", 0.1, "--out", "a.npz")
    assert result.returncode == 0
    low, high, _ = trained_range(bundled)
    assert f"warning: vx +4.00 is outside the trained range {low[0]:+.2f} .. {high[0]:+.2f}" in result.stderr
    assert (tmp_path / "a.npz").exists()


def test_a_model_of_another_robot_writes_npz_only(tmp_path, small_model, here):
    config = dataclasses.replace(small_model.config, command_dim=3)
    params = jax.jit(config.network.init)(jax.random.key(0), jnp.zeros((1, 6)), jnp.zeros((1, 3)))["params"]
    stats = small_model.stats._replace(command_min=-jnp.ones(3), command_max=jnp.ones(3))
    cmg_jax.save(dataclasses.replace(small_model, config=config, params=params, stats=stats), tmp_path / "model")
    result = here("--model", "model", "--seconds", 1, "--out", "a.npz", "--plot", "a.png")
    assert result.returncode == 0, result.stderr
    with np.load(tmp_path / "a.npz") as walk:
        assert walk["dof_positions"].shape == (31, 3)
        assert walk["fps"].item() == 30
    refused = here("--model", "model", "--video", "a.gif")
    assert_one_clear_line(refused, "MJCF of the model's robot is not known")


BAD_ARGUMENTS = [
    (("--command", "nan", 0, 0), "finite"),
    (("--command", 1, 0), "expected 3 arguments"),
    (("--command", "fast", 0, 0), "invalid float"),
    (("--command", 1, 0, 0, "--schedule", "a.csv"), "not allowed with"),
    (("--schedule", "absent.csv"), "No such file"),
    (("--schedule", "bad.csv"), "bad.csv:1"),
    (("--envs", 0), "at least 1"),
    (("--seconds", "-1"), "positive"),
    (("--seconds", "inf"), "positive"),
    (("--seconds", "0.001"), "less than one frame"),
    (("--seconds", "1e300"), "ask for fewer"),
    (("--envs", 10**9), "ask for fewer"),
    (("--command", "1e39", 0, 0), "finite"),
    (("--schedule", "large.csv"), "too large"),
    (("--seed", "-1"), "--seed: -1"),
    (("--model", "absent"), "not a model directory"),
    (("--out", "a.txt"), ".npz or .csv or .pkl"),
    (("--out", "a.pkl", "--format", "mjlab"), "must end in .npz"),
    (("--format", "mjlab"), "requires --out"),
    (("--joints", 23), "requires --out"),
    (("--joints", 24, "--out", "a.npz"), "invalid choice"),
    (("--root", "feet"), "invalid choice"),
    (("--out", "a.pkl", "--envs", 2), "holds one environment"),
    (("--out", "absent/a.npz"), "create it first"),
    (("--out", "a.csv", "--envs", 2), "holds one environment"),
    (("--plot", "a.txt"), ".png"),
    (("--video", "a.avi"), ".gif or .mp4"),
    (("--speed", 3), "unrecognized"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD_ARGUMENTS)
def test_bad_arguments_are_one_clear_line(tmp_path, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.csv").write_text("0,1,2\n")
    (tmp_path / "large.csv").write_text("0,1,2,3\n1,1e39,2,3\n")
    assert words in refused_line(capsys, "generate", *arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "large.csv"]


def test_the_program_itself_exits_with_2(tmp_path, capsys):
    assert_one_clear_line(generate(tmp_path, "--command", "inf", 0, 0), "cmg-jax generate: error", "finite")
    assert_one_clear_line(run_in_process(capsys, "cmg-jax"), "COMMAND")
    absent = run_in_process(capsys, "cmg-jax", "info", "--model", "absent", cwd=tmp_path)
    assert_one_clear_line(absent, "absent is not a model directory")
    shutil.copytree(_checkpoint.default_model_path(), tmp_path / "damaged")
    (tmp_path / "damaged/arrays/stats.motion_std/c/0").write_bytes(b"zz")
    damaged = run_in_process(capsys, "cmg-jax", "info", "--model", "damaged", cwd=tmp_path)
    assert_one_clear_line(damaged, "damaged", "convert the model again")


def test_a_file_that_cannot_grow_leaves_nothing_behind(tmp_path):
    program = Path(sys.executable).with_name("cmg-jax")
    limited = f"ulimit -f 64; '{program}' generate --seconds 5 --out a.npz"
    result = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert "File too large" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_an_interrupt_in_a_finalizer_is_not_lost(capsys):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored: see enable_interrupts

    class Finalized:
        def __del__(self):
            raise KeyboardInterrupt

    def command():
        Finalized()
        for _ in range(400):  # a long sleep would not be interrupted
            time.sleep(0.05)

    try:
        assert _program.run("cmg-jax test", command) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "cmg-jax test: interrupted; no file is half written\n"


def process_settings():
    """Settings of the process that a program could change."""
    loggers = [logging.root, *(x for x in logging.root.manager.loggerDict.values() if isinstance(x, logging.Logger))]
    return {
        "hooks": (sys.unraisablehook, threading.excepthook, sys.excepthook, sys.stdout, sys.stderr),
        "environment": dict(os.environ),
        "levels": {logger.name: logger.level for logger in loggers},
        "warnings": list(warnings.filters),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "jax": dict(jax.config.values),
        "backend": matplotlib.get_backend(),
        "directory": Path.cwd(),
    }


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("info",), 0),
        (("info", "--model", "damaged"), 2),
        (("--compilation-cache", "compiled", "info"), 0),
        (("generate", "--seconds", 0.1, "--plot", "a.png", "--video", "a.gif"), 0),
        (("view", "--schedule", "absent.csv"), 2),
    ],
)
def test_main_restores_the_settings_of_its_process(tmp_path, monkeypatch, capsys, arguments, code):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    shutil.copytree(_checkpoint.default_model_path(), tmp_path / "damaged")
    (tmp_path / "damaged/arrays/stats.motion_std/c/0").write_bytes(b"zz")
    main(["info"])  # so that late imports are done
    matplotlib.use("svg")
    before = process_settings()
    try:
        assert main([str(argument) for argument in arguments]) == code, capsys.readouterr().err
        after = process_settings()
    finally:
        matplotlib.use("Agg")
    after["levels"] = {name: after["levels"][name] for name in before["levels"]}
    for name, value in before.items():
        assert after[name] == value, name


def test_importing_the_library_imports_no_optional_package():
    unwanted = ("torch", "mujoco", "matplotlib", "orbax", "tensorstore", "brax")
    program = f"import sys, cmg_jax; print([name for name in {unwanted} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr
