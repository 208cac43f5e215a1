"""Motions under the keys of each program that writes them, and files that do not state what they hold."""

import gzip
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cmg_jax import InputError, motion_files
from cmg_jax.cli.main import main
from cmg_jax.data import _build
from cmg_jax.data._prepared import Options
from cmg_jax.motion_files import Assume, Clip, MotionFileError, _clips, _pace, _reading
from cmg_jax.robot import G1, _bodies, _g1
from cmg_jax.robot._bodies import breadth_first
from cmg_jax.robot._g1 import G1_23_JOINTS, G1_29_JOINTS, ROBOTS, g1_spelling
from tests.conftest import refused_line
from tests.data_tools import strides

ISAACLAB = breadth_first(G1, G1_29_JOINTS)
TO_ISAACLAB = [G1_29_JOINTS.index(name) for name in ISAACLAB]
XYZW = [1, 2, 3, 0]


@pytest.fixture(scope="module")
def clip() -> Clip:
    return strides()


@pytest.fixture(scope="module")
def qpos(clip):
    return np.hstack([clip.root_pos, clip.root_quat, clip.joint_pos])


@pytest.fixture(scope="module")
def tracking(clip):
    """Joints and bodies in the world, without names."""
    poses = _bodies.body_poses(clip.robot, _bodies.qpos(clip.robot, clip.joint_pos, clip.root_pos, clip.root_quat))
    return {
        "fps": np.array([50.0]),
        "joint_pos": clip.joint_pos,
        "joint_vel": np.gradient(clip.joint_pos, 1 / 50, axis=0),
        "body_pos_w": poses.position,
        "body_quat_w": poses.rotation,
    }


def take(clip, names):
    return clip.joint_pos[:, [G1_29_JOINTS.index(name) for name in names]]


def asap(clip, names=G1_23_JOINTS, axes=False):
    """A motion as ASAP and PBHC write it."""
    joint_pos = take(clip, names)
    turned = np.zeros((len(joint_pos), len(names) + 4, 3), np.float32)
    if axes:
        for column, name in enumerate(names):
            word = name.split("_")[-2]
            axis = {"roll": 0, "yaw": 2}.get(word, 1)
            turned[:, 1 + column, axis] = joint_pos[:, column] + 0.01
    return {
        "root_trans_offset": clip.root_pos.astype(np.float32),
        "pose_aa": turned,
        "dof": joint_pos.astype(np.float32),
        "root_rot": clip.root_quat[:, XYZW],
        "smpl_joints": np.zeros((len(joint_pos), 24, 3), np.float32),
        "fps": 50,
    }


def twist(clip):
    return {"fps": 50.0, "root_pos": clip.root_pos, "root_rot": clip.root_quat[:, XYZW], "dof_pos": clip.joint_pos}


def save(path: Path, content) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **content)
    else:
        path.write_bytes(pickle.dumps(content))
    return path


def assert_same(found: Clip, clip: Clip) -> None:
    np.testing.assert_allclose(found.joint_pos, take(clip, found.joint_names), atol=2e-6)
    np.testing.assert_allclose(found.root_pos, clip.root_pos, atol=2e-6)
    np.testing.assert_allclose(np.abs((found.root_quat * clip.root_quat).sum(axis=-1)), 1, atol=1e-5)
    assert found.fps == 50


def test_motions_of_each_program_read_alike(clip, qpos, tracking, tmp_path):
    base = {"base_pos_w": clip.root_pos, "base_quat_w": clip.root_quat}
    shuffled = {"joint_names": np.array(ISAACLAB, object), "joint_pos": clip.joint_pos[:, TO_ISAACLAB]}
    thing = np.tile([1.0, 0, 0, 0, 0.5, 0.2, 0.1], (len(qpos), 1))
    quaternion_first = np.hstack([clip.root_quat, clip.root_pos, clip.joint_pos])
    world = {key: np.concatenate([np.zeros_like(tracking[key][:, :1]), tracking[key]], 1) for key in ("body_pos_w",)}
    upright = np.tile([1.0, 0, 0, 0], (len(qpos), 1, 1))
    world["body_quat_w"] = np.concatenate([upright, tracking["body_quat_w"]], axis=1)
    numbered = {"body_names": np.array(["world", "pelvis", *(f"body{index}" for index in range(29))])}
    wide = {"joint_pos": qpos, "joint_vel": np.hstack([np.zeros((len(qpos), 6)), tracking["joint_vel"]])}
    written = {
        "twist.npz": {**twist(clip), "local_body_pos": None},
        "instinct.npz": {"framerate": 50.0, **base, **shuffled},
        "qpos.npz": {"qpos": qpos, "fps": 50},
        "step.npz": {"qpos": qpos, "dt": 0.02},
        "step_as_rate.npz": {"qpos": qpos, "fps": 0.02},
        "omniretarget.npz": {"qpos": quaternion_first, "fps": 50},
        "with_object.npz": {"qpos": np.hstack([quaternion_first, thing]), "fps": 50},
        "holosoma.npz": {**tracking, **world, **wide, "joint_names": np.array(G1_29_JOINTS)},
        "world_named.npz": {**tracking, **world, **numbered},
        "world.npz": {**tracking, **world},
        "ami.npz": {
            "joints_list": np.array(G1_29_JOINTS),
            "joint_positions": clip.joint_pos,
            "root_position": clip.root_pos,
            "root_quaternion": clip.root_quat[:, XYZW],
            "fps": 50,
        },
        "column.pkl": {**asap(clip, G1_29_JOINTS), "dof": clip.joint_pos[..., None]},
        "Upper.PKL": twist(clip),
        "beside.pkl": {**twist(clip), "source": Path("walk.bvh"), "tags": {"a", "b"}},
    }
    for name, content in written.items():
        (tmp_path / name).unlink(missing_ok=True)
        reading = motion_files.read(save(tmp_path / name, content))
        assert len(reading.clips) == 1, name
        assert_same(reading.clips[0], clip)
        assert set(reading.clips[0].joint_names) == set(G1_29_JOINTS), name


def test_several_motions_of_a_file_are_several_clips(clip, qpos, tmp_path):
    slower = clip._replace(joint_pos=clip.joint_pos * 0.5)
    several = {"0-walk": asap(clip), "1-stroll": asap(slower)}
    for protocol in range(6):
        (tmp_path / "dict.pkl").write_bytes(pickle.dumps(several, protocol))
        reading = motion_files.read(tmp_path / "dict.pkl")
        assert [found.name for found in reading.clips] == ["dict[0-walk]", "dict[1-stroll]"]
        assert_same(reading.clips[0], clip)
        assert_same(reading.clips[1], slower)
    partly = motion_files.read(save(tmp_path / "partly.pkl", {**several, "2-cut": {"dof": clip.joint_pos}}))
    assert len(partly.clips) == 2
    assert partly.notes[0].text.startswith("partly[2-cut] is left out: it has dof but no root under root_rot")
    (tmp_path / "packed.pkl").write_bytes(gzip.compress(pickle.dumps(list(several.values()))))
    assert [found.name for found in motion_files.read(tmp_path / "packed.pkl").clips] == ["packed[0]", "packed[1]"]
    trajectory = {
        "qpos": qpos,
        "qvel": np.zeros((len(qpos), 35)),
        "joint_names": np.array(["root", *G1_29_JOINTS]),
        "frequency": 50.0,
        "split_points": np.array([0, 60, len(qpos)]),
        "metadata": None,
    }
    found = motion_files.read(save(tmp_path / "loco.npz", trajectory)).clips
    assert [(piece.name, len(piece.joint_pos)) for piece in found] == [("loco[0]", 60), ("loco[1]", len(qpos) - 60)]
    np.testing.assert_allclose(found[1].joint_pos, clip.joint_pos[60:], atol=1e-6)


def test_names_take_precedence_over_positions_in_pickles_and_archives(clip, tracking, tmp_path):
    named = {**twist(clip), "dof_pos": clip.joint_pos[:, TO_ISAACLAB], "dof_names": list(ISAACLAB)}
    for key in ("dof_names", "joint_names"):
        content = {**twist(clip), "dof_pos": named["dof_pos"], key: [name.removesuffix("_joint") for name in ISAACLAB]}
        assert_same(motion_files.read(save(tmp_path / "a.pkl", content)).clips[0], clip)
    assert not motion_files.read(save(tmp_path / "b.pkl", named)).notes
    order = np.random.default_rng(1).permutation(30)
    moved = {key: tracking[key][:, order] for key in ("body_pos_w", "body_quat_w")}
    names = np.array([G1.body_names[index] for index in order])
    assert_same(motion_files.read(save(tmp_path / "c.npz", {**tracking, **moved, "body_names": names})).clips[0], clip)
    few = {key: tracking[key][:, 15:17] for key in moved}
    path = save(tmp_path / "d.npz", {**tracking, **few, "body_names": np.array(["torso_link", "head"])})
    with pytest.raises(MotionFileError, match="names 2 bodies and no pelvis"):
        motion_files.read(path)
    assert g1_spelling(["LeftKnee", "robot/left_elbow", "paw"]) == ("left_knee_joint", "left_elbow_joint", "paw")


@pytest.mark.parametrize("suffix", [".pkl", ".npz"])
def test_what_the_robot_proves_is_corrected_with_a_note(suffix, clip, tracking, tmp_path):
    content = {**twist(clip), "dof_pos": clip.joint_pos[:, TO_ISAACLAB], "root_rot": clip.root_quat}
    if suffix == ".npz":  # proven by bodies; in the other format by limits alone
        moved = {key: tracking[key][:, TO_ISAACLAB] for key in ("joint_pos", "joint_vel")}
        content = {**tracking, **moved, "body_quat_w": tracking["body_quat_w"][..., XYZW]}
    path = save(tmp_path / f"walk{suffix}", content)
    reading = motion_files.read(path)
    assert_same(reading.clips[0], clip)
    assert [note.check for note in reading.notes if note.wrong] == ["joint order", "quaternion order"]
    kept = _reading.examine(path, Assume(joint_order="mujoco", bodies="ignore")).clips[0]
    np.testing.assert_allclose(kept.joint_pos, clip.joint_pos[:, TO_ISAACLAB], atol=1e-6)


def test_data_applies_and_reports_proven_corrections(clip, tmp_path, capsys):
    path = save(tmp_path / "walk.pkl", {**twist(clip), "dof_pos": clip.joint_pos[:, TO_ISAACLAB]})
    out = tmp_path / "set.npz"
    assert main(["data", str(path), "--out", str(out), "--percentiles", "0", "100"]) == 0
    note = "walk: joints in Isaac Lab's order, read as such (--assume joint-order=mujoco overrides)"
    assert note in capsys.readouterr().out
    with np.load(out) as made:
        np.testing.assert_allclose(made["motion"][:, :29], clip.joint_pos, atol=1e-5)


def test_a_data_set_made_of_the_wrong_order_is_not_trained_on(clip, tmp_path, capsys):
    path = save(tmp_path / "walk.pkl", twist(clip))
    assert main(["data", str(path), "--out", str(tmp_path / "set.npz")]) == 0
    with np.load(tmp_path / "set.npz") as made:
        arrays = dict(made)
    arrays["motion"] = arrays["motion"][:, [*TO_ISAACLAB, *(29 + np.array(TO_ISAACLAB))]]
    np.savez(tmp_path / "set.npz", **arrays)
    capsys.readouterr()
    line = refused_line(capsys, "train", "--data", tmp_path / "set.npz", "--out", tmp_path / "run")
    assert "its joints are in Isaac Lab's order under MuJoCo's names" in line


def test_joints_known_only_by_their_number_must_be_named(clip, tracking, tmp_path, capsys):
    path = save(tmp_path / "walk.pkl", {**twist(clip), "dof_pos": take(clip, ROBOTS["g1-23"])})
    for command in (["view", "--motion"], ["data", "--out", tmp_path / "set.npz"]):
        line = refused_line(capsys, *command, path)
        assert (
            "23 joints without names: several robots have that many; "
            "pass --joint-names g1-23-no-wrists or --joint-names g1-23"
        ) in line
    assert main(["inspect", str(path)]) == 1
    assert "joint order       ask      23 joints without names" in capsys.readouterr().out
    (found,) = motion_files.read(path, Assume(joints=ROBOTS["g1-23"])).clips
    assert_same(found, clip)
    (tmp_path / "names.txt").write_text("\n".join(ROBOTS["g1-23"]))
    line = refused_line(capsys, "data", path, "--out", tmp_path / "set.npz", "--joint-names", tmp_path / "names.txt")
    assert "has no joint waist_roll_joint and 5 more; --assume missing=zero keeps them at zero" in line
    arguments = ["--joint-names", "g1-23", "--assume", "missing=zero"]
    assert main(["data", str(path), "--out", str(tmp_path / "set.npz"), *arguments]) == 0
    # Bodies, or the axes in ASAP's files, prove which robot it is.
    for robot in ("g1-23", "g1-23-no-wrists"):
        names = ROBOTS[robot]
        (found,) = motion_files.read(save(tmp_path / "a.pkl", {"a": asap(clip, names, axes=True)})).clips
        assert found.joint_names == names
        joints = {"joint_pos": take(clip, names), "joint_vel": np.gradient(take(clip, names), 1 / 50, axis=0)}
        (found,) = motion_files.read(save(tmp_path / "b.npz", {**tracking, **joints})).clips
        assert found.joint_names == names


def test_scaled_quaternions_are_normalized_and_others_refused(clip, tmp_path, capsys):
    content = twist(clip)
    reading = motion_files.read(save(tmp_path / "a.pkl", {**content, "root_rot": 0.98 * content["root_rot"]}))
    assert_same(reading.clips[0], clip)
    assert [note.text for note in reading.notes] == ["quaternions of length 0.980 .. 0.980 normalized"]
    path = save(tmp_path / "b.pkl", {**content, "root_rot": 0.5 * content["root_rot"]})
    assert "root_quat is not of length 1" in refused_line(capsys, "data", path, "--out", tmp_path / "set.npz")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fps": None}, "has no fps; state it with --assume fps=50"),
        ({"root_rot": None}, "has dof_pos but no root under root_rot"),
        ({"dof_names": ["a", "b"]}, "names 2 joints but holds 29"),
        ({"dof_pos": "text"}, "dof_pos is not an array of numbers"),
        ({"dof_pos": np.zeros((150, 0))}, "dof_pos is empty"),
        ({"root_pos": np.zeros((149, 3))}, r"root_pos has shape \(149, 3\)"),
        ({"dof_pos": None, "poses": np.zeros((9, 156))}, "is a recording of a person, not of a robot"),
    ],
)
def test_missing_arrays_are_reported_with_a_remedy(change, words, clip, tmp_path):
    content = {key: value for key, value in {**twist(clip), **change}.items() if value is not None}
    with pytest.raises(MotionFileError, match=words):
        motion_files.read(save(tmp_path / "walk.pkl", content))


def test_a_root_under_keys_of_no_program_needs_a_proof_of_its_quaternions(clip, tmp_path):
    for order in (XYZW, [0, 1, 2, 3]):
        content = {"q": clip.joint_pos, "base_pos": clip.root_pos, "base_quat": clip.root_quat[:, order], "dt": 0.02}
        assert_same(motion_files.read(save(tmp_path / "a.npz", content)).clips[0], clip)
    still = np.repeat(clip.joint_pos[:1], 150, axis=0)
    turned = np.tile([0.5, 0.5, 0.5, 0.5], (150, 1))
    content = {"joint_pos": still, "root_pos": clip.root_pos, "root_quat": turned, "time": np.arange(150) / 50}
    with pytest.raises(MotionFileError, match="the order of its quaternions is unknown"):
        motion_files.read(save(tmp_path / "b.npz", content))
    assert motion_files.read(tmp_path / "b.npz", Assume(quaternion="wxyz")).clips[0].fps == 50


def test_an_array_with_a_damaged_header_is_reported_as_damaged(tmp_path):
    with zipfile.ZipFile(tmp_path / "walk.npz", "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': ('<f8'")
    with pytest.raises(MotionFileError, match="is damaged"):
        motion_files.read(tmp_path / "walk.npz")


def test_suspicious_files_without_proof_are_refused(clip, tracking, tmp_path, capsys):
    lying = np.tile([0.5, 0.5, 0.5, 0.5], (len(clip.root_quat), 1))
    path = save(tmp_path / "lying.pkl", {**twist(clip), "root_rot": lying})
    assert "--assume quaternion=xyzw accepts them" in refused_line(capsys, "view", "--motion", path)
    assert motion_files.read(path, Assume(quaternion="xyzw"))
    path = save(tmp_path / "far.npz", {**tracking, "body_pos_w": tracking["body_pos_w"] * 1.5})
    assert "--assume bodies=ignore reads the joints alone" in refused_line(capsys, "view", "--motion", path)
    path = save(
        tmp_path / "named.pkl", {**twist(clip), "dof_pos": clip.joint_pos[:, TO_ISAACLAB], "dof_names": G1_29_JOINTS}
    )
    assert "joint-order=mujoco keeps the names" in refused_line(capsys, "view", "--motion", path)
    assert_same(motion_files.read(path, Assume(joint_order="isaaclab")).clips[0], clip)
    path = save(tmp_path / "slow.npz", {**tracking, "fps": 25.0})
    assert "agree with its positions at 5" in refused_line(capsys, "view", "--motion", path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--assume", "quaternion=zyx"], "--assume quaternion=zyx: it takes fps=F; joint-order=mujoco|isaaclab"),
        (["--assume", "fps=-1"], "fps=-1: a rate is a positive number"),
        (["--joint-names", "spot"], "--joint-names spot: neither a known robot nor a list of names"),
        (["--joint-names", "a,b,a"], "it names a joint twice"),
        (["--csv-fps", "0"], "fps 0 is not a positive number"),
    ],
)
def test_invalid_assumptions_are_refused(arguments, words, clip, tmp_path, capsys):
    assert words in refused_line(capsys, "inspect", save(tmp_path / "walk.pkl", twist(clip)), *arguments)


def test_errors_name_the_file_or_the_field(tmp_path):
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(InputError, match=r"other\.npz: has no joint positions") as raised:
        motion_files.read(tmp_path / "other.npz")
    assert isinstance(raised.value, MotionFileError)
    assert raised.value.reason.startswith("has no joint positions")
    with pytest.raises(InputError, match="quaternion is 'zyx'; it must be 'wxyz' or 'xyzw'"):
        Assume(quaternion="zyx")
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros(2**22))
    with pytest.raises(InputError, match="unpacks to far more than its size"):
        motion_files.read(tmp_path / "bomb.npz")


def test_files_with_the_same_stem_have_separate_rows(clip, tmp_path):
    (tmp_path / "day").mkdir()
    first, second = save(tmp_path / "walk.pkl", twist(clip)), save(tmp_path / "day" / "walk.pkl", twist(clip))
    third = save(tmp_path / "walk.npz", twist(clip))
    assert _build.labels([first, second, third]) == [f"{tmp_path.name}/walk.pkl", "day/walk.pkl", "walk.npz"]
    _, rows = _build.build([first, second, third], Options(percentiles=(0, 100)))
    assert [row.frames for row in rows] == [150, 150, 150]


def test_a_step_beyond_the_speed_limit_of_a_joint_is_a_jump(clip):
    def with_step(joint: str, speed: float) -> Clip:
        joint_pos = np.zeros_like(clip.joint_pos)
        joint_pos[75:, G1_29_JOINTS.index(joint)] = speed / 50
        return clip._replace(joint_pos=joint_pos)

    limits = dict(zip(G1_29_JOINTS, _g1.joint_speeds(G1), strict=True))
    assert (limits["left_knee_joint"], limits["right_ankle_roll_joint"], limits["left_wrist_yaw_joint"]) == (20, 37, 22)
    for joint, limit in limits.items():
        assert len(_clips.split_at_jumps(with_step(joint, limit * 0.99))) == 1
        assert len(_clips.split_at_jumps(with_step(joint, limit * 1.01))) == 2


def test_a_walk_that_is_much_too_slow_for_its_rate_is_refused(tmp_path, capsys):
    walk = strides(frames=1500, hertz=1.5, fps=120.0)
    table = np.hstack([walk.root_pos, walk.root_quat[:, XYZW], walk.joint_pos])
    np.savetxt(tmp_path / "walk.csv", table, delimiter=",")
    line = refused_line(capsys, "data", tmp_path / "walk.csv", "--out", tmp_path / "set.npz")
    assert "read at 30 frames per second, because the file does not state a rate; it then takes 0.7" in line
    assert "state the rate with --csv-fps" in line
    assert main(["inspect", str(tmp_path / "walk.csv")]) == 1
    (found,) = motion_files.read(tmp_path / "walk.csv", Assume(csv_fps=120.0)).clips
    assert found.fps == 120
    assert _pace.steps_per_second(found) == pytest.approx(3.0, rel=0.05)


@pytest.mark.parametrize("fps", [30.0, 50.0, 120.0])
def test_the_sway_over_the_stance_foot_gives_the_rate(fps):
    """The robot sways over one foot after the other like an inverted pendulum of 0.7 m, with steps of 0.4 s."""
    step = round(0.4 * fps)
    time = (np.arange(step) - (step - 1) / 2) / fps
    sway = 0.11 - 0.085 * np.cosh(np.sqrt(9.81 / 0.7) * time)  # m to the side of the stance foot
    sideways = np.concatenate([sign * sway for sign in (1, -1) * 8])
    lifted = np.repeat([1, 0] * 8, step)  # the right foot first
    joint_pos = np.tile(G1.standing_joint_pos, (len(sideways), 1)).astype(float)
    for side, foot in (("left", 0), ("right", 1)):
        for joint, lift in (("hip_pitch", -0.2), ("knee", 0.4), ("ankle_pitch", -0.2)):
            joint_pos[:, G1_29_JOINTS.index(f"{side}_{joint}_joint")] += lift * (lifted == foot)
        for joint, sign in (("hip_roll", -1), ("ankle_roll", 1)):
            joint_pos[:, G1_29_JOINTS.index(f"{side}_{joint}_joint")] = sign * np.arcsin(sideways / 0.53)
    upright = np.tile([1.0, 0, 0, 0], (len(sideways), 1))
    clip = Clip("sway", 30.0, G1, joint_pos, None, np.zeros((len(sideways), 3)), upright)
    assert _pace.pendulum_fps(clip) == pytest.approx(fps, rel=0.2)
    doubt, asks = _pace.assess([clip])
    assert (doubt == "", asks) == (fps == 30, fps == 120)
