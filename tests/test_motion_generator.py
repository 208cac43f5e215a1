"""The stateful class: the same frames as the pure functions, under the original's names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cmg_jax
from cmg_jax import CMGMotionGenerator, InputError
from cmg_jax.robot import G1
from cmg_jax.robot._bodies import body_poses, qpos
from tests.generator_tools import BATCH, commands, first, reference


def both(frame):
    return np.concatenate(frame, axis=-1)


@pytest.mark.parametrize("mode", ["pregenerated", "realtime", "streaming"])
def test_frames_are_those_of_the_mode(mode, model):
    generator = CMGMotionGenerator(model, BATCH, mode, buffer_size=6, preload_duration=9)
    generator.reset(init_motion=first(1), commands=commands(2))
    expected = reference(model, first(1), commands(2), 8)[0 if mode == "pregenerated" else 1 :]
    for frame in expected[:4]:
        np.testing.assert_allclose(both(generator.get_motion()), frame, atol=1e-4)
    data = generator.get_full_motion_data([7, 2])
    np.testing.assert_allclose(data["motion_raw"], expected[4][[7, 2]], atol=1e-4)
    np.testing.assert_array_equal(data["motion_raw"], both((data["dof_pos"], data["dof_vel"])))

    generator.update_commands(commands(5)[:3], env_ids=[1, 4, 8])
    last = jnp.asarray(expected[4])
    command = commands(2).at[jnp.array([1, 4, 8])].set(commands(5)[:3])
    after = both(generator.get_motion())
    np.testing.assert_allclose(after, cmg_jax.apply(model, last, command), atol=1e-4)

    generator.reset(env_ids=np.array([3]), init_motion=first(6)[:1], commands=commands(7)[:1])
    frame = both(generator.get_motion())
    start = first(6)[:1] if mode == "pregenerated" else cmg_jax.apply(model, first(6)[:1], commands(7)[:1])
    np.testing.assert_allclose(frame[3:4], start, atol=1e-4)
    others = np.arange(BATCH) != 3
    np.testing.assert_allclose(frame[others], cmg_jax.apply(model, jnp.asarray(after), command)[others], atol=1e-4)


def test_a_reset_without_commands_keeps_them(model):
    generator = CMGMotionGenerator(model, BATCH, "streaming", buffer_size=2)
    generator.reset(commands=commands(2))
    generator.get_motion()
    generator.reset(env_ids=[], init_motion=np.zeros((0, 58)))
    generator.reset(env_ids=[1], init_motion=first(3)[:1])
    expected = cmg_jax.apply(model, first(3)[:1], commands(2)[1:2])
    np.testing.assert_allclose(both(generator.get_motion([1])), expected, atol=1e-4)
    generator.reset(init_motion=first(4))
    expected = cmg_jax.apply(model, first(4), commands(2))
    np.testing.assert_allclose(both(generator.get_motion()), expected, atol=1e-4)


def test_switching_keeps_motion_and_commands(model):
    generator = CMGMotionGenerator(model, BATCH, "pregenerated", buffer_size=6, preload_duration=9)
    generator.reset(commands=commands(2))
    for mode in ("realtime", "realtime", "pregenerated", "streaming"):
        last = jnp.asarray(both(generator.get_motion()))
        generator.switch_mode(mode)
        assert generator.mode == mode
        np.testing.assert_allclose(both(generator.get_motion()), cmg_jax.apply(model, last, commands(2)), atol=1e-4)


def test_body_transforms_are_those_of_mujoco(model):
    generator = CMGMotionGenerator(model, BATCH, "realtime", buffer_size=4)
    assert generator.body_names == G1.body_names
    base_pos = np.random.default_rng(0).normal(size=(2, 3))
    data = generator.get_motion_with_body_transforms([9, 1], base_pos=base_pos)
    poses = body_poses(G1, qpos(G1, np.asarray(data["dof_positions"]), base_pos))
    assert data["dof_velocities"].shape == (2, 29)
    np.testing.assert_allclose(data["body_positions"], poses.position, atol=1e-5)
    assert data["body_rotations"].shape == (2, 30, 4)


def test_without_a_reset_it_stands_and_measures_its_calls(model):
    generator = CMGMotionGenerator(model, 3, "streaming", buffer_size=2, timed=True)
    assert set(generator.get_performance_stats().values()) == {0.0}
    joint_pos, joint_vel = generator.get_motion()
    assert joint_pos.shape == joint_vel.shape == (3, 29)
    stats = generator.get_performance_stats()
    assert 0 < stats["min_inference_ms"] <= stats["avg_inference_ms"] <= stats["max_inference_ms"]
    again = CMGMotionGenerator(model, 3, "streaming", buffer_size=2)
    again.update_commands(np.zeros((3, 3)))
    np.testing.assert_array_equal(again.get_motion()[0], joint_pos)


def test_only_a_timed_generator_waits_for_its_calls(model, monkeypatch):
    waited, wait = [], jax.block_until_ready
    monkeypatch.setattr(jax, "block_until_ready", lambda tree: waited.append(tree) or wait(tree))
    for timed, calls in ((False, 0), (True, 4)):
        waited.clear()
        generator = CMGMotionGenerator(model, 3, "streaming", buffer_size=2, timed=timed)
        generator.reset(commands=np.zeros((3, 3)))
        generator.get_motion()
        generator.update_commands(np.ones((3, 3)))
        generator.reset()
        assert len(waited) == calls


def test_a_model_directory_is_accepted(model, tmp_path):
    cmg_jax.save(model, tmp_path / "saved")
    generator = CMGMotionGenerator(tmp_path / "saved", 2, "streaming", buffer_size=1)
    assert jax.tree.structure(generator.model.params) == jax.tree.structure(model.params)


def test_bad_input_is_one_clear_line(model):
    generator = CMGMotionGenerator(model, 4, "streaming", buffer_size=1)
    for call, words in (
        (lambda: CMGMotionGenerator(model, 4, "offline"), "mode 'offline' is not one of pregenerated, realtime"),
        (lambda: CMGMotionGenerator(model, 0), "num_envs 0"),
        (lambda: generator.switch_mode("offline"), "mode 'offline'"),
        (lambda: generator.reset([4]), "there are environments 0 to 3"),
        (lambda: generator.get_motion([0.5]), "env_ids float64"),  # pyright: ignore
        (lambda: generator.reset([1], commands=np.zeros((2, 3))), r"commands has shape \(2, 3\)"),
        (lambda: generator.reset(init_motion=np.full((4, 58), np.nan)), "init_motion is not finite in row 0"),
        (lambda: generator.update_commands(np.zeros(3)), "commands has shape"),
        (lambda: generator.get_performance_stats(), "timed=True"),
    ):
        with pytest.raises(InputError, match=words):
            call()
    assert generator.mode == "streaming"
