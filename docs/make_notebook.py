"""Make the walkthrough's notebook from its page: text as it is, code in cells, what the code prints below them.

uv run python docs/make_notebook.py
uv run --with jupyterlab jupyter lab docs/walkthrough.ipynb
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "walkthrough.md"
NOTEBOOK = PAGE.with_suffix(".ipynb")
_BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$\n?", re.DOTALL | re.MULTILINE)  # two groups: its kind, its content


def notebook_of(page: str) -> str:
    """Return a page as a notebook's JSON: its Python blocks are cells, its text blocks what the cells print."""
    import nbformat
    from nbformat import v4

    first, *rest = _BLOCK.split(page)
    cells = [v4.new_markdown_cell(first.strip("\n"), id="cell-0")]
    for kind, content, between in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        if kind == "python":
            cells.append(v4.new_code_cell(content.rstrip("\n"), id=f"cell-{len(cells)}"))
        else:
            printed = content.removeprefix("# for instance\n")
            cells[-1].outputs.append(v4.new_output("stream", name="stdout", text=printed))
        if between.strip():
            cells.append(v4.new_markdown_cell(between.strip("\n"), id=f"cell-{len(cells)}"))
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook = v4.new_notebook(cells=cells, metadata={**kernel, "language_info": {"name": "python"}})
    nbformat.validate(notebook)
    return str(nbformat.writes(notebook)) + "\n"


def main() -> int:
    """Write the notebook."""
    from tokembed import files

    notebook = notebook_of(PAGE.read_text(encoding="utf-8"))
    files.write_atomic(NOTEBOOK, notebook)
    print(f"saved      {files.display_path(NOTEBOOK)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
