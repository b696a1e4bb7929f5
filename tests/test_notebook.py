"""The walkthrough's notebook is its page, and runs."""

from __future__ import annotations

import runpy
from pathlib import Path

import nbformat
import pytest
from conftest import RAW, REPOSITORY, has_vocabularies

MAKER = runpy.run_path(str(REPOSITORY / "docs" / "make_notebook.py"))
PAGE = (REPOSITORY / "docs" / "walkthrough.md").read_text(encoding="utf-8")
NOTEBOOK = REPOSITORY / "docs" / "walkthrough.ipynb"


def test_the_notebook_is_the_page() -> None:
    made = MAKER["notebook_of"](PAGE)
    assert NOTEBOOK.read_text(encoding="utf-8") == made, "the page has changed: uv run python docs/make_notebook.py"


def test_every_block_of_the_page_is_a_cell_or_an_output_of_the_notebook() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) == PAGE.count("```python\n") > 15
    assert sum(len(cell.outputs) for cell in code) == PAGE.count("```text\n") > 15
    assert all("```" not in cell.source for cell in notebook.cells)
    assert all(cell.source in PAGE for cell in notebook.cells)


@pytest.mark.endurance
def test_the_notebook_runs_and_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Output that depends on the Python or the processor ("for instance" on the page) has as many lines."""
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient: uv run --group notebook pytest")
    pytest.importorskip("ipykernel", reason="needs ipykernel: uv run --group notebook pytest")
    if not has_vocabularies():
        pytest.skip("needs the published vocabularies in TOKEMBED_RAW_DIR")
    monkeypatch.setenv("TOKEMBED_RAW_DIR", str(RAW))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    shown = nbformat.read(NOTEBOOK, as_version=4)
    done = nbclient.NotebookClient(nbformat.from_dict(shown), timeout=600, resources={"metadata": {"path": tmp_path}}).execute()
    instances = PAGE.split("```text\n# for instance\n")[1:]
    num_compared = 0
    for before, after in zip(shown.cells, done.cells, strict=True):
        if before.cell_type != "code":
            continue
        expected, printed = ("".join(output.text for output in cell.outputs) for cell in (before, after))
        if any(instance.startswith(expected) for instance in instances if expected):
            assert printed.count("\n") == expected.count("\n")
        else:
            assert printed == expected
            num_compared += 1
    assert num_compared > 10
