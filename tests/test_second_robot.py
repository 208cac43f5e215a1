"""A robot other than the G1 in every program: other names, sizes, order and number of joints, other feet."""
# pyright: reportAttributeAccessIssue=false

import json
import re
import shutil

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import cmg_jax
from cmg_jax import InputError, _digests, motion_files
from cmg_jax.cli.main import main
from cmg_jax.data import _dataset
from cmg_jax.generators._base import standing_frame
from cmg_jax.motion_files import Assume
from cmg_jax.robot import G1, Robot, _feet, _joints
from cmg_jax.robot._bodies import body_poses, qpos
from cmg_jax.view import Drive, Playback, Skeleton
from converters.cli import main as convert_main
from tests.conftest import refused_line

FPS = 50.0
TETRAHEDRON = '<mesh name="nose" vertex="0 0 0 .05 0 0 0 .05 0 0 0 .05"/>'


def leg(side: str, sign: int) -> str:
    """Both hinges of the hip belong to one body, one of them beside its origin; the shoe is welded to the ankle."""
    return f"""
    <body name="thigh_{side}" pos="0 {0.07 * sign} -.04">
      <joint name="hip_x_{side}" axis="{sign} 0 0" range="-.6 .6" pos="0 0 .01"/>
      <joint name="hip_y_{side}" axis="0 -1 0" range="-1.5 1.2"/>
      <geom type="capsule" size=".03" fromto="0 0 0 0 0 -.2" contype="0" conaffinity="0"/>
      <body name="shin_{side}" pos="0 0 -.22">
        <joint name="knee_{side}" axis="0 1 0" range="0 2"/>
        <geom type="capsule" size=".025" fromto="0 0 0 0 0 -.2" contype="0" conaffinity="0"/>
        <body name="ankle_{side}" pos="0 0 -.22">
          <joint name="ankle_{side}" axis="0 1 0" range="-.8 .8"/>
          <geom size=".02"/>
          <body name="shoe_{side}" pos=".02 0 -.03"><geom type="box" size=".07 .03 .01"/></body>
        </body>
      </body>
    </body>"""


def arm(side: str, sign: int) -> str:
    return f"""
      <body name="arm_{side}" pos="0 {0.12 * sign} .2">
        <joint name="shoulder_{side}" axis="0 1 0" range="-2 2"/>
        <joint name="swing_{side}" axis="1 0 0" range="-2 2"/>
        <geom type="capsule" size=".02" fromto="0 0 0 0 0 -.2"/>
      </body>"""


MJCF = f"""<mujoco model="minnow"><compiler angle="radian" autolimits="true"/>
<asset>{TETRAHEDRON}</asset>
<worldbody>
  <geom type="plane" size="5 5 .1"/>
  <body name="chest" pos="0 0 .55"><freejoint/>
    <geom type="box" size=".05 .08 .05"/>
    <body name="head" pos="0 0 .1"><joint name="nod" axis="0 1 0" range="-.5 .5"/>
      <geom type="mesh" mesh="nose"/></body>
    {arm("R", -1)}{leg("R", -1)}{arm("L", 1)}{leg("L", 1)}
    <body name="tail"><joint name="wag" axis="0 0 1" range="-1 1"/><geom size=".02" pos="-.1 0 0"/></body>
  </body>
</worldbody>
<actuator><motor name="m" joint="knee_L" ctrlrange="-2 2" gear="10"/></actuator>
<keyframe><key name="home" qpos="0 0 .53 1 0 0 0  0  0 0 0 .1 .2 -.1  0 0 0 .1 .2 -.1  0"/></keyframe>
</mujoco>"""
JOINTS = (
    *("nod", "shoulder_R", "swing_R", "hip_x_R", "hip_y_R", "knee_R", "ankle_R"),
    *("shoulder_L", "swing_L", "hip_x_L", "hip_y_L", "knee_L", "ankle_L", "wag"),
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("minnow")


@pytest.fixture(scope="module")
def robot(directory) -> Robot:
    (directory / "minnow.xml").write_text(MJCF)
    return Robot.from_mjcf(directory / "minnow.xml")


@pytest.fixture(scope="module")
def model_dir(directory, robot):
    """Data of a sine gait, and a tiny model trained on it, by the programs."""
    time = np.arange(300) / FPS
    for number, speed in enumerate((0.2, 0.35)):
        swing = 0.5 * np.sin(2 * np.pi * (1.2 + 0.1 * number) * time)
        joint_pos = np.tile(robot.standing_joint_pos, (len(time), 1)).astype(np.float64)
        for side, phase in (("L", 1), ("R", -1)):
            joint_pos[:, JOINTS.index(f"hip_y_{side}")] += phase * swing * speed
            joint_pos[:, JOINTS.index(f"knee_{side}")] += np.maximum(phase * swing, 0) * speed
            joint_pos[:, JOINTS.index(f"shoulder_{side}")] -= phase * swing
        root_pos = np.stack([speed * time, 0 * time, 0 * time + 0.53], axis=-1)
        quat = np.tile([0.0, 0.0, 0.0, 1.0], (len(time), 1))
        rows = np.concatenate([root_pos, quat, joint_pos], axis=-1)
        np.savetxt(directory / f"gait{number}.csv", rows, delimiter=",")
    gaits = [str(directory / f"gait{number}.csv") for number in (0, 1)]
    data = str(directory / "data.npz")
    assert main(["data", *gaits, "--csv-fps", "50", "--out", data, "--robot", str(directory / "minnow.xml")]) == 0
    (directory / "minnow.xml").unlink()  # from here on the robot comes from the data set
    sizes = ["--experts", "2", "--width", "16", "--steps", "4", "--batch-size", "8", "--window", "6"]
    assert main(["train", "--data", data, "--out", str(directory / "run"), *sizes, "--validate-every", "100"]) == 0
    (directory / "minnow.xml").write_text(MJCF)
    return directory / "run" / "model"


# The robot of an MJCF.


def test_feet_sides_limits_and_pose_are_found(robot):
    assert robot.joint_names == JOINTS
    assert robot.feet == ("shoe_L", "shoe_R")
    assert robot.body_names[0] == "chest"
    np.testing.assert_allclose(robot.standing_joint_pos[JOINTS.index("knee_L")], 0.2)
    assert robot.torque_limits[JOINTS.index("knee_L")] == 20
    assert np.isinf(robot.torque_limits[JOINTS.index("knee_R")])
    np.testing.assert_allclose(robot.joint_limits[0], [-0.5, 0.5])
    sign = dict(zip(JOINTS, robot.mirror.sign, strict=True))
    # The hips' axes point outwards on both sides, so their mirror image does not change sign.
    assert (sign["hip_x_L"], sign["hip_y_L"], sign["swing_L"], sign["nod"], sign["wag"]) == (1, 1, -1, 1, -1)
    assert list(robot.limbs) == ["left leg", "right leg", "waist", "left arm", "right arm"]


def test_the_mirror_image_of_a_pose_is_the_reflected_robot(robot):
    joint_pos = np.random.default_rng(0).uniform(-0.5, 0.5, (4, len(JOINTS)))
    image = np.asarray(_joints.mirror_joints(jnp.asarray(joint_pos, jnp.float32), robot))
    places, reflected = (body_poses(robot, qpos(robot, pose)).position for pose in (joint_pos, image))
    swap = {"_L": "_R", "_R": "_L"}
    other = [robot.body_names.index(name[:-2] + swap.get(name[-2:], name[-2:])) for name in robot.body_names]
    np.testing.assert_allclose(reflected[:, other] * [1, -1, 1], places, atol=1e-5)


def test_soles_are_where_mujoco_has_them(robot):
    joint_pos = np.random.default_rng(1).uniform(-0.5, 0.5, (5, len(JOINTS)))
    points = np.asarray(_feet.sole_points(joint_pos, robot))
    assert points.shape == (5, 2, 4, 3)
    model = mujoco.MjModel.from_xml_string(MJCF)
    data = mujoco.MjData(model)
    for row, pose in enumerate(joint_pos):
        data.qpos[:] = [0, 0, 0, 1, 0, 0, 0, *pose]
        mujoco.mj_kinematics(model, data)
        for foot, name in enumerate(("shoe_L", "shoe_R")):
            body = data.body(name)
            corners = [
                body.xpos + body.xmat.reshape(3, 3) @ [x, y, -0.01] for x in (-0.07, 0.07) for y in (-0.03, 0.03)
            ]
            apart = np.linalg.norm(points[row, foot][:, None] - np.array(corners), axis=-1)
            assert apart.min(axis=0).max() < 1e-5, "each corner of the shoe is a point of the sole"


def test_robots_are_equal_by_content_and_jit_sees_one(robot, directory):
    traces = []

    @jax.jit(static_argnums=1)
    def low(joint_pos, robot):
        traces.append(robot)
        return _feet.sole_points(joint_pos, robot)[..., 2].min()

    again = Robot.from_mjcf(directory / "minnow.xml")
    assert again == robot
    assert hash(again) == hash(robot)
    assert again is not robot
    for one in (robot, again, robot.with_joints(JOINTS)):
        low(robot.standing_joint_pos, one)
    assert len(traces) == 1
    part = robot.with_joints(("knee_R", "knee_L"))
    assert part != robot
    np.testing.assert_array_equal(part.joint_limits, [[0, 2], [0, 2]])
    np.testing.assert_array_equal(part.mirror.source, [1, 0])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"feet": ("boot_*", "shoe_R")}, "no body matches the foot 'boot_[*]'; its bodies are chest, head"),
        ({"feet": ("shoe_*", "shoe_R")}, "2 bodies match the foot"),
        ({"feet": ("shoe_L",)}, "1 feet; give two"),
        ({"mirror": ("left_", "right_")}, "no joint has 'left_' in its name"),
        ({"mirror": ("_L", "_Q")}, "no counterpart of .*knee_L"),
        ({"mirror": ("_L", "_L")}, "two different"),
    ],
)
def test_patterns_that_do_not_match_are_named(robot, directory, options, words):
    with pytest.raises(InputError, match=words) as error:
        Robot.from_mjcf(directory / "minnow.xml", **options)
    assert "\n" not in str(error.value)


def test_names_without_sides_and_axes_without_mirror_images_are_refused(directory, tmp_path):
    plain = MJCF.replace("_L", "_one").replace("_R", "_two")
    (tmp_path / "plain.xml").write_text(plain)
    found = Robot.from_mjcf(tmp_path / "plain.xml")
    with pytest.raises(InputError, match="left and right cannot be found in the names"):
        _ = found.mirror
    with pytest.raises(InputError, match="the feet of the robot plain are not known"):
        _feet.sole_points(found.standing_joint_pos, found)
    named = Robot.from_mjcf(tmp_path / "plain.xml", feet=("shoe_one", "shoe_two"), mirror=("_one", "_two"))
    assert named.mirror.sign.tolist() == Robot.from_mjcf(directory / "minnow.xml").mirror.sign.tolist()
    (tmp_path / "fixed.xml").write_text(re.sub("<freejoint/>|<keyframe>.*</keyframe>", "", MJCF))
    with pytest.raises(InputError, match="the robot fixed has a fixed base"):
        _feet.check(Robot.from_mjcf(tmp_path / "fixed.xml"))
    (tmp_path / "odd.xml").write_text(MJCF.replace('name="knee_R" axis="0 1 0"', 'name="knee_R" axis="0 0 1"'))
    with pytest.raises(InputError, match="their axes are not mirror images of each other: knee_R and knee_L"):
        _ = Robot.from_mjcf(tmp_path / "odd.xml").mirror


def test_meshes_become_hulls_and_missing_ones_are_left_out(robot, tmp_path):
    kinds = [int(kind) for kind in robot.mj_model.geom_type]
    assert kinds.count(mujoco.mjtGeom.mjGEOM_MESH) == 1
    assert "file" not in robot.mjcf
    (tmp_path / "far.xml").write_text(MJCF.replace(TETRAHEDRON, '<mesh name="nose" file="absent.stl"/>'))
    assert Robot.from_mjcf(tmp_path / "far.xml").joint_names == JOINTS


# The programs.


@pytest.mark.slow
def test_the_robot_works_in_all_programs(model_dir, robot, directory, tmp_path, capsys):
    data = _dataset.load(directory / "data.npz")
    assert data.robot == robot
    model = cmg_jax.load(model_dir)
    assert model.config.robot == robot
    np.testing.assert_allclose(standing_frame(model)[:14], robot.standing_joint_pos)

    assert main(["info", "--model", str(model_dir)]) == 0
    assert "minnow, 14 of 14 joints, on shoe_L and shoe_R" in capsys.readouterr().out
    report = ["--seconds", "2.2", "--drift-seconds", "6.6", "--grid=0,0.2:0:0", "--report", str(tmp_path / "report")]
    assert main(["evaluate", "--model", str(model_dir), *report]) == 0
    assert "frames_beyond_limits" in json.loads((tmp_path / "report" / "report.json").read_text())["quality"]

    generate = ["generate", "--model", str(model_dir), "--command", "0.2", "0", "0", "--seconds", "1"]
    plot = ["--plot", str(tmp_path / "walk.png")]
    assert main([*generate, "--out", str(tmp_path / "walk.npz"), "--root", "odometry", *plot]) == 0
    with np.load(tmp_path / "walk.npz") as walk:
        assert tuple(walk["dof_names"]) == JOINTS
        assert tuple(walk["body_names"]) == robot.body_names
        positions = qpos(robot, walk["dof_positions"], walk["root_pos"], walk["root_quat_wxyz"])
        np.testing.assert_allclose(_feet.sole_positions(robot, positions)[..., 2].min(axis=(1, 2)), 0, atol=1e-5)
        expected = walk["dof_positions"]
    assert main([*generate, "--out", str(tmp_path / "walk.csv")]) == 0
    (clip,) = motion_files.read(tmp_path / "walk.csv", Assume(csv_fps=50.0, robot=robot)).clips
    assert clip.robot == robot
    np.testing.assert_allclose(clip.joint_pos, expected, atol=1e-5)
    capsys.readouterr()
    for arguments, words in (
        (("--out", tmp_path / "walk.pkl"), "holds the G1's links"),
        (("--out", tmp_path / "walk.csv", "--joints", "23"), "this is another robot"),
    ):
        assert words in refused_line(capsys, *generate, *arguments)

    assert main(["export", "--model", str(model_dir), "--format", "stablehlo", "--out", str(tmp_path / "cmg.jax")]) == 0
    assert main(["export", "--model", str(model_dir), "--format", "torch", "--out", str(tmp_path / "cmg.pt")]) == 0
    capsys.readouterr()
    convert = [str(tmp_path / "cmg.pt"), "--robot", str(directory / "minnow.xml"), "--out", str(tmp_path / "converted")]
    assert convert_main(convert) == 0, capsys.readouterr().err
    assert cmg_jax.load(tmp_path / "converted").config.robot == robot


@pytest.mark.slow
def test_the_robot_is_drawn_driven_and_played(model_dir, robot, tmp_path):
    model = cmg_jax.load(model_dir)
    drive = Drive([model], ["minnow"])
    drive.target = np.array([0.2, 0, 0], np.float32)
    poses = [drive.step()[0] for _ in range(3)]
    assert poses[-1].joint_pos.shape == (14,)
    assert all(pose.contact.any() for pose in poses)
    skeleton = Skeleton(drive.robot)
    assert len(skeleton.shapes) == robot.mj_model.nbody - 1
    position, _ = skeleton.place(poses[-1].joint_pos, poses[-1].root_pos, poses[-1].root_quat)
    np.testing.assert_allclose(position[1], poses[-1].root_pos, atol=1e-6)
    with pytest.raises(InputError, match="differ in their frame rate or robot"):
        Drive([model, cmg_jax.default_model()], ["minnow", "g1"])

    (clip,) = motion_files.read(model_dir.parents[1] / "gait0.csv", Assume(csv_fps=50.0, robot=robot)).clips
    playback = Playback(clip)
    assert playback.step()[0].contact.any()


@pytest.mark.slow
def test_a_saved_robot_is_read_as_data_and_nothing_else(model_dir, directory, tmp_path, capsys):
    shutil.copytree(model_dir, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    del config[_digests.SEAL]
    text = config["robot"]["mjcf"]
    for changed, words in (
        ({"mjcf": text.replace("<worldbody>", '<include file="/etc/passwd"/><worldbody>')}, "refers to another file"),
        ({"mjcf": "<mujoco><body></mujoco>"}, "MuJoCo cannot read it"),
        ({"mjcf": text.replace("knee_L", "knie_L")}, "its robot has no knee_L"),
        ({"feet": ["shoe_L", "boot_R"]}, "its robot has no boot_R"),
        ({"sides": 7}, "its robot is damaged"),
    ):
        config["robot"] |= {"mjcf": text, "feet": ["shoe_L", "shoe_R"], "sides": ["_L", "_R"]} | changed
        (tmp_path / "model" / "config.json").write_text(json.dumps(_digests.sealed(config)))
        assert words in refused_line(capsys, "info", "--model", tmp_path / "model")


@pytest.mark.slow
def test_errors_name_what_a_robot_known_by_names_only_lacks(model_dir, tmp_path, capsys):
    shutil.copytree(model_dir, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    del config[_digests.SEAL]
    del config["robot"]
    (tmp_path / "model" / "config.json").write_text(json.dumps(_digests.sealed(config)))
    assert "evaluation needs the MJCF of the model's robot" in refused_line(
        capsys, "evaluate", "--model", tmp_path / "model"
    )
    assert main(["info", "--model", str(tmp_path / "model")]) == 0
    assert "known by the names of its joints only" in capsys.readouterr().out


def test_the_g1_is_recognised_by_its_joint_names(policy_model):
    assert policy_model.config.robot is G1
