"""`cmg-jax inspect`: checks what files state against what they hold."""

import numpy as np
import pytest
from PIL import Image

from cmg_jax import InputError, motion_files
from cmg_jax.motion_files import Motion
from cmg_jax.motion_files._check import ASK, OK, UNKNOWN, WRONG
from cmg_jax.robot import G1, Robot
from cmg_jax.robot._bodies import breadth_first
from cmg_jax.robot._g1 import G1_23_JOINTS, G1_29_JOINTS
from cmg_jax.robot._rotation import multiply
from tests.conftest import SHARED, assert_one_clear_line, needs_shared, run_program
from tests.data_tools import recorded

NAMES = ("numbers", "fps", "units", "joint order", "limits", "quaternion order", "body order")
ROOT = ("floor", "sliding", "lean")


@pytest.fixture(scope="module")
def motion() -> Motion:
    """An upright robot on an arc, each joint oscillating differently within its limits."""
    time = np.arange(120)[:, None] / 50
    low, high = G1.joint_limits.T
    middle, swing = (low + high) / 2, (high - low) / 2 * 0.9
    phase, rate = np.arange(29) * 0.7, 2 * np.pi * 0.5
    joint_pos, joint_vel = middle + swing * np.sin(rate * time + phase), swing * rate * np.cos(rate * time + phase)
    yaw = 1.2 * time
    root = np.hstack([0.7 * np.sin(yaw), 0.7 * (1 - np.cos(yaw)), np.full_like(yaw, 0.78)])
    quat = np.hstack([np.cos(yaw / 2), 0 * yaw, 0 * yaw, np.sin(yaw / 2)])
    return Motion(50.0, G1, joint_pos, joint_vel, np.zeros((119, 3)), root, quat)


def verdicts(path, names=NAMES) -> dict[str, str]:
    """Those of the file, or, of `ROOT`, of whether its root fits its legs."""
    found = motion_files.inspect(path).checks
    assert tuple(check.name for check in found) == NAMES + ROOT
    return {check.name: check.verdict for check in found if check.name in names}


def reason(path, name: str) -> str:
    return next(check.reason for check in motion_files.inspect(path).checks if check.name == name)


def save(path, arrays, **changes):
    np.savez(path, **{key: value for key, value in {**arrays, **changes}.items() if value is not None})
    return path


@pytest.fixture(scope="module")
def tracking(motion, tmp_path_factory):
    path = tmp_path_factory.mktemp("tracking") / "tracking.npz"
    motion_files.write(path, motion, "mjlab")
    with np.load(path) as arrays:
        return {key: value for key, value in arrays.items() if not key.endswith("_names")}  # most files have none


UNKNOWN_IN = {"csv": {"fps", "body order"}, "twist": {"fps"}}


@pytest.mark.parametrize(("name", "suffix"), [(name, form.suffix) for name, form in motion_files.FORMATS.items()])
@pytest.mark.parametrize("joints", [G1_29_JOINTS, G1_23_JOINTS])
def test_files_that_we_write_pass_all_checks(name, suffix, joints, motion, tmp_path):
    path = tmp_path / f"walk{suffix}"
    motion_files.write(path, motion.with_joints(joints), name, bodies=True)
    found = verdicts(path)
    assert {check for check, verdict in found.items() if verdict == UNKNOWN} == UNKNOWN_IN.get(name, set())
    assert {found[check] for check in set(NAMES) - UNKNOWN_IN.get(name, set())} == {OK}


def test_a_mislabelled_rate_is_recognised(tracking, tmp_path):
    path = save(tmp_path / "a.npz", tracking, fps=np.array([30.0]))
    assert verdicts(path)["fps"] == WRONG
    assert "declares 30, but its velocities agree with its positions at 50" in reason(path, "fps")
    assert verdicts(save(tmp_path / "b.npz", tracking, fps=np.array([0.0])))["fps"] == WRONG
    assert verdicts(save(tmp_path / "c.npz", tracking, joint_vel=None))["fps"] == UNKNOWN


def test_the_other_order_of_quaternions_is_recognised(motion, tracking, tmp_path):
    xyzw = tracking["body_quat_w"][..., [1, 2, 3, 0]]
    path = save(tmp_path / "a.npz", tracking, body_quat_w=xyzw)
    found = verdicts(path)
    assert found["quaternion order"] == WRONG
    assert "xyzw, where wxyz is expected" in reason(path, "quaternion order")
    assert found["joint order"] == found["body order"] == OK, "distinguished from the orders of joints and bodies"
    # Without bodies the pelvis decides. At 180 degrees about the vertical both orders look the same, and nothing can.
    motion_files.write(tmp_path / "walk.csv", motion)
    table = np.loadtxt(tmp_path / "walk.csv", delimiter=",")
    swapped = table.copy()
    swapped[:, 3:7] = table[:, [6, 3, 4, 5]]
    np.savetxt(tmp_path / "swapped.csv", swapped, delimiter=",")
    assert verdicts(tmp_path / "swapped.csv")["quaternion order"] == WRONG
    swapped[:, 3:7] = [0, 0, 1, 0]
    np.savetxt(tmp_path / "back.csv", swapped, delimiter=",")
    assert verdicts(tmp_path / "back.csv")["quaternion order"] == OK
    swapped[:, 3:7] = [0.5, 0.5, 0.5, 0.5]
    np.savetxt(tmp_path / "lying.csv", swapped, delimiter=",")
    assert verdicts(tmp_path / "lying.csv")["quaternion order"] == ASK


def test_isaac_labs_orders_are_recognised(motion, tracking, tmp_path):
    first = ("left_hip_pitch_joint", "right_hip_pitch_joint", "waist_yaw_joint", "left_hip_roll_joint")
    assert breadth_first(G1, G1_29_JOINTS)[:4] == first
    joints = [G1_29_JOINTS.index(name) for name in breadth_first(G1, G1_29_JOINTS)]
    bodies = [G1.body_names.index(name) for name in breadth_first(G1, G1.body_names)]
    moved = {key: tracking[key][:, joints] for key in ("joint_pos", "joint_vel")}
    moved |= {key: value[:, bodies] for key, value in tracking.items() if key.startswith("body")}
    path = save(tmp_path / "a.npz", tracking, **moved)
    found = verdicts(path)
    assert (found["joint order"], found["body order"], found["quaternion order"]) == (WRONG, WRONG, OK)
    assert "breadth-first (Isaac Lab's)" in reason(path, "joint order")
    assert "all are in breadth-first order" in reason(path, "body order")
    # A table of joints alone: limits that differ from joint to joint decide.
    motion_files.write(tmp_path / "walk.csv", motion)
    table = np.loadtxt(tmp_path / "walk.csv", delimiter=",")
    table[:, 7:] = table[:, 7:][:, joints]
    np.savetxt(tmp_path / "isaac.csv", table, delimiter=",")
    assert verdicts(tmp_path / "isaac.csv")["joint order"] == WRONG


def test_a_body_under_the_name_of_another_is_recognised(motion, tmp_path):
    motion_files.write(tmp_path / "walk.npz", motion, bodies=True)
    with np.load(tmp_path / "walk.npz") as arrays:
        content = dict(arrays)
    names = content["body_names"].tolist()
    names[4], names[10] = names[10], names[4]
    path = save(tmp_path / "a.npz", content, body_names=np.array(names))
    assert verdicts(path)["body order"] == WRONG
    assert "body 4 is the left_knee_link where right_knee_link is expected, and 1 more" in reason(path, "body order")
    order = np.random.default_rng(0).permutation(30)
    shuffled = {key: content[key][:, order] for key in ("body_positions", "body_rotations")}
    path = save(tmp_path / "b.npz", content, **shuffled, body_names=content["body_names"][order])
    assert verdicts(path)["body order"] == OK
    assert "read by name" in reason(path, "body order")
    scaled = save(tmp_path / "c.npz", content, dof_positions=content["dof_positions"] * 0.5)
    assert {verdicts(scaled)[name] for name in ("joint order", "body order")} == {WRONG}
    empty = save(tmp_path / "d.npz", content, body_positions=np.zeros_like(content["body_positions"]))
    assert "these are not body poses" in reason(empty, "body order")


def test_numbers_limits_and_jumps(motion, tmp_path):
    joint_pos = motion.joint_pos.copy()
    joint_pos[60:70, 3] = 3.2
    motion_files.write(tmp_path / "far.csv", motion._replace(joint_pos=joint_pos))
    assert "8.3 % of the frames exceed a limit, at worst left_knee_joint by 0.32 rad" in reason(
        tmp_path / "far.csv", "limits"
    )
    root = motion.root_pos.copy()
    root[50:] += 1
    motion_files.write(tmp_path / "jump.csv", motion._replace(root_pos=root))
    assert reason(tmp_path / "jump.csv", "numbers") == "1 jump between frames, the first after frame 49"
    joint_pos[7] = np.nan
    motion_files.write(tmp_path / "nan.csv", motion._replace(joint_pos=joint_pos))
    found = verdicts(tmp_path / "nan.csv")
    assert found.pop("numbers") == WRONG
    assert set(found.values()) == {UNKNOWN}


def test_an_unknown_robot_is_inspected_without_checks_of_its_body(motion, tmp_path):
    stranger = motion.with_joints(("left_knee_joint", "right_knee_joint"))._replace(robot=Robot("dog", ("paw", "tail")))
    motion_files.write(tmp_path / "walk.npz", stranger)
    found = verdicts(tmp_path / "walk.npz")
    assert (found["fps"], found["joint order"], found["limits"]) == (OK, UNKNOWN, UNKNOWN)
    assert "paw, tail" in reason(tmp_path / "walk.npz", "joint order")


def test_a_root_that_does_not_fit_its_legs(tmp_path):
    clip = recorded()
    frames = np.arange(len(clip.joint_pos))[:, None]
    lean = np.array([np.cos(0.08), np.sin(0.08), 0, 0])  # 9 degrees to the right
    shift = np.array([0, 0, 0.07])
    roots = {
        "fits": (clip.root_pos, clip.root_quat),
        "floats": (clip.root_pos + shift, clip.root_quat),
        "sinks": (clip.root_pos - shift, clip.root_quat),
        "glides": (clip.root_pos * [0, 0, 1] + 0.02 * frames * [0, 1, 0], clip.root_quat),
        "askew": (clip.root_pos, multiply(clip.root_quat, np.tile(lean, (150, 1)))),
        "still": (0 * clip.root_pos + 0.75, clip.root_quat),
        "upright": (clip.root_pos, np.tile([1.0, 0, 0, 0], (150, 1))),
        "lies": (clip.root_pos, multiply(clip.root_quat, np.tile([np.cos(0.5), 0, np.sin(0.5), 0], (150, 1)))),
    }
    found = {}
    for name, (root_pos, root_quat) in roots.items():
        path = save(tmp_path / f"{name}.npz", {"qpos": np.hstack([root_pos, root_quat, clip.joint_pos]), "fps": 50})
        found[name] = tuple(verdicts(path, ROOT).values())
    assert found == {
        "fits": (OK, OK, OK),
        "floats": (WRONG, OK, OK),
        "sinks": (WRONG, OK, OK),
        "glides": (OK, WRONG, OK),
        "askew": (OK, OK, WRONG),
        "still": (UNKNOWN, UNKNOWN, UNKNOWN),
        "upright": (OK, OK, UNKNOWN),
        "lies": (UNKNOWN, UNKNOWN, UNKNOWN),
    }
    assert reason(tmp_path / "floats.npz", "floor") == (
        "feet come down 0.070 m above height 0; cmg-jax data takes heights from there"
    )
    assert "the root moves at 1.00 m/s: it does not follow the legs" in reason(tmp_path / "glides.npz", "sliding")
    assert reason(tmp_path / "fits.npz", "lean").startswith("3.4 degrees forward")
    assert "9.5 degrees to the right" in reason(tmp_path / "askew.npz", "lean")
    assert reason(tmp_path / "still.npz", "floor") == "its root never moves"
    assert "upright in every frame, as if made up" in reason(tmp_path / "upright.npz", "lean")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent.npz", None, "No such file"),
        ("notes.txt", b"text", "unknown format '.txt'"),
        ("notes.csv", b"a,b\n", "not a table of numbers"),
        ("code.pkl", b"cos\nsystem\n(S'true'\ntR.", "not a dictionary of arrays"),
        ("cut.npz", b"PK\x03\x04", "damaged"),
    ],
)
def test_other_files_are_reported_in_one_line(name, content, words, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises((InputError, OSError), match=words):
        motion_files.inspect(tmp_path / name)


def test_the_program_prints_draws_and_returns_what_it_found(motion, tracking, tmp_path):
    save(tmp_path / "slow.npz", tracking, fps=np.array([30.0]))
    result = run_program("cmg-jax", "inspect", "slow.npz", "--plot", "slow.png", cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    assert result.stderr == ""
    for words in (
        "tracking NPZ",
        "body_lin_vel_w float32 [120, 30, 3]",
        "120 frames, 29 joints",
        "wrong    declares 30",
    ):
        assert words in result.stdout
    with Image.open(tmp_path / "slow.png") as picture:
        assert len(np.unique(np.asarray(picture.convert("L")))) > 50
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    assert_one_clear_line(
        run_program("cmg-jax", "inspect", "other.npz", cwd=tmp_path), "has no joint positions", "holds x"
    )
    bad = run_program("cmg-jax", "inspect", "slow.npz", "--plot", "slow.txt", cwd=tmp_path)
    assert_one_clear_line(bad, "--plot slow.txt", ".png")


@needs_shared
def test_wrong_metadata_of_real_files_is_recognised():
    trap = SHARED / "cmg_original" / "autoregressive_motion.npz"
    assert "declares 60, but its velocities agree with its positions at 24.5" in reason(trap, "fps")
    assert verdicts(trap)["body order"] == WRONG
    for path in sorted((SHARED / "twist2_walks").glob("*.pkl")):
        found = verdicts(path)
        assert (found["joint order"], found["quaternion order"], found["body order"]) == (OK, OK, OK)
        assert reason(path, "quaternion order").startswith("xyzw: the pelvis tilts")
        assert (found["numbers"] == WRONG) == (path.stem in ("walk_004", "walk_009", "walk_010"))
    assert set(verdicts(SHARED / "amp_g1" / "G1_walk.npz", NAMES + ROOT).values()) == {OK}
    rollouts = SHARED / "rollouts" / "g1_velocity_policy_20x60s_50hz.npz"
    assert WRONG not in verdicts(rollouts).values()
    for path in (rollouts, *(SHARED / "lafan1_g1").glob("*1_subject2.csv")):
        assert set(verdicts(path, ROOT).values()) == {OK}
    slides = verdicts(SHARED / "twist2_walks" / "walk_006.pkl", ROOT)
    assert slides == {"floor": OK, "sliding": WRONG, "lean": OK}
