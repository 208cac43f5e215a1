import dataclasses
import os
import pickle
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import cmg_jax
from cmg_jax.model._model import apply_normalized
from cmg_jax.model._networks import pack_experts, unpack_experts
from converters import _reference, _torch_file, check, load_model
from converters._stats import FIELDS
from tests.conftest import DATA, SHARED, assert_one_clear_line, needs_shared, run_program
from tests.kill_tools import MOMENTS, kill_at
from tests.torch_files import Tensor, read_tensors, write, write_pickle

FILES = {
    "best.pt": "training_data.pt",
    "best_data_parallel.pt": "stats.yaml",
    "ckpt_4.pt": None,
    "final.pt": "training_data.pt",
    "final_legacy.pt": "final.pt",
}


JOINTS = ("hip", "knee")
"""The joint names of the network in `DATA`, whose files do not name them."""


def convert(source: str, stats: str | None):
    return load_model(DATA / source, DATA / stats if stats else None, names=JOINTS)


@pytest.fixture(scope="module")
def expected():
    with np.load(DATA / "expected.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("source", FILES)
def test_every_format_computes_the_frames_of_pytorch(source, expected):
    model, rows, tensors = convert(source, FILES[source])
    config = model.config
    assert (config.motion_dim, config.command_dim, config.num_experts) == (4, 2, 3)
    assert (config.gate_dims, config.hidden_dims) == ((6,), (7, 5))
    output = apply_normalized(model, expected["x"][:, :4], expected["x"][:, 4:])
    np.testing.assert_allclose(output, expected["y"], rtol=1e-5, atol=1e-5)
    independent = _reference.forward(tensors, expected["x"][:, :4], expected["x"][:, 4:])
    np.testing.assert_allclose(independent, expected["y"], rtol=1e-4, atol=1e-4)
    for name, array in zip(FIELDS, model.stats, strict=False):
        np.testing.assert_array_equal(array, expected[name])
    assert len(rows) == 4 + 2 * 3 * 3


def test_every_format_gives_the_identical_parameters():
    models = [convert(source, stats)[0] for source, stats in FILES.items()]
    for other in models[1:]:
        jax.tree.map(np.testing.assert_array_equal, other.params, models[0].params)
        jax.tree.map(np.testing.assert_array_equal, other.stats, models[0].stats)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2e-3), ("bfloat16", 2e-2)])
def test_half_precision_weights_are_widened(dtype, tolerance):
    half, full = convert(f"final_{dtype}.pt", None)[0], convert("final.pt", None)[0]
    assert {leaf.dtype.name for leaf in jax.tree.leaves(half.params)} == {"float32"}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=1e-4), half.params, full.params)


def test_a_data_set_gives_first_frames(expected):
    np.testing.assert_array_equal(convert("final.pt", "training_data.pt")[0].initial_motion, expected["first_frames"])
    assert convert("final.pt", None)[0].initial_motion is None


def test_a_large_data_set_gives_4096_frames_spread_over_it(tmp_path):
    stats = read_tensors(_torch_file.load(DATA / "final.pt"))["stats"]
    samples = [{"motion": np.full((2, 4), index, np.float32)} for index in range(5000)]
    path = write(tmp_path / "data.pt", {"samples": samples, "stats": stats})
    pool = np.asarray(load_model(DATA / "best.pt", path, names=JOINTS)[0].initial_motion)
    assert pool.shape == (4096, 4)
    assert (pool[0, 0], pool[-1, 0]) == (0, 4999)
    assert (np.diff(pool[:, 0]) >= 1).all()


def architecture(motion_dim, command_dim, experts, gate_dims, hidden_dims, seed=0):
    """A random checkpoint in the original's layout."""
    rng = np.random.default_rng(seed)
    state = {}
    width = motion_dim + command_dim
    for index, features in enumerate((*gate_dims, experts)):
        state[f"gating.gating_network.{2 * index}.weight"] = rng.normal(size=(features, width)) / width**0.5
        state[f"gating.gating_network.{2 * index}.bias"] = rng.normal(size=features)
        width = features
    width = motion_dim + command_dim
    for layer, features in enumerate((*hidden_dims, motion_dim)):
        for expert in range(experts):
            state[f"layers.{layer}.expert_weights.{expert}"] = rng.normal(size=(width, features)) / width**0.5
            state[f"layers.{layer}.expert_biases.{expert}"] = rng.normal(size=features)
        width = features
    stats = {
        "motion_mean": rng.normal(size=motion_dim),
        "motion_std": rng.uniform(0.5, 2, size=motion_dim),
        "command_min": -np.ones(command_dim),
        "command_max": np.ones(command_dim),
    }
    tensors = {name: Tensor(array.astype(np.float32)) for name, array in state.items()}
    return {"model_state_dict": tensors, "stats": stats}


@pytest.mark.parametrize(
    "sizes",
    [
        (58, 3, 4, (512,), (512, 512)),
        (46, 3, 8, (64,), (128,)),
        (6, 1, 1, (5,), ()),
        (10, 5, 2, (4, 9), (3, 20, 7, 11)),
        (8, 3, 12, (), (8, 8)),
    ],
)
def test_any_architecture_is_inferred_from_its_weights(tmp_path, sizes):
    motion_dim, command_dim, experts, gate_dims, hidden_dims = sizes
    names = tuple(f"wheel_{index}" for index in range(motion_dim // 2))
    model, _, tensors = load_model(write(tmp_path / "a.pt", architecture(*sizes)), names=names)
    config = model.config
    assert (config.motion_dim, config.command_dim, config.num_experts) == (motion_dim, command_dim, experts)
    assert (config.gate_dims, config.hidden_dims) == (gate_dims, hidden_dims)
    assert check(model, tensors) < 1e-5
    cmg_jax.save(model, tmp_path / "model")
    assert cmg_jax.load(tmp_path / "model").config == config
    assert config.joint_names == names


def test_a_swapped_transpose_is_detected(tmp_path):
    path = write(tmp_path / "a.pt", architecture(6, 2, 2, (8,), (8, 8)))
    model, _, tensors = load_model(path, names=("a", "b", "c"))
    layer = model.params["layers_1"]
    transposed = pack_experts(unpack_experts(layer["kernel"], layer["bias"]).swapaxes(1, 2))
    wrong = dataclasses.replace(model, params=model.params | {"layers_1": {**layer, "kernel": transposed}})
    with pytest.raises(cmg_jax.InputError, match="differs from the checkpoint"):
        check(wrong, tensors)


# The command line.


def final(tmp_path: Path, change) -> Path:
    """final.pt with one thing changed."""
    content = read_tensors(_torch_file.load(DATA / "final.pt"))
    change(content["model_state_dict"], content["stats"])
    return write(tmp_path / "bad.pt", content)


class Hostile:
    def __reduce__(self):
        return os.system, ("touch owned",)


def set_nan(state, _):
    state["layers.1.expert_weights.2"].array[0, 3] = np.nan


BAD_CHECKPOINTS = {
    "missing expert": (lambda s, _: s.pop("layers.1.expert_weights.2"), "layers.1.expert_weights.2"),
    "missing layer": (
        lambda s, _: [s.pop(k) for k in list(s) if k.startswith("layers.1.")],
        "layers.1.expert_weights.0",
    ),
    "missing gate": (lambda s, _: [s.pop(k) for k in list(s) if k.startswith("gating")], "no gate"),
    "odd-shaped expert": (
        lambda s, _: s.update({"layers.1.expert_weights.1": Tensor(np.zeros((7, 6), np.float32))}),
        "layers.1.expert_weights.1 has shape (7, 6) where 7 x 5 is expected",
    ),
    "transposed expert": (
        lambda s, _: s.update({"layers.0.expert_weights.1": Tensor(s["layers.0.expert_weights.1"].array.T)}),
        "layers.0.expert_weights.1 has shape (7, 6)",
    ),
    "short bias": (
        lambda s, _: s.update({"layers.2.expert_biases.0": Tensor(np.zeros(3, np.float32))}),
        "layers.2.expert_biases.0",
    ),
    "expert too many": (
        lambda s, _: s.update({"layers.0.expert_weights.3": s["layers.0.expert_weights.0"]}),
        "layers.0.expert_biases.3",
    ),
    "gate of other width": (
        lambda s, _: s.update(
            {
                "gating.gating_network.2.weight": Tensor(np.ones((4, 6), np.float32)),
                "gating.gating_network.2.bias": Tensor(np.ones(4, np.float32)),
            }
        ),
        "4 outputs for 3 experts",
    ),
    "unused key": (lambda s, _: s.update({"critic.0.weight": Tensor(np.zeros((2, 2), np.float32))}), "critic.0.weight"),
    "another network": (
        lambda s, _: [s.clear(), s.update({"fc.weight": Tensor(np.zeros((2, 2), np.float32))})],
        "not a CMG",
    ),
    "two networks": (
        lambda s, _: s.update({f"module.{k}": Tensor(v.array) for k, v in list(s.items())}),
        "in 'model_state_dict', 'model_state_dict.module'; choose one with --weights NAME",
    ),
    "whole-number weights": (
        lambda s, _: s.update({"layers.2.expert_biases.0": Tensor(np.zeros(4, np.int64))}),
        "dtype int64",
    ),
    "NaN weights": (set_nan, "layers.1.expert_weights.2 holds NaN"),
    "zero std": (lambda _, t: t["motion_std"].__setitem__(1, 0), "motion_std[1] is 0"),
    "NaN std": (lambda _, t: t["motion_std"].__setitem__(2, np.nan), "motion_std[2] is not finite"),
    "infinite mean": (lambda _, t: t["motion_mean"].__setitem__(0, np.inf), "motion_mean[0] is not finite"),
    "min >= max": (lambda _, t: t["command_min"].__setitem__(0, 1.5), "command_min[0] = 1.5 is not below"),
    "stats of another robot": (lambda _, t: t.update(motion_mean=np.zeros(5, np.float32)), "needs 4;"),
    "no std": (lambda _, t: t.pop("motion_std"), "lack motion_std"),
    "text in stats": (lambda _, t: t.update(motion_mean="zero"), "motion_mean"),
    "nested stats": (lambda _, t: t.update(motion_mean=[[1.0], [2.0], [3.0], [4.0]]), "motion_mean"),
    "huge stats": (lambda _, t: t.update(motion_mean=[10**400, 0, 0, 0]), "motion_mean"),
    "thousands of layers": (
        lambda s, _: s.update({"layers.199.expert_weights.9999": Tensor(np.zeros((2, 2), np.float32))}),
        "200 layers of 10000 experts",
    ),
    "wrong joints": (lambda _, t: t.update(num_joints=29), "num_joints = 29"),
}


@pytest.mark.parametrize("name", BAD_CHECKPOINTS)
def test_a_bad_checkpoint_is_one_clear_line_and_nothing_is_written(name, tmp_path, capsys):
    change, words = BAD_CHECKPOINTS[name]
    source = final(tmp_path, change)
    assert_refused(capsys, tmp_path, words, source, "--out", tmp_path / "out")


def assert_refused(capsys, tmp_path, words, *arguments):
    """Like `assert_one_clear_line`, in this process: starting the program takes two seconds."""
    from converters.cli import main

    before = sorted(path.name for path in tmp_path.iterdir())
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.strip().splitlines()
    assert words in line
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_bad_arguments_are_one_clear_line(tmp_path, capsys):
    out = ("--out", tmp_path / "out")
    cases = [
        ("holds no stats", DATA / "best.pt", *out),
        ("a training data set, not a checkpoint", DATA / "training_data.pt", *out),
        ("holds no stats", DATA / "final.pt", "--stats", DATA / "best.pt", *out),
        ("not a YAML file", DATA / "best.pt", "--stats", tmp_path / "a.yaml", *out),
        ("holds no stats", DATA / "best.pt", "--stats", tmp_path / "list.yaml", *out),
        ("stats lack motion_std, command_min", DATA / "best.pt", "--stats", tmp_path / "part.yaml", *out),
        ("not those that", DATA / "final.pt", "--stats", tmp_path / "other.yaml", *out),
        (f"error: {tmp_path / 'absent.pt'}: No such file or directory", tmp_path / "absent.pt", *out),
        ("is a directory", tmp_path, *out),
        ("--fps nan", DATA / "final.pt", "--fps", "nan", *out),
        ("--fps -5", DATA / "final.pt", "--fps", "-5", *out),
        ("exists; choose another directory, or pass --force to", DATA / "final.pt", "--out", tmp_path),
        ("not a model directory", DATA / "final.pt", "--out", tmp_path, "--force"),
        ("create it first", DATA / "final.pt", "--out", tmp_path / "a" / "b"),
    ]
    for name, text in {"deep": "[" * 3000, "date": "a: 2001-99-99", "digits": "a: " + "9" * 5000}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
        cases.append(("not a YAML file", DATA / "best.pt", "--stats", tmp_path / f"{name}.yaml", *out))
    (tmp_path / "a.yaml").write_text("a: [1, 2")
    (tmp_path / "list.yaml").write_text("- 1\n- 2\n")
    (tmp_path / "part.yaml").write_text("motion_mean: [0, 0, 0, 0]\ncommand_max: [1, 1]\n")
    (tmp_path / "other.yaml").write_text((DATA / "stats.yaml").read_text().replace("- 1.5", "- 2.5"))
    for words, *arguments in cases:
        assert_refused(capsys, tmp_path, words, *arguments)


def test_the_program_converts_and_prints_its_table(tmp_path):
    result = run_program(
        "cmg-convert", DATA / "final.pt", "--out", "model", "--stats", DATA / "training_data.pt", "--fps", "30",
        "--description", "a small one", "--joint-names", "hip,knee", cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    content = _torch_file.load(DATA / "final.pt")["model_state_dict"]
    for key, tensor in content.items():
        (line,) = [line for line in result.stdout.splitlines() if line.startswith(f"{key} ")]
        assert " x ".join(map(str, tensor.shape)) in line
        assert line.endswith("float32")
    assert "largest difference" in result.stdout
    model = cmg_jax.load(tmp_path / "model")
    assert model.config.fps == 30
    assert dict(model.config.provenance)["description"] == "a small one"
    assert model.initial_motion is not None
    assert model.initial_motion.shape == (9, 4)

    again = run_program("cmg-convert", DATA / "ckpt_4.pt", "--out", "model", "--joint-names", "hip,knee", cwd=tmp_path)
    assert_one_clear_line(again, "model exists", "--force")
    assert cmg_jax.load(tmp_path / "model").config.fps == 30
    forced = run_program(
        "cmg-convert", DATA / "ckpt_4.pt", "--out", "model", "--joint-names", "hip,knee", "--force", cwd=tmp_path
    )
    assert forced.returncode == 0, forced.stderr
    assert cmg_jax.load(tmp_path / "model").config.fps == 50
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_hostile_file_is_refused_and_does_not_run(tmp_path):
    write_pickle(tmp_path / "hostile.pt", pickle.dumps({"model_state_dict": Hostile()}, 2))
    (tmp_path / "hostile_legacy.pt").write_bytes(pickle.dumps(Hostile(), 2))
    for name, words in (
        ("hostile.pt", "model_state_dict (posix.system)"),
        ("hostile_legacy.pt", "the file (posix.system)"),
    ):
        result = run_program("cmg-convert", name, "--out", "model", cwd=tmp_path)
        assert_one_clear_line(result, name, words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hostile.pt", "hostile_legacy.pt"]


def test_torch_is_never_imported(tmp_path):
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    arguments = [
        "x",
        str(DATA / "final.pt"),
        "--out",
        str(tmp_path / "model"),
        "--stats",
        str(DATA / "training_data.pt"),
        "--joint-names",
        "hip,knee",
    ]
    program = (
        f"import sys; sys.argv = {arguments!r}; from converters.cli import main; code = main();"
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("moment", MOMENTS[::2])
def test_a_killed_conversion_leaves_the_old_directory_or_the_new_one(moment, tmp_path):
    old = load_model(DATA / "best.pt", DATA / "stats.yaml", fps=30.0, names=JOINTS)[0]
    cmg_jax.save(old, tmp_path / "model")
    program = "from converters.cli import main\nsys.exit(main(sys.argv[1:]))"
    options = ("--force", "--fps", 60, "--joint-names", "hip,knee")
    kill_at(moment, program, DATA / "final.pt", "--out", tmp_path / "model", *options)
    found = cmg_jax.load(tmp_path / "model")
    expected = old if moment == MOMENTS[0] else load_model(DATA / "final.pt", fps=60.0, names=JOINTS)[0]
    assert found.config == expected.config
    jax.tree.map(np.testing.assert_array_equal, found.params, expected.params)


# The real files, if they are present.

REAL = {"cmg_final.pt": None, "cmg_ckpt_40.pt": None, "cmg_best.pt": "cmg_training_data.pt"}


@needs_shared
@pytest.mark.parametrize("source", REAL)
def test_the_real_checkpoints_convert(source):
    folder = SHARED / "torch_cmg"
    model, _, tensors = load_model(folder / source, folder / (REAL[source] or source))
    error = check(model, tensors)
    print(f"{source}: {error:.1e}")
    assert error < 1e-5
    data_set = _torch_file.load(folder / "cmg_training_data.pt")["stats"]
    for name, array in zip(FIELDS, model.stats, strict=False):
        np.testing.assert_array_equal(array, data_set[name])


@needs_shared
def test_the_bundled_model_is_the_real_checkpoint(model):
    folder = SHARED / "torch_cmg"
    converted = load_model(folder / "cmg_final.pt", folder / "cmg_training_data.pt")[0]
    jax.tree.map(np.testing.assert_array_equal, converted.params, model.params)
    jax.tree.map(np.testing.assert_array_equal, converted.stats, model.stats)
    np.testing.assert_array_equal(converted.initial_motion, model.initial_motion)


@needs_shared
def test_real_weights_in_every_format_are_the_same_model(tmp_path):
    folder = SHARED / "torch_cmg"
    final = read_tensors(_torch_file.load(folder / "cmg_final.pt"))
    state, stats = final["model_state_dict"], final["stats"]
    variants = {
        "bare": state,
        "checkpoint": {"epoch": 1, "model_state_dict": state, "optimizer_state_dict": {}, "loss": 0.5, "stats": stats},
        "data_parallel": {"model_state_dict": {f"module.{k}": v for k, v in state.items()}, "stats": stats},
    }
    expected = load_model(folder / "cmg_final.pt")[0]
    for name, content in variants.items():
        path = write(tmp_path / f"{name}.pt", content)
        found = load_model(path, folder / "cmg_training_data.pt")[0]
        jax.tree.map(np.testing.assert_array_equal, found.params, expected.params)
        jax.tree.map(np.testing.assert_array_equal, found.stats, expected.stats)
