"""The notebooks run as they are, in kernels of their own, and what they store is small."""

import itertools
import json
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import XLA_FLAGS

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))
INSTALLS = "skip-execution"
"""The tag of the first cell, which installs this package; nbclient skips it."""

SMALLER = {
    "ppo_in_brax": {"EPOCHS = 12 ": "EPOCHS = 1 ", "EPOCHS * 20480": "EPOCHS * 5120", "NUM_ENVS = 64": "NUM_ENVS = 16"},
    "recordings_to_model": {"STEPS = 300 ": "STEPS = 30 ", "episodes=24, seconds=20.0": "episodes=4, seconds=6.0"},
}
"""Of notebooks that train: constants, and what they are here."""


def kinds_of(cell):
    """What a cell puts out, without messages of the compiler, which may also divide the text of a cell."""
    kinds = [output.output_type for output in cell.get("outputs", []) if output.get("name") != "stderr"]
    return [kind for kind, _ in itertools.groupby(kinds)]


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} >= {"quickstart", "rollout", *SMALLER}


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_its_stored_outputs_are_those_of_a_run(path, tmp_path, monkeypatch):
    if path.stem == "ppo_in_brax":
        pytest.importorskip("brax")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("XLA_FLAGS", XLA_FLAGS)
    assert path.stat().st_size < 250_000
    stored = nbformat.read(path, as_version=4)
    kinds = [kinds_of(cell) for cell in stored.cells]
    book = nbformat.read(shutil.copy(path, tmp_path), as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert code[0].metadata.get("tags") == [INSTALLS]
    for old, new in SMALLER.get(path.stem, {}).items():
        assert sum(old in cell.source for cell in code) == 1
        for cell in code:
            cell.source = cell.source.replace(old, new)
    NotebookClient(book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert [kinds_of(cell) for cell in book.cells] == kinds
    assert any("display_data" in kind for kind in kinds)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_no_error_and_no_path_of_a_machine(path):
    for cell in json.loads(path.read_text())["cells"]:
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error"
            assert "/tmp" not in json.dumps(output.get("text", ""))
