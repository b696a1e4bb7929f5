"""Compiled loop that counts the distinct pieces of a text; the readable twin is `collections.Counter`."""

from __future__ import annotations

import numpy as np
from numba import carray, from_dtype

from tokembed.bpe._layouts import COUNT, COUNTS, FIRST, HIGH, LONG, LOW
from tokembed.bpe._memory import LONGEST_INLINE, call_kernel, first_slot, is_same, kernel, key_of, load_word, pointer, short_key

_COUNTS = from_dtype(COUNTS)


@kernel
def _count_block(counts, text_address, end):
    """Count the pieces found; there is room for all of them."""
    slots = carray(pointer(counts.slots, np.uint64), (counts.num_slots, 4))
    num_entered = counts.num_entered
    for i in range(counts.num_found):
        bounds = np.int64(load_word(counts.bounds + 8 * i))
        address, length = text_address + counts.block_start + (bounds & 0xFFFFFFFF), bounds >> 32
        if length <= LONGEST_INLINE and address + 16 <= end:
            low, high = short_key(address, length)
        else:
            low, high = key_of(address, length)
        if length > LONGEST_INLINE:
            high = LONG | np.uint64(length)
        slot = first_slot(low, high, slots.shape[0])
        while slots[slot, COUNT] != 0:
            is_alike = slots[slot, LOW] == low and slots[slot, HIGH] == high
            if is_alike and length > LONGEST_INLINE:
                is_alike = is_same(address, np.int64(slots[slot, FIRST]), length)
            if is_alike:
                break
            slot = (slot + 1) & (slots.shape[0] - 1)
        if slots[slot, COUNT] == 0:
            slots[slot, LOW], slots[slot, HIGH], slots[slot, FIRST] = low, high, np.uint64(address)
            num_entered += 1
        slots[slot, COUNT] += np.uint64(1)
    counts.num_entered = num_entered


@kernel
def count_text(counts_address, text_address, size, is_new):
    """Count the pieces of a text of so many bytes, which must stay where it is; return 1 if it came to the end.

    If not, 0: the table is too small for those found next: with a larger one it goes on, the text being no new one.
    """
    counts = carray(pointer(counts_address, _COUNTS), 1)[0]
    if is_new:
        counts.block_start = counts.num_found = counts.is_last = 0
    must_find = is_new
    while True:
        if must_find:
            if counts.is_last:
                return 1
            if counts.num_found > 0:  # where to go on stands behind them
                counts.block_start += np.int64(load_word(counts.bounds + 8 * counts.num_found))
            counts.num_found = call_kernel(
                counts.finder, counts.rule, text_address, counts.block_start, size, size, counts.bounds, counts.max_found,
                counts.scratch,
            )  # fmt: skip
            counts.is_last = counts.num_found < counts.max_found
        must_find = True
        if 2 * (counts.num_entered + counts.num_found) > counts.num_slots:
            return 0
        _count_block(counts, text_address, text_address + size)
