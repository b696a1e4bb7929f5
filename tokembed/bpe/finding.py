"""Finding the pieces of whole texts: a text as the kernels take it, splitting rules too, parts for threads."""

from __future__ import annotations

import ctypes
import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tokembed.bpe import _layouts as layouts
from tokembed.bpe.splitting import Splitting, check_is_text, surrogate_error, unassigned, utf8
from tokembed.compilation import machine_code
from tokembed.device import available_cores

NUM_CODE_POINTS = 0x110000
PART, MIN_PART = 1 << 19, 1 << 17  # characters, of 1 ms, and of what waking a second thread costs
MAX_HELPERS = 256  # threads, in a process
BLOCK_PIECES = 1 << 12  # found before anything is done with them
SHORT_TEXT = 1 << 17  # characters, of which a copy as UTF-8 costs less than threads do
WORTH_A_LOOK, SAMPLE = 1 << 12, 32  # from how many characters on so many are looked at, to see which way to UTF-8 is faster


_utf8_of = ctypes.pythonapi.PyUnicode_AsUTF8AndSize
_utf8_of.argtypes, _utf8_of.restype = [ctypes.py_object, ctypes.c_void_p], ctypes.c_void_p


class Utf8(NamedTuple):
    """A text's UTF-8: where it lies, and what must live as long as that is used."""

    owner: Any
    address: int
    size: int

    @classmethod
    def of(cls, octets: bytes) -> Utf8:
        """Return where bytes lie that are valid UTF-8."""
        return cls(octets, address_of(octets), len(octets))


def address_of(octets: bytes) -> int:
    """Return where CPython keeps the bytes of an object: after its header, and there is one more than are shown."""
    return id(octets) + bytes.__basicsize__ - 1


def _characters_of(text: str) -> tuple[int, int]:
    """Return where CPython keeps the code points of a str beyond ASCII, which is not a copy, and in how many bytes each."""
    return id(text) + _STR_HEADER, ctypes.c_uint32.from_address(id(text) + _STR_STATE).value >> _width_shift() & 7


_STR_HEADER = str.__basicsize__ - ctypes.sizeof(ctypes.c_void_p)  # a pointer follows where characters do not
_STR_STATE = 2 * ctypes.sizeof(ctypes.c_void_p) + 2 * ctypes.sizeof(ctypes.c_ssize_t)  # behind its type, length and hash


@cache
def _width_shift() -> int:
    """Return where the state of a str tells the width of its code points: that differs between versions of CPython."""
    examples = {1: "\xe9" * 3, 2: "\u0416" * 3, 4: "\U0001f600" * 3}
    for shift in range(30):
        states = {width: ctypes.c_uint32.from_address(id(text) + _STR_STATE).value for width, text in examples.items()}
        if all(state >> shift & 7 == width for width, state in states.items()):
            return shift
    raise RuntimeError("this Python keeps a str in a way that is not known here")


class LongText:
    """A str to be taken in parts, each of which becomes UTF-8 by itself, on its thread; of ASCII it is that already."""

    def __init__(self, text: str) -> None:
        check_is_text(text)
        self._text = text
        self._is_utf8 = text.isascii()
        # Of ASCII the UTF-8 is the str's own array, and CPython tells where it is.
        layout: tuple[int, int] = (_utf8_of(text, None), 1) if self._is_utf8 else _characters_of(text)
        self._address, self._width = layout

    def cuts(self, rule: CompiledRule, num_threads: int | None) -> list[int]:
        """Return where to cut the text, between pieces, its start and its end among them; in characters."""
        length = len(self._text)
        step = part_size(length, num_threads)
        starts = range(step, length, step)
        next_cut = machine_code("tokembed.bpe._splitting_kernels", "next_cut").call
        cuts = [next_cut(rule.address, self._address, self._width, at, min(at + step, length)) for at in starts]
        return [0, *(cut for cut in cuts if cut > 0), length]

    def part(self, start: int, end: int, room: npt.NDArray[np.uint8] | None = None) -> Utf8:
        """Return the UTF-8 of a part, in `room` if that is large enough; raise `ValueError` at a lone surrogate."""
        if self._is_utf8:
            return Utf8(self._text, self._address + start, end - start)
        needed = (end - start) * (self._width + (self._width < 4)) + 16
        octets = room if room is not None and room.size >= needed else np.empty(needed, dtype=np.uint8)
        write_utf8 = machine_code("tokembed.bpe._utf8_kernels", "write_utf8").call
        size = write_utf8(self._address, self._width, start, end, octets.ctypes.data)
        if size < 0:
            raise surrogate_error(self._text, -1 - size)
        return Utf8(octets, octets.ctypes.data, size)


def utf8_of(text: str, room: npt.NDArray[np.uint8]) -> Utf8:
    """Return the UTF-8 of a text of `WORTH_A_LOOK` to `SHORT_TEXT` characters, in `room` if it is written there.

    Python writes it as fast as we do, but for text that is nearly all ASCII, such as English with its dashes.
    """
    sample = text[:: len(text) // SAMPLE]
    if len(sample.encode("utf-8", "replace")) < 1.25 * len(sample):
        return LongText(text).part(0, len(text), room)
    return Utf8.of(utf8(text))


class CompiledRule:
    """A splitting rule that the kernels know (see `Splitting.family`), as they take it: by the address of a record."""

    def __init__(self, splitting: Splitting) -> None:
        self._kinds = character_kinds(splitting.family)
        family = {"words": layouts.WORDS, "gpt2": layouts.GPT2, "cl100k": layouts.CL100K, "o200k": layouts.O200K}
        numbers = (self._kinds.ctypes.data, family[splitting.family], splitting.max_digits, splitting.keeps_last_spaces)
        self._record = np.array([numbers], dtype=layouts.RULE)
        self.address = self._record.ctypes.data


compiled_rule = cache(CompiledRule)


@cache
def character_kinds(family: str) -> npt.NDArray[np.uint8]:
    """Return what every code point may be, shape (0x110000,), in bits; see `_splitting_kernels`.

    For "words" they are built from the running `re`, so that the kernels split exactly as that does, whichever version of
    Unicode it knows. The others are those of Unicode 16, which the published vocabularies' own splitting has.
    """
    both, letter = layouts.UPPER | layouts.LOWER, layouts.LETTER
    if family == "words":
        patterns = {r"[^\w\s]+": layouts.OTHER, r"\w+": letter | both, r"\s+": layouts.SPACE}
        find: Any = re.finditer
    else:
        import regex

        find = regex.finditer
        patterns = {r"[^\s\p{L}\p{N}\p{M}]+": layouts.OTHER, r"\p{M}+": layouts.OTHER}
        patterns |= {r"\p{L}+": letter, r"\p{N}+": layouts.DIGIT, r"\s+": layouts.SPACE, r"[\r\n]+": layouts.NEWLINE}
        if family == "o200k":
            patterns[r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"] = layouts.UPPER
            patterns[r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"] = layouts.LOWER
        else:
            patterns[r"[\p{L}]+"] = both
    kinds = np.zeros(NUM_CODE_POINTS, dtype=np.uint8)
    for plane in range(0, NUM_CODE_POINTS, 0x10000):
        every = np.arange(plane, plane + 0x10000, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")
        for number, (pattern, bits) in enumerate(patterns.items()):
            for match in find(pattern, every):
                kinds[plane + match.start() : plane + match.end()] |= bits
            if number == 0 and kinds[plane : plane + 0x10000].all():
                break  # as in most planes, there is nothing that another pattern finds
    if family != "words":
        for first, last in unassigned():
            kinds[first : last + 1] = layouts.OTHER
        kinds[0x295] = layouts.LETTER | layouts.LOWER | (0 if family == "o200k" else layouts.UPPER)
    return kinds


class PieceFinder:
    """Where one thread's pieces are put when they are found."""

    def __init__(self, rule: CompiledRule) -> None:
        self._bounds = np.empty(BLOCK_PIECES + 1, dtype=np.int64)
        self._scratch = np.zeros(1, dtype=layouts.SCRATCH)
        #: What another kernel must know to find pieces by itself: fields of its record, see `call_kernel`.
        self.fields = {
            "finder": machine_code("tokembed.bpe._splitting_kernels", "find_pieces").address,
            "rule": rule.address,
            "bounds": self._bounds.ctypes.data,
            "max_found": BLOCK_PIECES,
            "scratch": self._scratch.ctypes.data,
        }

    def set_text_ends(self, ends: npt.NDArray[np.int64], first: int, last: int) -> None:
        """Let what follows be several texts, `first` to `last` of those whose ends are given; 0 and 0 for a single one."""
        scratch = self._scratch[0]
        scratch["text_ends"], scratch["num_texts"], scratch["num_ended"] = ends.ctypes.data, last, first


def part_size(size: int, num_threads: int | None) -> int:
    """Return how large the parts of something large should be."""
    return min(max(size // (2 * (num_threads or available_cores())), MIN_PART), PART)


def in_parts(
    bounds: list[int], num_threads: int | None, work: Callable[[int, int, int], Any], take: Callable[[Any], None]
) -> None:
    """Call `work(worker, start, end)` on the parts between `bounds`, on threads, this one, worker 0, among them.

    `take` is given the results in the parts' order, one at a time, by whichever thread completes the next. Of the same parts a
    worker gets the same ones each time, if no other is late.
    """
    num_parts = len(bounds) - 1
    num_workers = min(num_threads or available_cores(), max(num_parts, 1))
    waiting = list(range(num_parts - 1, -1, -1))  # the next one last
    done: dict[int, Any] = {}
    lock = threading.Lock()
    num_taken = 0

    def next_part(worker: int) -> int | None:
        with lock:
            near = waiting[: -2 * num_workers - 1 : -1]  # not far ahead, since the results of what is late are waited for
            if near:
                number = next((each for each in near if each % num_workers == worker), near[0])
                waiting.remove(number)
                return number
        return None

    def work_along(worker: int) -> None:
        nonlocal num_taken
        while (number := next_part(worker)) is not None:
            result = work(worker, bounds[number], bounds[number + 1])
            with lock:
                done[number] = result
                while num_taken in done:
                    take(done.pop(num_taken))
                    num_taken += 1

    helpers = [_pool().submit(work_along, worker) for worker in range(1, num_workers)]
    try:
        work_along(0)
    finally:
        # One that has not begun by now has nothing left to do. Errors of the others are raised, once none is at work any more.
        wait(begun := [helper for helper in helpers if not helper.cancel()])
    for helper in begun:
        helper.result()


@cache
def _pool() -> ThreadPoolExecutor:
    """Return the threads that help; waking one costs a fifth of what starting one does."""
    return ThreadPoolExecutor(MAX_HELPERS, thread_name_prefix="tokembed")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not come along
