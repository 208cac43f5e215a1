# pyright: reportArgumentType=false
"""Loss, steps and runs of the trainer."""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh

from cmg_jax import InputError
from cmg_jax.data._dataset import Dataset
from cmg_jax.data._windows import ALWAYS, MAYBE, NEVER, Windows, make_windows
from cmg_jax.model._model import CMGConfig
from cmg_jax.model._networks import pack_experts
from cmg_jax.robot import G1, Robot, RootState, _odometry, root_channel, soles_in_world, split_frame
from cmg_jax.robot._g1 import G1_29_JOINTS
from cmg_jax.training import TrainConfig, _trainer
from cmg_jax.training._loss import feet_losses, frame_loss, predict, root_losses
from tests.conftest import DATA
from tests.data_tools import recorded, walking

SMALL = CMGConfig(58, 3, 2, (16,), (24, 24), G1)
QUICK = TrainConfig(steps=40, learning_rate=3e-3, batch_size=16, window=6, warmup_steps=3, teacher_steps=20, stride=2)


@pytest.fixture(scope="module")
def torch_step():
    with np.load(DATA / "training_step.npz") as arrays:
        return dict(arrays)


def to_params(arrays, prefix=""):
    """The fixture's weights, or the gradients of them, in our layout."""
    params = {
        "gating": {
            f"Dense_{index}": {
                "kernel": arrays[f"{prefix}gate{index}"],
                "bias": arrays[f"{prefix}gate{index}_bias"],
            }
            for index in range(2)
        }
    }
    for index in range(3):
        kernel = pack_experts(arrays[f"{prefix}layer{index}"])
        params[f"layers_{index}"] = {"kernel": kernel, "bias": arrays[f"{prefix}layer{index}_bias"]}
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)


@pytest.mark.parametrize("name", ["cut", "through"])
def test_loss_and_gradients_agree_with_pytorch(name, torch_step):
    config = CMGConfig(6, 2, 3, (8,), (8, 8), Robot("abc", ("a", "b", "c")))
    motion, command = (jnp.asarray(torch_step[key], jnp.float32) for key in ("motion", "command"))
    teacher = jnp.broadcast_to(torch_step["teacher"][:, None], command.shape[:2])

    def window_loss(params):
        predicted = predict(params, config, motion, command, teacher, through_predictions=name == "through")
        return frame_loss(predicted, motion[1:])

    loss, gradients = jax.value_and_grad(window_loss)(to_params(torch_step))
    np.testing.assert_allclose(loss, torch_step[f"{name}_loss"], rtol=1e-5)
    expected = to_params(torch_step, f"{name}_")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5), gradients, expected)
    other = to_params(torch_step, "through_" if name == "cut" else "cut_")
    differences = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), gradients, other)
    assert max(jax.tree.leaves(differences)) > 1e-3


def test_feet_losses_are_the_errors_at_the_feet():
    target = jnp.asarray(walking(clips=2, frames=31).motion[:, :29].reshape(2, 31, 29).swapaxes(0, 1))
    np.testing.assert_allclose(feet_losses(target, target, G1, 50.0), 0, atol=1e-6)

    # Both hips turned by the same angle: every point goes along a chord, and the velocity turns with the feet.
    hips = jnp.array([name.endswith("hip_pitch_joint") for name in G1_29_JOINTS])
    slower = jnp.where(hips[None, None], target * jnp.array([[[0.5]]]), target)
    place, velocity = feet_losses(slower, target, G1, 50.0)
    moved = [np.asarray(_odometry.stance_velocity(part.swapaxes(0, 1), G1, 50.0)) for part in (slower, target)]
    assert place > 1e-4
    # If the stance foot is the same in both, this is the difference of the evaluation's velocities.
    expected = np.square((moved[0] - moved[1]).mean(axis=1)).sum(-1).mean()
    np.testing.assert_allclose(velocity, expected, rtol=0.2)

    def loss(motion):
        return sum(feet_losses(motion, target, G1, 50.0))

    value, gradient = jax.value_and_grad(loss)(slower)
    legs = np.array([any(part in name for part in ("hip", "knee", "ankle")) for name in G1_29_JOINTS])
    assert np.isfinite(gradient).all()
    assert not np.asarray(gradient)[..., ~legs].any()
    step = 1e-3 * gradient / jnp.linalg.norm(gradient)
    assert loss(slower - step) < value < loss(slower + step)


def with_root(clips):
    """A data set of clips with their roots, each under its mean velocity."""
    channels = [root_channel(clip.root_pos, clip.root_quat, clip.fps) for clip in clips]
    motion = [
        np.concatenate([clip.joint_pos, np.gradient(clip.joint_pos, 1 / clip.fps, axis=0), *channel], axis=-1)
        for clip, channel in zip(clips, channels, strict=True)
    ]
    command = [np.tile(frames[:, -3:].mean(axis=0), (len(frames), 1)) for frames in motion]
    motion, command = (np.concatenate(arrays).astype(np.float32) for arrays in (motion, command))
    clip = np.repeat(np.arange(len(clips)), len(motion) // len(clips)).astype(np.int32)
    return Dataset(motion, command, clip, np.zeros(len(motion), np.int8), tuple("abcd"[: len(clips)]), G1, 50.0)


@pytest.fixture(scope="module")
def rooted():
    return with_root([recorded(120), recorded(120)._replace(joint_pos=recorded(120).joint_pos * 0.9)])


def test_root_losses_are_the_errors_of_soles_in_the_world(rooted):
    target = split_frame(jnp.asarray(rooted.motion.reshape(2, 120, 64).swapaxes(0, 1)[:31]), 29)
    np.testing.assert_allclose(root_losses(target, target, G1, 50.0), 0, atol=1e-8)

    # A root that is 3 cm too high and 0.2 m/s too fast, which is the slide of every foot on the floor.
    root = target.root
    assert root is not None
    root = root._replace(height=root.height + 0.03, velocity=root.velocity + jnp.array([[[0.2, 0.0]]]))
    faster = target._replace(root=root)
    place, slide, velocity = root_losses(faster, target, G1, 50.0)
    assert place == pytest.approx(0.03**2, rel=1e-3)
    assert velocity == pytest.approx(0.2**2, rel=1e-3)
    clips = [recorded(120), recorded(120)._replace(joint_pos=recorded(120).joint_pos * 0.9)]
    height = [soles_in_world(clip.joint_pos[1:31], in_world(clip), G1)[..., 2] for clip in clips]
    low = 1 / (1 + np.exp((np.array(height) - 0.05) / 0.01))
    assert slide == pytest.approx(low.mean() * 0.2**2, rel=1e-2)

    # Legs that stand still under the root of the walk slide, however well the root goes.
    gliding = target._replace(joint_pos=jnp.broadcast_to(target.joint_pos[:1], target.joint_pos.shape))
    _, slide, velocity = root_losses(gliding, target, G1, 50.0)
    assert velocity < 1e-9
    assert slide > 0.05


def in_world(clip):
    """The recorded root of frames 1 to 30."""
    position, rotation = (jnp.asarray(array[1:31], jnp.float32) for array in (clip.root_pos, clip.root_quat))
    return RootState(position, rotation, jnp.zeros_like(position), jnp.zeros_like(position))


def test_the_gradient_of_root_losses_is_finite_even_where_a_root_lies(rooted):
    target = split_frame(jnp.asarray(rooted.motion.reshape(2, 120, 64).swapaxes(0, 1)[:9]), 29)
    random = np.random.default_rng(0)
    wild = jax.tree.map(lambda leaf: leaf + jnp.asarray(random.normal(size=leaf.shape), jnp.float32), target)
    gradient = jax.grad(lambda frames: sum(root_losses(frames, target, G1, 50.0)))(wild)
    assert np.abs(wild.root.gravity).max() > 1
    assert all(np.isfinite(leaf).all() and np.abs(leaf).max() > 0 for leaf in (gradient.joint_pos, *gradient.root))


def test_a_frame_with_a_root_trains_and_its_root_weighs_more(rooted):
    config = dataclasses.replace(SMALL, motion_dim=64)
    _, losses = run_steps(rooted, QUICK, 20, model_config=config)
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    error = np.zeros((5, 64), np.float32)
    joints, root = error.copy(), error.copy()
    joints[:, 3], root[:, 60] = 1, 1
    weight = _trainer._frame_weight(config)
    assert frame_loss(root, error, weight) == pytest.approx(3 * frame_loss(joints, error, weight))
    assert frame_loss(joints, error, weight) == pytest.approx(float(frame_loss(joints, error)))
    assert _trainer._frame_weight(SMALL) is None


@pytest.fixture(scope="module")
def dataset():
    return walking(clips=4, frames=120)


def run_steps(dataset, config, steps, mesh=None, chunk=10, model_config=SMALL):
    functions = _trainer.make_trainer(config, model_config, jax.tree.map(jnp.asarray, dataset.stats()), mesh)
    state = functions.init(_trainer.initial_params(model_config, jax.random.key(0)))
    windows = make_windows(dataset, config.window, stride=config.stride)
    frames, windows = _trainer.replicate((_trainer.to_device(dataset), windows), mesh)
    losses = []
    for _ in range(0, steps, chunk):
        state, metrics = functions.run(state, frames, windows, length=chunk)
        losses += np.asarray(metrics["loss"]).tolist()
    return state, losses


def test_training_lowers_the_loss_and_is_the_same_every_time(dataset):
    state, losses = run_steps(dataset, QUICK, 40)
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
    assert int(state.step) == 40
    again, same = run_steps(dataset, QUICK, 40)
    np.testing.assert_array_equal(losses, same)
    jax.tree.map(np.testing.assert_array_equal, state.params, again.params)
    assert run_steps(dataset, dataclasses.replace(QUICK, seed=1), 10)[1] != losses[:10]
    behind = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), state.params, state.ema_params)
    assert 0 < max(jax.tree.leaves(behind)) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_training_is_in_float32_and_the_same_where_the_default_is_float64(schedule, dataset):
    config = dataclasses.replace(QUICK, schedule=schedule)
    _, losses = run_steps(dataset, config, 5, chunk=5)
    with warnings.catch_warnings(action="error"), jax.enable_x64(True):
        functions = _trainer.make_trainer(config, SMALL, jax.tree.map(jnp.asarray, dataset.stats()))
        state = functions.init(_trainer.initial_params(SMALL, jax.random.key(0)))
        windows = make_windows(dataset, config.window, stride=config.stride)
        state, metrics = functions.run(state, _trainer.to_device(dataset), windows, length=5)
    dtypes = {leaf.dtype for leaf in jax.tree.leaves((state._replace(key=None), metrics))}
    assert dtypes == {jnp.dtype("float32"), jnp.dtype("int32")}
    np.testing.assert_allclose(metrics["loss"], losses, rtol=1e-4)


@pytest.mark.slow
def test_devices_that_share_a_batch_train_the_same(dataset):
    mesh = Mesh(np.array(jax.devices()), (_trainer.BATCH_AXIS,))
    assert mesh.size == 8
    one, losses = run_steps(dataset, QUICK, 10)
    shared, same = run_steps(dataset, QUICK, 10, mesh)
    np.testing.assert_allclose(same, losses, rtol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3), one.params, shared.params)


def test_schedules():
    config = dataclasses.replace(QUICK, steps=1000, warmup_steps=100, learning_rate=1e-2, final_learning_rate=1e-4)
    rate = _trainer.learning_rate(config)
    assert float(rate(50)) == pytest.approx(5e-3)
    assert float(rate(100)) == pytest.approx(1e-2)
    assert float(rate(550)) == pytest.approx((1e-2 + 1e-4) / 2, rel=1e-3)
    assert float(rate(1000)) == pytest.approx(1e-4)
    steady = _trainer.learning_rate(dataclasses.replace(config, schedule="constant"))
    assert float(steady(999)) == pytest.approx(1e-2)
    probability = [float(_trainer.teacher_probability(config, jnp.int32(step))) for step in (0, 10, 20, 500)]
    assert probability == pytest.approx([1.0, 0.5, 0.0, 0.0])


def test_a_plateau_halves_the_rate():
    config = dataclasses.replace(QUICK, schedule="plateau", plateau_steps=2, warmup_steps=1, weight_decay=0.0)
    optimizer = _trainer.make_optimizer(config)
    params = {"w": jnp.ones(3)}
    state = optimizer.init(params)
    sizes = []
    for _ in range(40):
        with jax.numpy_dtype_promotion("standard"):  # optax's own arithmetic
            updates, state = optimizer.update({"w": jnp.ones(3)}, state, params, value=jnp.float32(1.0))
        sizes.append(float(optax.tree.norm(updates)))
    assert sizes[-1] == pytest.approx(sizes[5] / 2, rel=1e-3)


def test_windows_stay_within_a_clip_and_starts_are_not_mirrored(dataset):
    windows = make_windows(dataset, 20, stride=3)
    start = np.asarray(windows.start)
    np.testing.assert_array_equal(dataset.clip[start], dataset.clip[start + 20])
    begins = np.flatnonzero(dataset.first_foot)
    holds = np.array([((begins >= first - 10) & (begins <= first + 20)).any() for first in start])
    np.testing.assert_array_equal(windows.mirror, np.where(holds, NEVER, MAYBE))
    probability = np.diff(np.asarray(windows.cumulative), prepend=0.0)
    assert windows.cumulative[-1] == pytest.approx(1.0)
    assert probability[holds].mean() > 2 * probability[~holds].mean()


def test_no_window_fits_into_short_clips():
    with pytest.raises(InputError, match="no clip of the data set has 301 frames"):
        make_windows(walking(clips=2, frames=120), 300)


def test_windows_are_mirrored_by_their_rule(dataset):
    functions = _trainer.make_trainer(QUICK, SMALL, jax.tree.map(jnp.asarray, dataset.stats()))

    def loss(rule):
        windows = Windows(jnp.array([40], jnp.int32), jnp.ones(1), jnp.array([rule], jnp.int32))
        state = functions.init(_trainer.initial_params(SMALL, jax.random.key(0)))
        return float(functions.run(state, _trainer.to_device(dataset), windows, length=1)[1]["loss"][0])

    plain, image = loss(NEVER), loss(ALWAYS)
    assert plain != pytest.approx(image, rel=1e-3)
    assert min(plain, image) < loss(MAYBE) < max(plain, image)


@pytest.mark.parametrize(
    "change", [{"steps": 0}, {"window": 0}, {"ema": 1.5}, {"teacher_start": -0.1}, {"mirror": 2.0}]
)
def test_impossible_recipes_are_refused(change):
    with pytest.raises(InputError, match=next(iter(change))):
        dataclasses.replace(QUICK, **change)
