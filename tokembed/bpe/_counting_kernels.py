"""Compiled loop that counts the distinct pieces of a text; the readable twin is `collections.Counter`."""

from __future__ import annotations

import numpy as np
from numba import carray, njit

from tokembed.bpe._memory import LONGEST_INLINE, is_same, key_of, pointer, short_key, slot_of
from tokembed.compilation import can_keep_kernels

KEPT = can_keep_kernels()

# An entry is a piece's key (see `key_of`; a long one's has the length alone), where it first occurred, and how often it has.
LOW, HIGH, FIRST, COUNT = range(4)
LONG = np.uint64(1 << 63)


@njit(cache=KEPT, nogil=True)
def count_pieces(slots_address, num_slots, num_entered, text_address, size, start, bounds_address, number):
    """Count `number` pieces of `bounds`, as `find_pieces` gives them counted from `start`; return how many entries there are.

    The table, (num_slots, 4) of uint64, must have room for all of them: half of it stays empty.
    """
    slots = carray(pointer(slots_address, np.uint64), (num_slots, 4))
    bounds = carray(pointer(bounds_address, np.int64), number)
    for i in range(number):
        first, length = start + (bounds[i] & 0xFFFFFFFF), bounds[i] >> 32
        if length <= LONGEST_INLINE and first + 16 <= size:
            low, high = short_key(text_address + first, length)
        else:
            low, high = key_of(text_address + first, length)
        if length > LONGEST_INLINE:
            high = LONG | np.uint64(length)
        slot = slot_of(low, high, num_slots)
        while slots[slot, COUNT] != 0:
            is_alike = slots[slot, LOW] == low and slots[slot, HIGH] == high
            if is_alike and length > LONGEST_INLINE:
                is_alike = is_same(text_address + first, text_address + np.int64(slots[slot, FIRST]), length)
            if is_alike:
                break
            slot = (slot + 1) & (num_slots - 1)
        if slots[slot, COUNT] == 0:
            slots[slot, LOW], slots[slot, HIGH], slots[slot, FIRST] = low, high, np.uint64(first)
            num_entered += 1
        slots[slot, COUNT] += np.uint64(1)
    return num_entered


@njit(cache=KEPT, nogil=True)
def move_counts(old_address, num_old, slots_address, num_slots):
    """Enter what the old slots hold into the new ones, which are empty; return their number."""
    old = carray(pointer(old_address, np.uint64), (num_old, 4))
    slots = carray(pointer(slots_address, np.uint64), (num_slots, 4))
    num_entered = 0
    for i in range(num_old):
        if old[i, COUNT] != 0:
            slot = slot_of(old[i, LOW], old[i, HIGH], num_slots)
            while slots[slot, COUNT] != 0:
                slot = (slot + 1) & (num_slots - 1)
            for j in range(4):
                slots[slot, j] = old[i, j]
            num_entered += 1
    return num_entered
