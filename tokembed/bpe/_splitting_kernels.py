"""Compiled loops that cut text into pieces. The readable twin is `splitting`; wrappers validate, kernels do not.

Text is UTF-8. It is looked at through windows of 64 bytes, of which each kind of character has a mask: bit i stands for byte i.
Where a run of letters ends is then a matter of counting zeros, whatever the alphabet. What reaches over the window's end is
followed a character at a time.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import carray, from_dtype, njit, types
from numba.extending import intrinsic

from tokembed.bpe._memory import address_of, leading_zeros, load_byte, load_word, pointer, store_word, trailing_zeros
from tokembed.compilation import can_keep_kernels

KEPT = can_keep_kernels()

# For functions that only kernels call: without the wrappers that Python needs they compile in half the time.
_internal = njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)

# What a character may be: bits of `Rule.kinds`. UPPER and LOWER are what may stand in the first and in the second part of a
# piece's letters, which are two parts in "o200k" alone; there a combining mark is both, and OTHER besides.
UPPER, LOWER, LETTER, DIGIT, SPACE, NEWLINE, OTHER = (1 << bit for bit in range(7))
# Families of rules.
WORDS, GPT2, CL100K, O200K = range(4)

# All that a kernel must know of a rule, passed by address: numba takes 20 us to unpack as many arguments, and nothing for one.
RULE = np.dtype(
    [
        ("kinds", np.int64),  # the address of (0x110000,) uint8: each code point's kinds
        ("family", np.int64),
        ("max_digits", np.int64),  # digits in a piece, at most
        ("keeps_last_spaces", np.int64),  # whether white space at the end of a text is one piece, line ends in it or not
    ]
)
# What one thread keeps from call to call.
SCRATCH = np.dtype(
    [
        ("window", np.uint8, (128,)),  # room for the kinds of a window's bytes, and for a copy of the text's last ones
        ("text_ends", np.int64),  # the address of int64: where each of several texts ends; they follow one another
        ("num_texts", np.int64),  # 0 for a single text
        ("num_ended", np.int64),
    ]
)
_RULE, _SCRATCH = from_dtype(RULE), from_dtype(SCRATCH)

_ALL_BITS = np.uint64(0xFFFFFFFFFFFFFFFF)
_WINDOW = 64
_STEP = 40  # a window is left when this much of it is done, so that most pieces lie in one


def _lanes_at(builder, address, count):
    """Return a vector of `count` bytes from an address on, and a maker of constants of its type."""
    lanes = ir.VectorType(ir.IntType(8), count)
    loaded = builder.load(builder.inttoptr(address, lanes.as_pointer()), align=1)
    return loaded, lambda number: ir.Constant(lanes, [number] * count)


@intrinsic
def _classify(typing_context, address):
    """Return masks of 64 bytes: capitals, small letters, digits, underscores, white space, U+001C to U+001F, line ends,
    spaces, apostrophes, bytes beyond ASCII, and those of them that continue a character."""  # fmt: skip

    def generate(context, builder, signature, arguments):
        loaded, constant = _lanes_at(builder, arguments[0], _WINDOW)

        def is_in(first, count):
            return builder.icmp_unsigned("<", builder.sub(loaded, constant(first)), constant(count))

        def equals(value):
            return builder.icmp_unsigned("==", loaded, constant(value))

        masks = [
            is_in(ord("A"), 26),
            is_in(ord("a"), 26),
            is_in(ord("0"), 10),
            equals(ord("_")),
            builder.or_(is_in(9, 5), equals(ord(" "))),
            is_in(0x1C, 4),
            builder.or_(equals(10), equals(13)),
            equals(ord(" ")),
            equals(ord("'")),
            is_in(0x80, 0x80),
            is_in(0x80, 0x40),
        ]
        bits = [builder.bitcast(mask, ir.IntType(64)) for mask in masks]
        return context.make_tuple(builder, signature.return_type, bits)

    return types.UniTuple(types.uint64, 11)(types.int64), generate


@intrinsic
def _bytes_with(typing_context, address):
    """Return seven masks of 64 bytes: those that have bit 0, bit 1, ... set."""

    def generate(context, builder, signature, arguments):
        loaded, constant = _lanes_at(builder, arguments[0], _WINDOW)
        bits = []
        for bit in range(7):
            is_set = builder.icmp_unsigned("!=", builder.and_(loaded, constant(1 << bit)), constant(0))
            bits.append(builder.bitcast(is_set, ir.IntType(64)))
        return context.make_tuple(builder, signature.return_type, bits)

    return types.UniTuple(types.uint64, 7)(types.int64), generate


@_internal
def _character_at(text, position):
    """Return a character's code point and its length in bytes; the text is valid UTF-8."""
    first = np.int64(text[position])
    if first < 0x80:
        return first, 1
    if first < 0xE0:
        return (first & 0x1F) << 6 | np.int64(text[position + 1]) & 0x3F, 2
    second = np.int64(text[position + 1]) & 0x3F
    third = np.int64(text[position + 2]) & 0x3F
    if first < 0xF0:
        return (first & 0x0F) << 12 | second << 6 | third, 3
    return (first & 0x07) << 18 | second << 12 | third << 6 | np.int64(text[position + 3]) & 0x3F, 4


@_internal
def _kinds_at(text, position, kinds):
    return kinds[_character_at(text, position)[0]]


@_internal
def _follow(text, position, end, kinds, wanted):
    """Return where a run of characters of the wanted kinds ends; `position` may lie within its first character."""
    while position < end and text[position] & 0xC0 == 0x80:
        position += 1
    while position < end:
        code_point, length = _character_at(text, position)
        if kinds[code_point] & wanted == 0:
            break
        position += length
    return position


@_internal
def _masks(text, base, end, size, kinds, family, room):
    """Return the window's masks: UPPER, LOWER, LETTER, DIGIT, SPACE, NEWLINE, OTHER, and of bytes: spaces, apostrophes, those
    beyond ASCII, those that continue a character. Nothing is set from `end` on."""  # fmt: skip
    address = text_address = room[0]  # of 64 bytes to write kinds to, and of a copy of the text's last ones
    window = carray(pointer(text_address, np.uint8), 2 * _WINDOW)
    if base + _WINDOW <= size:
        address = room[1] + base
    else:
        address += _WINDOW
        for i in range(_WINDOW):
            window[_WINDOW + i] = text[base + i] if base + i < size else 0
    masks = _classify(address)
    capitals, small, digits, underscores, spaces, separators, newlines, blanks, apostrophes, high, continuing = masks
    valid = _ALL_BITS >> np.uint64(max(_WINDOW - (end - base), 0))
    letters = capitals | small
    if family == WORDS:
        letters |= digits | underscores
        spaces |= separators
        digits = np.uint64(0)
    other = ~(letters | digits | spaces | high)
    if family != O200K:
        capitals = small = letters
    high &= valid
    if high != 0:
        for i in range(_WINDOW):
            window[i] = 0
        leads = high & ~continuing
        while leads != 0:
            i = trailing_zeros(leads)
            leads &= leads - np.uint64(1)
            code_point, length = _character_at(text, base + i)
            for j in range(i, min(i + length, _WINDOW)):
                window[j] = kinds[code_point]
        upper, lower, letter, digit, space, newline, rest = _bytes_with(text_address)
        capitals, small, letters, digits = capitals | upper, small | lower, letters | letter, digits | digit
        spaces, newlines, other = spaces | space, newlines | newline, other | rest
    return (
        capitals & valid, small & valid, letters & valid, digits & valid, spaces & valid, newlines & valid, other & valid,
        blanks & valid, apostrophes & valid, high, continuing & valid,
    )  # fmt: skip


@_internal
def _regular_starts(family, max_digits, masks, ends_here):
    """Return where pieces start in a window that begins with one, as far as masks tell, and what is odd.

    Odd is what depends on more than a neighbour: contractions, line ends, white space beyond ASCII, long numbers, letters
    without case in "o200k". `ends_here` is where the text ends in the window, 64 if it does not.
    """
    upper, lower, letters, digits, spaces, newlines, other, blanks, apostrophes, high, continuing = masks
    one = np.uint64(1)
    odd = apostrophes | spaces & high
    marks = other & ~((other & ~upper) << one) & ~(blanks << one)  # one behind a letter's combining mark is a start
    if family == GPT2:
        attached = blanks
        digits_start = digits & ~(digits << one) & ~(blanks << one)
    else:
        # One mark, or one white space but a line end, goes with the letters behind it.
        single = marks
        for _ in range(3):
            single |= single << one & continuing
        attached = spaces | single
        digits_start = digits & ~(digits << one)
        odd |= newlines | digits & high
        too_many = digits << one
        if max_digits > 1:
            too_many &= digits << np.uint64(2) & digits << np.uint64(3)
        odd |= digits & too_many
    letters_start = letters & ~(letters << one) & ~(attached << one)
    if family == O200K:
        odd |= upper & lower
        letters_start |= upper & ~lower & (lower << one)
    starts = letters_start | digits_start | marks | spaces & ~(spaces << one & spaces >> one)
    covered = np.int64(_WINDOW - 4)  # what is behind may continue, or be part of a character
    if ends_here < _WINDOW:
        covered = ends_here + 1
        starts |= one << np.uint64(ends_here)
        # White space at the end of a text is not split.
        last_word = (letters | digits | other) & ~spaces
        after = _WINDOW - leading_zeros(last_word)
        if after < ends_here:
            odd |= _ALL_BITS << np.uint64(after)
    return starts & ~(_ALL_BITS << np.uint64(covered)) if covered < _WINDOW else starts, odd


@_internal
def _contraction(text, position, end, any_case):
    """Return the length of 's, 't, 'd, 'm, 're, 've or 'll at `position`, or 0; in capitals too where `any_case`."""
    if position + 1 >= end or text[position] != 0x27:
        return 0
    fold = 0x20 if any_case else 0
    first = text[position + 1] | fold
    if first == 0x73 or first == 0x74 or first == 0x64 or first == 0x6D:
        return 2
    if position + 2 >= end:
        return 0
    second = text[position + 2]
    if any_case and text[position + 1] == 0xC5 and second == 0xBF:
        return 3  # U+017F, the long s, is an s in another case
    second |= fold
    if ((first == 0x72 or first == 0x76) and second == 0x65) or (first == 0x6C and second == 0x6C):
        return 3
    return 0


@_internal
def _end_of_letters(text, start, first_end, end, kinds):
    """Return where "o200k" ends a run of letters: capitals `start` to `first_end`, then small letters; see the pattern.

    The second part takes what may be either (a letter without case, a mark) from the first if it finds nothing else, and gives
    way to the third if the first is capitals throughout.
    """
    if first_end < end and _kinds_at(text, first_end, kinds) & LOWER:
        return _follow(text, first_end, end, kinds, LOWER)
    position = first_end
    while position > start:
        last = position - 1
        while text[last] & 0xC0 == 0x80:
            last -= 1
        if _kinds_at(text, last, kinds) & LOWER:
            return position
        position = last
    return first_end


@njit(cache=KEPT, nogil=True)
def find_pieces(rule_address, text_address, start, end, size, bounds_address, capacity, scratch_address):
    """Find the pieces of a text, of its UTF-8 bytes `start` to `end`; return their number.

    `size` is how many bytes may be read. Of several texts, none of whose pieces reaches into the next, each ends in one of no
    length. Each piece is an entry of `bounds`, int64: its start, counted from `start`, and above 32 bits its length. The entry
    after the last is where to go on, counted from `start` too.
    """
    rule = carray(pointer(rule_address, _RULE), 1)[0]
    text = carray(pointer(text_address, np.uint8), size)
    kinds = carray(pointer(rule.kinds, np.uint8), 0x110000)
    bounds = carray(pointer(bounds_address, np.int64), capacity + 1)
    family = rule.family
    scratch = carray(pointer(scratch_address, _SCRATCH), 1)[0]
    text_ends = carray(pointer(scratch.text_ends, np.int64), scratch.num_texts)
    room = (scratch_address, text_address)
    one = np.uint64(1)
    limit, position = end, np.int64(start)
    if scratch.num_ended < scratch.num_texts:
        end = text_ends[scratch.num_ended]
    base, edge = position - _WINDOW, 0
    upper = lower = letters = digits = spaces = newlines = other = starts = odd = continued = np.uint64(0)
    number = 0
    while number < capacity:
        if position == end:
            if scratch.num_ended == scratch.num_texts:
                break
            bounds[number] = position - start
            number += 1
            scratch.num_ended += 1
            end = text_ends[scratch.num_ended] if scratch.num_ended < scratch.num_texts else limit
            base = position - _WINDOW
            continue
        if position - base > _STEP:
            base = position
            masks = _masks(text, base, end, size, kinds, family, room)
            upper, lower, letters, digits, spaces, newlines, other, _, _, _, continuing = masks
            ends_here = min(end - base, _WINDOW)
            if family == WORDS:
                continued = letters & (letters << one) | continuing
                starts = (letters | other) & ~continued
                edge = _WINDOW - 4 if ends_here == _WINDOW else ends_here + 1
            else:
                starts, odd = _regular_starts(family, rule.max_digits, masks, ends_here)
        offset = np.uint64(position - base)
        done = position - base
        if number + _WINDOW <= capacity:
            place, first = bounds_address + 8 * number, np.uint64(base - start)
            if family == WORDS:
                ahead = starts & (_ALL_BITS << offset)
                while ahead != 0:
                    begin = trailing_zeros(ahead)
                    length = 1 + trailing_zeros(~(continued >> one >> np.uint64(begin)))
                    if begin + length >= edge:
                        break
                    store_word(place, first + np.uint64(begin) | np.uint64(length) << np.uint64(32))
                    place += 8
                    done = begin + length
                    ahead &= ahead - one
            else:
                odd_ahead = odd & (_ALL_BITS << offset)
                ahead = starts & (_ALL_BITS << offset << one) & ((odd_ahead & (~odd_ahead + one)) - one)
                while ahead != 0:
                    next_start = trailing_zeros(ahead)
                    store_word(place, first + np.uint64(done) | np.uint64(next_start - done) << np.uint64(32))
                    place += 8
                    done = next_start
                    ahead &= ahead - one
            if place > bounds_address + 8 * number:
                number = (place - bounds_address) // 8
                position = base + done
                continue
        bit = one << offset
        piece = position

        if family == WORDS:
            if spaces & bit:
                position = base + trailing_zeros(~spaces & (_ALL_BITS << offset))
                if position - base == _WINDOW:
                    position = _follow(text, position, end, kinds, SPACE)
                continue
            if letters & bit:
                position = base + trailing_zeros(~letters & (_ALL_BITS << offset))
                if position - base == _WINDOW:
                    position = _follow(text, position, end, kinds, LETTER)
            else:
                position += _character_at(text, position)[1]
            bounds[number] = (piece - start) | (position - piece) << 32
            number += 1
            continue

        # One character may stand before letters: a space in "gpt2", all but line ends and digits in the others.
        length = 1 if text[position] < 0x80 else _character_at(text, position)[1]
        after = bit << np.uint64(length)
        is_blank = text[position] == 0x20
        word_letters = upper | lower
        apostrophe = 0
        if text[position] == 0x27 and family != O200K:
            apostrophe = _contraction(text, position, end, family == CL100K)

        if apostrophe > 0:
            position += apostrophe
        elif word_letters & bit or (word_letters & after and (is_blank if family == GPT2 else not (newlines | digits) & bit)):
            first = position if word_letters & bit else position + length
            shift = np.uint64(first - base)
            position = base + trailing_zeros(~upper & (_ALL_BITS << shift))
            if position - base == _WINDOW:
                position = _follow(text, first, end, kinds, UPPER)
            if family == O200K:
                shift = np.uint64(position - base)
                run = ~lower & (_ALL_BITS << shift) if position - base < _WINDOW else np.uint64(0)
                if run != 0 and lower & (one << shift):
                    position = base + trailing_zeros(run)
                else:
                    position = _end_of_letters(text, first, position, end, kinds)
                position += _contraction(text, position, end, True)
        elif digits & bit or (family == GPT2 and is_blank and digits & after):
            position += length
            count = 1 if digits & bit else 0
            while count < rule.max_digits and position < end and _kinds_at(text, position, kinds) & DIGIT:
                position += _character_at(text, position)[1]
                count += 1
        elif other & bit or (is_blank and other & after):
            position += length
            run = ~other & (_ALL_BITS << np.uint64(position - base))
            if run != 0:
                position = base + trailing_zeros(run)
            else:
                position = _follow(text, position, end, kinds, OTHER)
            if family != GPT2:
                while position < end and (
                    text[position] == 10 or text[position] == 13 or (family == O200K and text[position] == 0x2F)
                ):
                    position += 1
                if text[position - 1] == 0x2F:
                    base = position - _WINDOW  # a mark behind it is a start, which this window does not know
        else:
            run = ~spaces & (_ALL_BITS << offset)
            run_end = base + trailing_zeros(run) if run != 0 else _follow(text, position, end, kinds, SPACE)
            last = run_end  # where its last line end ends, or `position`
            if family == GPT2 or (run_end == end and rule.keeps_last_spaces):
                last = position
            while last > position and text[last - 1] != 10 and text[last - 1] != 13:
                last -= 1
            if last > position:
                position = last
            elif run_end == end:
                position = end
            else:
                position = run_end - 1  # the last one goes with what follows, unless it is the only one
                while text[position] & 0xC0 == 0x80:
                    position -= 1
                if position == piece:
                    position = run_end
        bounds[number] = (piece - start) | (position - piece) << 32
        number += 1
    bounds[number] = position - start
    return number


# ------------------------------------------------------------ a str, before it is UTF-8


@njit(cache=KEPT)
def text_layout(text):
    """Return where a str keeps its code points and in how many bytes each: CPython's own array, not a copy."""
    return address_of(text._data), text._kind


@_internal
def _unit_at(address, width, position):
    if width == 1:
        return load_byte(address + position)
    if width == 2:
        return load_byte(address + 2 * position) | load_byte(address + 2 * position + 1) << 8
    return np.int64(carray(pointer(address + 4 * position, np.uint32), 1)[0])


@njit(cache=KEPT, nogil=True)
def next_cut(rule_address, address, width, start, limit):
    """Return the first position in `start` to `limit` at which a piece begins, whatever is before it; -1 for none.

    The text is given as code points of `width` bytes, from an address on.
    """
    rule = carray(pointer(rule_address, _RULE), 1)[0]
    kinds = carray(pointer(rule.kinds, np.uint8), 0x110000)
    is_after_letter = False
    for position in range(start, limit):
        code_point = _unit_at(address, width, position)
        kind = kinds[code_point]
        if rule.family == WORDS:
            is_cut = not kind & LETTER
        else:  # a mark may belong to the letters before it, an apostrophe may begin the end of their word
            is_cut = is_after_letter and kind & (SPACE | OTHER) and not kind & (UPPER | LOWER) and code_point != 0x27
        if is_cut:
            return position
        is_after_letter = kind & LETTER != 0
    return -1


@njit(cache=KEPT, nogil=True)
def write_utf8(address, width, start, end, output):
    """Write code points of `width` bytes as UTF-8; return the number of bytes, or -1 - the place of a surrogate.

    At the address `output` there must be room for as many bytes as the code points can take, and eight more.
    """
    first_output = output
    # Eight bytes that are all ASCII are told by one comparison.
    beyond_ascii = np.uint64(0x8080808080808080 if width == 1 else 0xFF80FF80FF80FF80)
    at_once = 8 // width
    position = start
    while position < end:
        if width < 4 and position + at_once <= end:
            word = load_word(address + width * position)
            if word & beyond_ascii == 0:
                if width == 2:
                    word = (word | word >> np.uint64(8)) & np.uint64(0x0000FFFF0000FFFF)
                    word = (word | word >> np.uint64(16)) & np.uint64(0xFFFFFFFF)
                store_word(output, word)
                output += at_once
                position += at_once
                continue
        unit = np.uint64(_unit_at(address, width, position))
        low = np.uint64(0x80) | unit & np.uint64(0x3F)
        middle = np.uint64(0x80) | unit >> np.uint64(6) & np.uint64(0x3F)
        if unit < 0x80:
            store_word(output, unit)
            output += 1
        elif unit < 0x800:
            store_word(output, np.uint64(0xC0) | unit >> np.uint64(6) | low << np.uint64(8))
            output += 2
        elif unit < 0x10000:
            if 0xD800 <= unit < 0xE000:
                return -1 - position
            store_word(output, np.uint64(0xE0) | unit >> np.uint64(12) | middle << np.uint64(8) | low << np.uint64(16))
            output += 3
        else:
            high = np.uint64(0x80) | unit >> np.uint64(12) & np.uint64(0x3F)
            word = np.uint64(0xF0) | unit >> np.uint64(18) | high << np.uint64(8)
            store_word(output, word | middle << np.uint64(16) | low << np.uint64(24))
            output += 4
        position += 1
    return output - first_output
