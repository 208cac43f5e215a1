"""A missing extra is reported before the work, in one line that names it; `.ci/extras` installs each alone."""

import importlib
import re
import sys

import pytest

from tests.conftest import refused_line, run_in_process

VIZ, EXPORT, VIEW, RL = (f"pip install 'cmg_jax[{extra}]'" for extra in ("viz", "export", "view", "rl"))


@pytest.fixture
def without(monkeypatch):
    """Make modules unimportable, as if their packages were not installed."""
    return lambda *names: [monkeypatch.setitem(sys.modules, name, None) for name in names]


@pytest.mark.parametrize(
    ("missing", "arguments", "words"),
    [
        ("matplotlib", "generate --out a.npz --plot a.png", VIZ),
        ("matplotlib", "generate --out a.npz --video a.gif", VIZ),
        ("imageio_ffmpeg", "generate --out a.npz --video a.mp4", VIZ),
        ("matplotlib", "inspect walk.npz --plot a.png", VIZ),
        ("matplotlib", "data walk.npz --out a.npz --plot a.png", VIZ),
        ("matplotlib", "evaluate --report a", VIZ),
        ("matplotlib", "motions --out a", VIZ),
        ("matplotlib", "bench --pictures a", VIZ),
        ("onnxruntime torch", "bench --mode peers", "pip install 'cmg_jax[bench]'"),
        ("onnx", "export --format onnx --out a.onnx", EXPORT),
        ("viser", "view", VIEW),
        ("brax", "rl train --out a", RL),
        ("brax mujoco_playground matplotlib", "rl train --out a", RL),
    ],
)
def test_a_missing_extra_is_reported_before_the_work(missing, arguments, words, without, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "walk.npz").write_bytes(b"not looked at")
    without(*missing.split())
    assert words in refused_line(capsys, *arguments.split())
    assert [path.name for path in tmp_path.iterdir()] == ["walk.npz"]


def test_a_data_set_is_written_even_without_its_plot(without, tmp_path, capsys):
    made = run_in_process(
        capsys, "cmg-jax", "generate", "--seconds", 2, "--out", "walk.npz", "--no-bodies", cwd=tmp_path
    )
    assert made.returncode == 0, made.stderr
    without("matplotlib")
    result = run_in_process(capsys, "cmg-jax", "data", "walk.npz", "--out", "data.npz", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert VIZ in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.npz", "walk.npz"]


@pytest.mark.parametrize(
    ("package", "name", "module"),
    [("cmg_jax.envs", "make_wrap_env_fn", "_wrapper"), ("cmg_jax.rl", "set_up", "_setup")],
)
def test_a_public_name_reports_its_missing_extra(package, name, module, without, monkeypatch):
    without("brax", "brax.envs.base", "brax.training.acme", "brax.training.agents.ppo")
    monkeypatch.delitem(sys.modules, f"{package}.{module}", raising=False)
    with pytest.raises(ImportError, match=re.escape(f"{package}.{name} needs brax: {RL}")):
        getattr(importlib.import_module(package), name)
