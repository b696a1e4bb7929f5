"""Compiled loops that merge: a piece's symbols to its tokens, and a list of tokens to the merges behind it.

The readable twin is `reference.encode_word`. Kernels of other files call `tokens_of` by its address.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import carray, from_dtype, njit

from tokembed.bpe._memory import character_at, load_byte, pointer
from tokembed.bpe.model import MAX_IDS
from tokembed.compilation import can_keep_kernels

KEPT = can_keep_kernels()

# For functions that only kernels call: without the wrappers that Python needs they compile in half the time.
_internal = njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)

SIMPLE_MERGE_LENGTH = 48  # up to here the plain search for the best pair beats a heap
NO_PAIR = np.int32(2**31 - 1)
EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
_FILTER_BITS = 21
_FILTER_WORDS = 1 << (_FILTER_BITS - 6)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

# All that the kernels must know, passed by address: numba takes 20 us to unpack as many arguments, and nothing for one.
RULES = np.dtype(
    [
        ("merges", np.int64),  # address of uint64: see `merge_table`
        ("merges_shift", np.int64),  # 64 less the bits of a place in it
        ("first_merges", np.int64),  # of (256, 256) int32: the same for pairs of small ids, or NO_PAIR
        ("made_ids", np.int64),  # of int32: the id that each rank makes; 0 if the merges hold ids
        ("symbol_ids", np.int64),  # of int32: each byte's id or, where symbols are characters, each code point's plus 1
        ("has_characters", np.int64),  # whether symbols are characters
        ("lower_steps", np.int64),  # of (0x110000,) int32: by how much a code point moves when lowered; 0 if none does
        ("end_of_word", np.int64),
        ("byte_base", np.int64),  # the id of byte 0's token, or -1
        ("unknown", np.int64),
    ]
)
_RULES = from_dtype(RULES)


@_internal
def _find_merge(left, right, merges, shift):
    """Return the rank at which (left, right) merges, or NO_PAIR."""
    if (left | right) < 0:  # an unknown character
        return NO_PAIR
    key = np.uint64(np.int64(left) << 21 | np.int64(right))
    hashed = key * _MULTIPLIER
    # Most pairs do not merge, and the bits that say so lie in a near cache. They stand behind the table.
    bit = hashed >> np.uint64(64 - _FILTER_BITS)
    slot = np.int64(hashed >> shift)
    num_slots = merges.size - _FILTER_WORDS
    if merges[num_slots + np.int64(bit >> np.uint64(6))] >> (bit & np.uint64(63)) & np.uint64(1) == 0:
        return NO_PAIR
    while merges[slot] != EMPTY:
        if merges[slot] >> np.uint64(22) == key:
            return np.int32(merges[slot] & np.uint64(0x3FFFFF))
        slot = (slot + 1) & (num_slots - 1)
    return NO_PAIR


@_internal
def _enter_merge(left, right, value, merges, shift, first_merges):
    if left < 256 and right < 256:
        first_merges[left, right] = min(first_merges[left, right], value)
    key = np.uint64(np.int64(left) << 21 | np.int64(right))
    hashed = key * _MULTIPLIER
    slot = np.int64(hashed >> shift)
    num_slots = merges.size - _FILTER_WORDS
    while merges[slot] != EMPTY:
        if merges[slot] >> np.uint64(22) == key:
            return  # the first one counts
        slot = (slot + 1) & (num_slots - 1)
    merges[slot] = key << np.uint64(22) | np.uint64(value)
    bit = hashed >> np.uint64(64 - _FILTER_BITS)
    merges[num_slots + np.int64(bit >> np.uint64(6))] |= np.uint64(1) << (bit & np.uint64(63))


def merge_table(num_merges: int) -> npt.NDArray[np.uint64]:
    """Return an empty hash table of pairs, for so many: (left id, right id, rank) in 64 bits, and a filter behind them."""
    num_slots = 1 << (2 * num_merges + 16).bit_length()
    return np.concatenate([np.full(num_slots, EMPTY), np.zeros(_FILTER_WORDS, dtype=np.uint64)])


def shift_of(merges: npt.NDArray[np.uint64]) -> np.uint64:
    """Return by how much a hash is shifted to be a place in a table that `merge_table` made."""
    return np.uint64(65 - (len(merges) - _FILTER_WORDS).bit_length())


@njit(cache=KEPT, nogil=True)
def enter_merges(pairs, values, merges, shift, first_merges):
    """Fill a hash table and `first_merges` from (M, 2) ids of halves; merge r is entered as `values[r]`."""
    for rank in range(len(pairs)):
        _enter_merge(pairs[rank, 0], pairs[rank, 1], values[rank], merges, shift, first_merges)


@_internal
def _merge_simply(symbols, size, made, merges, shift, first_merges, made_ids):
    """Merge the pair of lowest rank, leftmost first, until none is left; return the number of symbols. O(L²).

    `made` is scratch: the rank at which each symbol merges with the next. At first all are bytes or characters, whose ids lie
    close together in `first_merges`, a plain table.
    """
    for i in range(size - 1):
        if 0 <= symbols[i] < 256 and 0 <= symbols[i + 1] < 256:
            made[i] = first_merges[symbols[i], symbols[i + 1]]
        else:
            made[i] = _find_merge(symbols[i], symbols[i + 1], merges, shift)
    while size > 1:
        best = NO_PAIR
        for i in range(size - 1):  # no branch: a vector minimum
            best = min(best, made[i])
        if best == NO_PAIR:
            break
        place = 0
        while made[place] != best:
            place += 1
        symbol = made_ids[best] if made_ids.size > 0 else best
        symbols[place] = symbol
        size -= 1
        for i in range(place + 1, size):
            symbols[i] = symbols[i + 1]
            made[i - 1] = made[i]
        if place > 0:
            made[place - 1] = _find_merge(symbols[place - 1], symbol, merges, shift)
        if place + 1 < size:
            made[place] = _find_merge(symbol, symbols[place + 1], merges, shift)
    return size


@_internal
def _push_number(heap, size, number):
    while size > 0 and heap[(size - 1) >> 1] > number:
        heap[size] = heap[(size - 1) >> 1]
        size = (size - 1) >> 1
    heap[size] = number


@_internal
def _pop_number(heap, size):
    """Return the least of `size` numbers; the others are left in order as a heap."""
    least, number = heap[0], heap[size - 1]
    size -= 1
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= number:
            break
        heap[hole] = heap[child]
        hole = child
    heap[hole] = number
    return least


@_internal
def _push_pair(place, symbols, following, heap, size, merges, shift):
    """Push what the symbol at a place merges to with the next one, if there is one and they do; return the heap's size."""
    if place >= 0 and following[place] >= 0:
        made = _find_merge(symbols[place], symbols[following[place]], merges, shift)
        if made != NO_PAIR:
            _push_number(heap, size, np.int64(made) << 32 | place)
            return size + 1
    return size


@_internal
def _merge_by_heap(symbols, size, merges, shift, made_ids):
    """Do as `_merge_simply` in O(L log L): a heap of (rank, position) over linked symbols, stale entries skipped."""
    heap = np.empty(2 * size, dtype=np.int64)  # each merge takes one entry or more and adds two at most
    previous = np.empty(size, dtype=np.int32)
    following = np.empty(size, dtype=np.int32)
    in_heap = 0
    for i in range(size):
        previous[i] = i - 1
        following[i] = i + 1 if i + 1 < size else -1
        in_heap = _push_pair(np.int32(i), symbols, following, heap, in_heap, merges, shift)
    while in_heap > 0:
        entry = _pop_number(heap, in_heap)
        in_heap -= 1
        made, place = np.int32(entry >> 32), np.int32(entry & 0xFFFFFFFF)
        partner = following[place]
        if previous[place] == -2 or partner < 0:
            continue
        if _find_merge(symbols[place], symbols[partner], merges, shift) != made:
            continue
        symbols[place] = made_ids[made] if made_ids.size > 0 else made
        previous[partner] = -2  # taken
        after, before = following[partner], previous[place]
        following[place] = after
        if after >= 0:
            previous[after] = place
        for changed in (place, before):
            in_heap = _push_pair(changed, symbols, following, heap, in_heap, merges, shift)
    kept, place = 0, 0
    while place >= 0:
        symbols[kept] = symbols[place]
        kept += 1
        place = following[place]
    return kept


@_internal
def _write_symbols(address, length, symbol_ids, lower_steps, end_of_word, symbols):
    """Write a word's characters, lowered, and the end of a word; return (symbols, unknown ones among them).

    An unknown character is kept as -1 - its code point, which no merge holds.
    """
    size = num_unknown = 0
    end = address + length
    while address < end:
        character, num_bytes = character_at(address)
        address += num_bytes
        if lower_steps.size > 0:
            if character == 0x130:  # the one character that lowers to two: i and a combining dot
                symbols[size] = symbol_ids[0x69] - 1 if symbol_ids[0x69] > 0 else -1 - 0x69
                num_unknown += symbols[size] < 0
                size += 1
                character = np.int64(0x307)
            else:
                character += lower_steps[character]
        known = symbol_ids[character]  # 0: unknown
        symbols[size] = known - 1 if known > 0 else -1 - character
        num_unknown += known == 0
        size += 1
    symbols[size] = end_of_word
    return size + 1, num_unknown


@_internal
def _replace_unknown(symbols, size, byte_base, unknown):
    """Replace unknown characters by their bytes' tokens, or by the unknown token; return the number of symbols."""
    if byte_base < 0:
        for i in range(size):
            if symbols[i] < 0:
                symbols[i] = unknown
        return size
    # Spread from the right, so that nothing is overwritten before it is read.
    total = size
    for i in range(size):
        if symbols[i] < 0:
            character = -1 - symbols[i]
            total += (character >= 0x80) + (character >= 0x800) + (character >= 0x10000)
    place = total
    for i in range(size - 1, -1, -1):
        place -= 1
        if symbols[i] >= 0:
            symbols[place] = symbols[i]
            continue
        character = -1 - symbols[i]
        if character < 0x80:
            symbols[place] = byte_base + character
            continue
        num_more = 1 + (character >= 0x800) + (character >= 0x10000)  # continuation bytes, six bits each
        for _ in range(num_more):
            symbols[place] = byte_base + (0x80 | (character & 0x3F))
            place -= 1
            character >>= 6
        symbols[place] = byte_base + (((0xFF00 >> (num_more + 1)) & 0xFF) | character)
    return total


@njit(cache=KEPT, nogil=True)
def tokens_of(address, length, rules_address, symbols_address, made_address):
    """Write the tokens of a piece, int32, to an address, where there is room for two a byte and two more; return their number.

    `made_address` is room for as many again, or for `SIMPLE_MERGE_LENGTH`.
    """
    rules = carray(pointer(rules_address, _RULES), 1)[0]
    symbols = carray(pointer(symbols_address, np.int32), 2 * length + 2)
    made = carray(pointer(made_address, np.int32), SIMPLE_MERGE_LENGTH)
    merge_shift = np.uint64(rules.merges_shift)
    merges = carray(pointer(rules.merges, np.uint64), (np.int64(1) << (64 - rules.merges_shift)) + _FILTER_WORDS)
    first_merges = carray(pointer(rules.first_merges, np.int32), (256, 256))
    made_ids = carray(pointer(rules.made_ids, np.int32), MAX_IDS if rules.made_ids != 0 else 0)
    num_unknown = 0
    if rules.has_characters:
        symbol_ids = carray(pointer(rules.symbol_ids, np.int32), 0x110000)
        lower_steps = carray(pointer(rules.lower_steps, np.int32), 0x110000 if rules.lower_steps != 0 else 0)
        size, num_unknown = _write_symbols(address, length, symbol_ids, lower_steps, rules.end_of_word, symbols)
    else:
        symbol_ids = carray(pointer(rules.symbol_ids, np.int32), 256)
        for i in range(length):
            symbols[i] = symbol_ids[load_byte(address + i)]
        size = length
    if size <= SIMPLE_MERGE_LENGTH:
        size = _merge_simply(symbols, size, made, merges, merge_shift, first_merges, made_ids)
    else:
        size = _merge_by_heap(symbols, size, merges, merge_shift, made_ids)
    return size if num_unknown == 0 else _replace_unknown(symbols, size, rules.byte_base, rules.unknown)


@njit(cache=KEPT, nogil=True)
def derive_merges(octets, starts, byte_ids, first_value, merges, shift, first_merges, pairs):
    """Find the merges behind a list of tokens in the order of their ranks, from `first_value` on; fill the table as for them.

    Token t is `octets[starts[t] : starts[t + 1]]`. What the merges found so far make of its bytes are the halves that it was
    merged from, which go into `pairs`, (T, 2); where they are not two, it can't be reached by merging: the row is -1, -1.
    """
    longest = 1
    for t in range(len(starts) - 1):
        longest = max(longest, starts[t + 1] - starts[t])
    symbols, made = np.empty(longest, dtype=np.int32), np.empty(longest, dtype=np.int32)
    no_ids = np.empty(0, dtype=np.int32)
    for t in range(len(starts) - 1):
        size = starts[t + 1] - starts[t]
        for i in range(size):
            symbols[i] = byte_ids[octets[starts[t] + i]]
        size = _merge_simply(symbols, size, made, merges, shift, first_merges, no_ids)
        pairs[t, 0] = pairs[t, 1] = -1
        if size == 2:
            pairs[t, 0], pairs[t, 1] = symbols[0], symbols[1]
            _enter_merge(symbols[0], symbols[1], first_value + t, merges, shift, first_merges)
