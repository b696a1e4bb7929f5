"""Compiled loops that turn pieces into tokens. The readable twin is `reference.encode_word`; wrappers validate, kernels do not.

Encoding rests on one fact: text repeats its words. Each thread has a table of the pieces it has seen, with their tokens; a
piece is merged once, when it is new, and found by its bytes ever after. Lower-casing too happens only then.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import carray, from_dtype, njit

from tokembed.bpe._memory import (
    LONGEST_INLINE,
    call_finder,
    is_same,
    key_of,
    load_byte,
    load_word,
    pointer,
    prefetch,
    short_key,
    slot_of,
    store_word,
)
from tokembed.compilation import can_keep_kernels

KEPT = can_keep_kernels()

# For functions that only kernels call: without the wrappers that Python needs they compile in half the time.
_internal = njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)

# What `encode_text` stopped for.
DONE, OUTPUT_FULL, TABLE_FULL = range(3)

MAX_TABLE_BYTES = 1000  # longer pieces come back too rarely to be worth a place
MAX_TOKENS_OF_A_PIECE = 2 * MAX_TABLE_BYTES + 2  # two a byte and two more: lowered, U+0130 has two letters for two bytes
SIMPLE_MERGE_LENGTH = 48  # up to here the plain search for the best pair beats a heap
MAX_IDS = 1 << 21  # a pair and what it makes share 64 bits
LOOK_AHEAD = 32  # pieces whose entries are asked for together: memory is slow, but answers many at once
NO_PAIR = np.int32(2**31 - 1)
EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
_FILTER_BITS = 21
_FILTER_WORDS = 1 << (_FILTER_BITS - 6)

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
        ("whole_pieces", np.int64),  # of (2^n, 4) uint64: pieces that are a token each, as entries of a table, see TABLE
        ("num_whole_slots", np.int64),
        ("whole_octets", np.int64),  # of uint8: where the bytes of the long ones are
        ("byte_base", np.int64),  # the id of byte 0's token, or -1
        ("unknown", np.int64),
    ]
)

# The pieces that one thread has seen. An entry of `slots` is half a cache line: a piece of up to 15 bytes and its length, or
# the hash, length and place of a longer one; then up to three tokens, or the place of more, and their number.
TABLE = np.dtype(
    [
        ("slots", np.int64),  # address of (2^n, 4) uint64
        ("num_slots", np.int64),
        ("num_pieces", np.int64),
        ("long_pieces", np.int64),  # of uint8: the bytes of the long ones
        ("long_pieces_size", np.int64),
        ("long_pieces_used", np.int64),
        ("tokens", np.int64),  # of int32: tokens that have no room in an entry
        ("tokens_size", np.int64),
        ("tokens_used", np.int64),
        ("symbols", np.int64),  # of (MAX_TOKENS_OF_A_PIECE,) int32: room for one piece
        ("made", np.int64),  # of the same: what each symbol makes with the next
        ("keys", np.int64),  # of (LOOK_AHEAD, 3) uint64: keys and entries of the pieces that come next
        ("token_ends", np.int64),  # of int64: how many tokens there are up to the end of each of several texts
        ("num_token_ends", np.int64),
        ("num_before", np.int64),  # tokens that were written in earlier calls
        ("finder", np.int64),  # of `find_pieces`, and what it is to be called with
        ("rule", np.int64),
        ("bounds", np.int64),
        ("max_found", np.int64),
        ("scratch", np.int64),
        ("rules", np.int64),
        ("block_start", np.int64),  # how far it came: pieces found from there on, and how many of them are done
        ("num_found", np.int64),
        ("num_done", np.int64),
        ("is_last", np.int64),
        ("num_written", np.int64),
        ("reason", np.int64),
        ("needed", np.int64),  # room that the output lacked
    ]
)
_RULES, _TABLE = from_dtype(RULES), from_dtype(TABLE)

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


# ------------------------------------------------------------ merging


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


@njit(cache=KEPT, nogil=True)
def enter_merges(pairs, values, merges, first_merges):
    """Fill a hash table and `first_merges` from (M, 2) ids of halves; merge r is entered as `values[r]`."""
    shift = np.uint64(64 - _log2(merges.size - _FILTER_WORDS))
    for rank in range(len(pairs)):
        _enter_merge(pairs[rank, 0], pairs[rank, 1], values[rank], merges, shift, first_merges)


def log2_slots(merges: npt.NDArray[np.uint64]) -> int:
    """Return how many bits a place in a table has that `merge_table` made."""
    return (len(merges) - _FILTER_WORDS).bit_length() - 1


@_internal
def _log2(size):
    bits = 0
    while 1 << bits < size:
        bits += 1
    return bits


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
def _write_symbols(text, symbol_ids, lower_steps, end_of_word, symbols):
    """Write a word's characters, lowered, and the end of a word; return (symbols, unknown ones among them).

    An unknown character is kept as -1 - its code point, which no merge holds.
    """
    size = num_unknown = 0
    position = 0
    while position < text.size:
        character = np.int64(text[position])
        if character < 0x80:
            position += 1
        elif character < 0xE0:
            character = (character & 0x1F) << 6 | np.int64(text[position + 1]) & 0x3F
            position += 2
        elif character < 0xF0:
            character = (character & 0x0F) << 12 | (np.int64(text[position + 1]) & 0x3F) << 6
            character |= np.int64(text[position + 2]) & 0x3F
            position += 3
        else:
            character = (character & 0x07) << 18 | (np.int64(text[position + 1]) & 0x3F) << 12
            character |= (np.int64(text[position + 2]) & 0x3F) << 6 | np.int64(text[position + 3]) & 0x3F
            position += 4
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


@_internal
def _tokens_of(address, length, rules_address, symbols, made):
    """Write the tokens of one piece to the front of `symbols`; return their number."""
    rules = carray(pointer(rules_address, _RULES), 1)[0]
    text = carray(pointer(address, np.uint8), length)
    merge_shift = np.uint64(rules.merges_shift)
    merges = carray(pointer(rules.merges, np.uint64), (np.int64(1) << (64 - rules.merges_shift)) + _FILTER_WORDS)
    first_merges = carray(pointer(rules.first_merges, np.int32), (256, 256))
    made_ids = carray(pointer(rules.made_ids, np.int32), MAX_IDS if rules.made_ids != 0 else 0)
    num_unknown = 0
    if rules.has_characters:
        symbol_ids = carray(pointer(rules.symbol_ids, np.int32), 0x110000)
        lower_steps = carray(pointer(rules.lower_steps, np.int32), 0x110000 if rules.lower_steps != 0 else 0)
        size, num_unknown = _write_symbols(text, symbol_ids, lower_steps, rules.end_of_word, symbols)
    else:
        symbol_ids = carray(pointer(rules.symbol_ids, np.int32), 256)
        for i in range(length):
            symbols[i] = symbol_ids[text[i]]
        size = length
    if size <= SIMPLE_MERGE_LENGTH:
        size = _merge_simply(symbols, size, made, merges, merge_shift, first_merges, made_ids)
    else:
        size = _merge_by_heap(symbols, size, merges, merge_shift, made_ids)
    return size if num_unknown == 0 else _replace_unknown(symbols, size, rules.byte_base, rules.unknown)


@njit(cache=KEPT, nogil=True)
def derive_merges(octets, starts, byte_ids, first_value, merges, first_merges, pairs):
    """Find the merges behind a list of tokens in the order of their ranks, from `first_value` on; fill the table as for them.

    Token t is `octets[starts[t] : starts[t + 1]]`. What the merges found so far make of its bytes are the halves that it was
    merged from, which go into `pairs`, (T, 2); where they are not two, it can't be reached by merging: the row is -1, -1.
    """
    shift = np.uint64(64 - _log2(merges.size - _FILTER_WORDS))
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


# ------------------------------------------------------------ looking up


@njit(cache=KEPT, nogil=True)
def enter_whole_pieces(rules_address, octets_address, starts, ids, must_check, slots):
    """Fill a table with pieces that are a token each: bytes `starts[t]`, not 0, to `starts[t + 1]` from the address on.

    They need not be merged. Where `must_check`, those are left out that merges make something else of.
    """
    symbols, made = np.empty(MAX_TOKENS_OF_A_PIECE, dtype=np.int32), np.empty(MAX_TOKENS_OF_A_PIECE, dtype=np.int32)
    for t in range(len(starts) - 1):
        address, length = octets_address + starts[t], starts[t + 1] - starts[t]
        if length > MAX_TABLE_BYTES:
            continue
        if must_check and (_tokens_of(address, length, rules_address, symbols, made) != 1 or symbols[0] != ids[t]):
            continue
        low, high = key_of(address, length)
        slot = slot_of(low, high, slots.shape[0])
        while slots[slot, 1] != 0:
            slot = (slot + 1) & (slots.shape[0] - 1)
        place = np.uint64(starts[t]) if length > LONGEST_INLINE else np.uint64(0)
        slots[slot, 0], slots[slot, 1] = low, high | place
        slots[slot, 2], slots[slot, 3] = np.uint64(ids[t]), np.uint64(1) << np.uint64(32)


@_internal
def _find(slot, low, high, slots_address, num_slots, address, length, long_pieces_address):
    """Return a piece's slot, or the empty one where it would go, from the slot on where it hashes to."""
    while True:
        entry = slots_address + 32 * slot
        its_high = load_word(entry + 8)
        if its_high == 0:
            return slot
        if load_word(entry) == low:
            if its_high == high and length <= LONGEST_INLINE:
                return slot
            if (
                length > LONGEST_INLINE
                and its_high >> np.uint64(32) == high >> np.uint64(32)
                and is_same(address, long_pieces_address + np.int64(its_high & np.uint64(0xFFFFFFFF)), length)
            ):
                return slot
        slot = (slot + 1) & (num_slots - 1)


@_internal
def _enter(slot, low, high, address, length, symbols, count, table_address):
    """Enter a piece with its tokens at an empty slot; return whether there was room."""
    table = carray(pointer(table_address, _TABLE), 1)[0]
    is_long = length > LONGEST_INLINE
    if (
        2 * table.num_pieces >= table.num_slots
        or (is_long and table.long_pieces_used + length > table.long_pieces_size)
        or (count > 3 and table.tokens_used + count + 1 > table.tokens_size)
    ):
        return False
    slots = carray(pointer(table.slots, np.uint64), (table.num_slots, 4))
    if is_long:
        high |= np.uint64(table.long_pieces_used)
        long_pieces = carray(pointer(table.long_pieces, np.uint8), table.long_pieces_size)
        for i in range(length):
            long_pieces[table.long_pieces_used + i] = load_byte(address + i)
        table.long_pieces_used += length
    slots[slot, 0], slots[slot, 1] = low, high
    if count <= 3:
        second = np.uint64(np.uint32(symbols[1])) if count > 1 else np.uint64(0)
        third = np.uint64(np.uint32(symbols[2])) if count > 2 else np.uint64(0)
        slots[slot, 2] = np.uint64(np.uint32(symbols[0])) | second << np.uint64(32)
        slots[slot, 3] = third | np.uint64(count) << np.uint64(32)
    else:
        slots[slot, 2], slots[slot, 3] = np.uint64(table.tokens_used), np.uint64(count) << np.uint64(32)
        tokens = carray(pointer(table.tokens, np.int32), table.tokens_size)
        for i in range(count):
            tokens[table.tokens_used + i] = symbols[i]
        table.tokens_used += count
    table.num_pieces += 1
    return True


@_internal
def _find_or_enter(slot, low, high, address, length, rules_address, table_address):
    """Return a piece's slot, entering it if it is new; -1 if there is no room for it."""
    table = carray(pointer(table_address, _TABLE), 1)[0]
    slot = _find(slot, low, high, table.slots, table.num_slots, address, length, table.long_pieces)
    if load_word(table.slots + 32 * slot + 8) == 0:
        symbols = carray(pointer(table.symbols, np.int32), MAX_TOKENS_OF_A_PIECE)
        made = carray(pointer(table.made, np.int32), MAX_TOKENS_OF_A_PIECE)
        count = 0
        rules = carray(pointer(rules_address, _RULES), 1)[0]
        whole = slot_of(low, high, rules.num_whole_slots)
        whole = _find(whole, low, high, rules.whole_pieces, rules.num_whole_slots, address, length, rules.whole_octets)
        if load_word(rules.whole_pieces + 32 * whole + 8) != 0:
            symbols[0] = np.int32(load_word(rules.whole_pieces + 32 * whole + 16))
            count = 1
        if count == 0:
            count = _tokens_of(address, length, rules_address, symbols, made)
        if not _enter(slot, low, high, address, length, symbols, count, table_address):
            return -1
    return slot


@_internal
def _encode_very_long(address, length, rules_address, output_address):
    """Write the tokens of a piece that is too long for the table; return their number. There is room for them."""
    symbols, made = np.empty(2 * length + 2, dtype=np.int32), np.empty(SIMPLE_MERGE_LENGTH, dtype=np.int32)
    count = _tokens_of(address, length, rules_address, symbols, made)
    output = carray(pointer(output_address, np.int32), count)
    for i in range(count):  # a slice would compile the formatting of its error message
        output[i] = symbols[i]
    return count


@_internal
def _encode_block(table_address, text_address, size, output_address, output, output_end):
    """Write the tokens of the pieces found, from the first on that is not done; return the address behind them.

    Pieces are counted from the text's address, from which `size` bytes may be read. The table tells how far it came.
    """
    table = carray(pointer(table_address, _TABLE), 1)[0]
    bounds_address, number = table.bounds, table.num_found
    # Addresses instead of arrays: numba would look at each index, whether it counts from the end.
    slots_address, num_slots, tokens_address, keys_address = table.slots, table.num_slots, table.tokens, table.keys
    reason = DONE
    i = known_until = table.num_done
    key = keys_address
    while i < number:
        if i == known_until:
            key = keys_address
            known_until = min(i + LOOK_AHEAD, number)
            for j in range(i, known_until):
                bounds = np.int64(load_word(bounds_address + 8 * j))
                start, length = bounds & 0xFFFFFFFF, bounds >> 32
                low = high = EMPTY  # which is no piece's key
                if 0 < length <= LONGEST_INLINE and start + 16 <= size:
                    low, high = short_key(text_address + start, length)
                elif 0 < length <= MAX_TABLE_BYTES:
                    low, high = key_of(text_address + start, length)
                entry = slots_address + 32 * slot_of(low, high, num_slots)
                prefetch(entry)
                store_word(key, low)
                store_word(key + 8, high)
                store_word(key + 16, np.uint64(entry))
                key += 24
            key = keys_address
        low, high, entry = load_word(key), load_word(key + 8), np.int64(load_word(key + 16))
        key += 24
        if load_word(entry) != low or load_word(entry + 8) != high:  # nor is that of a long piece, which has its place there
            bounds = np.int64(load_word(bounds_address + 8 * i))
            start, length = bounds & 0xFFFFFFFF, bounds >> 32
            if length == 0:
                token_ends = carray(pointer(table.token_ends, np.int64), table.num_token_ends + 1)
                token_ends[table.num_token_ends] = table.num_before + (output - output_address) // 4
                table.num_token_ends += 1
                i += 1
                continue
            if length > MAX_TABLE_BYTES:
                table.needed = 2 * length + 2
                if output + 4 * table.needed > output_end:
                    reason = OUTPUT_FULL
                    break
                output += 4 * _encode_very_long(text_address + start, length, table.rules, output)
                i += 1
                continue
            slot = (entry - slots_address) >> 5
            slot = _find_or_enter(slot, low, high, text_address + start, length, table.rules, table_address)
            if slot < 0:
                reason = TABLE_FULL
                break
            entry = slots_address + 32 * slot
        first_two, last = load_word(entry + 16), load_word(entry + 24)
        count = np.int64(last >> np.uint64(32))
        if output + 4 * count + 16 > output_end:
            table.needed = count + 4
            reason = OUTPUT_FULL
            break
        if count <= 3:
            store_word(output, first_two)
            store_word(output + 8, last)
        else:
            tokens = tokens_address + 4 * np.int64(first_two)
            for j in range(0, 4 * count, 8):  # two at a time, and perhaps one too many
                store_word(output + j, load_word(tokens + j))
        output += 4 * count
        i += 1
    table.num_done, table.reason = i, reason
    return output


@njit(cache=KEPT, nogil=True)
def encode_text(table_address, text_address, start, end, size, output_address, capacity):
    """Encode a text from its byte `start` to `end`; return how many tokens were written, or -1 if it stopped before the end.

    Of the text `size` bytes may be read. The table tells what it stopped for, and how many were written; called again with a
    `start` of -1 it goes on. Of several texts, see `find_pieces`, `token_ends` gets the tokens up to each one's end.
    """
    table = carray(pointer(table_address, _TABLE), 1)[0]
    output, output_end = output_address, output_address + 4 * capacity
    if start >= 0:
        table.block_start = start
        table.num_found = table.num_done = table.is_last = 0
    table.reason = DONE
    while table.reason == DONE:
        if table.num_done == table.num_found:
            if table.is_last:
                break
            if table.num_found > 0:  # where to go on stands behind them
                table.block_start += np.int64(load_word(table.bounds + 8 * table.num_found))
            table.num_found = call_finder(
                table.finder,
                table.rule,
                text_address,
                table.block_start,
                end,
                size,
                table.bounds,
                table.max_found,
                table.scratch,
            )
            table.num_done, table.is_last = 0, table.num_found < table.max_found
        block = text_address + table.block_start
        output = _encode_block(table_address, block, size - table.block_start, output_address, output, output_end)
    table.num_written = (output - output_address) // 4
    table.num_before += table.num_written
    return table.num_written if table.reason == DONE else -1
