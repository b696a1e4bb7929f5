"""Whole texts for the C library: splitting rules as it takes them, where to cut a text, threads that work on the parts."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from tokembed.bpe.splitting import Splitting, unassigned
from tokembed.device import available_cores
from tokembed.native.objects import Rule

NUM_CODE_POINTS = 0x110000
PART, MIN_PART = 1 << 18, 1 << 17  # characters: of half a millisecond, and of what waking a second thread costs
MAX_HELPERS = 256  # threads, in a process

# Kinds of characters, as bits; see `native/split.c`.
UPPER, LOWER, LETTER, DIGIT, SPACE, NEWLINE, OTHER = (np.uint8(1 << bit) for bit in range(7))

# A boundary in every rule: white space or a mark that never joins what is before it, if that is a letter or a digit. (An
# apostrophe may join a letter.) The lookbehind comes second: a regular expression that begins with a set is fast to search for.
BOUNDARY = re.compile(r"[ \n\r\t.,;:!?()\u3001\u3002\uff0c\uff1a\uff1b\uff01\uff1f](?<=[^\W_].)", re.DOTALL)


@cache
def compiled_rule(splitting: Splitting) -> Rule:
    """Return a splitting rule of a known family as the C library takes it."""
    return Rule(character_kinds(splitting.family), splitting.family, splitting.max_digits, splitting.keeps_last_spaces)


@cache
def character_kinds(family: str) -> npt.NDArray[np.uint8]:
    """Return what every code point may be, shape (0x110000,), in bits; see `native/split.c`.

    For "words" they are built from the running `re`, so that C splits exactly as that does, whichever version of Unicode it
    knows. The others are those of Unicode 16, which the published vocabularies' own splitting has.
    """
    both = UPPER | LOWER
    if family == "words":
        patterns = {r"[^\w\s]+": OTHER, r"\w+": LETTER | both, r"\s+": SPACE}
        find: Any = re.finditer
    else:
        import regex

        find = regex.finditer
        patterns = {r"[^\s\p{L}\p{N}\p{M}]+": OTHER, r"\p{M}+": OTHER}
        patterns |= {r"\p{L}+": LETTER, r"\p{N}+": DIGIT, r"\s+": SPACE, r"[\r\n]+": NEWLINE}
        if family == "o200k":
            patterns[r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"] = UPPER
            patterns[r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"] = LOWER
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
            kinds[first : last + 1] = OTHER
        kinds[0x295] = LETTER | LOWER | (0 if family == "o200k" else UPPER)
    return kinds


def cuts(text: str, num_threads: int | None) -> list[int]:
    """Return where to cut a text into parts, where any rule has a boundary; its start and its end are among them."""
    step = part_size(len(text), num_threads)
    found = (BOUNDARY.search(text, start, min(start + step, len(text))) for start in range(step, len(text), step))
    return [0, *(match.start() for match in found if match), len(text)]


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
