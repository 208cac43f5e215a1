# pyright: reportAttributeAccessIssue=false, reportArgumentType=false
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cmg_jax.robot import G1, _feet, _frame, _joints, _root_pose
from cmg_jax.robot._bodies import body_poses, qpos
from cmg_jax.robot._g1 import G1_23_JOINTS, G1_29_JOINTS, MJCF_PATH
from tests.conftest import DATA


@pytest.fixture(scope="module")
def public():
    """Poses, ranges and masses of the public G1 model (mjlab's g1.xml)."""
    with np.load(DATA / "public_g1_poses.npz") as arrays:
        return dict(arrays)


def test_names_are_those_of_our_mjcf_and_of_the_public_model(public):
    assert G1.joint_names == G1_29_JOINTS == tuple(public["joint_names"])
    assert G1.body_names == tuple(public["body_names"])
    assert len(G1.body_names) == 30


def test_the_23_joint_robot_lacks_the_wrists():
    dropped = [index for index, name in enumerate(G1_29_JOINTS) if name not in G1_23_JOINTS]
    assert dropped == [19, 20, 21, 26, 27, 28]


def test_joint_maps_use_names():
    shuffled = np.random.default_rng(0).permutation(G1_29_JOINTS).tolist()
    values = np.arange(29)
    there, back = _joints.indices(shuffled, G1_29_JOINTS), _joints.indices(G1_29_JOINTS, shuffled)
    np.testing.assert_array_equal(values[there][back], values)
    assert (values[there] != values).any()
    with pytest.raises(ValueError, match="tail_joint"):
        _joints.indices(["tail_joint"], G1_29_JOINTS)


@given(
    hnp.arrays(
        np.float32, st.sampled_from([(58,), (3, 58)]), elements=st.floats(-3, 3, width=32, allow_subnormal=False)
    )
)
def test_mirroring_twice_changes_nothing(motion):
    once = _frame.mirror_motion(jnp.asarray(motion), G1)
    np.testing.assert_array_equal(_frame.mirror_motion(once, G1), motion)


def test_a_mirrored_pose_is_the_reflected_robot():
    rng = np.random.default_rng(1)
    limits = G1.joint_limits
    pose = rng.uniform(limits[:, 0], limits[:, 1], size=(5, 29)) * 0.5
    mirrored = np.asarray(_frame.mirror_motion(jnp.asarray(np.tile(pose, 2), jnp.float32), G1))[:, :29]
    bodies, reflected = (body_poses(G1, qpos(G1, p)).position for p in (pose, mirrored))
    names = G1.body_names
    swap = {"left": "right", "right": "left"}
    other = [names.index("_".join([swap.get(n.split("_")[0], n.split("_")[0]), *n.split("_")[1:]])) for n in names]
    # The public model's arms differ by some hundredths of a millimetre from side to side.
    np.testing.assert_allclose(reflected[:, other] * [1, -1, 1], bodies, atol=2e-4)


def test_a_mirrored_command_turns_and_strafes_the_other_way():
    np.testing.assert_allclose(_joints.mirror_command(jnp.array([[1.0, 0.5, -0.2]])), [[1.0, -0.5, 0.2]])


def test_kinematics_agree_with_the_public_model(public):
    poses = body_poses(G1, public["qpos"])
    np.testing.assert_allclose(poses.position, public["body_positions"], atol=1e-6)
    same_rotation = np.abs((poses.rotation * public["body_rotations"]).sum(-1))
    np.testing.assert_allclose(same_rotation, 1, atol=1e-6)


def test_limits_and_masses_are_the_public_ones(public):
    np.testing.assert_allclose(G1.joint_limits, public["joint_range"], atol=1e-6)
    np.testing.assert_allclose(G1.mj_model.body_mass[1:], public["body_mass"])
    reverse = G1_29_JOINTS[::-1]
    np.testing.assert_array_equal(G1.with_joints(reverse).joint_limits, G1.joint_limits[::-1])


def test_standing_is_inside_the_limits_with_both_soles_on_the_floor():
    standing, limits = G1.standing_joint_pos, G1.joint_limits
    assert ((standing > limits[:, 0]) & (standing < limits[:, 1])).all()
    keyframe = G1.mj_model.key("stand").qpos
    assert keyframe[2] + _feet.ground_height(keyframe[None, 7:], G1)[0] == pytest.approx(0, abs=1e-4)


def test_feet_hold_the_robot_on_a_floor():
    import mujoco

    spec = mujoco.MjSpec.from_file(str(MJCF_PATH))
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1])
    model = spec.compile()
    model.dof_damping[6:] = 5  # integrated implicitly
    data = mujoco.MjData(model)
    data.qpos[:] = model.key("stand").qpos
    stand = data.qpos[7:].copy()
    for _ in range(250):
        data.qfrc_applied[6:] = 150 * (stand - data.qpos[7:])
        mujoco.mj_step(model, data)
    assert data.qpos[2] == pytest.approx(0.78, abs=0.03)
    touching = {model.geom(index).name for contact in data.contact for index in contact.geom} - {""}
    assert len(touching) == 8
    assert all(name.endswith("_sole") for name in touching)


def test_joints_that_a_model_lacks_stay_at_zero():
    pose = np.arange(46, dtype=float).reshape(2, 23) + 1
    positions = qpos(G1.with_joints(G1_23_JOINTS), pose)
    assert positions.shape == (2, 36)
    wrists = 7 + _joints.indices([name for name in G1_29_JOINTS if "wrist" in name], G1_29_JOINTS)
    assert (positions[:, wrists] == 0).all()
    np.testing.assert_array_equal(positions[:, 7 + _joints.indices(G1_23_JOINTS, G1_29_JOINTS)], pose)


commands = hnp.arrays(np.float32, (3, 7, 3), elements=st.floats(-2, 2, width=32, allow_subnormal=False))


@given(commands)
def test_commanded_path_is_the_integral_of_the_velocity(command):
    position, yaw = _root_pose.integrate_command(jnp.asarray(command), fps=50.0)
    fine = np.repeat(command.astype(np.float64), 400, axis=1)
    step = 1 / 50 / 400
    heading = np.cumsum(fine[..., 2] * step, axis=1) - fine[..., 2] * step / 2
    vx, vy = fine[..., 0], fine[..., 1]
    velocity = np.stack([vx * np.cos(heading) - vy * np.sin(heading), vx * np.sin(heading) + vy * np.cos(heading)], -1)
    expected = np.cumsum(velocity * step, axis=1)[:, 399::400]
    np.testing.assert_allclose(position[:, 1:], expected, atol=1e-5)
    np.testing.assert_allclose(yaw[:, 1:], np.cumsum(command[..., 2] / 50, axis=1), atol=1e-5)
    assert (position[:, 0] == 0).all()
    assert (yaw[:, 0] == 0).all()


def test_a_full_turn_on_the_spot_and_a_full_circle_close():
    turn = np.tile(np.float32([0.0, 0.0, 2 * np.pi]), (50, 1))
    circle = turn + np.float32([1.0, 0.0, 0.0])
    for command in (turn, circle):
        position, yaw = _root_pose.integrate_command(jnp.asarray(command), fps=50.0)
        np.testing.assert_allclose(position[-1], 0, atol=1e-5)
        assert float(yaw[-1]) == pytest.approx(2 * np.pi, abs=1e-4)
    radius = np.linalg.norm(np.asarray(position) - [0, 1 / (2 * np.pi)], axis=-1)
    np.testing.assert_allclose(radius, 1 / (2 * np.pi), atol=1e-5)


@given(commands)
def test_stepping_the_root_follows_the_same_path(command):
    pose = _root_pose.init_root(3)
    position, yaw = _root_pose.integrate_command(jnp.asarray(command), fps=50.0)
    for frame in range(7):
        pose = _root_pose.step_root(pose, jnp.asarray(command[:, frame]), fps=50.0)
        np.testing.assert_allclose(pose.position, position[:, frame + 1], atol=1e-5)
        np.testing.assert_allclose(pose.yaw, yaw[:, frame + 1], atol=1e-5)


def test_the_roots_of_some_rows_are_reset():
    command = jnp.array([[1.0, 0.0, 3.0], [0.5, 0.2, -1.0], [0.0, 0.3, 0.0]])
    pose = _root_pose.init_root(3)
    for _ in range(200):
        pose = _root_pose.step_root(pose, command, fps=50.0)
        assert (jnp.abs(pose.yaw) <= np.pi + 1e-6).all()
    assert float(pose.yaw[0]) == pytest.approx(12.0 - 4 * np.pi, abs=1e-4)
    speed = _root_pose.commanded_velocity(pose, command)
    expected = (_root_pose.step_root(pose, command, fps=1e4).position - pose.position) * 1e4
    np.testing.assert_allclose(speed, expected, atol=0.02)
    np.testing.assert_allclose(jnp.linalg.norm(speed, axis=-1), jnp.linalg.norm(command[:, :2], axis=-1), atol=1e-6)
    again = _root_pose.reset_root(pose, jnp.array([1.0, 0.0, 0.0]))
    np.testing.assert_array_equal(again.position[0], 0)
    np.testing.assert_array_equal(again.yaw, pose.yaw.at[0].set(0))
    elsewhere = _root_pose.RootPose(jnp.full((3, 2), 7.0), jnp.array([1.0, 2.0, 3.0]))
    moved = _root_pose.reset_root(pose, jnp.array([False, True, False]), elsewhere)
    np.testing.assert_array_equal(moved.position, pose.position.at[1].set(7.0))
    np.testing.assert_array_equal(moved.yaw, pose.yaw.at[1].set(2.0))


def test_the_lower_foot_is_on_the_floor_in_every_frame():
    rng = np.random.default_rng(2)
    joint_pos = G1.standing_joint_pos + rng.normal(size=(2, 6, 29)) * 0.3
    command = rng.normal(size=(2, 5, 3)).astype(np.float32)
    root_pos, root_quat = _root_pose.root_on_floor(joint_pos, G1, command, fps=50.0)
    assert root_pos.shape == (2, 6, 3)
    assert root_quat.shape == (2, 6, 4)
    flat = (array.reshape(12, -1) for array in (joint_pos, root_pos, root_quat))
    positions = qpos(G1, next(flat), *flat)
    np.testing.assert_allclose(sole_points(positions)[..., 2].min(axis=(1, 2)), 0, atol=1e-6)


def sole_points(positions: np.ndarray) -> np.ndarray:
    """The lowest points of the balls under both feet by C MuJoCo, [N, 2, 4, 3]."""
    import mujoco

    robot = G1.mj_model
    data, out = mujoco.MjData(robot), []
    soles = [index for index in range(robot.ngeom) if robot.geom(index).name.endswith("_sole")]
    for position in positions:
        data.qpos[:] = position
        mujoco.mj_kinematics(robot, data)
        out.append(data.geom_xpos[soles] - [0, 0, robot.geom_size[soles[0], 0]])
    return np.array(out).reshape(len(positions), 2, 4, 3)


@pytest.mark.parametrize("names", [G1_29_JOINTS, G1_29_JOINTS[::-1], G1_29_JOINTS[3:]])
def test_soles_are_where_mujoco_has_them(names):
    joint_pos = np.random.default_rng(5).normal(size=(40, len(names))) * 0.6
    expected = sole_points(qpos(G1.with_joints(names), joint_pos))
    points = _feet.sole_points(jnp.asarray(joint_pos, jnp.float32), G1.with_joints(names))
    np.testing.assert_allclose(points, expected, atol=1e-6)
    assert np.ptp(expected[:, 0, 0], axis=0).max() > 0.1  # the poses differ
