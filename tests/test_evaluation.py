# pyright: reportArgumentType=false
"""The figures of an evaluation, and the odometry behind them."""

import json
import re
import sys

import numpy as np
import pytest

import cmg_jax
from cmg_jax import InputError
from cmg_jax.data import save
from cmg_jax.evaluation import Settings, _measure, evaluate, report_text
from cmg_jax.evaluation._measure import generate
from cmg_jax.robot import G1, _odometry
from cmg_jax.robot._g1 import G1_29_JOINTS
from tests.conftest import SHARED, needs_shared, refused_line, run_in_process
from tests.library_tools import recordings


def striding(speed, frames=100, fps=50.0):
    """The left leg swings from front to back with its foot on the floor; the right foot is lifted."""
    joint_pos = np.zeros((frames, 29))
    joint_pos[:, G1_29_JOINTS.index("right_knee_joint")] = 1.2
    time = (np.arange(frames) - frames / 2) / fps
    leg = 0.64
    joint_pos[:, 0] = np.arcsin(speed * time / leg)
    joint_pos[:, G1_29_JOINTS.index("left_ankle_pitch_joint")] = -joint_pos[:, 0]
    return joint_pos


def test_the_velocity_is_measured_at_the_lower_foot():
    for speed in (-0.3, 0.1, 0.4):
        velocity = _odometry.stance_velocity(striding(speed, frames=40), G1, 50.0)
        assert velocity.shape == (39, 3)
        assert velocity[:, 0].mean() == pytest.approx(speed, rel=0.05)
        np.testing.assert_allclose(velocity[:, 1:], 0, atol=0.02)


def test_a_turning_stance_leg_turns_the_root():
    joint_pos = np.zeros((2, 20, 29))
    joint_pos[:, :, G1_29_JOINTS.index("right_knee_joint")] = 1.2
    angle = 0.5 * np.arange(20) / 50
    joint_pos[0, :, G1_29_JOINTS.index("left_hip_yaw_joint")] = -angle
    velocity = _odometry.stance_velocity(joint_pos, G1, 50.0)
    np.testing.assert_allclose(velocity[0, :, 2], 0.5, atol=0.02)
    np.testing.assert_allclose(velocity[1], 0, atol=1e-9)


def test_feet_that_stand_do_not_slide_and_a_walk_steps():
    still = _odometry.contacts(np.tile(G1.standing_joint_pos, (20, 1)), G1, 50.0)
    assert still == (0.0, 0.0)
    model = cmg_jax.load("policy")
    walk = generate(model, np.tile(np.float32([1.0, 0, 0]), (1, 200, 1)))
    moving = _odometry.contacts(walk[:, 50:, :29], G1, 50.0)
    assert 2 < moving.steps_per_second < 6
    assert 0 < moving.sliding < 0.3


def test_smoothing_is_a_centred_average():
    values = np.random.default_rng(0).normal(size=(2, 30, 3))
    smooth = _odometry.smooth(values, 5)
    np.testing.assert_allclose(smooth[:, 10], values[:, 8:13].mean(axis=1))
    np.testing.assert_allclose(smooth[:, 0], values[:, :3].mean(axis=1))
    np.testing.assert_array_equal(_odometry.smooth(values, 1).round(9), values.round(9))


@needs_shared
def test_odometry_agrees_with_the_true_velocity_of_real_rollouts():
    with np.load(SHARED / "rollouts" / "g1_velocity_policy_starts_40x60s_50hz.npz") as arrays:
        joint_pos, quat, linear, command = (
            arrays[key][:10] for key in ("joint_pos", "root_quat_wxyz", "root_linvel_world", "command")
        )
    w, x, y, z = np.moveaxis(quat, -1, 0)
    yaw = np.unwrap(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)), axis=1)
    forward, left = linear[..., 0], linear[..., 1]
    cos, sin = np.cos(yaw), np.sin(yaw)
    turn = np.gradient(yaw, axis=1) * 50
    true = np.stack([forward * cos + left * sin, left * cos - forward * sin, turn], axis=-1)
    measured = _odometry.stance_velocity(joint_pos, G1, 50.0)
    means = []
    for episode in range(10):
        edges = np.flatnonzero((np.diff(command[episode], axis=0) != 0).any(-1)) + 1
        for first, last in zip([0, *edges], [*edges, 2999], strict=True):
            if last - first >= 75:  # a held command, without its first half second
                means.append([part[episode, first + 25 : last].mean(axis=0) for part in (measured, true)])
    means = np.array(means)
    correlation = [np.corrcoef(means[:, 0, index], means[:, 1, index])[0, 1] for index in range(3)]
    print(len(means), np.round(correlation, 4))
    assert min(correlation) >= 0.99


SETTINGS = Settings(num_frames=300, num_drift_frames=1500, num_holds=3)
GRID = [(0.0, 0, 0), (0.9, 0, 0), (1.2, 0, 0.5), (0.2, 0.0, 0.0), (0.0, 0.2, 0.0), (-0.2, 0.0, 0.0), (0.0, 0.0, -0.2)]


@pytest.fixture(scope="module")
def report():
    return evaluate(cmg_jax.load("policy"), grid=GRID, settings=SETTINGS)


def test_the_model_of_a_policy_obeys_from_standing_to_walking(report):
    tracking = report["tracking"]
    measured, command = (np.array([row[key] for row in tracking["rows"]]) for key in ("walked", "command"))
    np.testing.assert_allclose(measured, command, atol=0.1)
    rmse = tracking["rmse"]
    assert rmse["vx"] <= 0.10
    assert rmse["vy"] <= 0.08
    assert rmse["yaw"] <= 0.12
    assert (tracking["rows_that_do_not_move"], tracking["rows_that_should"]) == (0, 6)
    assert tracking["speed_at_zero"] < 0.05
    assert report["quality"]["velocity_disagreement_rad_s"] <= 0.15
    assert None not in report["start_stop"]["seconds_to_half_speed"] + report["start_stop"]["seconds_to_stand"]


def test_the_default_model_walks_and_runs_like_a_person(bundled):
    grid = [(0.0, 0, 0), (0.3, 0, 0), (0.9, 0.3, -0.6), (1.5, 0, 0.6), (2.5, 0, 0), (3.0, 0, -0.6), (-0.3, 0.3, 0.6)]
    # A person takes more than a second from standing to a run.
    settings = SETTINGS._replace(settle_seconds=2.5, num_frames=400)
    report = evaluate(bundled, grid=grid, settings=settings)
    rmse, gait = report["tracking"]["rmse"], report["gait"]
    assert rmse["vx"] <= 0.05
    assert rmse["vy"] <= 0.03
    assert rmse["yaw"] <= 0.06
    assert (gait["rows_that_do_not_walk"], gait["rows_that_move"]) == (0, 6)
    still, *walks, jog, run, _ = gait["rows"]
    assert still["verdict"] == "stands"
    assert all(walk["flight"] < 0.05 and walk["slip_m_s"] < 0.06 for walk in walks)
    assert all(fast["flight"] > 0.15 and fast["slip_m_s"] < 0.12 for fast in (jog, run))
    assert walks[0]["steps_per_second"] + 1 < run["steps_per_second"]
    assert report["quality"]["frames_beyond_limits"] == 0


def test_the_errors_of_a_model_of_the_original_recipe_are_measured(model):
    slow = evaluate(model, grid=GRID[:4], settings=SETTINGS._replace(num_drift_frames=900))
    assert slow["tracking"]["rows_that_do_not_move"] == 1  # 0.2 m/s
    assert None in slow["start_stop"]["seconds_to_half_speed"]
    np.testing.assert_allclose(slow["tracking"]["rows"][1]["walked"], [0.9, 0, 0], atol=0.15)


def test_all_figures_are_present_and_finite(report):
    json.dumps(report)
    flat = [value for part in ("quality", "drift") for value in report[part].values() if not isinstance(value, dict)]
    assert np.isfinite(np.array(flat, float)).all()
    assert sum(report["gate"]["mean"]) == pytest.approx(1, abs=1e-3)
    assert report["quality"]["frames_beyond_limits"] == 0
    assert 0 < report["quality"]["velocity_disagreement_rad_s"] < 0.5
    assert report["drift"]["amplitude_late_rad"] == pytest.approx(report["drift"]["amplitude_early_rad"], rel=0.2)
    assert report["switching"]["largest_step_after_a_change_rad"] < 0.4


def test_the_text_names_what_it_measures_and_says_when_nothing_moves(report):
    steps = ("largest_step_rad", report["quality"]), ("largest_step_after_a_change_rad", report["switching"])
    between, changed = (f"{figures[name]:.3f} rad" for name, figures in steps)
    text = report_text(report)
    assert re.search(rf"^largest step between frames +{between}$", text, re.MULTILINE)
    assert re.search(rf"^largest step after a change of command +{changed}$", text, re.MULTILINE)
    assert "stands still" not in text
    still = report["drift"] | {"amplitude_early_rad": 1e-5, "amplitude_late_rad": 2e-5}
    assert "(it stands still)" in report_text(report | {"drift": still})
    assert re.search("drift +not measured: no command of the grid moves", report_text(report | {"drift": {}}))


def test_models_that_cannot_be_measured_are_refused(small_model, model):
    with pytest.raises(InputError, match="needs commands vx, vy and yaw rate"):
        evaluate(small_model)
    with pytest.raises(InputError, match="frames 60 are too few"):
        evaluate(model, settings=Settings(num_frames=60))


@pytest.mark.slow
def test_recordings_are_measured_as_motion_matching_plays_them(tmp_path, capsys):
    save(tmp_path / "walks.npz", recordings())
    out = tmp_path / "report"
    arguments = ["--grid=0,0.6:0:0", "--seconds", 4, "--drift-seconds", 10, "--report", out, "--data"]
    result = run_in_process(
        capsys, "cmg-jax", "evaluate", "--library", tmp_path / "walks.npz", *arguments, tmp_path / "walks.npz"
    )
    assert result.returncode == 0, result.stderr
    report = json.loads((out / "report.json").read_text())
    assert "gate" not in report
    (still, walks), walked = report["gait"]["rows"], report["tracking"]["rows"][1]["walked"]
    assert (still["verdict"], walks["verdict"]) == ("stands", "walks")
    np.testing.assert_allclose(walked, [0.6, 0.0, 0.0], atol=0.15)
    assert report["drift"]["finite"]
    assert report["poses"]["nearest_rad"] < 0.05
    both = ["--library", tmp_path / "walks.npz", "--model", "human"]
    assert "not allowed with" in refused_line(capsys, "evaluate", *both)
    assert "report" in refused_line(capsys, "evaluate", "--library", out / "report.json")


def test_held_commands_may_rise_from_zero():
    commands = np.array([[1.0, 0.0, -0.5], [0.4, 0.2, 0.0]], np.float32)
    np.testing.assert_array_equal(_measure.held(commands, 3), np.repeat(commands[:, None], 3, axis=1))
    risen = _measure.held(commands, 6, 4.0)
    np.testing.assert_allclose(risen[0, :, 0], [0.25, 0.5, 0.75, 1, 1, 1])
    np.testing.assert_allclose(risen, commands[:, None] * risen[0, :, :1])


def test_the_program_prints_and_writes_a_report(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # pictures are drawn without it
    out = tmp_path / "report"
    arguments = ["--grid=0,0.9:0:0", "--seconds", 3, "--ramp-seconds", 0.5, "--drift-seconds", 10, "--report", out]
    result = run_in_process(capsys, "cmg-jax", "evaluate", *arguments)
    assert result.returncode == 0, result.stderr
    assert "error of the walked velocity" in result.stdout
    written = json.loads((out / "report.json").read_text())
    assert len(written["tracking"]["rows"]) == 2
    assert (out / "report.png").stat().st_size > 20_000
    assert "numbers separated by commas" in refused_line(capsys, "evaluate", "--grid=a:0:0")
    assert "from 0 on" in refused_line(capsys, "evaluate", "--ramp-seconds", -1)
    assert "not a model directory" in refused_line(capsys, "evaluate", "--model", tmp_path / "none")
