"""Counting the distinct pieces of whole texts, on threads: what merges are learned from."""

from __future__ import annotations

import ctypes
from collections import Counter

import numpy as np

from tokembed.bpe import _counting_kernels as kernels
from tokembed.bpe.finding import BLOCK_PIECES, CompiledRule, PieceFinder, Utf8, compiled_rule, cuts_of, in_parts
from tokembed.bpe.splitting import SPLITTINGS, Splitting, utf8
from tokembed.compilation import say_when_compiling

FIRST_SLOTS = 1 << 12  # of a table, 32 bytes each; half of them are used


class _Counts:
    """How often the pieces occur that one thread has seen of a text."""

    def __init__(self) -> None:
        self._finder = PieceFinder()
        self._slots = np.zeros((FIRST_SLOTS, 4), dtype=np.uint64)
        self._num_entered = 0

    def add(self, rule: CompiledRule, text: Utf8, start: int, end: int) -> None:
        """Count the pieces of one part of the text."""
        for position, number in self._finder.blocks(rule, text, start, end):
            if 2 * (self._num_entered + number) > len(self._slots):
                old, self._slots = self._slots, np.zeros((4 * max(len(self._slots), BLOCK_PIECES), 4), dtype=np.uint64)
                kernels.move_counts(old.ctypes.data, len(old), self._slots.ctypes.data, len(self._slots))
            self._num_entered = kernels.count_pieces(
                self._slots.ctypes.data, len(self._slots), self._num_entered, text.address, text.size, position,
                self._finder.bounds_address, number,
            )  # fmt: skip

    def add_to(self, total: dict[str, int], text: Utf8) -> None:
        """Add what was counted to what others have."""
        entries = self._slots[self._slots[:, kernels.COUNT] > 0]
        entries = entries[np.argsort(entries[:, kernels.FIRST])]
        highs = entries[:, kernels.HIGH]
        lengths = np.where(highs >= kernels.LONG, highs & ~kernels.LONG, highs >> np.uint64(56))
        for first, length, count in zip(
            *map(list, (entries[:, kernels.FIRST], lengths, entries[:, kernels.COUNT])), strict=True
        ):
            piece = ctypes.string_at(text.address + int(first), int(length)).decode()
            total[piece] = total.get(piece, 0) + int(count)


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
    rule, source = compiled_rule(splitting), Utf8(text)
    counts: list[_Counts] = []

    def count_part(start: int, end: int) -> None:
        of_a_thread = counts.pop() if counts else _Counts()
        of_a_thread.add(rule, source, start, end)
        counts.append(of_a_thread)

    with say_when_compiling(kernels.count_pieces):
        in_parts(cuts_of(rule, source, num_threads), num_threads, count_part, lambda _: None)
    total: dict[str, int] = {}
    for of_a_thread in counts:
        of_a_thread.add_to(total, source)
    return total
