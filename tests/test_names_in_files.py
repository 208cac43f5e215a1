"""Names of joints under any key and in any form, and joint orders that bodies and limits contradict."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from cmg_jax import motion_files
from cmg_jax.motion_files import Assume, Clip, MotionFileError, _check, _inspection
from cmg_jax.robot import G1, _bodies
from cmg_jax.robot._bodies import breadth_first
from cmg_jax.robot._g1 import G1_29_JOINTS
from tests.data_tools import strides

REVERSED = G1_29_JOINTS[::-1]
TO_ISAACLAB = [G1_29_JOINTS.index(name) for name in breadth_first(G1, G1_29_JOINTS)]
LEGS_EXCHANGED = [*range(6, 12), *range(6), *range(12, 29)]


@pytest.fixture(scope="module")
def clip() -> Clip:
    return strides()


@pytest.fixture(scope="module")
def tracking(clip):
    """Joints and bodies with their names, as mjlab writes them."""
    poses = _bodies.body_poses(clip.robot, _bodies.qpos(clip.robot, clip.joint_pos, clip.root_pos, clip.root_quat))
    return {
        "fps": np.array([50.0]),
        "joint_names": np.array(G1_29_JOINTS),
        "joint_pos": clip.joint_pos,
        "joint_vel": np.gradient(clip.joint_pos, 1 / 50, axis=0),
        "body_names": np.array(G1.body_names),
        "body_pos_w": poses.position,
        "body_quat_w": poses.rotation,
    }


def motion(clip, **change):
    """A motion whose joints are in the reverse of MuJoCo's order."""
    root = {"root_pos": clip.root_pos, "root_rot": clip.root_quat[:, [1, 2, 3, 0]]}
    return {"fps": 50.0, **root, "dof_pos": clip.joint_pos[:, ::-1], **change}


def save(path: Path, content) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **content)
    else:
        path.write_bytes(pickle.dumps(content))
    return path


def assert_read(path: Path, clip: Clip) -> None:
    reading = motion_files.read(path)
    for found in reading.clips:
        order = [G1_29_JOINTS.index(name) for name in found.joint_names]
        np.testing.assert_allclose(found.joint_pos, clip.joint_pos[:, order], atol=1e-6)
        assert found.fps == 50
    assert not [note for note in reading.notes if note.check == "joint order"]


KEYS = ("dof_name", "jointNames", "joints", "actuator_names", "joint_order", "anything")
FORMS = {
    "a list": list(REVERSED),
    "an array of objects": np.array(REVERSED, object),
    "places by names": {name: index for index, name in enumerate(REVERSED)},
    "names by places": dict(reversed(list(enumerate(REVERSED)))),
    "a list in a list": [list(REVERSED)],
    "bytes": [name.encode() for name in REVERSED],
    "one text": ",".join(REVERSED),
    "JSON": json.dumps(REVERSED),
    "short names after the root": ["root", *(name.removesuffix("_joint") for name in REVERSED)],
}


@pytest.mark.parametrize("key", KEYS)
def test_names_are_found_under_any_key(key, clip, tmp_path):
    assert_read(save(tmp_path / "a.npz", motion(clip, **{key: np.array(REVERSED)})), clip)


@pytest.mark.parametrize("form", FORMS)
def test_names_are_found_in_any_form(form, clip, tmp_path):
    for key in ("joint_names", "joint_order"):
        assert_read(save(tmp_path / "a.pkl", motion(clip, **{key: FORMS[form]})), clip)


def test_names_and_the_rate_may_stand_beside_the_motions(clip, tmp_path):
    alone = {key: value for key, value in motion(clip).items() if key != "fps"}
    assert_read(save(tmp_path / "a.pkl", {"fps": 50, "joint_order": list(REVERSED), "a": alone, "b": alone}), clip)
    assert_read(save(tmp_path / "b.pkl", {"dof_names": list(REVERSED), "a": motion(clip)}), clip)
    assert_read(save(tmp_path / "c.pkl", motion(clip, info={"names": list(REVERSED), "fps": 120})), clip)
    # A motion's own names and rate take precedence over those beside it.
    inner = motion(clip, joint_order=list(REVERSED))
    assert_read(save(tmp_path / "d.pkl", {"fps": 30, "dof_names": list(G1_29_JOINTS), "a": inner}), clip)
    # The rate of something else is not the motion's.
    with pytest.raises(MotionFileError, match="has no fps"):
        motion_files.read(save(tmp_path / "e.pkl", {**alone, "source": {"fps": 120}}))


def test_lists_of_other_values_are_not_taken_as_names(clip, tmp_path):
    straight = {
        "dof_pos": clip.joint_pos,
        "hand": list(REVERSED[:5]),
        "tags": ["walk"] * 29,
        "joint_names": [None] * 29,
    }
    assert_read(save(tmp_path / "a.pkl", motion(clip, **straight)), clip)
    deep = {"dof_pos": clip.joint_pos, "notes": "[" * 9_000, "log": ["walk"] * 100_000, "empty": {}, "none": []}
    assert_read(save(tmp_path / "a.pkl", motion(clip, **deep)), clip)
    two = motion(clip, policy=list(REVERSED), robot=list(G1_29_JOINTS))
    with pytest.raises(MotionFileError, match="several orders, under policy and robot"):
        motion_files.read(save(tmp_path / "b.pkl", two))
    twice = motion(clip, dof_names=[REVERSED[0], REVERSED[0], *REVERSED[2:]])
    with pytest.raises(MotionFileError, match="names joint right_wrist_yaw_joint twice"):
        motion_files.read(save(tmp_path / "c.pkl", twice))


def test_an_order_that_exceeds_the_limits_is_not_a_proof(clip, tmp_path):
    """For the reverse order, Isaac Lab's order satisfies the limits far better than MuJoCo's, and neither is right."""
    with pytest.raises(MotionFileError, match="29 joints without names exceed their limits by"):
        motion_files.read(save(tmp_path / "a.pkl", motion(clip)))
    assert motion_files.read(tmp_path / "a.pkl", Assume(joints=REVERSED)).clips[0].joint_names == REVERSED
    assert_read(save(tmp_path / "b.pkl", motion(clip, dof_pos=clip.joint_pos)), clip)


def test_names_that_the_bodies_contradict_are_refused(clip, tracking, tmp_path):
    assert_read(save(tmp_path / "a.npz", tracking), clip)
    isaac = {key: tracking[key][:, TO_ISAACLAB] for key in ("joint_pos", "joint_vel")}
    path = save(tmp_path / "b.npz", {**tracking, **isaac})
    with pytest.raises(MotionFileError, match=r"and 0\.0 mm in Isaac Lab's order"):
        motion_files.read(path)
    found = motion_files.read(path, Assume(joint_order="isaaclab")).clips[0]
    np.testing.assert_allclose(found.joint_pos, clip.joint_pos[:, TO_ISAACLAB], atol=1e-6)
    assert motion_files.read(path, Assume(bodies="ignore", joint_order="mujoco"))


@pytest.mark.parametrize("named", [True, False])
def test_exchanged_legs_are_refused(named, clip, tracking, tmp_path):
    small = clip.joint_pos.mean(axis=0) + 0.1 * (clip.joint_pos - clip.joint_pos.mean(axis=0))
    for joint_pos in (clip.joint_pos, small):
        poses = _bodies.body_poses(G1, _bodies.qpos(G1, joint_pos, clip.root_pos, clip.root_quat))
        bodies = {"body_pos_w": poses.position, "body_quat_w": poses.rotation, "joint_vel": None}
        content = {**tracking, **bodies, "joint_pos": joint_pos[:, LEGS_EXCHANGED]}
        content = {key: value for key, value in content.items() if value is not None}
        if not named:
            del content["body_names"], content["joint_names"]
        path = save(tmp_path / "a.npz", content)
        with pytest.raises(MotionFileError, match=r"and 0\.0 mm with left and right legs exchanged"):
            motion_files.read(path)
        (check,) = [each for each in _inspection.inspect(path).checks if each.name == "joint order"]
        assert check.verdict in (_check.WRONG, _check.ASK)


def test_bodies_of_another_model_of_the_robot_fit(clip, tracking, tmp_path):
    offset = np.random.default_rng(0).normal(0, 0.005, (1, 30, 3))
    assert_read(save(tmp_path / "a.npz", {**tracking, "body_pos_w": tracking["body_pos_w"] + offset}), clip)
