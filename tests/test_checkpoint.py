import dataclasses
import json
import logging
import re
import shutil
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

import cmg_jax
from cmg_jax import InputError, _digests
from cmg_jax.cli.main import main
from cmg_jax.model import _checkpoint
from tests.kill_tools import MOMENTS, kill_at


def assert_same(first, second):
    assert first.config == second.config
    assert jax.tree.structure(first) == jax.tree.structure(second)
    jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.fixture
def directory(small_model, tmp_path):
    cmg_jax.save(small_model, tmp_path / "model")
    return tmp_path / "model"


def test_a_model_comes_back_as_it_was(small_model, directory):
    assert_same(cmg_jax.load(directory), small_model)
    assert_same(cmg_jax.load(str(directory)), small_model)


def test_no_file_of_a_model_names_a_path_of_the_machine_that_wrote_it(directory):
    for path in (*directory.rglob("*"), *_checkpoint.default_model_path().rglob("*")):
        assert path.is_dir() or b"/arrays" not in path.read_bytes(), path


def test_a_model_without_initial_frames_comes_back(small_model, tmp_path):
    model = dataclasses.replace(small_model, initial_motion=None)
    cmg_jax.save(model, tmp_path / "model")
    assert_same(cmg_jax.load(tmp_path / "model"), model)


def test_saved_sharded_over_many_devices_loads_on_one(small_model, tmp_path):
    mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    replicated = jax.device_put(small_model, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))
    cmg_jax.save(replicated, tmp_path / "model")
    loaded = cmg_jax.load(tmp_path / "model")
    assert all(len(leaf.devices()) == 1 for leaf in jax.tree.leaves(loaded))
    assert_same(loaded, small_model)


def test_an_existing_directory_is_kept_without_overwrite(small_model, directory):
    with pytest.raises(InputError, match="exists"):
        cmg_jax.save(dataclasses.replace(small_model, initial_motion=None), directory)
    assert_same(cmg_jax.load(directory), small_model)
    other = dataclasses.replace(small_model, initial_motion=None)
    cmg_jax.save(other, directory, overwrite=True)
    assert_same(cmg_jax.load(directory), other)
    assert [path.name for path in directory.parent.iterdir()] == ["model"], "nothing else may remain"


def test_a_directory_that_is_not_a_model_is_never_replaced(small_model, tmp_path):
    (tmp_path / "notes.tex").write_text("a user's notes")
    with pytest.raises(InputError, match="not a model directory"):
        cmg_jax.save(small_model, tmp_path, overwrite=True)
    assert (tmp_path / "notes.tex").read_text() == "a user's notes"


FOREIGN = (
    "notes.txt",
    "arrays/notes.txt",
    "arrays/_MY_NOTES",
    "arrays/mine/c/0",
    "arrays/data.v2/zarr.json",
    "arrays/params.mine/zarr.json",
    "arrays/params.layers_0.kernel/c/9/9",
    "arrays/params.layers_0.kernel/c/old/0",
    "arrays/.DS_Store",
    ".git/config",
    "empty/sub/",
    "arrays/mine/",
    "arrays/params.layers_0.kernel/c/old/",
)
PASSES_FOR_OURS_WITHOUT_A_LIST = {"arrays/params.mine/zarr.json", "arrays/params.layers_0.kernel/c/9/9"}


def without_digests(directory):
    """The directory in the previous format."""
    content = json.loads((directory / "config.json").read_text()) | {"format": "cmg_jax model 3"}
    del content["files"], content["sha256"]
    (directory / "config.json").write_text(json.dumps(content))


@pytest.mark.parametrize("is_older", [False, True])
def test_only_a_directory_with_our_files_alone_is_replaced(is_older, small_model, directory, tmp_path):
    if is_older:
        without_digests(directory)
    for name in sorted(set(FOREIGN) - (PASSES_FOR_OURS_WITHOUT_A_LIST if is_older else set())):
        mixed = Path(shutil.copytree(directory, tmp_path / "mixed"))
        path = mixed / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_text("a user's notes")
        with pytest.raises(InputError, match=f"also holds {re.escape(name)}"):
            cmg_jax.save(small_model, mixed, overwrite=True)
        assert path.is_dir() or path.read_text() == "a user's notes"
        shutil.rmtree(mixed)
    cmg_jax.save(small_model, directory, overwrite=True)
    assert_same(cmg_jax.load(directory), small_model)


@pytest.mark.parametrize("files", [None, [], "all"])
def test_a_model_whose_list_of_files_is_lost_is_not_replaced(files, small_model, directory):
    """Then nothing shows which files are ours."""
    edit_config(directory, files=files)
    with pytest.raises(InputError, match="also holds arrays/"):
        cmg_jax.save(small_model, directory, overwrite=True)


def test_a_folder_of_another_program_is_not_replaced(small_model, directory, tmp_path):
    for content in ({"architectures": ["LlamaForCausalLM"]}, {"format": "safetensors"}, ["cmg_jax model 4"]):
        folder = tmp_path / "hub"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(content))
        (folder / "model.safetensors").write_bytes(b"weights")
        with pytest.raises(InputError, match="not a model directory"):
            cmg_jax.save(small_model, folder, overwrite=True)
        assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("is_older", [False, True])
def test_a_damaged_model_may_be_replaced(is_older, small_model, directory):
    if is_older:
        without_digests(directory)
    (directory / "arrays/stats.motion_std/c/0").unlink()
    cmg_jax.save(small_model, directory, overwrite=True)
    assert_same(cmg_jax.load(directory), small_model)


def test_saving_prints_nothing(small_model, tmp_path, capfd, caplog):
    cmg_jax.save(small_model, tmp_path / "model")
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def edit_config(directory, **changes):
    """Change the configuration and seal it again, so that it is not damaged."""
    path = directory / "config.json"
    content = json.loads(path.read_text()) | changes
    content.pop("sha256")
    path.write_text(json.dumps(_digests.sealed(content)))


def test_models_of_the_previous_format_are_read_with_a_warning(small_model, directory, tmp_path, capsys):
    without_digests(directory)
    with pytest.warns(UserWarning, match="older format") as warned:
        loaded = cmg_jax.load(directory)
    assert [warning.filename for warning in warned] == [__file__]
    assert_same(loaded, small_model)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["info", "--model", str(directory)]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"cmg-jax info: warning: {directory} is of an older format")
    cmg_jax.save(loaded, directory, overwrite=True)
    assert_same(cmg_jax.load(directory), small_model)


def test_any_flipped_bit_is_detected(small_model, directory):
    """Flips that change nothing, in white space or in orbax's time stamp, may pass."""
    random = np.random.default_rng(5)
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        content = path.read_bytes()
        for position in random.integers(8 * len(content), size=3).tolist():
            damaged = bytearray(content)
            damaged[position // 8] ^= 1 << position % 8
            path.write_bytes(damaged)
            try:
                assert_same(cmg_jax.load(directory), small_model)
            except InputError as error:
                assert str(directory) in str(error)
        path.write_bytes(content)
    assert_same(cmg_jax.load(directory), small_model)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda d: (d / "arrays/params.layers_0.kernel/c/0/0").unlink(), "layers_0.kernel/c/0/0 is missing"),
        (lambda d: (d / "arrays/params.layers_0.kernel/c/0/1").write_bytes(b"x"), "0/1 does not belong there"),
        (lambda d: (d / "arrays/initial_motion/c/0/0").write_bytes(b""), "initial_motion/c/0/0 is damaged"),
        (
            lambda d: shutil.copy(d / "arrays/stats.command_min/c/0", d / "arrays/stats.command_max/c/0"),
            "command_max/c/0 is damaged",
        ),
        (
            lambda d: (d / "config.json").write_text((d / "config.json").read_text().replace("30.0", "31.0")),
            "damaged or was edited",
        ),
    ],
)
def test_damage_is_named(directory, damage, words):
    damage(directory)
    with pytest.raises(InputError, match=words):
        cmg_jax.load(directory)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda d: shutil.rmtree(d), "not a model directory"),
        (lambda d: (d / "config.json").unlink(), "no config.json"),
        (lambda d: (d / "config.json").write_text("{"), "cannot be read"),
        (lambda d: (d / "config.json").write_text("[]"), "format"),
        (lambda d: edit_config(d, format="cmg_jax model 99"), "format"),
        (lambda d: edit_config(d, hidden_dims=[9, 8]), "convert the model again"),
        (lambda d: edit_config(d, initial_motions=3), "not those that config.json describes"),
        (lambda d: edit_config(d, fps="fast"), "configuration"),
        (lambda d: edit_config(d, fps=0), "configuration"),
        (lambda d: edit_config(d, motion_dim=-1), "configuration"),
        (lambda d: edit_config(d, num_experts=0), "configuration"),
        (lambda d: edit_config(d, hidden_dims=[9, -8, 4]), "configuration"),
        (lambda d: edit_config(d, command_dim=float("inf")), "configuration"),
        (lambda d: edit_config(d, joint_names=[]), "configuration"),
        (lambda d: edit_config(d, joint_names=["a", "a", "b"]), "configuration"),
        (lambda d: edit_config(d, gate_dims=None), "configuration"),
        (lambda d: shutil.rmtree(d / "arrays"), "is missing"),
        (lambda d: shutil.rmtree(d / "arrays" / "params.layers_0.kernel"), "convert the model again"),
        (lambda d: (d / "arrays/stats.motion_std/c/0").write_bytes(b"zz"), "motion_std/c/0 is damaged"),
    ],
)
def test_a_damaged_directory_is_one_clear_line(directory, damage, words):
    damage(directory)
    with pytest.raises(InputError, match=words) as raised:
        cmg_jax.load(directory)
    assert "\n" not in str(raised.value)
    assert str(directory) in str(raised.value)


@pytest.mark.parametrize(("name", "size"), [("human", 64), ("policy", 58)])
def test_a_bundled_model_is_small_and_names_its_origin(name, size):
    path = _checkpoint.model_directory(name)
    assert sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) <= 6_000_000
    model = cmg_jax.load(name)
    assert len(model.config.provenance) >= 4
    assert model.initial_motion is not None
    assert model.initial_motion.shape == (512, size)


def test_a_directory_of_a_bundled_models_name_comes_first(small_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_same(cmg_jax.load("human"), cmg_jax.default_model())
    (tmp_path / "policy" / "checkpoints").mkdir(parents=True)  # a run of `cmg-jax rl`, which is no model
    assert cmg_jax.load("policy").config.motion_dim == 58
    cmg_jax.save(small_model, "human")
    assert_same(cmg_jax.load("human"), small_model)
    assert cmg_jax.default_model().config.motion_dim == 64
    (tmp_path / "human" / "config.json").unlink()
    with pytest.raises(InputError):
        cmg_jax.load("human")


REPLACE = """
import cmg_jax
model = cmg_jax.load(sys.argv[1])
stats = model.stats._replace(motion_mean=model.stats.motion_mean * 0 + 7)
cmg_jax.save(model.replace(stats=stats), sys.argv[1], overwrite=True)
"""


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_save_leaves_the_old_directory_or_the_new_one(moment, tiny_model, tmp_path):
    cmg_jax.save(tiny_model, tmp_path / "model")
    kill_at(moment, REPLACE, tmp_path / "model")
    mean = np.asarray(cmg_jax.load(tmp_path / "model").stats.motion_mean)
    np.testing.assert_array_equal(mean, tiny_model.stats.motion_mean if moment == MOMENTS[0] else np.full(6, 7.0))
    # Remains under a hidden name do not block the next save.
    cmg_jax.save(tiny_model, tmp_path / "model", overwrite=True)
    np.testing.assert_array_equal(cmg_jax.load(tmp_path / "model").stats.motion_mean, tiny_model.stats.motion_mean)


def test_the_region_of_commands_comes_back(small_model, tmp_path):
    region = np.array([[-0.5, 0.3, 0.8], [1.0, 0.2, 0.5], [3.0, 0.05, 0.1]], np.float32)[
        :, : small_model.config.command_dim
    ]
    model = small_model.replace(stats=small_model.stats._replace(command_region=jax.numpy.asarray(region)))
    cmg_jax.save(model, tmp_path / "model")
    assert_same(cmg_jax.load(tmp_path / "model"), model)
    content = json.loads((tmp_path / "model" / "config.json").read_text())
    assert content["region_knots"] == 3
