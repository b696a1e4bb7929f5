"""Compiled loops that encode whole texts. The readable twin is `reference.tokenize`; wrappers validate, kernels do not.

Encoding rests on one fact: text repeats its words. Each thread has a table of the words it has seen, with their tokens; a
word is merged once, when it is new, and found by its characters ever after. Lower-casing too happens only then.

The file shares nothing with the other kernels': numba keeps what it compiled until this file changes, and would not see a
change elsewhere.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from tokembed.compilation import can_keep_kernels, stand_in_for_old_names

KEPT = can_keep_kernels()
__getattr__ = stand_in_for_old_names(__name__)

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

# For functions that only kernels call: without the wrappers that Python needs they compile in half the time.
_internal = njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)

# What `encode_units` stopped for.
END_REACHED, OUTPUT_FULL, TABLE_FULL, SURROGATE = range(4)
# Slots of a word table's `sizes` array.
NUM_SHORT, NUM_LONG, CHARACTERS_USED, TOKENS_USED, NUM_WORDS, TOKENS_NEEDED = range(6)

SPACE, WORD = 0, 1  # as in `pretokenizer`; what is neither is punctuation
MAX_TABLE_LENGTH = 1000  # longer words come back too rarely to be worth a place
SIMPLE_MERGE_LENGTH = 48  # up to here the plain search for the best pair beats a heap
NO_PAIR = np.int32(2**31 - 1)

ROOM_OF_A_WINDOW = 64 * 2 + 64  # a token per unit and one per piece, and what is written past the last one

_ALL_BITS = np.uint64(0xFFFFFFFFFFFFFFFF)
_SECOND_MULTIPLIER = np.uint64(0xC2B2AE3D27D4EB4F)


class Rules(NamedTuple):
    """What turns a word into tokens."""

    merges: Any  # (2^n, 2) int64: a hash table of pairs, and the ids that they make
    first_merges: Any  # (256, 256) int32: the same for pairs of small ids, or NO_PAIR
    character_ids: Any  # (0x110000,) int32: a character's id plus 1, 0 if it is unknown
    lower_steps: Any  # (0x110000,) int32: by how much a code point moves when lowered; empty if nothing is
    end_of_word: int
    byte_base: int  # the id of byte 0's token, or -1
    unknown: int


class Table(NamedTuple):
    """The words that one thread has seen, with their tokens: an open-addressed table for short ones, another for the rest.

    Counting numbers the words instead, by the same scan: a kernel of its own would take two seconds more to compile.
    """

    short: Any  # (2^n, 4) uint64: a word of up to 15 ASCII bytes and its tokens, in half a cache line
    long_slots: Any  # (2^m,) int32: index of a word, or -1
    long_words: Any  # (2^m / 2, 5) int64: hash, first character, length, first token, number of tokens
    characters: Any  # uint32: those of the long words
    token_pool: Any  # int32: tokens that have no room in an entry
    sizes: Any  # (6,) int64: how much of all that is used
    new_starts: Any  # int64: where each numbered word first occurred; no room for any when words are encoded
    new_lengths: Any  # int32


class Scratch(NamedTuple):
    """Room for one word."""

    characters: Any  # int32
    symbols: Any  # int32
    made: Any  # int32: what each symbol makes with the next


@intrinsic
def _address_of(typing_context, pointer):
    """Return a pointer as a number."""

    def generate(context, builder, signature, arguments):
        return builder.ptrtoint(arguments[0], context.get_value_type(types.int64))

    return types.int64(types.voidptr), generate


@njit(cache=KEPT)
def text_layout(text):
    """Return where a str keeps its code points and in how many bytes each: CPython's own array, not a copy."""
    return _address_of(text._data), text._kind


def _lanes_at(context, builder, array_type, array, position, count):
    """Return a vector of `count` units from `position` on, and a maker of constants of its type."""
    width = array_type.dtype.bitwidth
    lanes = ir.VectorType(ir.IntType(width), count)
    pointer = builder.gep(context.make_array(array_type)(context, builder, array).data, [position])
    loaded = builder.load(builder.bitcast(pointer, lanes.as_pointer()), align=width // 8)
    return loaded, lambda number: ir.Constant(lanes, [number] * count)


@intrinsic
def _classify(typing_context, units, position):
    """Return three masks of the 64 units from `position` on: word characters, ASCII white space, NUL and all but ASCII.

    Bit i stands for unit i. Sixty-four lanes are compared at once, in as many vector registers as the processor needs.
    """

    def generate(context, builder, signature, arguments):
        loaded, constant = _lanes_at(context, builder, signature.args[0], *arguments, 64)

        def is_in_range(values, first, count):
            return builder.icmp_unsigned("<", builder.sub(values, constant(first)), constant(count))

        is_letter = is_in_range(builder.or_(loaded, constant(0x20)), ord("a"), 26)
        is_digit = is_in_range(loaded, ord("0"), 10)
        is_underscore = builder.icmp_unsigned("==", loaded, constant(ord("_")))
        is_space = builder.or_(is_in_range(loaded, 9, 5), is_in_range(loaded, 0x1C, 5))  # as Python's \\s has it
        is_other = builder.not_(is_in_range(loaded, 1, 127))
        masks = [builder.or_(builder.or_(is_letter, is_digit), is_underscore), is_space, is_other]
        bits = [builder.bitcast(mask, ir.IntType(64)) for mask in masks]
        return context.make_tuple(builder, signature.return_type, bits)

    return types.UniTuple(types.uint64, 3)(units, types.intp), generate


@intrinsic
def _load_key(typing_context, units, position):
    """Return the low bytes of the 16 units from `position` on, as two uint64."""

    def generate(context, builder, signature, arguments):
        loaded, _ = _lanes_at(context, builder, signature.args[0], *arguments, 16)
        octets = loaded if signature.args[0].dtype.bitwidth == 8 else builder.trunc(loaded, ir.VectorType(ir.IntType(8), 16))
        halves = builder.bitcast(octets, ir.VectorType(ir.IntType(64), 2))
        both = [builder.extract_element(halves, ir.Constant(ir.IntType(32), half)) for half in (0, 1)]
        return context.make_tuple(builder, signature.return_type, both)

    return types.UniTuple(types.uint64, 2)(units, types.intp), generate


@intrinsic
def _trailing_zeros(typing_context, bits):
    """Return the number of zeros below the lowest one, 64 for 0."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


@intrinsic
def _leading_zeros(typing_context, bits):
    """Return the number of zeros above the highest one, 64 for 0."""

    def generate(context, builder, signature, arguments):
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


@_internal
def _slot_of(key, slots):
    """Return where `key` hashes to in a table whose size is a power of two."""
    mixed = np.uint64(key) * _MULTIPLIER
    return np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(slots.size - 1))


@_internal
def _find_merge(left, right, merges):
    """Return the id that merging (left, right) makes, or NO_PAIR. Lower ids are lower ranks."""
    key = np.int64(left) << 32 | np.int64(right)
    slot = _slot_of(key, merges[:, 0])
    while merges[slot, 1] != NO_PAIR:
        if merges[slot, 0] == key:
            return np.int32(merges[slot, 1])
        slot = (slot + 1) & (merges.shape[0] - 1)
    return NO_PAIR


@njit(cache=KEPT, nogil=True)
def enter_merges(pairs, first_id, merges, first_merges):
    """Fill a hash table, (slots, 2) of pairs and the ids they make, and `first_merges`, from (M, 2) ids of halves."""
    for rank in range(len(pairs)):
        if pairs[rank, 0] < 256 and pairs[rank, 1] < 256:
            first_merges[pairs[rank, 0], pairs[rank, 1]] = first_id + rank
        key = np.int64(pairs[rank, 0]) << 32 | np.int64(pairs[rank, 1])
        slot = _slot_of(key, merges[:, 0])
        while merges[slot, 1] != NO_PAIR:
            slot = (slot + 1) & (merges.shape[0] - 1)
        merges[slot, 0], merges[slot, 1] = key, first_id + rank


@_internal
def _merge_simply(symbols, size, made, merges, first_merges):
    """Merge the pair of lowest rank, leftmost first, until none is left; return the number of symbols. O(L²).

    `made` is scratch: what each symbol would make with the next. At first all are characters, and letters lie close
    together in `first_merges`, a plain (256, 256) table of what the alphabet's first characters make.
    """
    for i in range(size - 1):
        if 0 <= symbols[i] < 256 and 0 <= symbols[i + 1] < 256:
            made[i] = first_merges[symbols[i], symbols[i + 1]]
        else:
            made[i] = _find_merge(symbols[i], symbols[i + 1], merges)
    while size > 1:
        best = NO_PAIR
        for i in range(size - 1):  # no branch: a vector minimum
            best = min(best, made[i])
        if best == NO_PAIR:
            break
        place = 0
        while made[place] != best:
            place += 1
        symbols[place] = best
        size -= 1
        for i in range(place + 1, size):
            symbols[i] = symbols[i + 1]
            made[i - 1] = made[i]
        if place > 0:
            made[place - 1] = _find_merge(symbols[place - 1], best, merges)
        if place + 1 < size:
            made[place] = _find_merge(best, symbols[place + 1], merges)
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
def _merge_by_heap(symbols, size, merges):
    """Do as `_merge_simply` in O(L log L): a heap of (id made, position) over linked symbols, stale entries skipped."""
    heap = np.empty(2 * size, dtype=np.int64)  # each merge takes one entry or more and adds two at most
    previous = np.empty(size, dtype=np.int32)
    following = np.empty(size, dtype=np.int32)
    in_heap = 0
    for i in range(size):
        previous[i] = i - 1
        following[i] = i + 1 if i + 1 < size else -1
        if i + 1 < size:
            made = _find_merge(symbols[i], symbols[i + 1], merges)
            if made != NO_PAIR:
                _push_number(heap, in_heap, np.int64(made) << 32 | i)
                in_heap += 1
    while in_heap > 0:
        entry = _pop_number(heap, in_heap)
        in_heap -= 1
        made, place = np.int32(entry >> 32), np.int32(entry & 0xFFFFFFFF)
        partner = following[place]
        if previous[place] == -2 or partner < 0:
            continue
        if _find_merge(symbols[place], symbols[partner], merges) != made:
            continue
        symbols[place] = made
        previous[partner] = -2  # taken
        after, before = following[partner], previous[place]
        following[place] = after
        if after >= 0:
            previous[after] = place
            made = _find_merge(symbols[place], symbols[after], merges)
            if made != NO_PAIR:
                _push_number(heap, in_heap, np.int64(made) << 32 | place)
                in_heap += 1
        if before >= 0:
            made = _find_merge(symbols[before], symbols[place], merges)
            if made != NO_PAIR:
                _push_number(heap, in_heap, np.int64(made) << 32 | before)
                in_heap += 1
    kept, place = 0, 0
    while place >= 0:
        symbols[kept] = symbols[place]
        kept += 1
        place = following[place]
    return kept


@_internal
def _tokens_of(characters, length, rules, symbols, made):
    """Write the tokens of one piece to the front of `symbols` (five a character and one more fit); return their number.

    Each character is lowered and looked up; an unknown character is kept as -1 - its code point, which no merge holds, and
    becomes bytes, or the unknown token, at the end.
    """
    merges, first_merges, character_ids, lower_steps, end_of_word, byte_base, unknown = rules
    size = 0
    num_unknown = 0
    for i in range(length):
        character = characters[i]
        if lower_steps.size > 0:
            if character == 0x130:  # the one character that lowers to two: i and a combining dot
                symbols[size] = character_ids[0x69] - 1 if character_ids[0x69] > 0 else -1 - 0x69
                num_unknown += symbols[size] < 0
                size += 1
                character = np.int32(0x307)
            else:
                character += lower_steps[character]
        known = character_ids[character]  # 0: unknown
        symbols[size] = known - 1 if known > 0 else -1 - character
        num_unknown += known == 0
        size += 1
    symbols[size] = end_of_word
    size += 1
    if size <= SIMPLE_MERGE_LENGTH:
        size = _merge_simply(symbols, size, made, merges, first_merges)
    else:
        size = _merge_by_heap(symbols, size, merges)
    if num_unknown == 0:
        return size
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
        if symbols[i] >= 0:
            place -= 1
            symbols[place] = symbols[i]
            continue
        character = -1 - symbols[i]
        if character < 0x80:
            place -= 1
            symbols[place] = byte_base + character
            continue
        num_more = 1 + (character >= 0x800) + (character >= 0x10000)  # continuation bytes, six bits each
        for _ in range(num_more):
            place -= 1
            symbols[place] = byte_base + (0x80 | (character & 0x3F))
            character >>= 6
        place -= 1
        symbols[place] = byte_base + (((0xFF00 >> (num_more + 1)) & 0xFF) | character)
    return total


@_internal
def _no_number_left(table):
    """Tell whether words are numbered and all numbers are given out."""
    sizes, new_starts = table.sizes, table.new_starts
    return new_starts.size > 0 and sizes[NUM_WORDS] == new_starts.size


@_internal
def _resolve(units, start, length, rules, table, scratch):
    """Put what a new word stands for into `scratch.symbols`, and return how many: its tokens or, numbered, its number."""
    # Local names: taking an array out of a tuple counts a reference, each time.
    sizes, new_starts, new_lengths = table.sizes, table.new_starts, table.new_lengths
    characters, symbols, made = scratch
    if new_starts.size == 0:
        for i in range(length):
            characters[i] = units[start + i]
        return _tokens_of(characters, length, rules, symbols, made)
    symbols[0] = sizes[NUM_WORDS]
    new_starts[sizes[NUM_WORDS]] = start
    new_lengths[sizes[NUM_WORDS]] = length
    sizes[NUM_WORDS] += 1
    return 1


@_internal
def _enter_short(units, start, length, low, high, slot, rules, table, scratch):
    """Enter a new short word at an empty slot of the table; return whether there was room."""
    short, token_pool, sizes = table.short, table.token_pool, table.sizes
    if 2 * sizes[NUM_SHORT] >= short.shape[0] or sizes[TOKENS_USED] + 17 > token_pool.size or _no_number_left(table):
        return False
    symbols = scratch.symbols
    count = _resolve(units, start, length, rules, table, scratch)
    short[slot, 0], short[slot, 1] = low, high
    if count <= 3:
        second = np.uint64(np.uint32(symbols[1])) if count > 1 else np.uint64(0)
        third = np.uint64(np.uint32(symbols[2])) if count > 2 else np.uint64(0)
        short[slot, 2] = np.uint64(np.uint32(symbols[0])) | second << np.uint64(32)
        short[slot, 3] = third | np.uint64(count) << np.uint64(32)
    else:
        short[slot, 2] = np.uint64(sizes[TOKENS_USED])
        short[slot, 3] = np.uint64(count) << np.uint64(32)
        for i in range(count):
            token_pool[sizes[TOKENS_USED] + i] = symbols[i]
        sizes[TOKENS_USED] += count
    sizes[NUM_SHORT] += 1
    return True


@_internal
def _find_long(units, start, length, table):
    """Look a word up by its units: (hash, slot, index or -1)."""
    long_slots, long_words, characters = table.long_slots, table.long_words, table.characters
    mixed = np.uint64(length)
    for i in range(start, start + length):
        mixed = (mixed ^ np.uint64(units[i])) * _MULTIPLIER
        mixed ^= mixed >> np.uint64(29)
    slot = np.int64(mixed & np.uint64(long_slots.size - 1))
    while long_slots[slot] >= 0:
        index = long_slots[slot]
        if np.uint64(long_words[index, 0]) == mixed and long_words[index, 2] == length:
            first = long_words[index, 1]
            same = True
            for i in range(length):
                if characters[first + i] != units[start + i]:
                    same = False
                    break
            if same:
                return mixed, slot, index
        slot = (slot + 1) & (long_slots.size - 1)
    return mixed, slot, np.int32(-1)


@_internal
def _encode_other(units, start, classes, rules, table, scratch, output, used):
    """Encode what the short table does not take, one piece or space: long words, and those with other than ASCII.

    Returns (units read, tokens written) and END_REACHED, or what stands in the way.
    """
    long_slots, long_words, characters = table.long_slots, table.long_words, table.characters
    token_pool, sizes = table.token_pool, table.sizes
    first = units[start]
    if 0xD800 <= first <= 0xDFFF:
        return 0, 0, SURROGATE
    if classes[first] == SPACE:
        return 1, 0, END_REACHED
    length = 1
    if classes[first] == WORD:
        while start + length < units.size and classes[units[start + length]] == WORD:
            length += 1

    if used + 5 * length + 1 > output.size:
        sizes[TOKENS_NEEDED] = 5 * length + 1
        return 0, 0, OUTPUT_FULL
    if length > MAX_TABLE_LENGTH:
        if _no_number_left(table):
            return 0, 0, TABLE_FULL
        symbols = np.empty(5 * length + 1, dtype=np.int32)
        room = Scratch(np.empty(length, dtype=np.int32), symbols, scratch.made)
        count = _resolve(units, start, length, rules, table, room)
        for i in range(count):  # a slice would compile the formatting of its error message
            output[used + i] = symbols[i]
        return length, count, END_REACHED
    mixed, slot, index = _find_long(units, start, length, table)
    if index < 0:
        if (
            2 * sizes[NUM_LONG] >= long_slots.size
            or _no_number_left(table)
            or sizes[CHARACTERS_USED] + length > characters.size
            or sizes[TOKENS_USED] + 5 * length + 1 > token_pool.size
        ):
            return 0, 0, TABLE_FULL
        symbols = scratch.symbols
        count = _resolve(units, start, length, rules, table, scratch)
        index = np.int32(sizes[NUM_LONG])
        long_words[index, 0], long_words[index, 1], long_words[index, 2] = np.int64(mixed), sizes[CHARACTERS_USED], length
        long_words[index, 3], long_words[index, 4] = sizes[TOKENS_USED], count
        for i in range(length):
            characters[sizes[CHARACTERS_USED] + i] = units[start + i]
        for i in range(count):
            token_pool[sizes[TOKENS_USED] + i] = symbols[i]
        long_slots[slot] = index
        sizes[NUM_LONG] += 1
        sizes[CHARACTERS_USED] += length
        sizes[TOKENS_USED] += count
    first_token, count = long_words[index, 3], long_words[index, 4]
    for i in range(count):
        output[used + i] = token_pool[first_token + i]
    return length, count, END_REACHED


@njit(cache=KEPT, nogil=True)
def encode_units(
    units, start, end,  # the text's code points (N,) and the part to encode, which begins and ends between pieces
    classes,  # (0x110000,): SPACE, WORD or other
    rules, table, scratch,  # see the classes above
    output,  # int32, where the tokens go
):  # fmt: skip
    """Encode units from `start` on; return where it stopped, how many tokens were written, and why it stopped.

    The text is taken in windows of up to 64 units, of which three masks tell where pieces begin and end: finding one is a
    matter of counting zeros, and does not wait for the piece before it. A word of up to 15 ASCII characters is found in the
    short table by its bytes, nearly always at one cache line. What the masks do not cover goes to `_encode_other`, a piece
    at a time: words with other characters or longer, and the text's last units.
    """
    short, token_pool, sizes = table.short, table.token_pool, table.sizes
    slot_mask = np.uint64(short.shape[0] - 1)
    one = np.uint64(1)
    used = np.int64(0)
    position = np.int64(start)
    while position < end:
        if used + ROOM_OF_A_WINDOW > output.size:
            sizes[TOKENS_NEEDED] = ROOM_OF_A_WINDOW
            return position, used, OUTPUT_FULL
        reach = 0  # how far the window's pieces are complete and ASCII
        words = spaces = np.uint64(0)
        if position + 64 + 16 <= units.size:
            words, spaces, others = _classify(units, position)
            reach = min(_trailing_zeros(others), end - position)
            if reach > 0:
                reach -= _leading_zeros(~(words << np.uint64(64 - reach)))  # a word that may continue waits for the next window
        if reach == 0:
            num_read, count, reason = _encode_other(units, position, classes, rules, table, scratch, output, used)
            if reason != END_REACHED:
                return position, used, reason
            position += num_read
            used += count
            continue

        within = _ALL_BITS >> np.uint64(64 - reach)
        words &= within
        starts = (words & ~(words << one)) | (~words & ~spaces & within)
        while starts != 0:
            offset = _trailing_zeros(starts)
            starts &= starts - one
            length = max(_trailing_zeros(~(words >> np.uint64(offset))), 1)  # a mark is not a word: one unit
            first = position + offset
            if length > 15:
                _, count, reason = _encode_other(units, first, classes, rules, table, scratch, output, used)
                if reason != END_REACHED:
                    return first, used, reason
                used += count
                continue
            low, high = _load_key(units, first)
            low &= _ALL_BITS >> np.uint64(max(64 - 8 * length, 0))
            high &= ~(_ALL_BITS << np.uint64(max(8 * length - 64, 0)))
            mixed = (low ^ (high * _SECOND_MULTIPLIER)) * _MULTIPLIER
            slot = (mixed >> np.uint64(40)) & slot_mask
            while short[slot, 0] != low or short[slot, 1] != high:
                if short[slot, 0] == 0:
                    if not _enter_short(units, first, length, low, high, slot, rules, table, scratch):
                        return first, used, TABLE_FULL
                    break
                slot = (slot + one) & slot_mask
            tokens, last = short[slot, 2], short[slot, 3]
            count = np.int64(last >> np.uint64(32))
            if count <= 3:
                output[used] = np.int32(tokens)
                output[used + 1] = np.int32(tokens >> np.uint64(32))
                output[used + 2] = np.int32(last)
            else:
                for i in range(count):
                    output[used + i] = token_pool[np.int64(tokens) + i]
            used += count
        position += reach
    return position, used, END_REACHED


@njit(cache=KEPT, nogil=True)
def next_boundary(units, position, classes):
    """Return the first position from `position` on that no word reaches over."""
    if position <= 0:
        return 0
    while position < units.size and classes[units[position]] == WORD and classes[units[position - 1]] == WORD:
        position += 1
    return min(position, units.size)


@njit(cache=KEPT, nogil=True)
def tally(numbers, counts):
    """Add up how often each number occurs."""
    for number in numbers:
        counts[number] += 1
