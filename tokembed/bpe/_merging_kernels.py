"""Compiled loops that merge: a piece's symbols to its tokens, and a list of tokens to the merges behind it.

The readable twin is `reference.encode_word`. Kernels of other files call `tokens_of` by its address.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import carray, from_dtype, njit

from tokembed.bpe._memory import character_at, leading_zeros, least_of_16, load_byte, pointer, trailing_zeros
from tokembed.bpe.model import MAX_IDS
from tokembed.compilation import can_keep_kernels

KEPT = can_keep_kernels()

# For functions that only kernels call: without the wrappers that Python needs they compile in half the time.
_internal = njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)

FEW = 64  # symbols, which have a bit each in one number
MADE_SIZE = FEW + 16
NO_PAIR = np.int32(2**31 - 1)
EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
_FILTER_BITS = 20
_FILTER_WORDS = 1 << (_FILTER_BITS - 6)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_ALL_BITS = np.uint64(0xFFFFFFFFFFFFFFFF)

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
def _merge_few(symbols, size, made_address, merges, shift, first_merges, made_ids):
    """Merge up to 64 symbols: the pair of lowest rank, leftmost first, until none is left; return how many symbols remain.

    `made_address` is of room for `MADE_SIZE` numbers: the rank at which a symbol merges with the next, and its place, so that
    the least of them tells both. Which symbols are left are the bits of one number.
    """
    made = carray(pointer(made_address, np.int32), MADE_SIZE)
    # At first all are bytes or characters, whose ids lie close together in `first_merges`, a plain table.
    for i in range(size - 1):
        if 0 <= symbols[i] < 256 and 0 <= symbols[i + 1] < 256:
            rank = first_merges[symbols[i], symbols[i + 1]]
        else:
            rank = _find_merge(symbols[i], symbols[i + 1], merges, shift)
        made[i] = _with_place(rank, i)
    for i in range(size - 1, (size + 14) & ~15):
        made[i] = NO_PAIR
    left = _ALL_BITS >> np.uint64(64 - size)
    while True:
        best = NO_PAIR
        if size <= 24:  # one by one: a vector waits until what was just written is in memory: up to a tenth of the time
            for i in range(size - 1):
                best = min(best, made[i])
        else:
            for i in range(0, size - 1, 16):
                best = min(best, least_of_16(made_address + 4 * i))
        if best == NO_PAIR:
            break
        place, rank = np.int64(best & 63), best >> 6
        symbol = made_ids[rank] if made_ids.size > 0 else rank
        symbols[place] = symbol
        behind = left & (_ALL_BITS << np.uint64(place) << np.uint64(1))
        partner = trailing_zeros(behind)
        left &= ~(np.uint64(1) << np.uint64(partner))
        made[partner] = made[place] = NO_PAIR
        behind &= left
        before = left & ~(_ALL_BITS << np.uint64(place))
        if behind != 0:
            made[place] = _with_place(_find_merge(symbol, symbols[trailing_zeros(behind)], merges, shift), place)
        if before != 0:
            i = 63 - leading_zeros(before)
            made[i] = _with_place(_find_merge(symbols[i], symbol, merges, shift), i)
    kept = 0
    while left != 0:
        symbols[kept] = symbols[trailing_zeros(left)]
        kept += 1
        left &= left - np.uint64(1)
    return kept


@_internal
def _with_place(rank, place):
    return np.int32(rank << 6 | place) if rank != NO_PAIR else NO_PAIR


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
def _merge_many(symbols, size, merges, shift, made_ids):
    """Do as `_merge_few` for any number of symbols, in little more than O(L).

    Pairs wait in buckets, each of some ranks that follow one another; only those of the bucket that is being emptied are in a
    heap, as numbers of rank and place. A pair that is no more has another rank by then, or none.
    """
    ranks = np.empty(size, dtype=np.int32)  # at which each symbol merges with the next one that is left
    previous, following = np.empty(size, dtype=np.int32), np.empty(size, dtype=np.int32)
    earlier, later = np.empty(size, dtype=np.int32), np.empty(size, dtype=np.int32)  # in the same bucket
    heap = np.empty(2 * size, dtype=np.int64)
    width = 0
    while merges.size >> width > size:
        width += 1
    buckets = np.full(merges.size >> width, -1, dtype=np.int32)
    last = len(buckets) - 1
    for i in range(size - 1, -1, -1):
        previous[i], following[i] = i - 1, i + 1
        ranks[i] = _find_merge(symbols[i], symbols[i + 1], merges, shift) if i + 1 < size else NO_PAIR
        if ranks[i] != NO_PAIR:
            _enter_bucket(i, min(ranks[i] >> width, last), buckets, earlier, later)
    for bucket in range(len(buckets)):
        in_heap = 0
        place = buckets[bucket]
        while place >= 0:
            _push_number(heap, in_heap, np.int64(ranks[place]) << 32 | place)
            in_heap += 1
            place = later[place]
        while in_heap > 0:
            number = _pop_number(heap, in_heap)
            in_heap -= 1
            made, place = np.int32(number >> 32), np.int32(number & 0xFFFFFFFF)
            if ranks[place] != made:
                continue
            partner = following[place]
            symbols[place] = made_ids[made] if made_ids.size > 0 else made
            after, before = following[partner], previous[place]
            following[place] = after
            if after < size:
                previous[after] = place
            for changed in (partner, place, before):
                if changed < 0:
                    continue
                its_bucket = min(ranks[changed] >> width, last)
                if ranks[changed] != NO_PAIR and its_bucket > bucket:
                    _leave_bucket(changed, its_bucket, buckets, earlier, later)
                ranks[changed] = NO_PAIR
                if changed != partner and following[changed] < size:
                    rank = _find_merge(symbols[changed], symbols[following[changed]], merges, shift)
                    ranks[changed], its_bucket = rank, min(rank >> width, last)
                    if rank == NO_PAIR:
                        continue
                    if its_bucket > bucket:
                        _enter_bucket(changed, its_bucket, buckets, earlier, later)
                    else:
                        _push_number(heap, in_heap, np.int64(rank) << 32 | changed)
                        in_heap += 1
    kept, place = 0, 0
    while place < size:
        symbols[kept] = symbols[place]
        kept += 1
        place = following[place]
    return kept


@_internal
def _enter_bucket(place, bucket, buckets, earlier, later):
    first = buckets[bucket]
    earlier[place], later[place] = -1, first
    if first >= 0:
        earlier[first] = place
    buckets[bucket] = place


@_internal
def _leave_bucket(place, bucket, buckets, earlier, later):
    if earlier[place] >= 0:
        later[earlier[place]] = later[place]
    else:
        buckets[bucket] = later[place]
    if later[place] >= 0:
        earlier[later[place]] = earlier[place]


@_internal
def _merge(symbols, size, made_address, merges, shift, first_merges, made_ids):
    """Merge symbols where they are; return how many remain."""
    if size <= FEW:
        return _merge_few(symbols, size, made_address, merges, shift, first_merges, made_ids) if size > 1 else size
    return _merge_many(symbols, size, merges, shift, made_ids)


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

    `made_address` is room for `MADE_SIZE` numbers, int32.
    """
    rules = carray(pointer(rules_address, _RULES), 1)[0]
    symbols = carray(pointer(symbols_address, np.int32), 2 * length + 2)
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
    size = _merge(symbols, size, made_address, merges, merge_shift, first_merges, made_ids)
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
    symbols, made = np.empty(longest, dtype=np.int32), np.empty(MADE_SIZE, dtype=np.int32)
    no_ids = np.empty(0, dtype=np.int32)
    for t in range(len(starts) - 1):
        size = starts[t + 1] - starts[t]
        for i in range(size):
            symbols[i] = byte_ids[octets[starts[t] + i]]
        size = _merge(symbols, size, made.ctypes.data, merges, shift, first_merges, no_ids)
        pairs[t, 0] = pairs[t, 1] = -1
        if size == 2:
            pairs[t, 0], pairs[t, 1] = symbols[0], symbols[1]
            _enter_merge(symbols[0], symbols[1], first_value + t, merges, shift, first_merges)
