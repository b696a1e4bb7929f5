"""What every analysis returns that has a figure: what to draw, what to print, what the table holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """Something found out about tokens or vectors, in words and in numbers; nothing in it is drawn, printed or saved yet.

    Attributes
    ----------
    name : str
        What the files of its figure and its table are called, without a suffix.
    data
        What its plot function draws; None if there is too little to draw.
    lines : list of str
        What a script prints.
    note : str
        What the figure's caption says beside corpus and settings.
    heading, rows
        The table.
    """

    name: str
    data: Any
    lines: list[str]
    note: str
    heading: Sequence[str]
    rows: Sequence[Sequence[object]]
