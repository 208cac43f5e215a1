"""The notebooks run as they are, in kernels of their own, and what they store is small."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.slow
NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))
INSTALLS = "skip-execution"
"""The tag of the first cell, which installs this package; nbclient skips it."""


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} >= {"quickstart", "rollout"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_its_stored_outputs_are_those_of_a_run(path, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    assert path.stat().st_size < 200_000
    stored = nbformat.read(path, as_version=4)
    kinds = [[output.output_type for output in cell.get("outputs", [])] for cell in stored.cells]
    copy = shutil.copy(path, tmp_path)
    book = nbformat.read(copy, as_version=4)
    first = next(cell for cell in book.cells if cell.cell_type == "code")
    assert first.metadata.get("tags") == [INSTALLS]
    NotebookClient(book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    for cell in book.cells:  # messages of the compiler are no part of it
        cell.outputs = [output for output in cell.get("outputs", []) if output.get("name") != "stderr"]
    assert [[output.output_type for output in cell.outputs] for cell in book.cells] == kinds
    assert any("display_data" in kind for kind in kinds)
