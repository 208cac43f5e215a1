"""Libraries of gaits: strides out of clips, and clips of any velocity out of strides."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cmg_jax import data
from cmg_jax._errors import InputError
from cmg_jax.cli.main import main
from cmg_jax.gaits import _build, _catalogue, _checked, _feet, _ik, _learn, _lock, _plan, _select, _strides, _table
from cmg_jax.gaits._plan import Segment
from cmg_jax.robot import G1, G1_23_JOINTS, _foot_quality
from cmg_jax.robot import _feet as robot_feet
from tests import gait_tools
from tests.gait_tools import DUTY, FPS


@pytest.fixture(scope="module")
def clips():
    """Walks at three speeds, one of them between two rests."""
    rest = Segment(1.2, None)
    return [
        gait_tools.clip(Segment(5.0, (0.6, 0.0, 0.0)), name="middle"),
        gait_tools.clip(Segment(5.0, (0.8, 0.0, 0.1)), name="fast"),
        gait_tools.clip(rest, Segment(4.0, (0.5, 0.0, 0.0)), rest._replace(seconds=3.0), name="slow"),
    ]


def write(path, clip, joints=G1.joint_names, root=True):
    qpos = np.concatenate([clip.root_pos, clip.root_quat, clip.joint_pos], axis=1)
    if not root:
        qpos[:, :7] = qpos[0, :7]
    columns = [*range(7), *(7 + G1.joint_names.index(name) for name in joints)]
    path.parent.mkdir(exist_ok=True)
    np.savez(path, qpos=qpos[:, columns], fps=clip.fps, joint_names=np.array(joints))
    return path


def test_strides_have_the_period_speed_and_stance_of_the_walk(clips):
    for index, speed in ((0, 0.6), (1, 0.8)):
        found = _strides.find_strides([clips[index]])
        assert len(found.speed) >= 4
        np.testing.assert_allclose(found.speed, speed, atol=0.01)
        np.testing.assert_allclose(found.period, gait_tools.period(speed), atol=1 / FPS)
        np.testing.assert_allclose(found.duty, DUTY, atol=0.06)
        # Strides that began with the right foot are mirrored: all look alike.
        assert found.channels.std(axis=0).max() < 0.08


def test_strides_are_sampled_on_a_cycle():
    phase = 2 * np.pi * np.arange(33) / 32
    cycle = np.stack([np.sin(phase), np.cos(2 * phase)], axis=-1)
    when = np.array([0.25, 15.5, 31.9])
    fine = 2 * np.pi * when / 32
    np.testing.assert_allclose(_strides.cubic(cycle, when), np.stack([np.sin(fine), np.cos(2 * fine)], 1), atol=2e-3)


def test_mirrored_and_reversed_twice_is_the_same(clips):
    found = _strides.find_strides(clips[:1])
    twice = _strides.mirror_channels(_strides.mirror_channels(found.channels, G1), G1)
    np.testing.assert_allclose(twice, found.channels, atol=1e-12)
    backward = _table.reverse(found)
    assert (backward.speed < 0).all()
    again = _table.reverse(backward)
    np.testing.assert_allclose(again.channels, found.channels, atol=0.02)
    np.testing.assert_allclose(again.speed, found.speed)


def test_table_is_symmetric_and_goes_through_what_was_recorded(clips):
    found = _strides.find_strides(clips)
    table = _table.walking_table(found, [0, 0, 1], G1)
    for speed in (0.6, 0.8):
        at = np.interp(speed, table.speed, table.period)
        assert at == pytest.approx(gait_tools.period(speed), abs=0.03)
    half = table.channels.shape[1] // 2
    mirrored = np.roll(_strides.mirror_channels(table.channels, G1), half, axis=1)
    np.testing.assert_allclose(mirrored, table.channels, atol=1e-9)
    assert table.speed[0] < -0.5  # backward from strides played backward
    assert table.speed[-1] > 0.8


def test_plan_starts_with_the_right_foot_and_stops_with_both_down():
    made = gait_tools.library()
    segments = [Segment(1.0, None), Segment(3.0, (0.7, 0.1, 0.3)), Segment(3.0, None)]
    plan = _plan.make_plan(segments, _plan.Clock(made.walk, None), FPS)
    lifted = np.argwhere(~plan.contact)
    assert lifted[0, 1] == 1
    assert lifted[0, 0] >= 50 + round(_plan.LEAD * FPS)
    still = plan.active == 0
    assert still[:50].all()
    assert still[-20:].all()
    assert plan.contact[still].all()
    assert not plan.velocity[:-1][still[:-1] & still[1:]].any()
    np.testing.assert_allclose(plan.command[60], (0.7, 0.1, 0.3))
    # The path is the integral of the velocities.
    steps = np.linalg.norm(np.diff(plan.position, axis=0), axis=1) * FPS
    np.testing.assert_allclose(steps, np.linalg.norm(plan.velocity[:-1, :2], axis=1), atol=1e-3)
    np.testing.assert_allclose(np.diff(plan.heading) * FPS, plan.velocity[:-1, 2], atol=1e-9)


def test_synthetic_feet_stand_where_they_were_put():
    turning = gait_tools.clip(Segment(3.0, (0.5, 0.2, 0.6)), Segment(3.0, (-0.3, 0.0, -0.5)))
    figures = _foot_quality.foot_figures(turning.joint_pos, turning.root_pos, turning.root_quat, G1, FPS)
    assert figures.slip < 0.005
    assert figures.penetration < 0.003
    assert figures.flight == 0
    limits = G1.joint_limits
    assert (turning.joint_pos > limits[:, 0]).all()
    assert (turning.joint_pos < limits[:, 1]).all()
    swing = gait_tools.sole_heights(turning).max(axis=0)
    assert (swing > 0.03).all()


def test_standing_moves_no_joint():
    motion = gait_tools.clip(Segment(1.0, None), Segment(2.5, (0.6, 0.0, 0.0)), Segment(3.5, None))
    for part in (slice(0, 50), slice(-25, None)):
        assert np.ptp(motion.joint_pos[part], axis=0).max() < 1e-5
        assert np.ptp(motion.root_pos[part], axis=0).max() < 1e-6
    poses = _feet.foot_poses(motion.joint_pos, motion.root_pos, motion.root_quat, G1)
    along = poses.position[-1, :, :2] @ [np.cos(poses.yaw[-1, 0]), np.sin(poses.yaw[-1, 0])]
    assert abs(along[0] - along[1]) < 0.002  # side by side


def test_legs_are_solved_for_their_soles():
    random = np.random.default_rng(0)
    legs = robot_feet.leg_joints(G1)
    wanted = np.tile(G1.standing_joint_pos.astype(float), (5, 1))
    wanted[:, legs.ravel()] += random.uniform(-0.15, 0.15, (5, legs.size))
    with jax.numpy_rank_promotion("allow"):
        soles = np.asarray(robot_feet.sole_balls(jnp.asarray(wanted[:, legs], jnp.float32), G1))
    start = np.tile(G1.standing_joint_pos.astype(float), (5, 1))
    start[:, -1] = np.arange(5)
    solved = _ik.solve_legs(start, soles, G1, G1.joint_limits.astype(float))
    np.testing.assert_allclose(solved[:, legs], wanted[:, legs], atol=2e-3)
    np.testing.assert_array_equal(solved[:, 12:], start[:, 12:])


def test_a_lifted_foot_is_bridged_between_its_contacts():
    frames = 30
    contact = np.ones((frames, 2), bool)
    contact[10:20, 0] = False
    shape = _feet.foot_shape(G1)
    height = shape.radius[0].mean() - shape.toe[0, 2]
    position = np.zeros((frames, 2, 3))
    position[..., 2], position[:, 1, 1] = height, -0.2
    position[:, 0, 0] = np.linspace(0, 0.3, frames)
    feet = _feet.FootPoses(position, np.zeros((frames, 2)), np.zeros((frames, 2)))
    locked = _lock.lock(feet, contact, np.zeros(frames, bool), np.zeros(frames), G1, FPS)
    for part in (slice(0, 10), slice(20, frames)):
        assert np.ptp(locked.position[part, 0], axis=0).max() < 1e-9
    assert (np.diff(locked.position[9:21, 0, 0]) > -1e-3).all()
    assert locked.position[15, 0, 2] > height + 0.01
    np.testing.assert_allclose(locked.position[:, 1], position[:, 1], atol=1e-9)


def test_sunken_and_repeated_clips_are_left_out(clips):
    sunk = clips[1]._replace(name="sunk", root_pos=clips[1].root_pos - [0, 0, 0.012])
    again = clips[0]._replace(
        name="again",
        joint_pos=clips[0].joint_pos[7:] + 0.005,
        root_pos=clips[0].root_pos[7:],
        root_quat=clips[0].root_quat[7:],
    )
    reasons = _select.faults([clips[0], sunk, again, clips[1]])
    assert reasons[0] == reasons[3] == ""
    assert "12 mm below the floor" in reasons[1]
    assert reasons[2] == "shows the same motion as middle"


def test_synthetic_motion_with_a_fault_is_cut(clips):
    joint_pos = clips[0].joint_pos.copy()
    joint_pos[120, 3] += 0.5  # 25 rad/s of a knee
    motion = joint_pos, clips[0].root_pos, clips[0].root_quat, G1, FPS
    frames = len(joint_pos)
    assert _checked.good_parts(*motion, 1e3) == [(0, 100), (142, frames)]
    clean = clips[0].joint_pos, *motion[1:]
    assert _checked.good_parts(*clean, 1e3) == [(0, frames)]
    assert _checked.good_parts(*clean, 0.1) == []


def test_region_has_no_fast_sideways_runs():
    region = _catalogue.Region(-0.8, 3.0)
    assert region.holds((0.5, 0.4, 0.0))
    assert not region.holds((2.5, 0.3, 0.0))
    assert not region.holds((3.3, 0.0, 0.0))
    random = np.random.default_rng(1)
    assert all(region.holds(region.draw(random, -0.8, 3.0)) for _ in range(200))


def test_standing_is_learnt_from_the_rests(clips):
    learnt = _learn.learn(clips, [0, 0, 1])
    assert learnt.standing_frames > 60
    root, _, feet = _strides.split_channels(learnt.library.stand)
    assert root[2] == pytest.approx(gait_tools.HEIGHT, abs=0.01)
    np.testing.assert_allclose(feet[:, 1], [gait_tools.WIDTH, -gait_tools.WIDTH], atol=0.005)
    assert learnt.library.run is None


def test_program_writes_a_data_set_that_follows_its_commands(tmp_path, clips, monkeypatch, capsys):
    rest = Segment(1.4, None)
    items = [
        _catalogue.Item("walk start and stop", (rest, Segment(4.0, (0.6, 0.0, 0.0)), rest), 0.0),
        _catalogue.Item("walk held", (Segment(4.0, (0.7, 0.0, 0.3)),), 0.2),
    ]
    monkeypatch.setattr(_catalogue, "catalogue", lambda *_: items)
    files = [str(write(tmp_path / clip.name / f"{clip.name}.npz", clip)) for clip in clips]
    out = tmp_path / "gaits.npz"
    assert main(["gaits", *files, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "3 of 3 clips used" in printed
    assert "walking" in printed
    made = data.load(out)
    assert made.has_root
    assert (made.first_foot == data.RIGHT).sum() == 1
    assert not (made.first_foot == data.LEFT).any()
    first, last = made.clip_edges()[-1]
    root = made.motion[first:last, 58:]
    np.testing.assert_allclose(made.command[first:last], np.tile([0.7, 0.0, 0.3], (last - first, 1)), atol=1e-6)
    np.testing.assert_allclose(root[:, [3, 5]].mean(axis=0), [0.7, 0.3], atol=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"root": False}, "root"),
        ({"joints": G1_23_JOINTS}, "has no joint left_wrist_roll_joint"),
    ],
)
def test_unusable_clips_are_refused_in_one_line(tmp_path, clips, capsys, change, message):
    path = write(tmp_path / "a" / "walk.npz", clips[0], **change)
    assert main(["gaits", str(path), "--out", str(tmp_path / "out.npz")]) != 0
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out.npz").exists()


def test_clips_without_a_stride_are_refused(tmp_path):
    standing = gait_tools.clip(Segment(2.0, None))
    path = write(tmp_path / "a" / "stand.npz", standing)
    with pytest.raises(InputError, match="no steady stride of walking in 1 clips"):
        _build.build([path])
