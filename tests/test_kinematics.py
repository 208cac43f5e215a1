# pyright: reportAttributeAccessIssue=false
"""MJX kinematics against C MuJoCo."""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from cmg_jax import InputError
from cmg_jax.robot import G1, Robot
from cmg_jax.robot._bodies import body_poses, qpos
from cmg_jax.robot._kinematics import kinematics

ARM = """<mujoco><worldbody><body name="base" pos="0 0 1">
  <body name="upper" pos="0.1 0 0"><joint name="elbow" type="hinge" axis="0 1 0"/><geom size="0.1"/>
    <body name="lower" pos="0 0 0.3"><joint name="wrist" type="hinge" axis="1 0 0"/><geom size="0.1"/></body>
  </body></body></worldbody></mujoco>"""


def test_body_poses_of_our_g1_agree_with_mujoco():
    rng = np.random.default_rng(0)
    low, high = G1.joint_limits.T
    joint_pos = rng.uniform(low, high, size=(3, 4, 29)).astype(np.float32)
    root_pos, root_quat = rng.normal(size=(3, 4, 3)), rng.normal(size=(3, 4, 4))
    root_quat /= np.linalg.norm(root_quat, axis=-1, keepdims=True)
    robot = kinematics()
    poses = jax.jit(robot.body_poses)(joint_pos, root_pos, root_quat)
    assert robot.bodies == G1.body_names
    positions = qpos(G1, joint_pos.reshape(12, 29), root_pos.reshape(12, 3), root_quat.reshape(12, 4))
    expected = body_poses(G1, positions)
    np.testing.assert_allclose(poses.position, expected.position.reshape(3, 4, 30, 3), atol=1e-5)
    rotation = expected.rotation.reshape(3, 4, 30, 4)
    flipped = np.sign((poses.rotation * rotation).sum(-1, keepdims=True))
    np.testing.assert_allclose(poses.rotation * flipped, rotation, atol=1e-5)


def test_velocities_of_our_g1_agree_with_mujoco():
    rng = np.random.default_rng(1)
    low, high = G1.joint_limits.T
    joint_pos, joint_vel = rng.uniform(low, high, size=(6, 29)), rng.normal(size=(6, 29))
    root_pos, root_quat, linear, angular = (rng.normal(size=(6, size)) for size in (3, 4, 3, 3))
    root_quat /= np.linalg.norm(root_quat, axis=-1, keepdims=True)
    robot = kinematics(bodies=G1.body_names[::-1])
    arguments = joint_pos, joint_vel, root_pos, root_quat, linear, angular
    poses, velocities = jax.jit(robot.body_velocities)(*(value.reshape(2, 3, -1) for value in arguments))

    model, data = G1.mj_model, mujoco.MjData(G1.mj_model)
    velocity, turned = np.zeros(6), np.zeros(3)
    for row, positions in enumerate(qpos(G1, joint_pos, root_pos, root_quat)):
        index = divmod(row, 3)
        data.qpos[:] = positions
        mujoco.mju_rotVecQuat(turned, angular[row], root_quat[row] * [1, -1, -1, -1])
        data.qvel[:] = np.concatenate(
            [linear[row], turned, joint_vel[row]]
        )  # a free joint has its angular velocity in the body's frame
        mujoco.mj_forward(model, data)
        for body, name in enumerate(robot.bodies):
            place = model.body(name).id
            mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_XBODY, place, velocity, 0)
            np.testing.assert_allclose(velocities.angular[index][body], velocity[:3], atol=1e-5)
            np.testing.assert_allclose(velocities.linear[index][body], velocity[3:], atol=1e-5)
            np.testing.assert_allclose(poses.position[index][body], data.xpos[place], atol=1e-5)


def test_velocities_of_a_robot_with_a_fixed_base(tmp_path):
    path = tmp_path / "arm.xml"
    path.write_text(ARM)
    robot = kinematics(Robot.from_mjcf(path).with_joints(("elbow",)), bodies=("lower",))
    _, velocities = jax.jit(robot.body_velocities)(jnp.array([0.0]), jnp.array([2.0]))
    np.testing.assert_allclose(velocities.linear, [[0.6, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(velocities.angular, [[0, 2, 0]], atol=1e-6)
    with pytest.raises(InputError, match="fixed base"):
        robot.body_velocities(jnp.array([0.0]), jnp.array([2.0]), root_velocity=jnp.zeros(3))


def test_chosen_bodies_of_another_robot_by_name(tmp_path):
    path = tmp_path / "arm.xml"
    path.write_text(ARM)
    robot = kinematics(Robot.from_mjcf(path).with_joints(("wrist", "elbow")), bodies=("lower", "upper"))
    joint_pos = np.array([[0.3, -0.8], [1.1, 0.2]], np.float32)
    poses = jax.jit(robot.body_poses)(joint_pos)
    model = mujoco.MjModel.from_xml_path(str(path))
    data = mujoco.MjData(model)
    for row in range(2):
        data.qpos[:] = joint_pos[row, ::-1]
        mujoco.mj_kinematics(model, data)
        for index, body in enumerate(("lower", "upper")):
            np.testing.assert_allclose(poses.position[row, index], data.body(body).xpos, atol=1e-6)
            np.testing.assert_allclose(poses.rotation[row, index], data.body(body).xquat, atol=1e-6)


def test_joints_without_values_stay_at_rest(tmp_path):
    path = tmp_path / "arm.xml"
    path.write_text(ARM)
    some = jax.jit(kinematics(Robot.from_mjcf(path).with_joints(("wrist",))).body_poses)(jnp.array([0.4]))
    everything = jax.jit(kinematics(Robot.from_mjcf(path).with_joints(("wrist", "elbow"))).body_poses)(
        jnp.array([0.4, 0.0])
    )
    np.testing.assert_array_equal(some.position, everything.position)


SCENE = """<mujoco><option integrator="implicit" solver="PGS"/>
<worldbody>
  <body name="ball" pos="3 0 0"><freejoint/><geom size="0.1"/></body>
  <body name="base" pos="0 0 1"><freejoint name="root"/><geom size="0.1"/>
    <body name="arm" pos="0.2 0 0"><joint name="elbow" axis="0 1 0"/><geom name="arm" size="0.1"/></body></body>
</worldbody>
<actuator><motor joint="elbow"/></actuator>
<sensor><user dim="1" needstage="pos"/></sensor>
<keyframe><key qpos="0 0 0 1 0 0 0 0 0 0 1 0 0 0 0" ctrl="0"/></keyframe></mujoco>"""


def test_the_robot_of_a_scene_is_used_and_not_the_ball(tmp_path):
    path = tmp_path / "scene.xml"
    path.write_text(SCENE)
    robot = kinematics(Robot.from_mjcf(path).with_joints(("elbow",)))
    poses = jax.jit(robot.body_poses)(jnp.array([[0.5]]), jnp.array([[5.0, 0, 0]]))
    placed = dict(zip(robot.bodies, poses.position[0].tolist(), strict=True))
    assert set(placed) == {"base", "arm"}
    assert placed["base"] == [5, 0, 0]
    np.testing.assert_allclose(placed["arm"], [5.2, 0, 0], atol=1e-6)


def test_a_fixed_base_cannot_be_placed(tmp_path):
    path = tmp_path / "arm.xml"
    path.write_text(ARM)
    with pytest.raises(InputError, match="fixed base"):
        kinematics(Robot.from_mjcf(path).with_joints(("wrist",))).body_poses(jnp.array([0.4]), jnp.zeros(3))


def test_bad_input_is_one_clear_line(tmp_path):
    path = tmp_path / "arm.xml"
    path.write_text(ARM)
    broken = tmp_path / "broken.xml"
    broken.write_text("<mujoco><body></mujoco>")
    for call, words in (
        (lambda: Robot.from_mjcf(tmp_path / "none.xml"), "no such file"),
        (lambda: Robot.from_mjcf(broken), "MuJoCo cannot read it"),
        (lambda: Robot.from_mjcf(path).with_joints(("knee",)), "arm has no joint knee"),
        (lambda: kinematics(Robot("names", ("elbow",))), "only the names are known"),
        (lambda: kinematics(Robot.from_mjcf(path).with_joints(("wrist",)), bodies=("hand",)), "no body hand"),
    ):
        with pytest.raises(InputError, match=words) as error:
            call()
        assert "\n" not in str(error.value)
