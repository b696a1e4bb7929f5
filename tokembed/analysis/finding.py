"""What every analysis returns that has a figure: what to draw, what to print, what the table holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """Something found out about tokens or vectors, in words and in numbers; nothing in it is drawn, printed or saved yet."""

    name: str  # of the figure's and the table's files, without a suffix
    data: Any  # what its plot function draws; None if there is too little to draw
    lines: list[str]  # what a script prints
    note: str  # what the figure's caption says beside corpus and settings
    heading: Sequence[str]  # of the table
    rows: Sequence[Sequence[object]]
