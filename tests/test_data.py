# pyright: reportOptionalSubscript=false, reportOptionalIterable=false, reportOptionalOperand=false
# pyright: reportArgumentType=false, reportCallIssue=false
"""Clips, readers, and the processing of files into a data set."""

import pickle
import re

import jax.numpy as jnp
import numpy as np
import pytest

from cmg_jax import InputError, motion_files
from cmg_jax.data import _build, _dataset
from cmg_jax.data._dataset import LEFT, RIGHT
from cmg_jax.data._prepared import Options, first_feet
from cmg_jax.motion_files import Assume, Clip, MotionFileError, _clips
from cmg_jax.robot import G1, Robot, _odometry, mirror_motion
from cmg_jax.robot._g1 import G1_29_JOINTS
from tests.conftest import SHARED, assert_one_clear_line, needs_shared, run_program
from tests.data_tools import walking


def circle(fps=30.0, seconds=4.0, speed=0.8, turn=0.5, **changes):
    """A robot on an arc whose joints oscillate."""
    time = np.arange(round(seconds * fps)) / fps
    heading = turn * time
    radius = speed / turn
    root = np.stack([radius * np.sin(heading), radius * (1 - np.cos(heading)), np.full_like(time, 0.78)], axis=-1)
    quat = np.stack([np.cos(heading / 2), 0 * time, 0 * time, np.sin(heading / 2)], axis=-1)
    phase = np.arange(29) * 0.3
    joint_pos = 0.3 * np.sin(2 * np.pi * time[:, None] + phase)
    joint_vel = 0.3 * 2 * np.pi * np.cos(2 * np.pi * time[:, None] + phase)
    clip = Clip("circle", fps, G1, joint_pos, joint_vel, root, quat)
    return clip._replace(**changes)


def test_resampling_follows_the_motion():
    exact, clip = circle(fps=50.0), _clips.resample(circle(fps=30.0), 50.0)
    frames = len(clip.joint_pos)
    assert frames == 1 + int((4 * 30 - 1) / 30 * 50)
    np.testing.assert_allclose(clip.joint_pos, exact.joint_pos[:frames], atol=3e-3)
    np.testing.assert_allclose(clip.joint_vel, exact.joint_vel[:frames], atol=3e-2)
    np.testing.assert_allclose(clip.root_pos, exact.root_pos[:frames], atol=1e-3)
    np.testing.assert_allclose(clip.root_quat, exact.root_quat[:frames], atol=1e-5)
    derived = _clips.resample(circle(fps=30.0, joint_vel=None), 50.0)
    np.testing.assert_allclose(derived.joint_vel[2:-2], exact.joint_vel[2 : frames - 2], atol=0.15)


def test_a_command_is_held_and_not_interpolated():
    command = np.repeat(np.array([[0.0, 0, 0], [1.0, 0.5, -0.5]]), 60, axis=0)
    clip = _clips.resample(circle(command=command), 50.0)
    assert {tuple(row) for row in clip.command} == {(0.0, 0.0, 0.0), (1.0, 0.5, -0.5)}
    assert (clip.command[:100] == 0).all()
    assert (clip.command[100:, 0] == 1).all()


def test_slerp_rotates_evenly_along_the_shorter_arc():
    angle = np.array([0.0, 0.0, 1e-6, 0.0])
    to = np.array([1.0, 3.0, 1.1e-6, 1.0])
    first, second = (np.stack([np.cos(a / 2), 0 * a, np.sin(a / 2), 0 * a], axis=-1) for a in (angle, to))
    out = _clips.slerp(first, np.array([1, 1, 1, -1.0])[:, None] * second, np.array([0.25, 0.5, 0.5, 0.25]))
    expected = angle + (to - angle) * np.array([0.25, 0.5, 0.5, 0.25])
    np.testing.assert_allclose(2 * np.arctan2(out[:, 2], out[:, 0]), expected, atol=1e-9)


def test_the_velocity_of_a_root_is_that_of_its_yaw_frame():
    velocity = _clips.yaw_frame_velocity(_clips.resample(circle(), 50.0), 0.6)
    np.testing.assert_allclose(velocity[5:-5], np.tile([0.8, 0.0, 0.5], (len(velocity) - 10, 1)), atol=0.01)


def test_joints_are_selected_by_name():
    order = np.random.default_rng(0).permutation(29)
    clip = circle()
    shuffled = clip._replace(
        robot=G1.with_joints([G1_29_JOINTS[index] for index in order]),
        joint_pos=clip.joint_pos[:, order],
        joint_vel=clip.joint_vel[:, order],
    )
    taken = _clips.take_joints(shuffled, G1)
    np.testing.assert_array_equal(taken.joint_pos, clip.joint_pos)
    np.testing.assert_array_equal(taken.joint_vel, clip.joint_vel)
    missing = tuple("x" + name if "knee" in name else name for name in G1_29_JOINTS)
    with pytest.raises(MotionFileError, match="has no joint left_knee_joint and 1 more"):
        _clips.take_joints(clip._replace(robot=Robot("other", missing)), G1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda clip: clip._replace(fps=60.0), "declares 60 fps, but its velocities agree with its positions at 30"),
        (lambda clip: clip._replace(joint_pos=with_nan(clip.joint_pos, 7)), "joint_pos is not finite in frame 7"),
        (lambda clip: clip._replace(root_quat=clip.root_quat * 1.2), "not of length 1"),
        (lambda clip: clip._replace(root_pos=clip.root_pos[:-1]), "root_pos has 119 frames, joint_pos 120"),
        (lambda clip: clip._replace(fps=0.0), "fps 0"),
        (lambda clip: _clips.cut(clip, 0, 2), "only 2 frames"),
    ],
)
def test_an_inconsistent_clip_is_refused(change, reason):
    _clips.check(circle())
    with pytest.raises(MotionFileError, match=reason):
        _clips.check(change(circle()))


def with_nan(array, frame):
    array = array.copy()
    array[frame, 0] = np.nan
    return array


def test_a_recording_is_cut_where_it_jumps():
    clip = circle()
    joint_pos, root_pos = clip.joint_pos.copy(), clip.root_pos.copy()
    joint_pos[:4] += 2.0
    root_pos[70:] += [1.0, 0, 0]
    pieces = _clips.split_at_jumps(clip._replace(joint_pos=joint_pos, root_pos=root_pos))
    assert [len(piece.joint_pos) for piece in pieces] == [4, 66, 50]


# Files.


def write_all(path, clip):
    """The same clip in every format."""
    arrays = {"fps": np.array([clip.fps]), "dof_names": np.array(clip.joint_names), "dof_positions": clip.joint_pos}
    bodies = {
        "body_names": np.array(["torso", "pelvis"]),
        "body_rotations": np.stack([np.tile([0.0, 1, 0, 0], (len(clip.root_quat), 1)), clip.root_quat], axis=1),
        "body_positions": np.stack([np.zeros_like(clip.root_pos), clip.root_pos], axis=1),
    }
    np.savez(path / "original.npz", **arrays, **bodies, dof_velocities=clip.joint_vel)
    np.savez(
        path / "rollouts.npz",
        fps=clip.fps,
        joint_names=np.array(clip.joint_names),
        joint_pos=clip.joint_pos[None],
        joint_vel=clip.joint_vel[None],
        root_pos=clip.root_pos[None],
        root_quat_wxyz=clip.root_quat[None],
        command=np.tile(np.float32([0.8, 0, 0.5]), (1, len(clip.joint_pos), 1)),
    )
    xyzw = clip.root_quat[:, [1, 2, 3, 0]]
    np.savetxt(path / "lafan.csv", np.hstack([clip.root_pos, xyzw, clip.joint_pos]), delimiter=",")
    content = {
        "fps": clip.fps,
        "root_pos": clip.root_pos,
        "root_rot": clip.root_quat[:, [1, 2, 3, 0]],
        "dof_pos": clip.joint_pos,
        "local_body_pos": None,
        "link_body_list": ["pelvis"],
    }
    (path / "twist.pkl").write_bytes(pickle.dumps(content))


@pytest.mark.parametrize("name", ["original.npz", "rollouts.npz", "lafan.csv", "twist.pkl"])
def test_every_format_reads_the_same_motion(name, tmp_path):
    clip = circle()
    write_all(tmp_path, clip)
    (read,) = motion_files.read(tmp_path / name).clips
    assert read.joint_names == G1_29_JOINTS
    assert read.fps == 30
    for field in ("joint_pos", "root_pos", "root_quat"):
        np.testing.assert_allclose(getattr(read, field), getattr(clip, field), atol=1e-6)
    if name in ("original.npz", "rollouts.npz"):
        np.testing.assert_allclose(read.joint_vel, clip.joint_vel, atol=1e-6)
    assert (read.command is not None) == (name == "rollouts.npz")


def test_a_generated_file_can_be_trained_on(tmp_path):
    out = tmp_path / "walk.npz"
    result = run_program("cmg-jax", "generate", "--command", 0.9, 0, 0.3, "--seconds", 2, "--out", out)
    assert result.returncode == 0, result.stderr
    command = np.float32([0.9, 0, 0.3])
    made, rows = _build.build([out], Options(measure_commands=False))
    assert rows[0].kept == 101
    np.testing.assert_allclose(made.command, np.tile(command, (101, 1)))
    measured, _ = _build.build([out])
    assert (measured.command == measured.command[0]).all()
    assert 0 < np.abs(measured.command[0] - command).max() < 0.1


def test_commands_become_the_velocity_that_is_measured_under_them():
    still = G1.standing_joint_pos
    # Stands, strides at 1.5 Hz, and strides half as far: 3, 4 and 2 s; the last command is held for a moment only.
    time = np.arange(450) / 50
    scale = np.where(time < 3, 0.0, np.where(time < 7, 0.4, 0.2))
    joint_pos = np.tile(still, (450, 1))
    for joint, sign in (("left_hip_pitch_joint", 1), ("right_hip_pitch_joint", -1)):
        joint_pos[:, G1_29_JOINTS.index(joint)] += sign * scale * np.sin(2 * np.pi * 1.5 * time)
    command = np.where(time < 3, 0.0, np.where(time < 7, 1.0, 0.3))[:, None] * np.float32([1, 0.2, 0])
    command[440:] = [0.7, 0.0, 0.0]
    quat = np.tile([1.0, 0, 0, 0], (450, 1))
    clip = Clip("steps", 50.0, G1, joint_pos, None, np.zeros((450, 3)), quat, command)
    measured = _clips.measured_command(clip, 0.6, by_root=False)
    velocity = np.asarray(_odometry.stance_velocity(joint_pos, G1, 50.0))
    np.testing.assert_array_equal(measured[:150], 0)
    # 200 frames: 4 strides of 30 in the latter two thirds; 90 frames: 2 of them. The first step is left out.
    np.testing.assert_allclose(measured[150:350], np.tile(velocity[230:350].mean(axis=0), (200, 1)), atol=1e-6)
    np.testing.assert_allclose(measured[350:440], np.tile(velocity[380:440].mean(axis=0), (90, 1)), atol=1e-6)
    np.testing.assert_array_equal(measured[440:], command[440:])
    assert np.abs(measured - command)[150:440].min(axis=0).max() > 0.01


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_errors_of_files_that_cannot_be_read_give_the_reason(tmp_path):
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"fps": Evil()}))
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1, 2]))
    (tmp_path / "short.csv").write_text("1,2,3\n")
    (tmp_path / "words.csv").write_text("root,quat\nx,y\n")
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "objects.npz", dof_positions=np.array([{}], dtype=object))
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    (tmp_path / "motion.bvh").write_text("")
    for name, reason in {
        "evil.pkl": "has no joint positions",
        "list.pkl": "not a dictionary",
        "short.csv": "has 3 columns",
        "words.csv": "not a table of numbers",
        "text.npz": "is a text that begins with 'no archive'",
        "objects.npz": "has dof_positions but no root under root_quat_wxyz or body_rotations",
        "other.npz": "has no joint positions",
        "motion.bvh": "unknown format '.bvh'",
    }.items():
        with pytest.raises(MotionFileError, match=reason):
            motion_files.read(tmp_path / name)


def test_a_data_set_reports_the_frames_kept_of_every_clip(tmp_path):
    write_all(tmp_path, circle(joint_vel=circle().joint_vel * 2))
    (tmp_path / "good").mkdir()
    write_all(tmp_path / "good", circle())
    (tmp_path / "broken.csv").write_text("1,2\n")
    sources = [tmp_path / "original.npz", tmp_path / "broken.csv", *sorted((tmp_path / "good").iterdir())]
    made, rows = _build.build(sources, Options(percentiles=(0, 100)))
    reports = {row.name: (row.frames, row.kept, row.reason) for row in rows}
    refused, good = (f"{directory}/original.npz" for directory in (tmp_path.name, "good"))
    assert reports[refused][:2] == (120, 0)
    assert reports[good][0] == 120, "a row for each of two files of one name"
    assert reports["broken.csv"] == (
        0,
        0,
        "has 2 columns; root position, root quaternion and 29 joints are 36; other columns need a header",
    )
    assert reports["lafan"] == (120, 199, "")
    assert reports["rollouts[0]"][1] == 199
    assert len(made.motion) == 4 * 199
    np.testing.assert_array_equal(np.unique(made.clip), range(4))
    assert made.fps == 50


def test_velocities_beyond_the_percentiles_are_cut_out(tmp_path):
    clip = circle(seconds=10.0)
    write_all(tmp_path, clip)
    whole, _ = _build.build([tmp_path / "lafan.csv"], Options(percentiles=(0, 100)))
    part, rows = _build.build([tmp_path / "lafan.csv"], Options(percentiles=(5, 95)))
    assert 0 < len(part.motion) < len(whole.motion)
    assert rows[0].reason.endswith("frames cut at velocities beyond --percentiles 5 95")
    _, rows = _build.build([tmp_path / "rollouts.npz"], Options(percentiles=(5, 95)))
    assert rows[0].reason == ""


def test_starts_are_found_with_their_foot():
    made = walking(clips=3, frames=120)
    for clip in range(3):
        rows = slice(120 * clip, 120 * clip + 120)
        pose = Clip("", 50.0, G1, made.motion[rows, :29], None, np.zeros((120, 3)), np.zeros((120, 4)))
        found = first_feet(pose._replace(command=made.command[rows]), recorded=True)
        np.testing.assert_array_equal(found != 0, made.first_foot[rows] != 0)
        image = np.asarray(mirror_motion(jnp.asarray(made.motion[rows]), G1))[:, :29]
        other = first_feet(pose._replace(command=made.command[rows], joint_pos=image), recorded=True)
        np.testing.assert_array_equal(other, np.where(found == 0, 0, LEFT + RIGHT - found))


def test_statistics_are_those_of_the_frames_and_their_mirror_images():
    made = walking(clips=2, frames=60)
    stats = made.stats()
    image = np.asarray(mirror_motion(jnp.asarray(made.motion), G1))
    both = np.concatenate([made.motion, image])
    np.testing.assert_allclose(stats.motion_mean, both.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(stats.motion_std, np.maximum(both.std(axis=0), 0.1), atol=1e-5)
    np.testing.assert_allclose(stats.command_min[1:], -np.asarray(stats.command_max)[1:])
    assert stats.command_min[0] == 0


def test_a_data_set_survives_the_disk_and_damage_is_reported(tmp_path):
    made = walking(clips=2, frames=60)
    path = tmp_path / "data.npz"
    _dataset.save(path, made)
    loaded = _dataset.load(path)
    for field in ("motion", "command", "clip", "first_foot"):
        np.testing.assert_array_equal(getattr(loaded, field), getattr(made, field))
    assert (loaded.clip_names, loaded.robot, loaded.fps) == (made.clip_names, made.robot, made.fps)
    with np.load(path) as arrays:
        content = dict(arrays)
    for change, words in (
        ({"motion": with_nan(content["motion"], 5)}, "motion is not finite in frame 5"),
        ({"command": content["command"][:-1]}, r"command has shape \(119, 3\)"),
    ):
        np.savez(tmp_path / "bad.npz", **{**content, **change})
        with pytest.raises(InputError, match=words):
            _dataset.load(tmp_path / "bad.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(InputError, match="it lacks motion, command"):
        _dataset.load(tmp_path / "other.npz")
    (tmp_path / "text.npz").write_text("nothing")
    with pytest.raises(InputError, match="not a data set"):
        _dataset.load(tmp_path / "text.npz")


def test_the_program_prints_a_table_and_draws_the_speeds(tmp_path):
    write_all(tmp_path, circle())
    (tmp_path / "notes.csv").write_text("a,b\n")
    result = run_program("cmg-jax", "data", tmp_path, "--out", tmp_path / "out.npz", "--percentiles", 0, 100)
    assert result.returncode == 0, result.stderr
    assert "notes.csv" in result.stdout
    assert "dropped: is not a table of numbers" in result.stdout
    assert "frames read  kept at 50 fps" in result.stdout
    assert re.search(r"lafan +120 +199 ", result.stdout)
    assert (tmp_path / "out.png").stat().st_size > 5000
    assert len(_dataset.load(tmp_path / "out.npz").motion) == 4 * 199


def test_mistakes_are_one_clear_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.csv").write_text("a,b\n")
    for arguments, word in (
        ([tmp_path / "none.npz", "--out", tmp_path / "o.npz"], "no such file or directory"),
        ([tmp_path / "empty", "--out", tmp_path / "o.npz"], "holds no motion file"),
        ([tmp_path / "notes.csv", "--out", tmp_path / "o.npz"], "no clip can be used"),
        ([tmp_path / "notes.csv", "--out", tmp_path / "o.csv"], "written as .npz"),
        ([tmp_path / "notes.csv", "--out", tmp_path / "o.npz", "--percentiles", 90, 10], "must rise"),
    ):
        assert_one_clear_line(run_program("cmg-jax", "data", *arguments), word)
    assert not (tmp_path / "o.npz").exists()


@needs_shared
def test_real_files_of_every_origin(tmp_path):
    walks = sorted((SHARED / "twist2_walks").glob("*.pkl"))
    trap = SHARED / "cmg_original" / "autoregressive_motion.npz"
    made, rows = _build.build([*walks, SHARED / "amp_g1" / "G1_walk.npz", trap])
    reports = {row.name: row for row in rows}
    assert rows[-1].kept == 0
    assert "29 joints without names exceed their limits by 0.014 rad" in rows[-1].reason
    _, insisted = _build.build([walks[0], trap], Options(assume=Assume(joint_order="mujoco")))
    assert "declares 60 fps, but its velocities agree" in insisted[-1].reason
    for name in ("walk_004", "walk_009", "walk_010"):
        assert "between jumps" in reports[name].reason
        assert reports[name].kept > 0.5 * reports[name].frames
    assert sum(row.kept > 0 for row in rows) == 11
    assert np.abs(made.motion[:, :29]).max() < 3.2
    rollouts, rows = _build.build([SHARED / "rollouts" / "g1_velocity_policy_starts_40x60s_50hz.npz"])
    assert [row.kept for row in rows] == [3000] * 40
    feet = [(rollouts.first_foot == foot).sum() for foot in (LEFT, RIGHT)]
    assert feet[1] > 0.9 * sum(feet) > 250
