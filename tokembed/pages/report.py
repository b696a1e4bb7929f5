"""One page of everything: each figure with its numbers and two sentences on what to look for."""

from __future__ import annotations

import base64
import csv
import html
import itertools
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from tokembed.figures import canvas
from tokembed.files import encodable

TABLE_ROWS = 40  # shown of a table; the file beside the figure has all


@dataclass(frozen=True)
class Entry:
    """A figure of the page: its phase, the stem of its files, its heading, and what to look for."""

    phase: str
    name: str
    heading: str
    look_for: str


def entries() -> list[Entry]:
    """Return the page's figures in their order, from `report.toml`."""
    figures = tomllib.loads(Path(__file__).with_name("report.toml").read_text(encoding="utf-8"))["figure"]
    return [Entry(**figure) for figure in figures]


def report_page(
    folder: Path, title: str, facts: Sequence[str], source: str | None = None, since: float = 0.0
) -> tuple[str, list[str]]:
    """Return one self-contained HTML page of the figures in a folder, and the names of those that are missing.

    The folder holds `<name>.png` for the figures, with `<name>.csv` beside those that have numbers. The facts are lines that
    say what was done, above the figures. With a `source`, figures that were made from something else count as missing; and so
    do those written before `since`, a time as `time.time` gives it.
    """
    missing: list[str] = []
    parts = [f"<h1>{html.escape(title)}</h1>", "<ul>", *(f"<li>{html.escape(fact)}</li>" for fact in facts), "</ul>"]
    for phase, figures in itertools.groupby(entries(), lambda entry: entry.phase):
        parts.append(f"<h2>{html.escape(phase)}</h2>")
        for entry in figures:
            image = folder / f"{entry.name}.png"
            if image.is_file() and image.stat().st_mtime >= since and source in (None, canvas.source_of(image)):
                parts.append(_figure(entry, image))
            else:
                missing.append(entry.name)
    template = Template(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
    return encodable(template.substitute(title=html.escape(title), body="\n".join(parts))), missing


def _figure(entry: Entry, image: Path) -> str:
    data = base64.b64encode(image.read_bytes()).decode("ascii")
    table = image.with_suffix(".csv")
    heading, text = html.escape(entry.heading), html.escape(entry.look_for.strip())
    seen = html.escape(canvas.title_of(image) or entry.heading)
    picture = f'<img src="data:image/png;base64,{data}" alt="{heading}: {seen}">'
    numbers = _table(table) if table.is_file() else ""
    return f"<section><h3>{heading}</h3><p>{text}</p>\n<figure>{picture}</figure>\n{numbers}</section>"


def _table(path: Path) -> str:
    """Return a table's first rows, folded away."""
    with open(path, encoding="utf-8", newline="") as file:
        heading, *rows = list(csv.reader(file)) or [[]]
    step = max(-(-len(rows) // TABLE_ROWS), 1)
    shown = rows[::step]
    note = f"the numbers ({len(rows):,} rows" + (f", one in {step} shown)" if step > 1 else ")")
    cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in heading)
    lines = "".join("<tr>" + "".join(f"<td>{html.escape(_short(cell))}</td>" for cell in row) + "</tr>" for row in shown)
    return f"<details><summary>{note}</summary><table><tr>{cells}</tr>{lines}</table></details>"


def _short(cell: str) -> str:
    """Return a number to four digits, other text as it is."""
    try:
        return f"{float(cell):.4g}" if "." in cell else cell
    except ValueError:
        return cell
