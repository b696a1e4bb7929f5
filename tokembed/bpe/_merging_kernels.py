"""Compiled loops that merge: a piece's symbols to its tokens, and a list of tokens to the merges behind it.

The readable twin is `reference.encode_word`. Kernels of other files call `tokens_of` by its address.
"""

from __future__ import annotations

import numpy as np
from numba import carray, from_dtype

from tokembed.bpe._layouts import EMPTY, FEW, FILTER_BITS, FILTER_WORDS, MADE_SIZE, NO_PAIR, RULES
from tokembed.bpe._memory import (
    allocate,
    character_at,
    kernel,
    leading_zeros,
    least_of_16,
    load_byte,
    pointer,
    prefetch,
    release,
    trailing_zeros,
)  # fmt: skip

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_ALL_BITS = np.uint64(0xFFFFFFFFFFFFFFFF)

_RULES = from_dtype(RULES)
_ANY_NUMBER = 1 << 30  # of entries of an array whose length is not needed


@kernel
def _find_merge(left, right, merges, shift):
    """Return the rank at which (left, right) merges, or NO_PAIR."""
    if (left | right) < 0:  # an unknown character
        return NO_PAIR
    key = np.uint64(np.int64(left) << 21 | np.int64(right))
    hashed = key * _MULTIPLIER
    # Most pairs do not merge, and the bits that say so lie in a near cache. They stand behind the table.
    bit = hashed >> np.uint64(64 - FILTER_BITS)
    slot = np.int64(hashed >> shift)
    num_slots = merges.size - FILTER_WORDS
    if merges[num_slots + np.int64(bit >> np.uint64(6))] >> (bit & np.uint64(63)) & np.uint64(1) == 0:
        return NO_PAIR
    while merges[slot] != EMPTY:
        if merges[slot] >> np.uint64(22) == key:
            return np.int32(merges[slot] & np.uint64(0x3FFFFF))
        slot = (slot + 1) & (num_slots - 1)
    return NO_PAIR


@kernel
def _ask_for_merge(left, right, merges, shift):
    hashed = np.uint64(np.int64(left) << 21 | np.int64(right)) * _MULTIPLIER
    prefetch(merges.ctypes.data + 8 * np.int64(hashed >> shift))


@kernel
def _enter_merge(left, right, value, merges, shift, first_merges):
    if left < 256 and right < 256:
        first_merges[left, right] = min(first_merges[left, right], value)
    key = np.uint64(np.int64(left) << 21 | np.int64(right))
    hashed = key * _MULTIPLIER
    slot = np.int64(hashed >> shift)
    num_slots = merges.size - FILTER_WORDS
    while merges[slot] != EMPTY:
        if merges[slot] >> np.uint64(22) == key:
            return  # the first one counts
        slot = (slot + 1) & (num_slots - 1)
    merges[slot] = key << np.uint64(22) | np.uint64(value)
    bit = hashed >> np.uint64(64 - FILTER_BITS)
    merges[num_slots + np.int64(bit >> np.uint64(6))] |= np.uint64(1) << (bit & np.uint64(63))


@kernel
def enter_merges(rules_address, pairs_address, values_address, num_merges):
    """Fill the hash table of merges and `first_merges` from (M, 2) int32, ids of halves; merge r is entered as `values[r]`."""
    merges, shift, first_merges = _merges_of(carray(pointer(rules_address, _RULES), 1)[0])
    pairs = carray(pointer(pairs_address, np.int32), (num_merges, 2))
    values = carray(pointer(values_address, np.int32), num_merges)
    for rank in range(num_merges):
        _enter_merge(pairs[rank, 0], pairs[rank, 1], values[rank], merges, shift, first_merges)
    return 0


@kernel
def _merges_of(rules):
    """Return the hash table of merges, by how much a hash is shifted to be a place in it, and `first_merges`."""
    num_slots = np.int64(1) << (64 - rules.merges_shift)
    merges = carray(pointer(rules.merges, np.uint64), num_slots + FILTER_WORDS)
    return merges, np.uint64(rules.merges_shift), carray(pointer(rules.first_merges, np.int32), (256, 256))


@kernel
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
        symbol = np.int32(made_ids[rank] if made_ids.size > 0 else rank)
        symbols[place] = symbol
        behind = left & (_ALL_BITS << np.uint64(place) << np.uint64(1))
        partner = trailing_zeros(behind)
        left &= ~(np.uint64(1) << np.uint64(partner))
        made[partner] = made[place] = NO_PAIR
        behind &= left
        before = left & ~(_ALL_BITS << np.uint64(place))
        i = 63 - leading_zeros(before)
        if behind != 0:
            if before != 0:  # of two answers that lie far away the second is asked for before the first is there
                _ask_for_merge(symbols[i], symbol, merges, shift)
            made[place] = _with_place(_find_merge(symbol, symbols[trailing_zeros(behind)], merges, shift), place)
        if before != 0:
            made[i] = _with_place(_find_merge(symbols[i], symbol, merges, shift), i)
    kept = 0
    while left != 0:
        symbols[kept] = symbols[trailing_zeros(left)]
        kept += 1
        left &= left - np.uint64(1)
    return kept


@kernel
def _with_place(rank, place):
    return np.int32(rank << 6 | place) if rank != NO_PAIR else NO_PAIR


@kernel
def _push_number(heap, size, number):
    while size > 0 and heap[(size - 1) >> 1] > number:
        heap[size] = heap[(size - 1) >> 1]
        size = (size - 1) >> 1
    heap[size] = number


@kernel
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


@kernel
def _merge_many(symbols, size, merges, shift, made_ids):
    """Do as `_merge_few` for any number of symbols, in little more than O(L); return -1 if there is no memory for it.

    Pairs wait in buckets, each of some ranks that follow one another; only those of the bucket that is being emptied are in a
    heap, as numbers of rank and place. A pair that is no more has another rank by then, or none.
    """
    width = 0
    while merges.size >> width > size:
        width += 1
    num_buckets = merges.size >> width
    room = allocate(8 * 2 * size + 4 * (5 * size + num_buckets))
    if room == 0:
        return -1
    heap = carray(pointer(room, np.int64), 2 * size)
    arrays = carray(pointer(room + 8 * 2 * size, np.int32), 5 * size + num_buckets)
    ranks = arrays[:size]  # at which each symbol merges with the next one that is left
    previous, following = arrays[size : 2 * size], arrays[2 * size : 3 * size]
    earlier, later = arrays[3 * size : 4 * size], arrays[4 * size : 5 * size]  # in the same bucket
    buckets = arrays[5 * size :]
    buckets[:] = -1
    last = num_buckets - 1
    for i in range(size - 1, -1, -1):
        previous[i], following[i] = i - 1, i + 1
        ranks[i] = _find_merge(symbols[i], symbols[i + 1], merges, shift) if i + 1 < size else NO_PAIR
        if ranks[i] != NO_PAIR:
            _enter_bucket(i, min(ranks[i] >> width, last), buckets, earlier, later)
    for bucket in range(num_buckets):
        in_heap = np.int64(0)  # for a literal numba would compile `_push_number` once more
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
    release(room)
    return kept


@kernel
def _enter_bucket(place, bucket, buckets, earlier, later):
    first = buckets[bucket]
    earlier[place], later[place] = -1, first
    if first >= 0:
        earlier[first] = place
    buckets[bucket] = place


@kernel
def _leave_bucket(place, bucket, buckets, earlier, later):
    if earlier[place] >= 0:
        later[earlier[place]] = later[place]
    else:
        buckets[bucket] = later[place]
    if later[place] >= 0:
        earlier[later[place]] = earlier[place]


@kernel
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


@kernel
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


@kernel
def tokens_of(address, length, rules_address, symbols_address, made_address):
    """Write the tokens of a piece, int32, to an address, where there is room for two a byte and two more; return their number.

    It is -1 if there is no memory to merge in. `made_address` is room for `MADE_SIZE` numbers, int32.
    """
    rules = carray(pointer(rules_address, _RULES), 1)[0]
    merges, shift, first_merges = _merges_of(rules)
    symbols = carray(pointer(symbols_address, np.int32), 2 * length + 2)
    made_ids = carray(pointer(rules.made_ids, np.int32), _ANY_NUMBER if rules.made_ids != 0 else 0)
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
    if size > FEW:
        size = _merge_many(symbols, size, merges, shift, made_ids)
    elif size > 1:
        size = _merge_few(symbols, size, made_address, merges, shift, first_merges, made_ids)
    return size if num_unknown == 0 or size < 0 else _replace_unknown(symbols, size, rules.byte_base, rules.unknown)


@kernel
def derive_merges(rules_address, octets_address, starts_address, num_tokens, first_value, pairs_address, symbols_address):
    """Find the merges behind a list of tokens in the order of their ranks, from `first_value` on; fill the table as for them.

    Token t is the bytes `starts[t]` to `starts[t + 1]`. What the merges found so far make of them are the halves that it was
    merged from, which go into `pairs`, (T, 2) int32; where they are not two, it can't be reached by merging: the row is -1, -1.
    The symbols need room as for `tokens_of`, and `MADE_SIZE` more before it. Returns 0, or -1 if there is no memory.
    """
    merges, shift, first_merges = _merges_of(carray(pointer(rules_address, _RULES), 1)[0])
    starts = carray(pointer(starts_address, np.int64), num_tokens + 1)
    pairs = carray(pointer(pairs_address, np.int32), (num_tokens, 2))
    symbols = carray(pointer(symbols_address + 4 * MADE_SIZE, np.int32), 2)
    for t in range(num_tokens):
        address, length = octets_address + starts[t], starts[t + 1] - starts[t]
        size = tokens_of(address, length, rules_address, symbols.ctypes.data, symbols_address)
        if size < 0:
            return -1
        pairs[t, 0] = pairs[t, 1] = -1
        if size == 2:
            pairs[t, 0], pairs[t, 1] = symbols[0], symbols[1]
            _enter_merge(symbols[0], symbols[1], first_value + t, merges, shift, first_merges)
    return 0
