"""The Python of the README and of the pages runs as written, and the README's links lead somewhere."""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import cmg_jax
from cmg_jax import data, export, store
from cmg_jax.robot import G1
from tests.conftest import REFERENCE_MODEL, slow_except
from tests.library_tools import recordings

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```python(.*)\n((?:.*\n)*?)^```$", flags=re.MULTILINE)
PAGES = {
    str(path.relative_to(ROOT)): FENCE.findall(path.read_text())
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
PAGES = {page: blocks for page, blocks in PAGES.items() if blocks}

NOT_RUN = {"docs/guides/many_devices.md": "it sets the number of devices, before jax is imported"}
"""The pages with a block marked `python no-run`, one each, and why it does not run here."""

SHAPES = {
    "README.md": {"reference.joint_pos": (256, 29), "ahead.joint_pos": (256, 3, 29)},
    "docs/getting_started.md": {
        "trajectory": (256, 101, 64),
        "frames": (101, 256, 64),
        "root.height": (256, 101, 1),
        "last": (256, 64),
        "joint_pos": (100, 256, 29),
    },
    "docs/guides/brax.md": {},
    "docs/guides/checkpoints.md": {"model.stats.motion_mean": (58,)},
    "docs/guides/choose_a_mode.md": {"state.command": (64, 3), "generator.step(model, state)[1].joint_pos": (64, 29)},
    "docs/guides/commands.md": {"command": (64, 3), "smoothing.smoothed": (64, 3), "held.remaining": (64,)},
    "docs/guides/export.md": {"following": (5, 58)},
    "docs/guides/gpu.md": {"model.initial_motion[0]": (64,)},
    "docs/guides/larger_than_memory.md": {"bank.command": (4096, 3), "state.motion_index": (64,)},
    "docs/guides/many_devices.md": {"state.command": (64, 3)},
    "docs/guides/motion_files.md": {"trajectory": (51, 64), "clip.joint_pos": (51, 29), "clip.root_pos": (51, 3)},
    "docs/guides/own_environment.md": {
        "state.obs": (32, 29 * 4 + 3),
        "state.info['reference'].joint_pos": (32, 29),
        "reward": (200, 32),
    },
    "docs/guides/own_robot.md": {"robot.joint_limits": (29, 2)},
    "docs/guides/pytorch_class.md": {"dof_pos": (16, 29), "dof_vel": (16, 29), "bodies['body_positions']": (16, 30, 3)},
    "docs/guides/recordings.md": {"frame.joint_pos": (8, 29)},
    "docs/guides/rollout.md": {
        "reference.joint_pos": (50, 256, 29),
        "reference.root.height": (50, 256, 1),
        "reference.root.gravity": (50, 256, 2),
        "reference.root.velocity": (50, 256, 2),
        "reference.root.yaw_rate": (50, 256, 1),
        "ahead.joint_pos": (256, 3, 29),
        "standing": (256, 64),
        "position": (256, 2, 3),
        "contacts": (256, 2, 2),
        "frames_of(model, model.initial_motion[:256], jnp.zeros((256, 100, 3)))": (256, 101, 64),
    },
    "docs/gaits.md": {"np.load('clips/001.npz')['qpos']": (40, 36)},
    "docs/gpu_programs.md": {"model.initial_motion[0]": (64,)},
    "docs/matching.md": {"frame.joint_pos": (4096, 29)},
    "docs/reference/index.md": {"model.initial_motion[0]": (64,)},
}
"""Of each page with Python, shapes of expressions after all of its blocks have run."""


def _bank() -> None:
    model = cmg_jax.default_model()
    store.fill(model, store.create_store(Path("bank.zarr"), model, num_envs=4096, num_frames=8))


def _archive_of_clips() -> None:
    parts = {"root_pos": (40, 3), "root_quat_wxyz": (40, 4), "joint_pos": (40, 29)}
    clips: dict[str, Any] = {
        f"{part}_{i}": np.full(shape, i, np.float32) for part, shape in parts.items() for i in range(2)
    }
    np.savez("human_g1.npz", n=2, fps=50.0, **clips)
    Path("clips").mkdir()


FILES: dict[str, Callable[[], object]] = {
    "docs/gaits.md": _archive_of_clips,
    "docs/guides/checkpoints.md": lambda: Path("my_model").symlink_to(REFERENCE_MODEL),
    "docs/guides/export.md": lambda: Path("cmg.jax").write_bytes(export.stablehlo(cmg_jax.load("policy")).serialize()),
    "docs/guides/larger_than_memory.md": _bank,
    "docs/guides/own_robot.md": lambda: Path("my.xml").write_text(G1.mjcf),
    "docs/guides/recordings.md": lambda: data.save(Path("recordings.npz"), recordings()),
    "docs/matching.md": lambda: data.save(Path("walks.npz"), recordings()),
}
"""What makes the files that a page's Python reads: those that its commands would have written."""


@pytest.fixture
def checked_trainer(monkeypatch):
    """Brax's PPO checks its arguments and traces a reset, in place of training for minutes."""
    from brax.training.agents.ppo import train as ppo

    from tests.traced_training import trace_training

    monkeypatch.setattr(ppo, "train", functools.partial(trace_training, ppo.train))


@pytest.mark.parametrize("page", slow_except(PAGES, "README.md"))
def test_python_blocks_run_one_after_the_other(page, tmp_path, monkeypatch, request):
    blocks = PAGES[page]
    assert {info.strip() for info, _ in blocks} <= {"", "no-run"}
    assert sum(info.strip() == "no-run" for info, _ in blocks) == (page in NOT_RUN)
    monkeypatch.chdir(tmp_path)
    FILES.get(page, lambda: None)()
    code = [block for info, block in blocks if not info]
    if any("brax" in block for block in code):
        request.getfixturevalue("allow_mixed_dtypes")
        request.getfixturevalue("checked_trainer")
    names: dict = {}
    for block in code:
        exec(compile(block, page, "exec"), names)
    for expression, shape in SHAPES[page].items():
        assert np.shape(eval(expression, names)) == shape, expression
    if page == "docs/guides/many_devices.md":
        assert len(names["state"].frames.sharding.device_set) == len(jax.devices()) == 8
    if page == "docs/guides/rollout.md":
        assert names["ahead"].joint_pos.dtype == np.float32
        assert names["fast"].horizon == 20


def test_links_of_the_readme_lead_to_files():
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    assert len(links) > 10
    assert [link for link in links if not link.startswith("http") and not (ROOT / link).exists()] == []
