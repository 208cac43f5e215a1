# pyright: reportOptionalMemberAccess=false, reportArgumentType=false
"""The root of recordings in data sets: kept, found again from the frames, on the floor, and the source of commands."""

import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cmg_jax import InputError, motion_files
from cmg_jax.data import _build, _dataset
from cmg_jax.data._prepared import Options
from cmg_jax.motion_files import Assume, Clip, Motion, _clips
from cmg_jax.robot import G1, RootPose, RootState, integrate_root, mirror_motion, place_root, split_frame
from cmg_jax.robot._root import rotation_of
from cmg_jax.robot._rotation import multiply, yaw_of
from tests.conftest import SHARED, needs_shared, refused_line, run_in_process
from tests.data_tools import recorded, strides, walking


@pytest.fixture(scope="module")
def clip() -> Clip:
    """60 s of walking."""
    return recorded(3001)


def save_as(path, clip, name):
    """Write a clip in a format of ours."""
    velocity = np.gradient(clip.joint_pos, 1 / clip.fps, axis=0)
    command = np.zeros((len(velocity) - 1, 3))
    motion_files.write(
        path, Motion(clip.fps, G1, clip.joint_pos, velocity, command, clip.root_pos, clip.root_quat), name
    )


def save_original(path, clip):
    bodies = {"body_positions": clip.root_pos[:, None], "body_rotations": clip.root_quat[:, None]}
    velocity = np.gradient(clip.joint_pos, 1 / clip.fps, axis=0)
    names = {"dof_names": np.array(clip.joint_names), "body_names": np.array(["pelvis"])}
    np.savez(path, fps=clip.fps, dof_positions=clip.joint_pos, dof_velocities=velocity, **names, **bodies)


def save(path, clip):
    np.savez(path, qpos=np.hstack([clip.root_pos, clip.root_quat, clip.joint_pos]), fps=clip.fps)


def save_asap(path, clip):
    motion = {"root_trans_offset": clip.root_pos, "root_rot": clip.root_quat[:, [1, 2, 3, 0]], "dof": clip.joint_pos}
    path.write_bytes(pickle.dumps({"walk": {**motion, "fps": clip.fps, "dof_names": list(clip.joint_names)}}))


WRITERS = {
    **{f"{name}{form.suffix}": lambda path, clip, name=name: save_as(path, clip, name)
       for name, form in motion_files.FORMATS.items()},
    "original.npz": save_original,
    "qpos.npz": save,
    "asap.pkl": save_asap,
}  # fmt: skip


def root_of(made, clip) -> RootState:
    """The root of the data set's first clip, integrated from the first pose of `clip`."""
    frames = jnp.asarray(made.motion[made.clip == 0])
    start = RootPose(jnp.asarray(clip.root_pos[:1, :2], jnp.float32), yaw_of(jnp.asarray(clip.root_quat[:1])))
    path = integrate_root(split_frame(frames, made.robot.num_joints).root, made.fps)
    return jax.tree.map(
        lambda leaf: np.asarray(leaf, np.float64)[0], place_root(jax.tree.map(lambda x: x[None], path), start)
    )


def assert_same_root(found, root_pos, root_quat):
    """To 1 mm and 0.1 degree."""
    np.testing.assert_allclose(found.position, root_pos, atol=1e-3)
    between = np.linalg.norm(multiply(found.rotation * [1, -1, -1, -1], root_quat)[:, 1:], axis=-1)
    assert np.degrees(2 * np.arcsin(between)).max() < 0.1


@pytest.mark.parametrize("name", WRITERS)
def test_the_root_of_every_format_is_found_again_from_the_frames(name, clip, tmp_path):
    WRITERS[name](tmp_path / name, clip)
    made, _ = _build.build([tmp_path / name], Options(assume=Assume(csv_fps=50.0)))
    assert made.has_root
    assert made.motion.shape == (3001, 64)
    assert_same_root(root_of(made, clip), clip.root_pos, clip.root_quat)


@needs_shared
@pytest.mark.parametrize("name", ["walk1_subject1", "run2_subject1", "sprint1_subject2"])
def test_a_minute_of_real_recordings_is_found_again(name, tmp_path):
    """Resampled from 30 to 50 frames a second: every fifth frame is a recorded one."""
    path = tmp_path / f"{name}.csv"
    path.write_text("".join((SHARED / "lafan1_g1" / path.name).read_text().splitlines(True)[:1801]))
    (clip,) = motion_files.read(path).clips
    made, _ = _build.build([path])
    assert len(made.motion) == 3001
    found = root_of(made, clip)
    every = RootState(*(leaf[::5] for leaf in found))
    assert_same_root(every, clip.root_pos[::3], clip.root_quat[::3])


def test_between_recorded_frames_a_root_is_off_by_what_its_acceleration_says():
    """It goes straight there: off by up to an eighth of the acceleration times the square of the recording's step.

    A circle of 2 m walked at 1 m/s has an acceleration of 0.5 m/s^2.
    """
    time = np.arange(301) / 30
    circle = np.stack([2 * np.sin(time / 2), 2 - 2 * np.cos(time / 2), np.full_like(time, 0.8)], axis=-1)
    clip = recorded(301, 30.0)._replace(root_pos=circle)
    fine = np.arange(501) / 50
    exact = np.stack([2 * np.sin(fine / 2), 2 - 2 * np.cos(fine / 2), np.full_like(fine, 0.8)], axis=-1)
    off = np.linalg.norm(_clips.resample(clip, 50.0).root_pos - exact, axis=-1).max()
    bound = 0.5 / 30**2 / 8
    assert 0.5 * bound < off < 1.01 * bound


def test_a_made_up_root_is_dropped_and_the_first_such_clip_named(tmp_path, capsys):
    clips = tmp_path / "clips"
    clips.mkdir()
    save(clips / "b_walk.npz", recorded())
    still = recorded()
    save(clips / "c_hung.npz", still._replace(root_pos=0 * still.root_pos))
    save(clips / "d_upright.npz", strides())
    out = tmp_path / "set.npz"
    arguments = ["cmg-jax", "data", clips, "--out", out]
    result = run_in_process(capsys, *arguments)
    assert result.returncode == 0, result.stderr
    assert "c_hung: its root never moves, so the data set has no root; without such clips 1 of" in result.stdout
    assert "upright in every frame" not in result.stdout
    assert "frames of 58 numbers, without a root" in result.stdout
    assert not _dataset.load(out).has_root
    assert "c_hung: its root never moves: leave it out, or take --root drop" in refused_line(
        capsys, *arguments[1:], "--root", "keep"
    )
    (clips / "c_hung.npz").unlink()
    line = refused_line(capsys, *arguments[1:], "--root", "keep")
    assert "d_upright: its root is exactly upright in every frame, as if made up" in line
    (clips / "d_upright.npz").unlink()
    result = run_in_process(capsys, *arguments, "--root", "keep")
    assert "frames of 64 numbers, with a root: height 0.7" in result.stdout
    assert _dataset.load(out).has_root
    dropped, _ = _build.build([clips / "b_walk.npz"], Options(root="drop"))
    assert not dropped.has_root


def test_a_root_that_is_not_finite_is_reported_in_one_line(tmp_path, capsys):
    broken = recorded()
    broken.root_pos[7] = np.nan
    save_as(tmp_path / "walk.csv", broken, "csv")
    line = refused_line(capsys, "data", tmp_path / "walk.csv", "--csv-fps", 50, "--out", tmp_path / "set.npz")
    assert "no clip can be used (walk: root_pos is not finite in frame 7)" in line


@pytest.mark.parametrize("height", [0.3, -0.76])
def test_heights_are_above_the_floor_wherever_the_recording_has_it(height, tmp_path):
    clip = recorded()
    save(tmp_path / "a.npz", clip)
    save(tmp_path / "b.npz", clip._replace(root_pos=clip.root_pos + np.array([0, 0, height])))
    (on_floor, _), (moved, rows) = (_build.build([tmp_path / name]) for name in ("a.npz", "b.npz"))
    assert rows[0].notes == (
        "feet come down above or below height 0 (floating mm): heights are taken from where they do",
        "commands are the velocity of the root in its smoothed heading, over 1 s (--smoothing-seconds)",
    )
    np.testing.assert_allclose(rows[0].feet.floating, height, atol=1e-6)
    assert rows[0].feet.penetration < 0.03
    np.testing.assert_allclose(moved.motion, on_floor.motion, atol=1e-5)


def test_frames_that_lie_are_cut_from_data_with_a_root(tmp_path):
    clip = recorded(400)
    pitch = np.where((np.arange(400) > 200) & (np.arange(400) < 250), 1.45, 0.0) / 2
    fall = np.stack([np.cos(pitch), 0 * pitch, np.sin(pitch), 0 * pitch], axis=-1)
    save(tmp_path / "fall.npz", clip._replace(root_quat=multiply(clip.root_quat, fall)))
    made, rows = _build.build([tmp_path / "fall.npz"])
    assert rows[0].reason == "49 frames cut where it leans by more than 75 degrees"
    assert [last - first for first, last in made.clip_edges()] == [201, 150]
    assert rows[0].kept == 351
    whole, _ = _build.build([tmp_path / "fall.npz"], Options(root="drop"))
    assert len(whole.motion) == 400


def test_the_statistics_of_a_root_are_those_of_both_mirror_images(clip, tmp_path):
    save(tmp_path / "walk.npz", clip)
    made, _ = _build.build([tmp_path / "walk.npz"])
    stats = made.stats()
    both = np.concatenate([made.motion, mirror_motion(jnp.asarray(made.motion), G1)]).astype(np.float64)
    np.testing.assert_allclose(stats.motion_mean, both.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(np.asarray(stats.motion_mean)[[60, 62, 63]], 0, atol=1e-12)
    floors = [*[0.1] * 58, *[0.02] * 3, *[0.1] * 3]
    np.testing.assert_allclose(stats.motion_std, np.maximum(both.std(axis=0), floors), atol=1e-5)
    assert stats.motion_std[58] == np.float32(0.02), "a height that varies by 8 mm"
    assert 0.02 < stats.motion_std[60] < 0.1


def test_a_data_set_with_a_root_survives_the_disk(tmp_path):
    without = walking(clips=2, frames=60)
    root = np.random.default_rng(0).normal(size=(120, 6)).astype(np.float32)
    made = dataclasses.replace(without, motion=np.concatenate([without.motion, root], axis=-1))
    for dataset in (made, without):
        _dataset.save(tmp_path / "set.npz", dataset)
        loaded = _dataset.load(tmp_path / "set.npz")
        assert loaded.has_root == dataset.has_root == (dataset is made)
        np.testing.assert_array_equal(loaded.motion, dataset.motion)
    _dataset.save(tmp_path / "bad.npz", dataclasses.replace(made, motion=made.motion[:, :61]))
    with pytest.raises(InputError, match=r"\(120, 61\); it must be \(120, 58\) or, with a root, \(120, 64\)"):
        _dataset.load(tmp_path / "bad.npz")


# What becomes of fast and of short recordings.


def run(seconds, fps=30.0):
    """A run at 3 m/s, as short as recordings of running are."""
    clip = recorded(round(seconds * fps) + 1, fps)
    ahead = np.arange(len(clip.joint_pos)) / fps
    return clip._replace(root_pos=clip.root_pos + np.stack([3 * ahead, 0 * ahead, 0 * ahead], axis=-1))


def test_fast_frames_and_short_runs_are_kept_and_what_is_cut_names_its_option(clip, tmp_path):
    for name, made in (("walk", clip), ("run", run(1.2)), ("step", run(0.4))):
        save(tmp_path / f"{name}.npz", made)
    paths = [tmp_path / f"{name}.npz" for name in ("walk", "run", "step")]
    made, rows = _build.build(paths)
    assert [row.kept for row in rows] == [3001, 61, 0]
    assert made.command[:, 0].max() > 2.5
    assert rows[2].reason == "13 frames: shorter than --min-seconds 0.5"
    cut, rows = _build.build(paths, Options(percentiles=(0.5, 97.0), min_seconds=0.2))
    assert cut.command[:, 0].max() < 2.5
    assert rows[1].reason == "61 frames cut at velocities beyond --percentiles 0.5 97"
    assert rows[2].reason == "21 frames cut at velocities beyond --percentiles 0.5 97"


# Commands.


def test_a_command_does_not_sway_with_the_stride():
    """The root turns by 0.1 rad and moves sideways by 2 cm with every stride of two thirds of a second."""
    clip = recorded(500)
    straight = np.arange(500) / 50 * 1.2
    clip = clip._replace(root_pos=np.stack([straight, clip.root_pos[:, 1], clip.root_pos[:, 2]], axis=-1))
    sway = 0.02 * np.sin(2 * np.pi * 1.5 * np.arange(500) / 50)
    yaw = 0.1 * np.sin(2 * np.pi * 1.5 * np.arange(500) / 50)
    quat = np.asarray(rotation_of(jnp.asarray(yaw), jnp.full((500, 2), 0.05)), np.float64)
    clip = clip._replace(root_pos=np.stack([straight, sway, 0 * sway + 0.75], axis=-1), root_quat=quat)
    command = _clips.yaw_frame_velocity(clip, 2 / 3)
    np.testing.assert_allclose(command[40:-40], np.tile([1.2, 0, 0], (420, 1)), atol=0.03)
    assert np.abs(_clips.yaw_frame_velocity(clip, 1 / 50)[:, 2]).max() > 0.9, "as fast as the root turns"


def test_a_command_of_a_fast_turn_is_the_whole_speed_up_to_its_ends():
    heading = 2.0 * np.arange(200) / 50
    root_pos = np.stack([np.sin(heading), 1 - np.cos(heading), np.full(200, 0.75)], axis=-1)  # 2 m/s on 1 m
    quat = np.asarray(rotation_of(jnp.asarray(heading), jnp.zeros((200, 2))), np.float64)
    command = _clips.yaw_frame_velocity(recorded(200)._replace(root_pos=root_pos, root_quat=quat), 1.0)
    np.testing.assert_allclose(command, np.tile([2, 0, 2], (200, 1)), atol=0.005)


def test_the_feet_say_how_fast_a_clip_walks_whose_root_never_moves(tmp_path):
    clip = strides(300)
    save(tmp_path / "walk.npz", clip)
    save(tmp_path / "hung.npz", clip._replace(root_pos=0 * clip.root_pos))
    (moving, _), (still, rows) = (
        _build.build([tmp_path / name], Options(smoothing=0.1)) for name in ("walk.npz", "hung.npz")
    )
    assert "commands are the velocity of the stance feet, over 0.1 s (--smoothing-seconds)" in rows[0].notes
    # Half a frame apart: the feet's velocity leads from a frame to the next.
    away = np.square(still.command - moving.command).mean() / np.square(moving.command).mean()
    assert away < 0.1, "where commands of zero would be at 1"


def test_recorded_commands_become_the_velocity_of_the_root_where_it_is_kept():
    """Asked for 1.0 m/s, the root does 0.9."""
    frames = 300
    clip = recorded(frames)
    root_pos = np.stack([0.9 * np.arange(frames) / 50, np.zeros(frames), np.full(frames, 0.75)], axis=-1)
    clip = clip._replace(root_pos=root_pos, root_quat=np.tile([1.0, 0, 0, 0], (frames, 1)))
    clip = clip._replace(command=np.tile([1.0, 0, 0], (frames, 1)))
    by_root = _clips.measured_command(clip, 0.6, by_root=True)
    np.testing.assert_allclose(by_root, np.tile([0.9, 0, 0], (frames, 1)), atol=1e-9)
    assert np.abs(_clips.measured_command(clip, 0.6, by_root=False) - by_root).max() > 0.05
