"""A model's root in motion files, on the page, and in every file that holds a model or motion of one."""

import json
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cmg_jax
from cmg_jax import InputError, _card, _digests, motion_files
from cmg_jax.cli.main import main
from cmg_jax.commands import _schedule
from cmg_jax.generators._base import first_frames, standing_frame, to_frame
from cmg_jax.model._model import CMGConfig, CMGModel
from cmg_jax.model._precision import with_precision
from cmg_jax.motion_files import Assume, Motion
from cmg_jax.robot import (
    G1,
    MotionFrame,
    foot_contacts,
    integrate_root,
    join_frame,
    root_channel,
    root_from_feet,
    split_frame,
)
from cmg_jax.robot._rotation import inverse, multiply, rotate, yaw_of
from cmg_jax.store import create_store, fill, open_store, read
from cmg_jax.view import Drive
from converters._stats import FIELDS
from tests.conftest import SHARED, assert_one_clear_line, needs_shared, refused_line, run_in_process
from tests.generator_tools import commands, flat

FORMATS = {
    "npz": "run.npz",
    "csv": "run.csv",
    "twist": "run.pkl",
    "mjlab": "tracking.npz",
    "beyondmimic": "isaac.npz",
}
SECONDS = 60


def of_recording(
    config: CMGConfig, joint_pos: np.ndarray, position: np.ndarray, rotation: np.ndarray
) -> tuple[Motion, tuple[np.ndarray, np.ndarray]]:
    """A recorded root as the frames of a model make a `Motion` of it, and where it has to be, in float64."""
    channel = root_channel(position, rotation, config.fps)
    frames = join_frame(MotionFrame(joint_pos, np.gradient(joint_pos, 1 / config.fps, axis=0), channel))  # type: ignore
    motion = motion_files.of_trajectory(config, np.asarray(frames, np.float32), np.zeros((len(joint_pos) - 1, 3)))
    yaw = float(yaw_of(jnp.asarray(rotation[0])))
    back = np.broadcast_to([np.cos(yaw / 2), 0, 0, -np.sin(yaw / 2)], rotation.shape)
    moved = rotate(back, position - [*position[0, :2], 0])
    return motion, (moved, multiply(back, rotation))


def assert_same_root(place, expected):
    """1 mm and 0.1 degree."""
    np.testing.assert_allclose(place[0], expected[0], rtol=0, atol=1e-3)
    apart = multiply(inverse(np.asarray(place[1], np.float64)), expected[1])
    assert np.degrees(2 * np.linalg.norm(apart[:, 1:], axis=-1).max()) < 0.1


@pytest.fixture(scope="module")
def recorded(policy_model, root_model) -> tuple[Motion, tuple[np.ndarray, np.ndarray]]:
    """A minute of a walk that leans, bounces off the floor, and begins anywhere."""
    turns = _schedule.hold_each([[0.9, 0.1, 0.5], [0.4, 0, -0.6], [1.2, -0.1, 0.1]], SECONDS, 50)
    frames = jax.jit(cmg_jax.generate)(policy_model, first_frames(policy_model, jax.random.key(4), 1), turns[None])
    joint_pos = np.asarray(frames, np.float64)[0, :, :29]
    place = root_from_feet(joint_pos, G1, 50.0)
    position, upright = (np.asarray(array, np.float64) for array in place)
    seconds = np.arange(len(position)) / 50
    position = position + np.stack([0 * seconds + 3, 0 * seconds - 7, 0.04 * np.abs(np.sin(8 * seconds))], axis=-1)
    pitch, roll = 0.15 + 0.05 * np.sin(7 * seconds), 0.06 * np.sin(3.5 * seconds + 1)
    zero = np.zeros_like(seconds)
    lean = multiply(
        np.stack([np.cos(pitch / 2), zero, np.sin(pitch / 2), zero], axis=-1),
        np.stack([np.cos(roll / 2), np.sin(roll / 2), zero, zero], axis=-1),
    )
    start = np.broadcast_to([np.cos(1.1), 0, 0, np.sin(1.1)], upright.shape)
    return of_recording(root_model.config, joint_pos, rotate(start, position), multiply(start, multiply(upright, lean)))


# Motion files.


def test_the_integrated_root_of_a_recording_is_the_recorded_one(recorded):
    motion, expected = recorded
    assert motion.root_pos.shape == (3001, 3)
    assert np.linalg.norm(motion.root_pos[-1] - motion.root_pos[0]) > 3
    assert_same_root((motion.root_pos, motion.root_quat), expected)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_keeps_the_root_from_recording_to_file_to_frames(name, recorded, tmp_path):
    motion, expected = recorded
    motion_files.write(tmp_path / FORMATS[name], motion, name, bodies=True)
    (clip,) = motion_files.read(tmp_path / FORMATS[name], Assume(csv_fps=50.0)).clips
    assert_same_root((clip.root_pos, clip.root_quat), expected)
    channel = jax.tree.map(jnp.float32, root_channel(clip.root_pos, clip.root_quat, clip.fps))
    assert_same_root([np.asarray(array) for array in integrate_root(channel, clip.fps)[:2]], expected)


def test_the_original_finds_the_root_among_the_bodies(recorded, tmp_path):
    motion, expected = recorded
    motion_files.write(tmp_path / "run.npz", motion, bodies=True)
    arrays = dict(np.load(tmp_path / "run.npz"))
    np.savez(tmp_path / "original.npz", **{key: arrays[key] for key in arrays if not key.startswith("root_")})
    (content,) = motion_files.read(tmp_path / "original.npz").contents
    assert content.format.title == "NPZ of the original"
    (clip,) = motion_files.read(tmp_path / "original.npz").clips
    assert_same_root((clip.root_pos, clip.root_quat), expected)


def test_trackers_read_the_root_as_their_loaders_do(recorded, tmp_path):
    """TWIST from a pickle, xyzw; mjlab and BeyondMimic as the first of the bodies, with its velocities."""
    motion, expected = recorded
    for name in ("twist", "mjlab", "beyondmimic"):
        motion_files.write(tmp_path / FORMATS[name], motion, name)
    content = pickle.loads((tmp_path / "run.pkl").read_bytes())
    assert_same_root((content["root_pos"], content["root_rot"][:, [3, 0, 1, 2]]), expected)
    for name in ("mjlab", "beyondmimic"):
        with np.load(tmp_path / FORMATS[name]) as arrays:
            assert_same_root((arrays["body_pos_w"][:, 0], arrays["body_quat_w"][:, 0]), expected)
            angular, linear = arrays["body_ang_vel_w"][:, 0], arrays["body_lin_vel_w"][:, 0]
        turn = multiply(expected[1][2:], inverse(expected[1][:-2]))
        np.testing.assert_allclose(angular[1:-1], 2 * turn[:, 1:] * np.sign(turn[:, :1]) * 25, atol=0.02)
        if name == "mjlab":  # of the origin; BeyondMimic's are of the centre of mass
            seen = (expected[0][2:] - expected[0][:-2]) * 25
            np.testing.assert_allclose(linear[1:-1], seen, atol=0.01)


@needs_shared
@pytest.mark.parametrize("name", ["csv", "twist"])
def test_recorded_minutes_come_back(name, root_model, tmp_path):
    with np.load(SHARED / "rollouts" / "g1_velocity_policy_20x60s_50hz.npz") as arrays:
        joint_pos, position, rotation = (
            arrays[key][7].astype(np.float64) for key in ("joint_pos", "root_pos", "root_quat_wxyz")
        )
    rotation /= np.linalg.norm(rotation, axis=-1, keepdims=True)
    motion, expected = of_recording(root_model.config, joint_pos, position, rotation)
    motion_files.write(tmp_path / FORMATS[name], motion, name)
    (clip,) = motion_files.read(tmp_path / FORMATS[name], Assume(csv_fps=50.0)).clips
    assert_same_root((clip.root_pos, clip.root_quat), expected)


@pytest.fixture(scope="module")
def leaning(root_model) -> CMGModel:
    """`root_model`, leaning forward and to the left as it goes there."""
    mean = root_model.stats.motion_mean.at[58:].add(jnp.array([0.1, 0.15, 0.1, 0.5, 0.3, 0.4]))
    return root_model.replace(stats=root_model.stats._replace(motion_mean=mean))


def test_a_models_root_is_the_default_and_another_can_be_had(policy_model, leaning):
    held = np.tile(np.array([0.5, 0.1, 0.3], np.float32), (2, 40, 1))
    trajectory = np.asarray(jax.jit(cmg_jax.generate)(leaning, first_frames(leaning, jax.random.key(1), 2), held))
    channel = trajectory[..., 58:]
    own, commanded = (motion_files.of_trajectory(leaning.config, trajectory, held, root) for root in (None, "command"))
    np.testing.assert_allclose(own.root_pos[..., 2], channel[..., 0], atol=1e-6)
    down = rotate(inverse(own.root_quat), np.broadcast_to(np.array([0, 0, -1], np.float32), own.root_pos.shape))
    np.testing.assert_allclose(down[..., :2], channel[..., 1:3], atol=1e-6)
    assert np.abs(down[:, 5:, :2]).min() > 0.05
    np.testing.assert_allclose(commanded.root_quat[..., 1:3], 0, atol=1e-7)
    assert np.abs(commanded.root_pos - own.root_pos)[:, -1].min() > 0.02
    without = motion_files.of_trajectory(policy_model.config, trajectory[..., :58], held)
    np.testing.assert_array_equal(without.root_pos, commanded.root_pos)
    with pytest.raises(InputError, match="58 numbers have no root; use --root command or --root odometry"):
        motion_files.of_trajectory(policy_model.config, trajectory[..., :58], held, "model")


# Programs.


@pytest.fixture(scope="module")
def directory(root_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("root") / "model"
    cmg_jax.save(root_model, path)
    return path


def test_generate_writes_the_models_root_unless_told(directory, root_model, tmp_path, capsys):
    generate = ("cmg-jax", "generate", "--model", directory, "--command", 0.4, 0, 0.3, "--seconds", 1, "--seed", 3)
    arrays = {}
    for name, options in {"own": (), "model": ("--root", "model"), "command": ("--root", "command")}.items():
        result = run_in_process(capsys, *generate, "--no-bodies", *options, "--out", f"{name}.npz", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        arrays[name] = dict(np.load(tmp_path / f"{name}.npz"))
    held = np.tile(np.array([0.4, 0, 0.3], np.float32), (50, 1))
    trajectory = jax.jit(cmg_jax.generate)(root_model, first_frames(root_model, jax.random.key(3), 1), held[None])[0]
    expected = motion_files.of_trajectory(root_model.config, np.asarray(trajectory), held)
    for name in ("own", "model"):
        np.testing.assert_allclose(arrays[name]["root_pos"], expected.root_pos, atol=1e-4)
        np.testing.assert_allclose(arrays[name]["root_quat_wxyz"], expected.root_quat, atol=1e-4)
    assert not arrays["command"]["root_quat_wxyz"][:, 1:3].any()


@pytest.mark.parametrize("program", ["generate", "motions"])
def test_a_model_without_a_root_has_none_to_go_by(program, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = refused_line(capsys, program, "--model", "policy", "--root", "model", "--out", "run.npz")
    assert "--root model: the model's frames of 58 numbers have no root; use --root command or --root odometry" in line
    assert not list(tmp_path.iterdir())


def test_info_names_the_parts_of_a_frame_with_their_units(directory, root_model, policy_model, capsys):
    assert main(["info", "--model", str(directory)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("frame")]
    assert line.split(None, 1)[1] == (
        "29 joint positions [rad]; 29 joint velocities [rad/s]; 1 root height [m]; 2 root gravity x, y [1]; "
        "2 root forward, left velocity [m/s]; 1 root yaw rate [rad/s]"
    )
    assert "root" not in _card.card(policy_model, directory).partition("joints\n")[0].replace(str(directory), "")


# Models and stores.


def test_a_model_directory_keeps_the_root(directory, root_model):
    loaded = cmg_jax.load(directory)
    assert loaded.config.has_root
    jax.tree.map(np.testing.assert_array_equal, loaded, root_model)


@pytest.mark.parametrize(
    ("size", "words"), [(61, "a frame of 61 numbers does not add up: 29 joint"), (58, "not those that config.json")]
)
def test_a_directory_whose_parts_do_not_add_up_is_refused(size, words, root_model, tmp_path, capsys):
    cmg_jax.save(root_model, tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    content = json.loads(path.read_text()) | {"motion_dim": size}
    content.pop(_digests.SEAL)
    path.write_text(json.dumps(_digests.sealed(content)))
    assert words in refused_line(capsys, "info", "--model", tmp_path / "model")


def test_export_and_convert_are_bit_identical_and_keep_the_root(directory, root_model, tmp_path, capsys):
    result = run_in_process(
        capsys, "cmg-jax", "export", "--format", "torch", "--model", directory, "--out", "a.pt", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    result = run_in_process(capsys, "cmg-convert", "a.pt", "--out", "again", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    again = cmg_jax.load(tmp_path / "again")
    assert again.config.has_root
    assert again.config == root_model.config
    jax.tree.map(np.testing.assert_array_equal, (again.params, again.stats), (root_model.params, root_model.stats))


def test_weights_alone_leave_open_whether_there_is_a_root(directory, root_model, tmp_path, capsys):
    stats = {name: np.asarray(array).tolist() for name, array in zip(FIELDS, root_model.stats, strict=False)}
    (tmp_path / "stats.yaml").write_text(json.dumps(stats))
    weights = ("--format", "torch", "--weights-only", "--out", tmp_path / "a.pt")
    assert run_in_process(capsys, "cmg-jax", "export", "--model", directory, *weights).returncode == 0
    convert = ("cmg-convert", tmp_path / "a.pt", "--stats", tmp_path / "stats.yaml", "--out", tmp_path / "again")
    assert_one_clear_line(
        run_in_process(capsys, *convert),
        "a frame of 64 numbers is of 32 joints, or with a root channel of 29 joints, and nothing names them",
        "--joint-names g1-29",
    )
    result = run_in_process(capsys, *convert, "--joint-names", "g1-29")
    assert "frame: 29 joint positions [rad]; 29 joint velocities [rad/s]; 1 root height" in result.stdout, result.stderr
    (tmp_path / "stats.yaml").write_text(json.dumps(stats | {"num_joints": 29}))
    assert run_in_process(capsys, *convert, "--force").returncode == 0
    assert cmg_jax.load(tmp_path / "again").config == root_model.config


@pytest.mark.parametrize("options", [("onnx",), ("onnx", "--physical"), ("stablehlo",), ("stablehlo", "--steps", 3)])
def test_programs_for_others_take_and_give_the_root(options, directory, tmp_path, capsys):
    out = tmp_path / "model.bin"
    result = run_in_process(capsys, "cmg-jax", "export", "--model", directory, "--out", out, "--format", *options)
    assert result.returncode == 0, result.stderr
    assert "differs by" in result.stdout or "onnxruntime is not installed" in result.stdout
    if options[0] == "stablehlo":
        program = jax.export.deserialize(bytearray(out.read_bytes()))
        assert [aval.shape[-1] for aval in (*program.in_avals, *program.out_avals)] == [64, 3, 64]


@pytest.mark.parametrize(("precision", "error"), [("bfloat16", 0.02), ("float16", 2e-3), ("int8", 0.05)])
def test_lower_precision_is_near_in_the_root_too(precision, error, root_model):
    motion, command = first_frames(root_model, jax.random.key(2), 64), commands(2, 64)
    frames = [
        jax.jit(cmg_jax.apply)(model, motion, command) for model in (root_model, with_precision(root_model, precision))
    ]
    difference = np.abs(np.asarray(frames[0] - frames[1]) / np.asarray(root_model.stats.motion_std))[:, 58:]
    assert 0 < difference.max() < error


def test_half_precision_stores_and_times_between_frames_keep_the_root(root_model):
    command, seconds = commands(3, 5), np.array([0.0, 0.01, 0.05], np.float32)
    roots = []
    for dtype in (jnp.float32, jnp.float16):
        generator = cmg_jax.streaming(4, dtype=dtype)
        state = generator.init(root_model, jax.random.key(0), command)
        roots.append(cmg_jax.at_time(generator, root_model, state, seconds).root)
        frames = generator.lookahead(root_model, state, (0, 1, 2, 3)).root
        leaves = jax.tree.map(np.asarray, jax.tree.leaves(frames))
        between = [leaf[:, [0, 0, 2]] + leaf[:, [0, 1, 3]] for leaf in leaves]
        for leaf, mean in zip(jax.tree.leaves(roots[-1]), between, strict=True):
            np.testing.assert_allclose(leaf, mean / 2, atol=1e-5)
    for half, full in zip(roots[1], roots[0], strict=True):
        np.testing.assert_allclose(half, full, atol=2e-3)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_store_and_its_bank_hold_the_root(dtype, root_model, tmp_path):
    store = create_store(tmp_path / "runs.zarr", root_model, 6, 9, dtype=dtype, chunk_envs=4)
    fill(root_model, store)
    store = open_store(tmp_path / "runs.zarr")
    motion = read(store, store.motion)
    assert motion.shape == (6, 10, 64)
    held = np.repeat(read(store, store.command)[:, None], 9, axis=1)
    made = jax.jit(cmg_jax.generate)(root_model, motion[:, 0].astype(np.float32), held)
    np.testing.assert_allclose(motion, made, atol=1e-5 if dtype == "float32" else 1e-2)
    bank = cmg_jax.load_bank(tmp_path / "runs.zarr", root_model, dtype=dtype)
    frames = to_frame(root_model, bank.frames)
    assert frames.root is not None
    np.testing.assert_allclose(flat(frames), motion[:, 1:].swapaxes(0, 1), atol=1e-5 if dtype == "float32" else 1e-2)


def test_a_store_says_how_large_its_frames_are_unless_they_are_joints_alone(root_model, policy_model, tmp_path):
    for name, model, size, found in (("old", policy_model, None, 58), ("odd", root_model, 61, None)):
        path = tmp_path / f"{name}.zarr"
        create_store(path, model, 4, 9)
        content = json.loads((path / "zarr.json").read_text())
        attributes = content["attributes"] | {"motion_dim": size}
        del attributes[_digests.SEAL]
        if size is None:  # as stores were before frames could have a root
            del attributes["motion_dim"]
        content["attributes"] = _digests.sealed(attributes)
        (path / "zarr.json").write_text(json.dumps(content))
        if found:
            assert open_store(path).config.motion_dim == found
        else:
            with pytest.raises(InputError, match=r"odd\.zarr: its zarr\.json is damaged .*61 numbers does not add up"):
                open_store(path)


# The page.


def test_a_driven_robot_stands_and_leans_as_its_root_says(leaning, policy_model):
    schedule = np.asarray(commands(5, 30)) * [0.5, 0.5, 0.5]
    drive = Drive([policy_model, leaning], ["without", "with"], commands=schedule.astype(np.float32))
    poses = [drive.reset(), *(drive.step() for _ in range(30))]
    first = standing_frame(leaning)[None]
    trajectory = np.asarray(jax.jit(cmg_jax.generate)(leaning, first, schedule[None].astype(np.float32)))[0]
    expected = motion_files.of_trajectory(leaning.config, trajectory, schedule)
    np.testing.assert_allclose([pose[1].root_pos for pose in poses], expected.root_pos, atol=1e-4)
    rotations = np.array([pose[1].root_quat for pose in poses])
    np.testing.assert_allclose(np.abs((rotations * expected.root_quat).sum(axis=-1)), 1, atol=1e-5)
    assert np.abs(rotations[5:, 1:3]).min() > 0.02
    assert all(not pose[0].root_quat[1:3].any() for pose in poses), "without a root it is upright"
    channel = split_frame(trajectory, 29).root
    assert channel is not None
    velocity = np.concatenate([channel.velocity, channel.yaw_rate], axis=-1)
    np.testing.assert_allclose([pose[1].velocity for pose in poses], velocity, atol=1e-3)
    # A foot is on the floor where it is low and has come there slowly.
    root = integrate_root(jax.tree.map(jnp.asarray, channel), 50.0)
    pairs = [jax.tree.map(lambda leaf, at=at: leaf[at - 1 : at + 1], root) for at in range(1, 31)]
    for at, pair in enumerate(pairs, start=1):
        contact = foot_contacts(jnp.asarray(trajectory[at - 1 : at + 1, :29]), pair, G1, 50.0)[1]
        np.testing.assert_array_equal(poses[at][1].contact, contact)
