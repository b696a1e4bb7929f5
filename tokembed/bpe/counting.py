"""Counting the distinct pieces of whole texts, on threads: what merges are learned from."""

from __future__ import annotations

import ctypes
from collections import Counter

import numpy as np
import numpy.typing as npt

from tokembed.bpe import _layouts as layouts
from tokembed.bpe.finding import BLOCK_PIECES, CompiledRule, LongText, PieceFinder, Utf8, compiled_rule, in_parts
from tokembed.bpe.splitting import SPLITTINGS, Splitting, utf8
from tokembed.compilation import machine_code

FIRST_SLOTS = 1 << 12  # of a table, 32 bytes each; half of them are used


class _Counts:
    """How often the pieces occur that one thread has seen of a text."""

    def __init__(self, rule: CompiledRule) -> None:
        self._finder = PieceFinder(rule)
        self._parts: list[Utf8] = []
        self._record = np.zeros(1, dtype=layouts.COUNTS)
        self._state = self._record[0]
        for name, value in self._finder.fields.items():
            self._state[name] = value
        self._take(np.zeros((FIRST_SLOTS, 4), dtype=np.uint64))

    def _take(self, slots: npt.NDArray[np.uint64]) -> None:
        self._slots = slots
        self._state["slots"], self._state["num_slots"] = slots.ctypes.data, len(slots)

    def add(self, part: Utf8) -> None:
        """Count the pieces of one part of the text."""
        self._parts.append(part)  # where its pieces are kept
        is_new = 1
        count_text = machine_code("tokembed.bpe._counting_kernels", "count_text").call
        while not count_text(self._record.ctypes.data, part.address, part.size, is_new):
            old = self._slots
            self._take(np.zeros((4 * max(len(old), BLOCK_PIECES), 4), dtype=np.uint64))
            move_entries = machine_code("tokembed.bpe._memory", "move_entries").call
            move_entries(old.ctypes.data, len(old), self._slots.ctypes.data, len(self._slots))
            is_new = 0

    def add_to(self, total: dict[str, int]) -> None:
        """Add what was counted to what others have."""
        entries = self._slots[self._slots[:, layouts.COUNT] > 0]
        entries = entries[np.argsort(entries[:, layouts.FIRST])]
        highs = entries[:, layouts.HIGH]
        lengths = np.where(highs >= layouts.LONG, highs & ~layouts.LONG, highs >> np.uint64(56))
        found = (entries[:, layouts.FIRST].tolist(), lengths.tolist(), entries[:, layouts.COUNT].tolist())
        for first, length, count in zip(*found, strict=True):
            piece = ctypes.string_at(first, length).decode()
            total[piece] = total.get(piece, 0) + count


def count_pieces(text: str, splitting: Splitting = SPLITTINGS["words"], num_threads: int | None = None) -> dict[str, int]:
    """Count the distinct pieces of a text, as written (not lowered), in one pass on threads.

    Raises
    ------
    ValueError
        The text holds a lone surrogate; the message names its position.

    Examples
    --------
    >>> count_pieces("Low, low low")
    {'Low': 1, ',': 1, 'low': 2}
    """
    if not splitting.family:
        utf8(text)  # refuses surrogates
        return Counter(splitting.pieces(text))
    rule, source = compiled_rule(splitting), LongText(text)
    counts: list[_Counts] = []

    def count_part(_: int, start: int, end: int) -> None:
        of_a_thread = counts.pop() if counts else _Counts(rule)
        of_a_thread.add(source.part(start, end))
        counts.append(of_a_thread)

    in_parts(source.cuts(rule, num_threads), num_threads, count_part, lambda _: None)
    total: dict[str, int] = {}
    for of_a_thread in counts:
        of_a_thread.add_to(total)
    return total
