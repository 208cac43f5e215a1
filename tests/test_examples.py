"""The examples run unchanged, at a smaller size."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from cmg_jax import commands
from cmg_jax.generators._base import is_traced

pytestmark = pytest.mark.slow
EXAMPLES = sorted((Path(__file__).parents[1] / "docs" / "examples").glob("*.py"))
ELSEWHERE = ("rl_ppo", "policy_in_mujoco")  # in test_rl_program.py and test_policy_onnx.py
EXAMPLES = [path for path in EXAMPLES if path.stem not in ELSEWHERE]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, bundled, monkeypatch):
    """It runs, and draws only commands from the trained range of its model."""
    trained, draw, checked = commands.trained_range(bundled), commands.uniform, []

    def uniform(key, command_range, num_envs):
        if not is_traced(command_range):
            checked.append(path)
            low, high = (np.asarray(edge) for edge in command_range[:2])
            assert (low >= np.asarray(trained.low)).all()
            assert (high <= np.asarray(trained.high)).all()
        return draw(key, command_range, num_envs)

    monkeypatch.setattr(commands, "uniform", uniform)
    joint_pos = np.asarray(runpy.run_path(str(path))["main"](num_envs=24, steps=30))
    assert checked or path.stem == "many_devices"
    assert joint_pos.shape == (30, 24, 29)
    assert np.isfinite(joint_pos).all()
    assert np.ptp(joint_pos, axis=0).max() > 0.3


def test_every_mode_has_an_example():
    assert {path.stem for path in EXAMPLES} >= {"pregenerated", "realtime", "streaming", "bank"}
