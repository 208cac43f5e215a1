"""Exported models: read back in torch's layout, by jax alone, and by the program itself."""

import subprocess
import sys
import zipfile

import jax
import numpy as np
import pytest

import cmg_jax
from cmg_jax import InputError
from cmg_jax.export import stablehlo, state_dict, torch_file
from cmg_jax.export._torch_file import ALIGNMENT
from cmg_jax.model._precision import with_precision
from converters import _torch_file as reader
from converters import load_model
from tests.conftest import DATA, refused_line, run_in_process, run_program
from tests.torch_files import read_tensors


def arrays(content) -> dict[str, np.ndarray]:
    return {name: tensor.array for name, tensor in read_tensors(content).items()}


# PyTorch.


def test_convert_export_convert_is_bit_identical(tmp_path):
    source = DATA / "final.pt"  # of torch.save
    first = load_model(source, names=("hip", "knee"))[0]
    (tmp_path / "again.pt").write_bytes(torch_file(first))
    second, _, _ = load_model(tmp_path / "again.pt")
    jax.tree.map(np.testing.assert_array_equal, first.params, second.params)
    jax.tree.map(np.testing.assert_array_equal, first.stats, second.stats)
    (original, ours) = (reader.load(path) for path in (source, tmp_path / "again.pt"))
    assert list(original) == ["model_state_dict", "stats"]
    assert list(ours) == [*original, "joint_names"]
    assert second.config.joint_names == first.config.joint_names == ("hip", "knee")
    assert list(ours["model_state_dict"]) == list(original["model_state_dict"]), "the order of the module"
    weights = arrays(original["model_state_dict"])
    for name, array in arrays(ours["model_state_dict"]).items():
        np.testing.assert_array_equal(array, weights[name], strict=True)
    assert set(ours["stats"]) == set(original["stats"])
    for name, value in original["stats"].items():
        assert type(ours["stats"][name]) is type(value)
        np.testing.assert_array_equal(ours["stats"][name], value, strict=True)


@pytest.mark.parametrize("which", ["small", "real"])
def test_a_model_of_any_size_comes_back(which, small_model, model, tmp_path):
    chosen = small_model if which == "small" else model
    (tmp_path / "a.pt").write_bytes(torch_file(chosen))
    back = load_model(tmp_path / "a.pt", fps=chosen.config.fps)[0]
    jax.tree.map(np.testing.assert_array_equal, chosen.params, back.params)
    assert back.config.hidden_dims == chosen.config.hidden_dims
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        data = (tmp_path / "a.pt").read_bytes()
        for record in archive.infolist():
            begin = data.index(archive.read(record), record.header_offset)
            assert record.compress_type == zipfile.ZIP_STORED
            assert "/data/" not in record.filename or begin % ALIGNMENT == 0


def test_a_model_in_lower_precision_is_refused(model):
    with pytest.raises(InputError, match="float32"):
        state_dict(with_precision(model, "bfloat16"))


def test_torch_itself_reads_the_file(model, tmp_path):
    torch = pytest.importorskip("torch")
    (tmp_path / "final.pt").write_bytes(torch_file(model))
    (tmp_path / "best.pt").write_bytes(torch_file(model, stats=False))
    final = torch.load(tmp_path / "final.pt", weights_only=False)
    best = torch.load(tmp_path / "best.pt", weights_only=True, mmap=True)
    reconstruct = np._core.multiarray._reconstruct  # pyright: ignore[reportAttributeAccessIssue]
    allowed = [(reconstruct, "numpy.core.multiarray._reconstruct"), np.ndarray, np.dtype, np.dtypes.Float32DType]
    with torch.serialization.safe_globals(allowed):
        assert list(torch.load(tmp_path / "final.pt", weights_only=True)) == ["model_state_dict", "stats"]
    for name, array in state_dict(model).items():
        for loaded in (final["model_state_dict"], best):
            np.testing.assert_array_equal(loaded[name].numpy(), array, strict=True)
            assert loaded[name].is_contiguous()
    np.testing.assert_array_equal(final["stats"]["motion_std"], model.stats.motion_std)


# StableHLO.

JAX_ONLY = """
import sys, jax, numpy as np
inputs = np.load("inputs.npz")
out = {}
for name in ("step", "steps"):
    program = jax.export.deserialize(bytearray(open(f"{name}.jax", "rb").read()))
    assert program.platforms == ("cpu", "cuda", "tpu"), program.platforms
    for rows in (1, 6):
        out[f"{name}_{rows}"] = program.call(inputs["motion"][:rows], inputs[name][:rows])
assert not {"cmg_jax", "flax", "orbax", "mujoco"} & set(sys.modules)
np.savez("out.npz", **out)
"""


def test_a_process_with_jax_alone_runs_it_for_any_number_of_rows(model, tmp_path):
    rng = np.random.default_rng(2)
    motion = np.asarray(model.initial_motion)[:6] if model.initial_motion is not None else np.zeros((6, 58), np.float32)
    motion = motion + rng.normal(size=motion.shape).astype(np.float32) * 0.01
    commands = rng.uniform(-0.3, 0.8, size=(6, 7, 3)).astype(np.float32)
    np.savez(tmp_path / "inputs.npz", motion=motion, step=commands[:, 0], steps=commands)
    (tmp_path / "step.jax").write_bytes(stablehlo(model).serialize())
    (tmp_path / "steps.jax").write_bytes(stablehlo(model, num_frames=7).serialize())
    result = subprocess.run([sys.executable, "-c", JAX_ONLY], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    expected = np.asarray(jax.jit(cmg_jax.generate)(model, motion, commands))
    scale = np.asarray(model.stats.motion_std)
    with np.load(tmp_path / "out.npz") as out:
        for rows in (1, 6):
            np.testing.assert_allclose(out[f"step_{rows}"] / scale, expected[:rows, 1] / scale, atol=1e-5)
            np.testing.assert_allclose(out[f"steps_{rows}"] / scale, expected[:rows] / scale, atol=1e-4)


# The program.


def test_the_program_writes_and_checks_what_it_wrote(tmp_path, capsys):
    result = run_program("cmg-jax", "export", "--format", "onnx", "--physical", "--out", "a.onnx", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "onnxruntime differs by" in result.stdout
    result = run_in_process(capsys, "cmg-jax", "export", "--format", "torch", "--out", "a.pt", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    result = run_in_process(capsys, "cmg-convert", "a.pt", "--out", "again", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    bundled, again = cmg_jax.default_model(), cmg_jax.load(tmp_path / "again")
    jax.tree.map(np.testing.assert_array_equal, bundled.params, again.params)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model", "absent", "--format", "onnx", "--out", "a.onnx"), "not a model directory"),
        (("--format", "onnx", "--out", "absent/a.onnx"), "create it first"),
        (("--format", "onnx", "--out", "."), "is a directory"),
        (("--format", "onnx", "--out", "a", "--steps", 4), "--steps requires --format stablehlo"),
        (("--format", "torch", "--out", "a", "--physical"), "--physical requires --format onnx"),
        (("--format", "stablehlo", "--out", "a", "--weights-only"), "--weights-only requires --format torch"),
        (("--format", "stablehlo", "--out", "a", "--steps", 0), "at least one"),
        (("--format", "tflite", "--out", "a"), "invalid choice"),
        (("--format", "onnx"), "--out"),
    ],
)
def test_bad_arguments_are_one_clear_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert words in refused_line(capsys, "export", *arguments)
    assert not list(tmp_path.iterdir())
