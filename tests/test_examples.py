"""The examples run as they are, at a smaller size."""

import runpy
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "docs" / "examples").glob("*.py"))
EXAMPLES = [path for path in EXAMPLES if path.stem != "rl_ppo"]  # run by test_rl_program.py


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path):
    joint_pos = np.asarray(runpy.run_path(str(path))["main"](envs=24, steps=30))
    assert joint_pos.shape == (30, 24, 29)
    assert np.isfinite(joint_pos).all()
    assert np.ptp(joint_pos, axis=0).max() > 0.3


def test_there_is_one_for_every_mode():
    assert {path.stem for path in EXAMPLES} >= {"pregenerated", "realtime", "streaming", "bank"}
