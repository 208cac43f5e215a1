# pyright: reportAttributeAccessIssue=false
"""Motion in the formats of other programs, read back by independent readers."""

import pickle
import pickletools
import subprocess
import sys

import jax
import mujoco
import numpy as np
import pytest

import cmg_jax
from cmg_jax import InputError, motion_files, pickles
from cmg_jax.commands import _schedule
from cmg_jax.generators._base import first_frames
from cmg_jax.motion_files import Assume, Motion, _twist
from cmg_jax.robot import G1, _feet, _odometry, _rotation
from cmg_jax.robot._bodies import body_poses, body_states, breadth_first
from cmg_jax.robot._g1 import G1_23_JOINTS, G1_29_JOINTS
from tests.conftest import SHARED, assert_one_clear_line, needs_shared, run_in_process

FORMATS = {
    "npz": "walk.npz",
    "csv": "walk.csv",
    "twist": "walk.pkl",
    "mjlab": "tracking.npz",
    "beyondmimic": "isaac.npz",
}


@pytest.fixture(scope="module")
def trajectory(policy_model) -> tuple[np.ndarray, np.ndarray]:
    """A walk of 2 s on an arc, and its commands."""
    commands = _schedule.hold_each([[0.9, 0.1, 0.5]], 2, 50)
    first = first_frames(policy_model, jax.random.key(4), 1)
    return np.asarray(jax.jit(cmg_jax.generate)(policy_model, first, commands[None]))[0], commands


@pytest.fixture(scope="module")
def motion(policy_model, trajectory) -> Motion:
    return motion_files.of_trajectory(policy_model.config, *trajectory)


# The pickles.

PLAIN = {
    "none": None,
    "numbers": [True, False, 0, -7, 70000, 2**40, 1.5, float("inf")],
    "text": ("knee", "größe", b"\x00\xff", ""),
    "float32": np.arange(6, dtype=np.float32).reshape(2, 3),
    "columns first": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big-endian": np.arange(3, dtype=">i4"),
    "bytes": np.array([1, 2], np.uint8),
    "flags": np.array([True, False]),
    "scalars": [np.float64(29.9), np.int16(-3)],
    "empty": [{}, [], (), np.zeros((0, 3))],
}


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("load", [pickle.loads, pickles.load])
def test_pickle_and_our_reader_read_the_same_from_our_pickles(protocol, load):
    pickled = pickles.dumps(PLAIN, protocol=protocol)
    read = load(pickled)
    assert list(read) == list(PLAIN)
    for key in ("none", "numbers", "text"):
        assert read[key] == PLAIN[key]
    for key in ("float32", "columns first", "big-endian", "bytes", "flags"):
        np.testing.assert_array_equal(read[key], PLAIN[key])
        assert read[key].dtype == PLAIN[key].dtype.newbyteorder("=")
    assert [type(value) for value in read["scalars"]] == [np.float64, np.int16]
    assert read["scalars"] == PLAIN["scalars"]
    assert read["empty"][:3] == [{}, [], ()]
    assert read["empty"][3].shape == (0, 3)


def test_a_plain_pickle_names_only_functions_that_every_numpy_has():
    names = {
        argument
        for opcode, argument, _ in pickletools.genops(pickles.dumps(PLAIN))
        if opcode.name in ("GLOBAL", "STACK_GLOBAL")
    }
    core = "numpy.core.multiarray"  # of NumPy 1 and 2 alike
    assert names == {f"{core} _reconstruct", f"{core} scalar", "numpy ndarray", "numpy dtype"}
    for value in (object(), np.array(["text"]), np.array([None])):
        with pytest.raises(TypeError):
            pickles.dumps([value])


# TWIST.


def test_a_twist_file_is_read_by_pickle_and_numpy_alone(motion, tmp_path):
    motion_files.write(tmp_path / "walk.pkl", motion)
    program = (
        "import pickle, sys; content = pickle.load(open('walk.pkl', 'rb'));"
        "assert not {'jax', 'cmg_jax', 'mujoco'} & set(sys.modules);"
        "print({key: (type(value).__name__, getattr(value, 'shape', len(value) if key == 'link_body_list' else ()))"
        " for key, value in content.items()})"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert eval(result.stdout) == {
        "fps": ("float64", ()),
        "root_pos": ("ndarray", (101, 3)),
        "root_rot": ("ndarray", (101, 4)),
        "dof_pos": ("ndarray", (101, 29)),
        "local_body_pos": ("ndarray", (101, 38, 3)),
        "link_body_list": ("list", 38),
    }, result.stderr
    content = pickle.loads((tmp_path / "walk.pkl").read_bytes())
    np.testing.assert_array_equal(content["root_rot"][:, [3, 0, 1, 2]], motion.root_quat)
    assert content["root_rot"][-1, 3] < 0.95, "a walk that turns distinguishes w from x"
    np.testing.assert_array_equal(content["dof_pos"], motion.joint_pos)


@needs_shared
def test_a_twist_file_agrees_with_a_real_one_key_by_key(motion, tmp_path):
    motion_files.write(tmp_path / "walk.pkl", motion)
    ours = pickle.loads((tmp_path / "walk.pkl").read_bytes())
    for path in sorted((SHARED / "twist2_walks").glob("*.pkl"))[:3]:
        theirs = pickle.loads(path.read_bytes())
        assert list(ours) == list(theirs)
        for key, value in theirs.items():
            assert type(ours[key]) is type(value)
            if isinstance(value, np.ndarray):
                assert ours[key].dtype == value.dtype
                assert ours[key].shape[1:] == value.shape[1:]
        assert ours["link_body_list"] == theirs["link_body_list"]
        # Our kinematics of the file's joints gives the file's bodies, so order, frame and unit agree.
        recorded = motion._replace(joint_pos=theirs["dof_pos"], robot=G1)
        np.testing.assert_allclose(_twist.local_body_pos(recorded), theirs["local_body_pos"], atol=1e-5)


# Tracking tasks.


def test_body_velocities_are_those_of_mujoco():
    rng = np.random.default_rng(0)
    positions, velocities = rng.normal(size=(4, 36)), rng.normal(size=(4, 35))
    positions[:, 3:7] /= np.linalg.norm(positions[:, 3:7], axis=-1, keepdims=True)
    states = body_states(G1, positions, velocities)
    model, data = G1.mj_model, mujoco.MjData(G1.mj_model)
    velocity = np.empty(6)
    for row in range(4):
        data.qpos[:], data.qvel[:] = positions[row], velocities[row]
        mujoco.mj_forward(model, data)
        for body in range(1, model.nbody):
            mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_XBODY, body, velocity, 0)
            np.testing.assert_allclose(states.angular_velocity[row, body - 1], velocity[:3], atol=1e-5)
            np.testing.assert_allclose(states.linear_velocity[row, body - 1], velocity[3:], atol=1e-5)
    np.testing.assert_allclose(states.position, body_poses(G1, positions).position, atol=1e-6)


def test_the_velocities_of_a_tracking_file_agree_with_its_motion(motion, tmp_path):
    motion_files.write(tmp_path / "tracking.npz", motion, "mjlab")
    with np.load(tmp_path / "tracking.npz", allow_pickle=False) as file:
        arrays = dict(file)
    shapes = {"fps": (1,), "joint_pos": (101, 29), "joint_vel": (101, 29), "body_pos_w": (101, 30, 3)}
    shapes |= {"body_quat_w": (101, 30, 4), "body_lin_vel_w": (101, 30, 3), "body_ang_vel_w": (101, 30, 3)}
    shapes |= {"joint_names": (29,), "body_names": (30,)}
    assert {key: array.shape for key, array in arrays.items()} == shapes
    assert arrays["fps"].item() == 50
    np.testing.assert_array_equal(arrays["joint_vel"], motion.joint_vel)
    np.testing.assert_allclose(arrays["body_pos_w"][:, 0], motion.root_pos, atol=1e-6)
    np.testing.assert_allclose(arrays["body_quat_w"][:, 0], motion.root_quat, atol=1e-6)
    # A task sees differences of positions; the network's velocities agree with them closely.
    seen = np.gradient(arrays["body_pos_w"], 1 / 50, axis=0)[1:-1]
    assert np.sqrt(np.square(seen - arrays["body_lin_vel_w"][1:-1]).mean()) < 0.05
    assert np.abs(arrays["body_lin_vel_w"]).max() > 1.5
    turned = _rotation.angular_velocity(arrays["body_quat_w"][:, 10].astype(float), 50)
    turned = _rotation.rotate(arrays["body_quat_w"][:, 10].astype(float), turned)
    assert np.sqrt(np.square(turned - arrays["body_ang_vel_w"][:, 10])[1:-1].mean()) < 0.2
    # The pelvis turns at 0.5 rad/s and walks at 0.9 and 0.1 m/s, for any heading.
    np.testing.assert_allclose(arrays["body_ang_vel_w"][:, 0], np.tile([0, 0, 0.5], (101, 1)), atol=1e-3)
    speed = np.linalg.norm(arrays["body_lin_vel_w"][1:-1, 0, :2], axis=-1)
    np.testing.assert_allclose(speed, np.hypot(0.9, 0.1), atol=1e-3)


# The G1 of BeyondMimic in Isaac Lab, as its users list the joints; the link of each follows the pelvis in this order.
ISAAC_LAB_JOINTS = (
    *("left_hip_pitch", "right_hip_pitch", "waist_yaw", "left_hip_roll", "right_hip_roll", "waist_roll"),
    *("left_hip_yaw", "right_hip_yaw", "waist_pitch", "left_knee", "right_knee"),
    *("left_shoulder_pitch", "right_shoulder_pitch", "left_ankle_pitch", "right_ankle_pitch"),
    *("left_shoulder_roll", "right_shoulder_roll", "left_ankle_roll", "right_ankle_roll"),
    *("left_shoulder_yaw", "right_shoulder_yaw", "left_elbow", "right_elbow", "left_wrist_roll", "right_wrist_roll"),
    *("left_wrist_pitch", "right_wrist_pitch", "left_wrist_yaw", "right_wrist_yaw"),
)
ISAAC_LAB_BODIES = (
    "pelvis",
    *("torso_link" if joint == "waist_pitch" else f"{joint}_link" for joint in ISAAC_LAB_JOINTS),
)


def test_beyondmimic_finds_joints_and_bodies_where_isaac_lab_has_them(motion, tmp_path):
    for name in ("mjlab", "beyondmimic"):
        motion_files.write(tmp_path / FORMATS[name], motion, name)
    theirs, ours = (dict(np.load(tmp_path / FORMATS[name])) for name in ("beyondmimic", "mjlab"))
    assert list(ours["joint_names"]) == list(G1_29_JOINTS)
    assert list(ours["body_names"]) == list(G1.body_names)
    # By position alone, as its loader reads.
    for place, joint in enumerate(ISAAC_LAB_JOINTS):
        column = G1_29_JOINTS.index(f"{joint}_joint")
        np.testing.assert_array_equal(theirs["joint_pos"][:, place], motion.joint_pos[:, column])
        np.testing.assert_array_equal(theirs["joint_vel"][:, place], motion.joint_vel[:, column])
    order = [G1.body_names.index(name) for name in ISAAC_LAB_BODIES]
    for key in ("body_pos_w", "body_quat_w", "body_ang_vel_w"):
        np.testing.assert_array_equal(theirs[key], ours[key][:, order])
    # And by name, as other programs can.
    assert list(theirs["joint_names"]) == [f"{joint}_joint" for joint in ISAAC_LAB_JOINTS]
    assert list(theirs["body_names"]) == list(ISAAC_LAB_BODIES)


def test_beyondmimic_has_the_velocities_of_centres_of_mass(motion, tmp_path):
    motion_files.write(tmp_path / "isaac.npz", motion, "beyondmimic")
    arrays = np.load(tmp_path / "isaac.npz")
    model, data, velocity = G1.mj_model, mujoco.MjData(G1.mj_model), np.empty(6)
    for frame in (0, 40, 100):
        data.qpos[:], data.qvel[:] = motion.qpos()[frame], motion.qvel()[frame]
        mujoco.mj_forward(model, data)
        for place, name in enumerate(ISAAC_LAB_BODIES):
            mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_BODY, model.body(name).id, velocity, 0)
            np.testing.assert_allclose(arrays["body_lin_vel_w"][frame, place], velocity[3:], atol=1e-4)
            np.testing.assert_allclose(arrays["body_ang_vel_w"][frame, place], velocity[:3], atol=1e-4)


# All of them.


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("joints", [G1_29_JOINTS, G1_23_JOINTS])
def test_every_format_is_read_back_as_the_same_motion(name, joints, motion, tmp_path):
    motion_files.write(tmp_path / FORMATS[name], motion.with_joints(joints), name)
    (clip,) = motion_files.read(tmp_path / FORMATS[name], Assume(csv_fps=50.0, joints=joints)).clips
    assert clip.fps == 50
    assert clip.joint_names == (breadth_first(G1, joints) if name == "beyondmimic" else joints)
    expected = motion.with_joints(clip.joint_names)
    np.testing.assert_allclose(clip.joint_pos, expected.joint_pos, atol=1e-6)
    np.testing.assert_allclose(clip.root_pos, expected.root_pos, atol=1e-5)
    np.testing.assert_allclose(clip.root_quat, expected.root_quat, atol=1e-6)
    if clip.joint_vel is not None:
        np.testing.assert_allclose(clip.joint_vel, expected.joint_vel, atol=1e-5)


@pytest.mark.parametrize("name", FORMATS)
def test_a_written_file_is_recognised_as_its_format(name, motion, tmp_path):
    motion_files.write(tmp_path / FORMATS[name], motion, name, bodies=True)
    (content,) = motion_files.read(tmp_path / FORMATS[name]).contents
    assert name in content.format.writers


def test_formats_without_names_are_in_mujocos_order(motion, tmp_path):
    order = np.random.default_rng(1).permutation(29)
    shuffled = motion.with_joints([G1_29_JOINTS[index] for index in order])
    assert np.abs(shuffled.joint_pos - motion.joint_pos).max() > 0.5
    for name in ("csv", "twist", "mjlab"):
        motion_files.write(tmp_path / FORMATS[name], shuffled, name)
        (clip,) = motion_files.read(tmp_path / FORMATS[name]).clips
        np.testing.assert_allclose(clip.joint_pos, motion.joint_pos, atol=1e-6)


def test_a_root_by_odometry_keeps_the_stance_foot_in_its_place(policy_model, trajectory):
    states, commands = trajectory
    both = np.stack([states, states * 0.7])
    motions = motion_files.of_trajectory(policy_model.config, both, np.stack([commands, commands]), "odometry")
    assert motions.root_pos.shape == (2, 101, 3)
    assert np.linalg.norm(motions.root_pos[0, -1] - motions.root_pos[1, -1]) > 0.2
    velocity = np.asarray(_odometry.stance_velocity(states[:, :29], G1, 50))
    stance = np.asarray(_odometry.stance_foot(_feet.sole_points(states[:, :29], G1)))
    one = Motion(50.0, G1, *(array[0] for array in motions[2:]))
    states_of_bodies = body_poses(G1, one.qpos())
    slip = {}
    for path in ("odometry", "command"):
        root = one if path == "odometry" else motion_files.of_trajectory(policy_model.config, states, commands)
        ankle = [G1.body_names.index(f"{side}_ankle_roll_link") for side in ("left", "right")]
        feet = body_poses(G1, root.qpos()).position[:, ankle, :2]
        step = np.linalg.norm(np.diff(feet, axis=0), axis=-1)[np.arange(100), stance] * 50
        slip[path] = np.median(step)
    assert slip["odometry"] < 0.6 * slip["command"]
    # The length of the path agrees with the velocity.
    travelled = np.linalg.norm(np.diff(one.root_pos[:, :2], axis=0), axis=-1) * 50
    np.testing.assert_allclose(travelled, np.linalg.norm(velocity[:, :2], axis=-1), atol=2e-3)
    assert states_of_bodies.position[..., 2].min() > -0.01


def test_other_robots_and_several_environments_are_written_as_npz_only(motion, tmp_path):
    several = Motion(50.0, motion.robot, *(np.stack([array, array]) for array in motion[2:]))
    stranger = motion.with_joints(("left_knee_joint", "tail"))
    for name in ("csv", "twist", "mjlab", "beyondmimic"):
        with pytest.raises(InputError, match="holds one environment"):
            motion_files.write(tmp_path / FORMATS[name], several, name)
        with pytest.raises(InputError, match=r"holds the G1's links|needs the robot's MJCF"):
            motion_files.write(tmp_path / FORMATS[name], stranger, name)
    motion_files.write(tmp_path / "several.npz", several)
    motion_files.write(tmp_path / "stranger.npz", stranger)
    assert len(motion_files.read(tmp_path / "several.npz").clips) == 2
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["several.npz", "stranger.npz"]


def test_the_program_follows_its_format_options(tmp_path, capsys):
    arguments = ("--command", 0.9, 0, 0.4, "--seconds", 1, "--seed", 2)
    result = run_in_process(
        capsys,
        "cmg-jax", "generate", *arguments, "--out", "w.npz", "--format", "mjlab", "--joints", 23, "--root", "odometry",
        cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    with np.load(tmp_path / "w.npz") as arrays:
        assert arrays["joint_pos"].shape == (51, 23)
        speed = np.linalg.norm(arrays["body_lin_vel_w"][5:, 0, :2], axis=-1)
        assert 0.6 < speed.mean() < 1.2
        assert speed.std() > 0.01, "feet do not walk as evenly as a command"
    bad = run_in_process(capsys, "cmg-jax", "generate", "--out", "w.npz", "--format", "twist", cwd=tmp_path)
    assert_one_clear_line(bad, "must end in .pkl")
