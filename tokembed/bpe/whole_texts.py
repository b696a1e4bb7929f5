"""Whole texts at once: the wrapper of the encoding kernel, its word tables and threads.

A text is cut between pieces into parts, threads take them one by one, and what they write is joined in order. Each thread
borrows a word table for its part; tables outlive the call, so the next text finds its words there. A table is bounded
(about 16 MB): when it is full it is emptied, and fills again.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from tokembed.bpe import _encoding_kernels as kernels
from tokembed.bpe.splitting import NUM_CODE_POINTS, character_classes, check_is_text, surrogate_error
from tokembed.compilation import say_when_compiling
from tokembed.device import available_cores

Units = npt.NDArray[np.unsignedinteger[Any]]
Output = tuple[npt.NDArray[np.int32], int]  # a buffer, and how many tokens it holds

PART_UNITS, MIN_PART_UNITS = 1 << 19, 1 << 16  # of 1 ms, and of what a second thread costs
SHORT_SLOTS, LONG_SLOTS, POOL_SIZE = 1 << 17, 1 << 17, 1 << 20
BUFFER_SIZE, MAX_IDLE_BUFFERS = PART_UNITS // 2, 8  # most parts fit in one: a token has more than two characters
SYMBOLS_OF_A_WORD = 5 * kernels.MAX_TABLE_LENGTH + 2
# Counting encodes nothing: the kernel asks for no rule while words are numbered.
NO_RULES = kernels.Rules(
    merges=np.empty((0, 2), dtype=np.int64),
    first_merges=np.empty((0, 2), dtype=np.int32),
    character_ids=np.empty(0, dtype=np.int32),
    lower_steps=np.empty(0, dtype=np.int32),
    end_of_word=0,
    byte_base=0,
    unknown=0,
)

_UNIT_TYPES = {1: ctypes.c_uint8, 2: ctypes.c_uint16, 4: ctypes.c_uint32}


def code_points(text: str) -> Units:
    """Return a str's own array of code points (uint8, uint16 or uint32, as CPython keeps it), read-only and not copied.

    It must not outlive the str.
    """
    check_is_text(text)
    if not text:
        return np.empty(0, dtype=np.uint8)
    address, width = kernels.text_layout(text)
    units = np.ctypeslib.as_array((_UNIT_TYPES[width] * len(text)).from_address(address))
    units.flags.writeable = False
    return units


class WordTable:
    """The words that one thread has seen, and room for the tokens of one word at a time.

    Parameters
    ----------
    max_numbers : int
        0 to encode words; else they are numbered instead, up to so many of them.
    """

    def __init__(self, max_numbers: int = 0) -> None:
        self.words = kernels.Table(
            short=np.zeros((SHORT_SLOTS, 4), dtype=np.uint64),
            long_slots=np.full(LONG_SLOTS, -1, dtype=np.int32),
            long_words=np.empty((LONG_SLOTS // 2, 5), dtype=np.int64),
            characters=np.empty(POOL_SIZE, dtype=np.uint32),
            token_pool=np.empty(POOL_SIZE, dtype=np.int32),
            sizes=np.zeros(6, dtype=np.int64),
            new_starts=np.empty(max_numbers, dtype=np.int64),
            new_lengths=np.empty(max_numbers, dtype=np.int32),
        )
        self.scratch = kernels.Scratch(*(np.empty(SYMBOLS_OF_A_WORD, dtype=np.int32) for _ in range(3)))
        self.tallies = np.zeros(max_numbers, dtype=np.int64)

    @property
    def tokens_needed(self) -> int:
        """Room that the output lacked when it was full."""
        return int(self.words.sizes[kernels.TOKENS_NEEDED])

    def clear(self) -> None:
        """Forget all words."""
        self.words.short[:] = 0
        self.words.long_slots[:] = -1
        self.words.sizes[:] = 0
        self.tallies[:] = 0

    def add_counts(self, text: str, counts: dict[str, int]) -> None:
        """Add how often each numbered word occurred."""
        num_words = int(self.words.sizes[kernels.NUM_WORDS])
        arrays = (self.words.new_starts, self.words.new_lengths, self.tallies)
        for start, length, tally in zip(*(array[:num_words].tolist() for array in arrays), strict=True):
            word = text[start : start + length]
            counts[word] = counts.get(word, 0) + tally


class _Workplace:
    """Word tables and output buffers that threads borrow and give back: made when there is none, kept for the next.

    Fresh memory costs more than filling it, so a part's output goes into a used buffer and is copied out from there.
    """

    def __init__(self, max_numbers: int = 0) -> None:
        self.tables: list[WordTable] = []  # append and pop are atomic
        self._buffers: list[npt.NDArray[np.int32]] = []
        self._max_numbers = max_numbers

    @contextmanager
    def table(self) -> Iterator[WordTable]:
        try:
            table = self.tables.pop()
        except IndexError:
            table = WordTable(self._max_numbers)
        yield table
        self.tables.append(table)  # not after an error: the table may be half written

    def buffer(self, size: int) -> npt.NDArray[np.int32]:
        if size > BUFFER_SIZE:
            return np.empty(size, dtype=np.int32)
        try:
            return self._buffers.pop()
        except IndexError:
            return np.empty(BUFFER_SIZE, dtype=np.int32)

    def give_back(self, buffer: npt.NDArray[np.int32]) -> None:
        if buffer.size == BUFFER_SIZE and len(self._buffers) < MAX_IDLE_BUFFERS:
            self._buffers.append(buffer)


class BulkEncoder:
    """Encode whole texts by the kernel.

    Parameters
    ----------
    alphabet : list of str
        Characters, then `</w>`; a token's id is its place.
    merges : array (M, 2) of int32
        Ids of each merge's halves; merge r makes id `len(alphabet) + r`.
    lowercase : bool
    byte_base : int
        The id of byte 0's token, or -1 for no byte tokens.
    unknown : int
        The id of the unknown token, where there are no byte tokens.
    """

    def __init__(
        self, alphabet: list[str], merges: npt.NDArray[np.int32], *, lowercase: bool, byte_base: int, unknown: int
    ) -> None:
        merge_table = np.full((1 << (2 * len(merges) + 16).bit_length(), 2), kernels.NO_PAIR, dtype=np.int64)
        first_merges = np.full((256, 256), kernels.NO_PAIR, dtype=np.int32)
        kernels.enter_merges(merges, len(alphabet), merge_table, first_merges)
        # Zeros are not resident until they are touched: of 1.1 million entries only a few pages are.
        character_ids = np.zeros(NUM_CODE_POINTS, dtype=np.int32)
        for index, character in enumerate(alphabet[:-1]):
            character_ids[ord(character)] = index + 1
        steps = lower_steps() if lowercase else np.empty(0, dtype=np.int32)
        self._rules = kernels.Rules(merge_table, first_merges, character_ids, steps, len(alphabet) - 1, byte_base, unknown)
        self._classes = character_classes()
        self._workplace = _Workplace()

    def encode(self, text: str, num_threads: int | None = None) -> npt.NDArray[np.int32]:
        """Return the token ids of a text; raise `ValueError` at a lone surrogate."""
        units = code_points(text)
        workplace = self._workplace

        def encode_part(start: int, end: int) -> list[Output]:
            with workplace.table() as table:
                return list(_run(text, units, start, end, self._classes, self._rules, table, table.clear, workplace))

        # Most text has three units per token or more; where it has fewer, the array grows.
        tokens = np.empty(units.size // 3 + 64, dtype=np.int32)
        num_tokens = 0

        def append(outputs: list[Output]) -> None:
            nonlocal num_tokens
            for buffer, used in outputs:
                if num_tokens + used > tokens.size:
                    tokens.resize(3 * (num_tokens + used) // 2, refcheck=False)
                tokens[num_tokens : num_tokens + used] = buffer[:used]
                num_tokens += used
                workplace.give_back(buffer)

        with say_when_compiling(kernels.encode_units):
            _in_parts(units, self._classes, num_threads, encode_part, append)
        tokens.resize(num_tokens, refcheck=False)
        return tokens


def count_pieces(text: str, num_threads: int | None = None) -> dict[str, int]:
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
    units = code_points(text)
    classes = character_classes()
    workplace = _Workplace(max_numbers=SHORT_SLOTS // 2 + LONG_SLOTS // 2)
    counts: dict[str, int] = {}
    lock = threading.Lock()

    def count_part(start: int, end: int) -> None:
        with workplace.table() as table:

            def empty() -> None:
                with lock:
                    table.add_counts(text, counts)
                table.clear()

            for buffer, used in _run(text, units, start, end, classes, NO_RULES, table, empty, workplace):
                kernels.tally(buffer[:used], table.tallies)
                workplace.give_back(buffer)

    with say_when_compiling(kernels.encode_units):
        _in_parts(units, classes, num_threads, count_part, lambda _: None)
    for table in workplace.tables:
        table.add_counts(text, counts)
    return counts


def _in_parts(
    units: Units,
    classes: npt.NDArray[np.uint8],
    num_threads: int | None,
    work: Callable[[int, int], Any],
    take: Callable[[Any], None],
) -> None:
    """Call `work(start, end)` on parts of the text that end between pieces, on threads, this one among them.

    `take` is given the results in the parts' order, one at a time, by whichever thread completes the next.
    """
    num_threads = num_threads or available_cores()
    part_units = min(max(units.size // (2 * num_threads), MIN_PART_UNITS), PART_UNITS)
    cuts = {kernels.next_boundary(units, start, classes) for start in range(0, units.size, part_units)}
    bounds = sorted({0, *cuts, units.size})
    num_parts = len(bounds) - 1
    numbers = itertools.count()
    done: dict[int, Any] = {}
    lock = threading.Lock()
    num_taken = 0

    def work_along() -> None:
        nonlocal num_taken
        while (number := next(numbers)) < num_parts:
            result = work(bounds[number], bounds[number + 1])
            with lock:
                done[number] = result
                while num_taken in done:
                    take(done.pop(num_taken))
                    num_taken += 1

    num_helpers = min(num_threads, num_parts) - 1
    if num_helpers < 1:
        work_along()
        return
    with ThreadPoolExecutor(num_helpers) as pool:
        helpers = [pool.submit(work_along) for _ in range(num_helpers)]
        work_along()
        for helper in helpers:
            helper.result()


def _run(
    text: str,
    units: Units,
    start: int,
    end: int,
    classes: npt.NDArray[np.uint8],
    rules: kernels.Rules,
    table: WordTable,
    on_full: Callable[[], None],
    workplace: _Workplace,
) -> Iterator[Output]:
    """Encode one part; yield buffers and how much of each is used, in order. `on_full` makes room in the table between two."""
    needed = 0
    while True:
        buffer = workplace.buffer(needed)
        start, used, reason = kernels.encode_units(units, start, end, classes, rules, table.words, table.scratch, buffer)
        yield buffer, used
        if reason == kernels.END_REACHED:
            return
        if reason == kernels.SURROGATE:
            raise surrogate_error(text, start)
        if reason == kernels.TABLE_FULL:
            on_full()
        needed = table.tokens_needed if reason == kernels.OUTPUT_FULL else 0


@lru_cache(maxsize=1)
def lower_steps() -> npt.NDArray[np.int32]:
    """Return by how much each code point moves when lowered by itself, shape (0x110000,); the kernel knows U+0130 apart."""
    steps = np.zeros(NUM_CODE_POINTS, dtype=np.int32)
    # Surrogates have no case; U+0130 lowers to two characters; a sigma's lower case depends on its neighbours in a str.
    every = np.delete(np.arange(NUM_CODE_POINTS, dtype="<u4"), [0x130, 0x3A3, *range(0xD800, 0xE000)])
    lowered = np.frombuffer(every.tobytes().decode("utf-32-le").lower().encode("utf-32-le"), dtype="<u4")
    changed = every != lowered
    steps[every[changed]] = lowered[changed].astype(np.int32) - every[changed].astype(np.int32)
    steps[0x3A3] = ord("σ") - 0x3A3
    return steps
