# pyright: reportOptionalMemberAccess=false
"""Libraries, how they are played, and the data sets that are made of them."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cmg_jax
from cmg_jax import InputError, motion_files
from cmg_jax.data import load, save
from cmg_jax.library import RolloutOptions, beyond_library, rollouts
from cmg_jax.library import _rollouts as rollouts_module
from cmg_jax.model import expert_coefficients
from cmg_jax.robot import G1, G1_23_JOINTS, mirror_motion, sole_points, split_frame
from tests.generator_tools import flat, play
from tests.library_tools import recordings, small_library


@pytest.fixture(scope="module")
def library_model():
    return cmg_jax.model_of_library(small_library())


def test_a_library_holds_clips_and_their_mirror_images():
    library, made = small_library(), recordings()
    assert library.num_frames == 2 * len(made.motion)
    np.testing.assert_array_equal(library.frames[:300], made.motion[:300])
    np.testing.assert_allclose(library.frames[300:600], mirror_motion(made.motion[:300], G1), atol=1e-6)
    # Each clip starts with the right foot, its image with the left one.
    np.testing.assert_array_equal(library.first_foot[:300] % 3, (-library.first_foot[300:600]) % 3)
    assert library.first_foot[58] == 2
    assert library.standing[50]
    assert not library.standing[120:150].any()
    assert not library.allowed[299]


@pytest.mark.parametrize("speed", [0.6, 1.1])
def test_it_walks_as_commanded_and_stands_at_zero(library_model, speed):
    generator = cmg_jax.matching(start="standing")
    command = jnp.array([[speed, 0.0, 0.0], [0.0, 0.0, 0.0]])
    state = jax.jit(generator.init)(library_model, jax.random.key(0), command)
    served = play(generator, library_model, state, 200)[1]
    forward = served[75:, :, 61].mean(axis=0)
    np.testing.assert_allclose(forward, command[:, 0], atol=0.15)
    assert (
        np.abs(np.diff(served[:, :, :29], axis=0)).max()
        < 1.2 * np.abs(np.diff(recordings().motion[:, :29], axis=0)).max()
    )


def test_it_stops_and_then_stands_still_within_the_limits_of_the_joints():
    made, elbows = recordings(), [G1.joint_names.index(f"{side}_elbow_joint") for side in ("left", "right")]
    motion, limit = made.motion.copy(), G1.joint_limits[elbows[0], 1]
    motion[:, elbows] = limit + 0.1
    library = cmg_jax.build_library(dataclasses.replace(made, motion=motion))
    model, generator = cmg_jax.model_of_library(library), cmg_jax.matching(start="standing")
    command = jnp.array([[0.6, 0.0, 0.0], [1.1, 0.0, 0.0]])
    state, walk = play(generator, model, jax.jit(generator.init)(model, jax.random.key(2), command), 150)
    state = jax.jit(generator.set_command)(model, state, jnp.zeros_like(command))
    stop = play(generator, model, state, 350)[1]
    assert walk[75:, :, 61].mean() > 0.4
    np.testing.assert_allclose(stop[250:, :, :29] - stop[250:251, :, :29], 0, atol=1e-4)
    np.testing.assert_allclose(stop[250:, :, 61:], 0, atol=1e-3)
    np.testing.assert_allclose(walk[1:, :, elbows], limit)


@pytest.mark.slow
def test_every_start_lifts_the_same_foot(library_model):
    generator = cmg_jax.matching(start="standing", search_every=5)
    command = jnp.array([[0.5, 0.0, 0.0], [1.0, 0.0, 0.0], [0.8, 0.0, 0.3], [0.6, 0.3, 0.0]])
    state = jax.jit(generator.init)(library_model, jax.random.key(4), jnp.zeros_like(command))
    state, _ = play(generator, library_model, state, 20)
    state = jax.jit(generator.set_command)(library_model, state, command)
    frames = split_frame(play(generator, library_model, state, 60)[1], 29)
    height = np.asarray(sole_points(frames.joint_pos, G1)).mean(axis=-2)[..., 2]
    above = height - height.min(axis=-1, keepdims=True) > 0.02
    first = [np.flatnonzero(above[:, row].any(axis=-1))[0] for row in range(4)]
    assert [above[at, row].argmax() for row, at in enumerate(first)] == [1, 1, 1, 0]


def test_a_motion_that_is_given_goes_on_without_a_jump(library_model):
    generator = cmg_jax.matching()
    motion = library_model.library.frames[jnp.array([20, 130, 500])] + 0.03
    state = jax.jit(generator.init)(library_model, jax.random.key(0), jnp.full((3, 3), 0.2), motion)
    served = play(generator, library_model, state, 1)[1][0]
    assert np.abs(served[:, :29] - np.asarray(motion)[:, :29]).max() < 0.15
    np.testing.assert_array_equal(flat(generator.lookahead(library_model, state, (0,)))[:, 0], motion)


def test_rows_search_at_different_times(library_model):
    state = cmg_jax.matching(search_every=8).init(library_model, jax.random.key(0), jnp.zeros((256, 3)))
    counts = np.bincount(np.asarray(state.planned) - 8, minlength=8)
    assert counts.max() < 64


def test_rollouts_are_labelled_with_what_was_walked(tmp_path):
    options = RolloutOptions(3, 8.0, (0.4, 0.0, 0.0), (1.2, 0.0, 0.0), (2.0, 3.0), 0.3)
    made = rollouts(small_library(), options)
    assert made.motion.shape == (3 * 400, 64)
    standing = ~made.command.any(axis=-1)
    assert standing.any()
    assert made.command[:, 0].max() > 0.3
    for first, _ in made.clip_edges():
        assert not made.command[first : first + 30].any()
    save(tmp_path / "made.npz", made)
    np.testing.assert_array_equal(load(tmp_path / "made.npz").motion, made.motion)


def test_drawn_commands_stay_within_their_range_and_some_turn_on_the_spot():
    random = np.random.default_rng(4)
    wide, fast = (((-0.8, -0.6, -1.2), (3.2, 0.6, 1.2)), ((1.2, -0.1, 0.0), (2.0, 0.2, 0.4)))
    for low, high in map(np.array, (wide, fast)):
        drawn = np.stack([rollouts_module.draw_one(random, low, high, 0.1) for _ in range(400)])
        moving = drawn[drawn.any(axis=1)]
        assert 0.85 < len(moving) / len(drawn) < 0.96
        assert ((moving >= low - 1e-9) & (moving <= high + 1e-9)).all()
    low, high = map(np.array, wide)
    drawn = np.stack([rollouts_module.draw_one(random, low, high, 0.0) for _ in range(400)])
    on_the_spot = ~drawn[:, :2].any(axis=1)
    assert 0.05 < on_the_spot.mean() < 0.15
    assert (np.abs(drawn[:, 0]) < 0.8).mean() > 0.4


def test_the_command_writes_a_data_set(tmp_path, capsys):
    from cmg_jax.cli.main import main

    save(tmp_path / "walks.npz", recordings())
    arguments = ["--out", str(tmp_path / "made.npz"), "--envs", "2", "--seconds", "4", "--high", "3", "0", "0"]
    assert main(["match", str(tmp_path / "walks.npz"), *arguments, "--low", "0", "0", "0"]) == 0
    printed = capsys.readouterr()
    assert "2 episodes, 400 frames" in printed.out
    assert re.search(r"nothing near the command vx \+3.00 .* the nearest is vx \+1\.", printed.err)
    assert len(load(tmp_path / "made.npz").motion) == 400


def test_recordings_are_generated_from_as_a_model_is(tmp_path, capsys):
    from cmg_jax.cli.main import main

    save(tmp_path / "walks.npz", recordings())
    arguments = ["generate", "--library", str(tmp_path / "walks.npz"), "--command", "0.7", "0", "0"]
    assert main([*arguments, "--seconds", "3", "--envs", "3", "--out", str(tmp_path / "three.npz")]) == 0
    clips = motion_files.read(tmp_path / "three.npz").clips
    poses = np.stack([clip.joint_pos for clip in clips])
    assert poses.shape == (3, 151, 29)
    assert np.ptp(poses[:, 0], axis=0).max() > 0.05, "each begins elsewhere in the recordings"
    assert max(np.linalg.norm(clip.root_pos[-1, :2] - clip.root_pos[0, :2]) for clip in clips) > 1.0
    assert main([*arguments, "--out", str(tmp_path / "three.zarr")]) == 2
    assert "--library cannot be combined" in capsys.readouterr().err


def test_commands_go_as_far_as_the_recordings_unless_an_option_says_otherwise(tmp_path, capsys, monkeypatch):
    from cmg_jax.cli import _match
    from cmg_jax.cli.main import main

    save(tmp_path / "walks.npz", recordings())
    seen = []
    monkeypatch.setattr(_match, "play", lambda library, options, progress: seen.append(options) or 1 / 0)
    for arguments in ([], ["--low", "-0.5", "0", "-1"]):
        with pytest.raises(ZeroDivisionError):
            main(["match", str(tmp_path / "walks.npz"), "--out", str(tmp_path / "made.npz"), *arguments])
    fastest = recordings().command[:, 0].max()
    assert seen[0].high == seen[1].high == pytest.approx((fastest, 0.0, 0.0), abs=2e-3)
    assert seen[0].low == pytest.approx((0.0, 0.0, 0.0), abs=2e-3)
    assert seen[1].low == (-0.5, 0.0, -1.0)


def test_rollouts_go_no_further_to_the_side_than_the_recordings():
    options = RolloutOptions(episodes=2, seconds=6.0, low=(0.3, -0.6, -1.0), high=(1.1, 0.6, 1.0), standing=0.0, seed=3)
    _, command = rollouts_module.play(small_library(), options)
    drawn = rollouts_module.draw(options, 300, 50.0)
    assert np.abs(drawn[..., 1:]).max() > 0.2
    np.testing.assert_array_equal(command[..., 1:], 0)
    np.testing.assert_array_equal(command[..., 0].T, drawn[..., 0])


def test_what_cannot_be_a_library_is_one_line(tmp_path):
    made = recordings()
    short = dataclasses.replace(
        made, **{name: getattr(made, name)[:40] for name in ("motion", "command", "clip", "first_foot")}
    )
    walking = dataclasses.replace(
        made, **{name: getattr(made, name)[80:185] for name in ("motion", "command", "clip", "first_foot")}
    )
    for dataset, robot, words in (
        (short, None, "no clip of the data set can be played for 1 s"),
        (walking, None, "both feet have stood still"),
        (dataclasses.replace(made, motion=made.motion[:, :58]), None, "no root channel"),
        (made, G1.with_joints(G1_23_JOINTS), "with 29 joints, not of .* with 23"),
    ):
        with pytest.raises(InputError, match=words) as error:
            cmg_jax.build_library(dataset, robot=robot)
        assert "\n" not in str(error.value)


def test_models_and_libraries_have_to_fit(reference_model, library_model, tmp_path):
    with pytest.raises(InputError, match=r"64 numbers .* those of the model 58"):
        cmg_jax.with_library(reference_model, small_library())
    with pytest.raises(InputError, match="no network"):
        cmg_jax.apply(library_model, library_model.library.frames[0], jnp.zeros(3))
    with pytest.raises(InputError, match="no network"):
        expert_coefficients(library_model, library_model.library.frames[0], jnp.zeros(3))
    with pytest.raises(InputError, match="no network to save"):
        cmg_jax.save(library_model, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    with pytest.raises(InputError, match="the model has none"):
        cmg_jax.matching().init(reference_model, jax.random.key(0), jnp.zeros((2, 3)))


def test_a_command_far_outside_is_told_with_the_nearest():
    lines = beyond_library(small_library(), np.array([[0.8, 0, 0], [3.0, 0, 0], [0.0, 0, 2.0]], np.float32))
    assert len(lines) == 2
    assert "vx +3.00" in lines[0]


@pytest.mark.parametrize(
    "options",
    [{"search_every": 0}, {"lookahead_frames": 0}, {"half_life": 0.0}, {"start": "lying"}, {"rate_limit": 1.5}],
    ids=str,
)
def test_impossible_options_are_refused(options):
    with pytest.raises(InputError):
        cmg_jax.matching(**options)
