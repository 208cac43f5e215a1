# pyright: reportArgumentType=false
"""Evaluation of models with a root channel: whether the feet carry the root, or the root glides."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cmg_jax
from cmg_jax import InputError
from cmg_jax.commands._region import region_of
from cmg_jax.data._dataset import Dataset
from cmg_jax.evaluation import Settings, _gait, _poses, default_grid, evaluate
from cmg_jax.evaluation._measure import generate
from cmg_jax.generators import standing_frame
from cmg_jax.motion_files import Clip
from cmg_jax.robot import G1, _odometry, foot_contacts, integrate_root, root_channel, split_frame
from cmg_jax.robot._foot_quality import foot_figures
from cmg_jax.training import validate
from tests.conftest import SHARED, assert_one_clear_line, needs_shared, run_in_process
from tests.data_tools import recorded, walking

FPS = 50.0
FRAMES = 150
GLIDES = np.array([[0.6, 0, 0], [-0.5, 0, 0], [0, 0.3, 0], [0.2, 0, 0], [2.5, 0, 0.3], [0, 0, 0.8], [0, 0, 0]], "f")


def with_root(clip):
    """Frames [T, 64] of a clip."""
    joint_vel = np.gradient(clip.joint_pos, 1 / clip.fps, axis=0)
    parts = clip.joint_pos, joint_vel, *root_channel(clip.root_pos, clip.root_quat, clip.fps)
    return np.concatenate(parts, axis=-1).astype(np.float32)


def gliding(model):
    """Legs that stand under roots that move by GLIDES, [7, T, 64]."""
    motion = np.tile(np.asarray(standing_frame(model)), (len(GLIDES), FRAMES, 1))
    motion[..., -3:] = GLIDES[:, None]
    return motion


def figures_by_row(motion):
    rows = np.repeat(np.arange(len(motion)), motion.shape[1])
    found = _gait.gait(motion.reshape(len(rows), -1), rows, G1, FPS)
    return found, [_gait.figures(found, rows == row, FPS) for row in range(len(motion))]


def test_a_root_that_glides_over_standing_legs_does_not_walk(root_model):
    _, rows = figures_by_row(gliding(root_model))
    verdicts = [_gait.verdict(row) for row in rows]
    assert [name for name, _ in verdicts] == ["does not walk"] * 6 + ["stands"]
    assert all({"feet slide", "feet do not carry the root", "no steps"} <= set(reasons) for _, reasons in verdicts[:6])
    for row, glide in zip(rows[:4], GLIDES[:4], strict=True):
        assert row["slip_m_s"] == pytest.approx(np.linalg.norm(glide), rel=1e-4)
    for row in rows:
        np.testing.assert_allclose(row["slip_m_s"], row["slip_of_stiff_legs_m_s"], atol=1e-3)
        np.testing.assert_allclose(list(row["feet"].values()), 0, atol=1e-4)
        assert (row["flight"], row["steps_per_second"]) == (0, 0)
    nearest = 0.8 * 0.07  # rad/s times the least distance of a point under a foot from the axis
    assert rows[5]["slip_m_s"] > nearest


WALKS = np.array([[0.9, 0, 0], [0.6, 0.2, 0], [1.2, 0, -0.4]], "f")


@pytest.fixture(scope="module")
def walk(policy_model):
    """Walks of the model of a policy, under way, on roots by odometry of their feet: clips and frames [3, T, 64]."""
    joint_pos = generate(policy_model, np.repeat(WALKS[:, None], FRAMES + 49, axis=1))[:, 50:, :29]
    position, quat = _odometry.root_from_feet(joint_pos, G1, FPS)
    clips = [Clip("", FPS, G1, *arrays) for arrays in zip(joint_pos, [None] * 3, position, quat, strict=True)]
    return clips, np.stack([with_root(clip) for clip in clips])


def test_a_root_that_floats_or_goes_backward_over_walking_legs_does_not_walk(walk):
    motion = walk[1].copy()
    motion[1, :, 58] += 0.2
    motion[2, :, -3:-1] *= -1
    _, rows = figures_by_row(motion)
    verdicts = [_gait.verdict(row) for row in rows]
    assert verdicts[0] == ("walks", [])
    assert "floats" in verdicts[1][1]
    assert verdicts[2][0] == "does not walk"
    assert {"feet slide", "feet do not carry the root"} <= set(verdicts[2][1])


def test_the_figures_of_a_walk_are_those_of_the_world(walk):
    """Against its path, its stance feet and its contacts, each measured by other functions."""
    clips, motion = walk
    found, rows = figures_by_row(motion)
    for row, clip, command in zip(rows, clips, WALKS, strict=True):
        assert _gait.verdict(row) == ("walks", [])
        foot = foot_figures(clip.joint_pos, clip.root_pos, clip.root_quat, G1, FPS)
        assert row["slip_m_s"] == pytest.approx(foot.slip, abs=0.005)
        assert row["flight"] == foot.flight == 0
        contacts = _odometry.contacts(clip.joint_pos, G1, FPS)
        assert row["steps_per_second"] == pytest.approx(contacts.steps_per_second, abs=2.1 / 3)  # 3 s, two ends
        assert row["height_m"] == pytest.approx(clip.root_pos[:, 2].mean(), abs=1e-3)
        assert row["pitch_rad"] == pytest.approx({"mean": 0, "low": 0, "high": 0}, abs=1e-6)
        for velocity in (row["root"], row["feet"]):
            np.testing.assert_allclose(list(velocity.values()), command, atol=0.1)
    root = integrate_root(jax.tree.map(jnp.asarray, split_frame(motion, 29).root), FPS)
    contact = np.asarray(foot_contacts(jnp.asarray(motion[..., :29]), root, G1, FPS))
    inside = found.inside.reshape(contact.shape[:2])
    assert (contact == found.contact.reshape(contact.shape))[inside].mean() > 0.99
    assert [row["duty_factor"] for row in rows] == pytest.approx([contact[n, 1:-1].mean() for n in range(3)], abs=0.02)


@needs_shared
def test_recorded_walks_and_runs_walk():
    with np.load(SHARED / "human_g1" / "human_g1.npz") as arrays:
        names = ("joint_pos", "root_pos", "root_quat_wxyz", "contacts")
        clips = [[arrays[f"{name}_{index}"] for name in names] for index in (10, 60, 62, 77, 79, 87)]
    motion, edges = [], np.cumsum([0, *(len(clip[0]) for clip in clips)])
    for joint_pos, position, quat, _ in clips:
        velocity = np.gradient(joint_pos, 1 / FPS, axis=0)
        motion.append(np.concatenate([joint_pos, velocity, *root_channel(position, quat, FPS)], axis=-1))
    rows = np.repeat(np.arange(len(clips)), np.diff(edges))
    found = _gait.gait(np.concatenate(motion).astype(np.float32), rows, G1, FPS)
    for index, (joint_pos, position, quat, contacts) in enumerate(clips):
        row = _gait.figures(found, rows == index, FPS)
        assert _gait.verdict(row) == ("walks", []), (index, row)
        foot = foot_figures(joint_pos, position, quat, G1, FPS)
        assert row["slip_m_s"] == pytest.approx(foot.slip, abs=0.015)
        assert row["flight"] == pytest.approx(foot.flight, abs=0.04)
        seconds = len(joint_pos) / FPS
        # The recording's own contacts say when a foot comes down, and how long it stays.
        touchdowns = (contacts[1:] & ~contacts[:-1]).sum()
        assert row["steps_per_second"] * seconds == pytest.approx(touchdowns, abs=1.6)
        assert row["duty_factor"] == pytest.approx(contacts.mean(), abs=0.1)
        runs = np.linalg.norm(np.diff(position[:, :2], axis=0), axis=-1).mean() * FPS > 2
        assert (row["flight"] > 0.05) == runs


@pytest.fixture(scope="module")
def glider(root_model):
    """A model that only glides: whatever its command, the robot stands while its root goes ahead at 0.8 m/s."""
    frame = standing_frame(root_model).at[-3].set(0.8)
    params = jax.tree.map(jnp.zeros_like, root_model.params)
    return root_model.replace(params=params, stats=root_model.stats._replace(motion_mean=frame), initial_motion=None)


def test_a_model_that_only_glides_is_reported_as_not_walking(glider, tmp_path, capsys):
    cmg_jax.save(glider, tmp_path / "glider")
    arguments = ["--grid=0.8:0:0,0.3", "--seconds", 3, "--drift-seconds", 10, "--report", tmp_path / "report"]
    result = run_in_process(capsys, "cmg-jax", "evaluate", "--model", tmp_path / "glider", *arguments)
    assert result.returncode == 0, result.stderr
    assert "2 of 2 whose root moves (feet slide 2, feet do not carry the root 2, no steps 2)" in result.stdout
    assert any(line.startswith("0.75 to 1.05 m/s") and line.endswith("2 of 2") for line in result.stdout.splitlines())
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert [row["verdict"] for row in report["gait"]["rows"]] == ["does not walk"] * 2
    assert report["tracking"]["rmse"]["vx"] < 0.01  # the root obeys
    assert report["gait"]["feet_rmse"]["vx"] == pytest.approx(0.8, abs=0.01)
    assert report["gait"]["bands"]["0.75 to 1.05 m/s"]["do_not_walk"] == 2
    assert report["quality"]["foot_sliding_m_s"] == pytest.approx(0.8, abs=0.01)
    assert report["start_stop"]["seconds_to_half_speed"] == [None] * 14
    assert (tmp_path / "report" / "report.png").stat().st_size > 20_000

    arguments[-1] = tmp_path / "again"
    compared = ["--compare", tmp_path / "report"]
    result = run_in_process(capsys, "cmg-jax", "evaluate", "--model", tmp_path / "glider", *arguments, *compared)
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    (first,) = [line for line in lines if line[:2] == ["0.75", "to"] and "model" in line]
    (second,) = [line for line in lines if line[:1] == [str(tmp_path / "report")]]
    assert first[first.index("model") + 1 :] == second[1:]
    result = run_in_process(capsys, "cmg-jax", "evaluate", *arguments, "--compare", tmp_path)
    assert_one_clear_line(result, f"{tmp_path} has no report.json")


def test_a_validation_sees_the_feet(glider):
    """Of a robot that stands both velocities are wrong alike; a glider's root does not make up for its feet."""
    still = glider.replace(stats=glider.stats._replace(motion_mean=standing_frame(glider)))
    commands = default_grid(glider)[::2]
    feet = np.sqrt(np.square(commands).mean(axis=0))
    assert validate(still)["vx"] == pytest.approx(feet[0], abs=0.01)
    root = np.sqrt(np.square(commands[:, 0] - 0.8).mean())
    assert validate(glider)["vx"] == pytest.approx(np.sqrt((root**2 + feet[0] ** 2) / 2), abs=0.01)


@pytest.mark.parametrize(
    ("low", "high"), [([0.72, -0.1, -0.06], [0.84, 0.08, 0.2]), ([0.05, 0.0, -0.02], [0.08, 0.01, 0.02])]
)
def test_a_range_between_the_lines_of_the_grid_is_evaluated_at_its_ends(glider, low, high):
    low, high = np.asarray(low, np.float32), np.asarray(high, np.float32)
    region = region_of(np.linspace(low, high, 200))
    stats = glider.stats._replace(command_min=low, command_max=high, command_region=region)
    model = glider.replace(stats=stats)
    grid = default_grid(model)
    np.testing.assert_allclose([grid[:, 0].min(), grid[:, 0].max()], [low[0], high[0]], atol=1e-6)
    assert ((grid >= low - 1e-6) & (grid <= high + 1e-6)).all()
    assert len(np.unique(grid, axis=0)) == len(grid)
    assert np.isfinite(validate(model)["score"])


def test_a_data_set_is_measured_by_band_and_within_its_clips():
    motion = with_root(recorded(FRAMES))
    command = np.tile(np.float32([0.5, 0, 0]), (FRAMES, 1))
    command[100:] = [-0.6, 0.1, 0]
    clip = np.repeat([0, 1], [100, 50]).astype(np.int32)
    data = Dataset(motion, command, clip, np.zeros(FRAMES, np.int8), ("a", "b"), G1, FPS)
    table = _gait.of_data(data)
    assert {name: values["frames"] for name, values in table.items()} == {"backward": 48, "0.45 to 0.75 m/s": 98}
    shifted = dataclasses.replace(data, motion=np.concatenate([motion[:100], motion[:50]]))
    other = _gait.of_data(shifted)
    assert other["0.45 to 0.75 m/s"] == table["0.45 to 0.75 m/s"]


def test_every_command_is_in_one_band():
    command = np.random.default_rng(0).normal(size=(500, 3)) * [1.5, 0.5, 0.5]
    command[:50] *= 0.02
    command[50:80, :2] *= 0.02
    members = np.array(list(_gait.bands(command).values()))
    np.testing.assert_array_equal(members.sum(axis=0), 1)
    assert members[:3].any(axis=1).all()


def test_data_without_a_root_is_not_compared_with_a_model_that_has_one(root_model, model):
    motion = with_root(recorded(FRAMES))
    rest = np.zeros((FRAMES, 3), np.float32), np.zeros(FRAMES, np.int32), np.zeros(FRAMES, np.int8), ("a",), G1, FPS
    with pytest.raises(InputError, match="the model has a root channel and the data has none"):
        evaluate(root_model, data=Dataset(motion[:, :58], *rest), settings=Settings(num_frames=110))


def test_averaged_motion_varies_less_than_its_data():
    data = walking(clips=3, frames=200)
    motion = data.motion.reshape(3, 200, -1)
    same, half, mean = (
        _poses.poses(some, data) for some in (motion, (motion + motion.mean(1)[:, None]) / 2, motion * 0)
    )
    assert same["nearest_rad"] < 1e-3
    assert same["spread_rad"] == pytest.approx(same["spread_of_data_rad"], rel=1e-5)
    assert 0.4 < half["spread_rad"] / half["spread_of_data_rad"] < 0.8
    assert mean["spread_rad"] < 1e-6
    assert mean["nearest_rad"] > 0.1
    assert 0.001 < same["nearest_of_data_rad"] < same["spread_of_data_rad"]
    swing = np.sqrt(np.square(motion[0, :, :29] - motion[1, :, :29]).mean(axis=1)).max()
    assert same["nearest_of_data_rad"] < swing
