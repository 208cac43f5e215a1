"""The root channel of a frame, and the root that is integrated from it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cmg_jax
from cmg_jax import InputError
from cmg_jax.robot import (
    G1,
    RootMotion,
    RootPose,
    RootState,
    foot_contacts,
    integrate_root,
    join_frame,
    mirror_motion,
    place_root,
    root_channel,
    root_motion,
    sole_points,
    split_frame,
)
from cmg_jax.robot._root import gravity_of, rotation_of
from cmg_jax.robot._rotation import rotate, yaw_of
from tests.generator_tools import commands, flat, play


def channel(motion) -> RootMotion:
    root = split_frame(motion, 29).root
    assert root is not None
    return root


def lean(random, *shape):
    return random.uniform(-0.5, 0.5, (*shape, 2)).astype(np.float32)


def test_gravity_and_yaw_are_the_rotation():
    random = np.random.default_rng(0)
    yaw, gravity = random.uniform(-3, 3, 50).astype(np.float32), lean(random, 50)
    rotation = np.asarray(rotation_of(jnp.asarray(yaw), jnp.asarray(gravity)))
    down = np.concatenate([gravity, -np.sqrt(1 - np.square(gravity).sum(-1, keepdims=True))], axis=-1)
    np.testing.assert_allclose(rotate(rotation, down), np.tile([0, 0, -1], (50, 1)), atol=1e-6)
    forward = rotate(rotation, np.tile(np.array([1, 0, 0], np.float32), (50, 1)))
    np.testing.assert_allclose(np.arctan2(forward[:, 1], forward[:, 0]), yaw, atol=1e-5)
    np.testing.assert_allclose(gravity_of(jnp.asarray(rotation)), gravity, atol=1e-6)


@pytest.mark.parametrize("size", [57, 59, 63, 70])
def test_a_frame_that_does_not_add_up_is_refused(size):
    with pytest.raises(InputError, match=f"a frame of {size} numbers does not add up: 29 joint positions"):
        split_frame(np.zeros((2, size)), 29)


def test_a_frame_comes_apart_and_together_again():
    motion = np.random.default_rng(1).normal(size=(3, 5, 64)).astype(np.float32)
    frame = split_frame(motion, 29)
    assert frame.root is not None
    assert [leaf.shape[-1] for leaf in jax.tree.leaves(frame)] == [29, 29, 1, 2, 2, 1]
    np.testing.assert_array_equal(join_frame(frame), motion)
    assert split_frame(motion[..., :58], 29).root is None


def test_the_mirror_image_walks_the_mirrored_path():
    random = np.random.default_rng(2)
    motion = jnp.asarray(random.normal(size=(4, 60, 64)), jnp.float32) * 0.3
    image = mirror_motion(motion, G1)
    np.testing.assert_array_equal(mirror_motion(image, G1), motion)
    path, mirrored = (integrate_root(channel(frames), 50.0) for frames in (motion, image))
    across = jnp.array([1.0, -1, 1]).reshape(1, 1, 3)
    np.testing.assert_allclose(mirrored.position, path.position * across, atol=1e-5)
    np.testing.assert_allclose(mirrored.linear_velocity, path.linear_velocity * across, atol=1e-4)
    np.testing.assert_allclose(mirrored.angular_velocity, path.angular_velocity * -across, atol=1e-4)


def test_velocities_lead_to_the_next_frame():
    random = np.random.default_rng(3)
    motion = channel(jnp.asarray(random.normal(size=(2, 30, 64)), jnp.float32) * 0.2)
    root = integrate_root(motion, 50.0)
    moved = root.position[:, :-1] + root.linear_velocity[:, :-1] / 50
    np.testing.assert_allclose(moved, root.position[:, 1:], atol=1e-6)
    linear, angular = root.in_heading()
    # The planar velocity of the channel is the mean over the frame's arc; here turns are slow.
    np.testing.assert_allclose(linear[:, :-1, :2], motion.velocity[:, 1:], atol=0.02)
    assert angular.shape == root.angular_velocity.shape


def test_a_path_may_be_integrated_in_pieces():
    """`place_root` at the end of the first piece continues it."""
    random = np.random.default_rng(4)
    motion = channel(jnp.asarray(random.normal(size=(3, 41, 64)), jnp.float32) * 0.3)
    whole = integrate_root(motion, 50.0)
    first = integrate_root(jax.tree.map(lambda leaf: leaf[:, :21], motion), 50.0)
    pose = RootPose(first.position[:, -1, :2], yaw_of(first.rotation[:, -1]))
    second = place_root(integrate_root(jax.tree.map(lambda leaf: leaf[:, 20:], motion), 50.0), pose)
    np.testing.assert_allclose(second.position, whole.position[:, 20:], atol=1e-5)
    np.testing.assert_allclose(second.linear_velocity, whole.linear_velocity[:, 20:], atol=1e-3)
    same = jnp.abs((second.rotation * whole.rotation[:, 20:]).sum(-1))
    np.testing.assert_allclose(same, 1.0, atol=1e-5)


def test_a_recorded_root_is_found_again():
    """60 s: 1 mm and 0.1 degree are float32's, not the channel's."""
    random = np.random.default_rng(5)
    velocity = np.cumsum(random.normal(size=(3001, 6)), axis=0)
    velocity = (velocity - velocity.mean(axis=0)) * [0.02, 0.02, 0.0005, 0.05, 0.003, 0.003]
    yaw = np.cumsum(velocity[:, 3]) / 50
    position = np.cumsum(velocity[:, :3], axis=0) / 50 + [3, -2, 0.8]
    rotation = np.asarray(rotation_of(jnp.asarray(yaw, jnp.float32), jnp.asarray(velocity[:, 4:], jnp.float32)))
    channel = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), root_channel(position, rotation, 50.0))
    start = RootPose(jnp.asarray(position[:1, :2], jnp.float32), yaw_of(jnp.asarray(rotation[:1])))
    found = place_root(jax.tree.map(lambda leaf: leaf[None], integrate_root(channel, 50.0)), start)
    np.testing.assert_allclose(found.position[0], position, atol=1e-3)
    between = np.abs((np.asarray(found.rotation[0], np.float64) * rotation).sum(-1))
    assert np.degrees(2 * np.arccos(np.clip(between, 0, 1))).max() < 0.1


def test_without_a_channel_the_root_is_upright_and_moves_as_commanded(model):
    pose = jnp.broadcast_to(jnp.asarray(G1.standing_joint_pos), (5, 3, 29))
    command = commands(0, 5)[:, None]
    motion = root_motion(cmg_jax.MotionFrame(pose, jnp.zeros_like(pose)), command, G1)
    root = integrate_root(motion, 50.0)
    lowest = sole_points(pose, G1)[..., 2].min(axis=(-2, -1)) + root.position[..., 2]
    np.testing.assert_allclose(lowest, 0, atol=1e-6)
    np.testing.assert_allclose(motion.velocity[:, 0], command[:, 0, :2])
    np.testing.assert_allclose(root.angular_velocity[:, 1, 2], command[:, 0, 2], atol=1e-4)


def test_feet_that_are_low_and_slow_are_in_contact():
    standing = jnp.asarray(G1.standing_joint_pos)
    pose = jnp.broadcast_to(standing, (4, 2, 29))
    motion = root_motion(cmg_jax.MotionFrame(pose, jnp.zeros_like(pose)), jnp.zeros((4, 1, 3)), G1)
    still = integrate_root(motion, 50.0)
    raised = still._replace(position=still.position + jnp.array([0, 0, 0.05]).reshape(1, 1, 3))
    sliding = integrate_root(motion._replace(velocity=motion.velocity + jnp.array([0.8, 0]).reshape(1, 1, 2)), 50.0)
    for root, expected in ((still, True), (raised, False), (sliding, False)):
        contact = foot_contacts(pose, RootState(*root), G1, 50.0)
        assert contact.shape == (4, 2, 2)
        assert (contact == expected).all()
    hip, knee, ankle = (G1.joint_names.index(f"left_{name}_joint") for name in ("hip_pitch", "knee", "ankle_pitch"))
    lifted = pose.at[..., [hip, knee, ankle]].add(jnp.array([-0.5, 1.0, -0.5]).reshape(1, 1, 3))
    np.testing.assert_array_equal(foot_contacts(lifted, still, G1, 50.0)[0, 0], [False, True])


def test_the_trajectory_of_a_model_with_a_root_has_it_in_every_frame(root_model):
    command = commands(1, 6)
    generator = cmg_jax.streaming(3)
    state = generator.init(root_model, jax.random.key(0), command)
    frame = generator.lookahead(root_model, state, (0, 2))
    assert frame.root is not None
    assert frame.root.velocity.shape == (6, 2, 2)
    _, served = play(generator, root_model, state, 7)
    assert served.shape == (7, 6, 64)
    generated = cmg_jax.generate(root_model, flat(frame)[:, 0], jnp.repeat(command[:, None], 7, axis=1))
    np.testing.assert_allclose(served, np.moveaxis(np.asarray(generated)[:, 1:], 1, 0), atol=1e-3)
