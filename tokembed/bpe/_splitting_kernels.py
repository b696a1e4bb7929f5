"""Compiled loops that cut text into pieces. The readable twin is `splitting`; wrappers validate, kernels do not.

Text is UTF-8. It is looked at through windows of 64 bytes, of which each kind of character has a mask: bit i stands for byte i.
Where a run of letters ends is then a matter of counting zeros, whatever the alphabet. What reaches over the window's end is
followed a character at a time.
"""

from __future__ import annotations

import numpy as np
from numba import carray, from_dtype

from tokembed.bpe._layouts import (
    DIGIT,
    GPT2,
    LETTER,
    LOWER,
    NEWLINE,
    O200K,
    OTHER,
    RULE,
    SCRATCH,
    SPACE,
    UPPER,
    WORDS,
)  # fmt: skip
from tokembed.bpe._memory import (
    character_at,
    count_ones,
    kernel,
    leading_zeros,
    load_byte,
    pointer,
    store_word,
    trailing_zeros,
    unit_at,
)  # fmt: skip
from tokembed.bpe._window_kernels import WINDOW, bytes_with, classify, ends_of_runs, every_third

_RULE, _SCRATCH = from_dtype(RULE), from_dtype(SCRATCH)

_ALL_BITS = np.uint64(0xFFFFFFFFFFFFFFFF)
_STEP = 40  # a window is left when this much of it is done, so that most pieces lie in one


@kernel
def _kinds_at(address, kinds):
    return kinds[character_at(address)[0]]


@kernel
def _follow(address, end, kinds, wanted):
    """Return where a run of characters of the wanted kinds ends; `address` may lie within its first character."""
    while address < end and load_byte(address) & 0xC0 == 0x80:
        address += 1
    while address < end:
        code_point, length = character_at(address)
        if kinds[code_point] & wanted == 0:
            break
        address += length
    return address


@kernel
def _masks(base, end, readable_end, kinds, family, room):
    """Return the masks of the window at an address: UPPER, LOWER, LETTER, DIGIT, SPACE, NEWLINE, OTHER, and of bytes: spaces,
    apostrophes, those beyond ASCII, those that continue a character. Nothing is set from `end` on."""  # fmt: skip
    window = carray(pointer(room, np.uint8), 2 * WINDOW)  # to write kinds to, and for a copy of the text's last bytes
    address = base
    if base + WINDOW > readable_end:
        address = room + WINDOW
        for i in range(WINDOW):
            window[WINDOW + i] = load_byte(base + i) if base + i < readable_end else 0
    masks = classify(address)
    capitals, small, digits, underscores, spaces, separators, newlines, blanks, apostrophes, high, continuing = masks
    valid = _ALL_BITS >> np.uint64(max(WINDOW - (end - base), 0))
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
        for i in range(WINDOW):
            window[i] = 0
        leads = high & ~continuing
        while leads != 0:
            i = trailing_zeros(leads)
            leads &= leads - np.uint64(1)
            code_point, length = character_at(base + i)
            for j in range(i, min(i + length, WINDOW)):
                window[j] = kinds[code_point]
        upper, lower, letter, digit, space, newline, rest = bytes_with(room)
        capitals, small, letters, digits = capitals | upper, small | lower, letters | letter, digits | digit
        spaces, newlines, other = spaces | space, newlines | newline, other | rest
    return (
        capitals & valid, small & valid, letters & valid, digits & valid, spaces & valid, newlines & valid, other & valid,
        blanks & valid, apostrophes & valid, high, continuing & valid,
    )  # fmt: skip


@kernel
def _spaces_with_newlines(spaces, newlines, marks, family):
    """Return where white space starts a piece in rules that know line ends, and what is odd.

    Line ends behind marks go with those. Other white space is a piece up to its last line end; of what follows, the last
    character goes with what is behind it. Adding a bit at the start of a run carries it to the end: that is how runs are found.
    """
    one = np.uint64(1)
    taken = newlines & marks << one
    taken = newlines & (newlines + taken ^ newlines)
    rest, newlines = spaces & ~taken, newlines & ~taken
    only_blanks = rest & ~newlines
    indents = newlines << one & only_blanks
    odd = marks & taken << one if family == O200K else np.uint64(0)  # a slash may go with them too
    if (only_blanks + indents) & ~only_blanks & newlines:  # another line end behind an indent: which one is last?
        odd |= newlines
    num_at_end = leading_zeros(~rest)  # which may go on behind the window
    if num_at_end > 0:
        odd |= newlines & ~(_ALL_BITS >> one >> np.uint64(num_at_end - 1))
    return ends_of_runs(rest) & ~(newlines & rest << one) | indents, odd


@kernel
def _regular_starts(family, max_digits, masks, ends_here):
    """Return where pieces start in a window that begins with one, as far as masks tell, and what is odd.

    Odd is what depends on more than neighbours: contractions, white space beyond ASCII, digits beyond it, lines of blanks
    alone, and in "o200k" combining marks and capitals behind letters without case. `ends_here` is where the text ends in the
    window, 64 if it does not.
    """
    upper, lower, letters, digits, spaces, newlines, other, blanks, apostrophes, high, continuing = masks
    one = np.uint64(1)
    odd = apostrophes | spaces & high
    marks = other & ~((other & ~upper) << one) & ~(blanks << one)  # one behind a letter's combining mark is a start
    if family == GPT2:
        attached = blanks
        digits_start = digits & ~((digits | blanks) << one)
        spaces_start = ends_of_runs(spaces)
    else:
        # One mark, or one white space but a line end, goes with the letters behind it.
        single = marks
        for _ in range(3):
            single |= single << one & continuing
        attached = spaces & ~newlines | single
        spaces_start, odd_spaces = _spaces_with_newlines(spaces, newlines, other & ~upper, family)
        odd |= odd_spaces | (digits if digits & high else np.uint64(0))
        digits_start = every_third(digits) if max_digits > 1 else digits
    letters_start = letters & ~(letters << one) & ~(attached << one)
    if family == O200K:
        caseless = upper & lower
        odd |= caseless & other | upper & ~lower & caseless << one  # a mark; a capital behind a letter without case
        letters_start |= upper & ~lower & (lower << one)
    starts = letters_start | digits_start | marks | spaces_start
    covered = np.int64(WINDOW - 4)  # what is behind may continue, or be part of a character
    if ends_here < WINDOW:
        covered = ends_here + 1
        starts |= one << np.uint64(ends_here)
        # White space at the end of a text is not split.
        last_word = (letters | digits | other) & ~spaces
        after = WINDOW - leading_zeros(last_word)
        if after < ends_here:
            odd |= _ALL_BITS << np.uint64(after)
    return starts & ~(_ALL_BITS << np.uint64(covered)) if covered < WINDOW else starts, odd


@kernel
def _contraction(address, end, any_case):
    """Return the length of 's, 't, 'd, 'm, 're, 've or 'll at an address, or 0; in capitals too where `any_case`."""
    if address + 1 >= end or load_byte(address) != 0x27:
        return 0
    fold = 0x20 if any_case else 0
    given = load_byte(address + 1)
    first = given | fold
    if first == 0x73 or first == 0x74 or first == 0x64 or first == 0x6D:
        return 2
    if address + 2 >= end:
        return 0
    second = load_byte(address + 2)
    if any_case and given == 0xC5 and second == 0xBF:
        return 3  # U+017F, the long s, is an s in another case
    second |= fold
    if ((first == 0x72 or first == 0x76) and second == 0x65) or (first == 0x6C and second == 0x6C):
        return 3
    return 0


@kernel
def _end_of_letters(address, end, kinds, family):
    """Return where the letters end that begin at an address.

    In "o200k" they are capitals, then small letters. The second part takes what may be either (a letter without case, a
    mark) from the first if it finds nothing else; where it finds nothing at all they are capitals throughout.
    """
    first_end = _follow(address, end, kinds, UPPER)
    if family != O200K:
        return first_end
    if first_end < end and _kinds_at(first_end, kinds) & LOWER:
        return _follow(first_end, end, kinds, LOWER)
    position = first_end
    while position > address:
        last = position - 1
        while load_byte(last) & 0xC0 == 0x80:
            last -= 1
        if _kinds_at(last, kinds) & LOWER:
            return position
        position = last
    return first_end


@kernel
def _end_of_space(address, end, kinds, family, keeps_last_spaces):
    """Return where a piece ends that begins with white space which no letters, digits or marks take."""
    run_end = _follow(address, end, kinds, SPACE)
    if family != GPT2 and not (run_end == end and keeps_last_spaces):  # up to the last line end
        last = run_end
        while last > address and load_byte(last - 1) != 10 and load_byte(last - 1) != 13:
            last -= 1
        if last > address:
            return last
    if run_end == end:
        return end
    last = run_end - 1  # which goes with what follows, unless it is the only one
    while load_byte(last) & 0xC0 == 0x80:
        last -= 1
    return last if last > address else run_end


@kernel
def _end_of_piece(address, end, kinds, family, max_digits, keeps_last_spaces):
    """Return where the piece ends that begins at an address: the rules, a character at a time.

    "words": a run of letters, or a mark. The others: see their patterns, whose alternatives stand here in their order.
    """
    code_point, length = character_at(address)
    kind = kinds[code_point]
    if family == WORDS:
        return _follow(address, end, kinds, LETTER) if kind & LETTER else address + length
    if family != O200K:
        apostrophe = _contraction(address, end, family != GPT2)
        if apostrophe > 0:
            return address + apostrophe
    after = address + length
    next_kind = kinds[character_at(after)[0]] if after < end else np.uint8(0)
    is_blank = code_point == 0x20
    # One character may stand before letters: a space in "gpt2", all but line ends and digits in the others.
    is_before_letters = is_blank if family == GPT2 else not kind & (NEWLINE | DIGIT)
    if kind & (UPPER | LOWER) or (is_before_letters and next_kind & (UPPER | LOWER)):
        letters_end = _end_of_letters(address if kind & (UPPER | LOWER) else after, end, kinds, family)
        return letters_end + (_contraction(letters_end, end, family != GPT2) if family == O200K else 0)
    if kind & DIGIT or (family == GPT2 and is_blank and next_kind & DIGIT):
        count = 1 if kind & DIGIT else 0
        while count < max_digits and after < end and _kinds_at(after, kinds) & DIGIT:
            after += character_at(after)[1]
            count += 1
        return after
    if kind & OTHER or (is_blank and next_kind & OTHER):
        after = _follow(after, end, kinds, OTHER)
        if family != GPT2:
            while after < end and (
                load_byte(after) == 10 or load_byte(after) == 13 or (family == O200K and load_byte(after) == 0x2F)
            ):
                after += 1
        return after
    return _end_of_space(address, end, kinds, family, keeps_last_spaces)


@kernel
def _write_words(starts, continued, offset, edge, first, place):
    """Write the words and marks that end before bit `edge` as `bounds`; return the place behind them, and their end."""
    one, done = np.uint64(1), np.int64(offset)
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
    return place, done


@kernel
def _write_pieces(starts, odd, offset, first, place):
    """Write the pieces from bit `offset` to the last start before what is odd; return as `_write_words` does."""
    one, done = np.uint64(1), np.int64(offset)
    odd &= _ALL_BITS << offset
    ahead = starts & (_ALL_BITS << offset << one) & ((odd & (~odd + one)) - one)
    behind, last = place + 8 * count_ones(ahead), WINDOW - 1 - leading_zeros(ahead) if ahead != 0 else done
    while ahead != 0:
        for _ in range(8):  # or fewer: what is written too much is written over
            next_start = trailing_zeros(ahead)
            store_word(place, first + np.uint64(done) | np.uint64(next_start - done) << np.uint64(32))
            place += 8
            done = next_start
            ahead &= ahead - one
    return behind, last


@kernel
def find_pieces(rule_address, text_address, start, end, size, bounds_address, capacity, scratch_address):
    """Find the pieces of a text, of its UTF-8 bytes `start` to `end`; return their number.

    `size` is how many bytes may be read. Of several texts, none of whose pieces reaches into the next, each ends in one of no
    length. Each piece is an entry of `bounds`, int64: its start, counted from `start`, and above 32 bits its length. The entry
    after the last is where to go on, counted from `start` too.
    """
    rule = carray(pointer(rule_address, _RULE), 1)[0]
    kinds = carray(pointer(rule.kinds, np.uint8), 0x110000)
    family, max_digits, keeps_last_spaces = rule.family, rule.max_digits, rule.keeps_last_spaces
    scratch = carray(pointer(scratch_address, _SCRATCH), 1)[0]
    text_ends = carray(pointer(scratch.text_ends, np.int64), scratch.num_texts)
    begin, limit, readable_end = text_address + start, text_address + end, text_address + size
    end = text_address + text_ends[scratch.num_ended] if scratch.num_ended < scratch.num_texts else limit
    position, base, edge = begin, begin - WINDOW, 0
    starts = odd = continued = np.uint64(0)
    place, last_place = bounds_address, bounds_address + 8 * capacity
    while place < last_place:
        if position == end:
            if scratch.num_ended == scratch.num_texts:
                break
            store_word(place, np.uint64(position - begin))
            place += 8
            scratch.num_ended += 1
            end = text_address + text_ends[scratch.num_ended] if scratch.num_ended < scratch.num_texts else limit
            base = position - WINDOW
            continue
        if position - base > _STEP:
            base = position
            masks = _masks(base, end, readable_end, kinds, family, scratch_address)
            ends_here = min(end - base, WINDOW)
            if family == WORDS:
                letters, other, continuing = masks[2], masks[6], masks[10]
                continued = letters & (letters << np.uint64(1)) | continuing
                starts = (letters | other) & ~continued
                edge = WINDOW - 4 if ends_here == WINDOW else ends_here + 1
            else:
                starts, odd = _regular_starts(family, max_digits, masks, ends_here)
        if place + 8 * WINDOW <= last_place:
            offset, first = np.uint64(position - base), np.uint64(base - begin)
            if family == WORDS:
                behind, done = _write_words(starts, continued, offset, edge, first, place)
            else:
                behind, done = _write_pieces(starts, odd, offset, first, place)
            if behind > place:
                place, position = behind, base + done
                continue
        if family == WORDS and _kinds_at(position, kinds) & SPACE:
            position = _follow(position, end, kinds, SPACE)
            continue
        piece_end = _end_of_piece(position, end, kinds, family, max_digits, keeps_last_spaces)
        store_word(place, np.uint64(position - begin) | np.uint64(piece_end - position) << np.uint64(32))
        place += 8
        position = piece_end
        if family == O200K and load_byte(position - 1) == 0x2F:
            base = position - WINDOW  # a mark behind a slash may be a start, which this window does not know
    store_word(place, np.uint64(position - begin))
    return (place - bounds_address) // 8


@kernel
def next_cut(rule_address, address, width, start, limit):
    """Return the first position in `start` to `limit` at which a piece begins, whatever is before it; -1 for none.

    The text is given as code points of `width` bytes, from an address on.
    """
    rule = carray(pointer(rule_address, _RULE), 1)[0]
    kinds = carray(pointer(rule.kinds, np.uint8), 0x110000)
    before = np.uint8(0)
    for position in range(start, limit):
        code_point = unit_at(address, width, position)
        kind = kinds[code_point]
        if rule.family == WORDS:
            is_cut = not kind & LETTER
        elif before & DIGIT:
            is_cut = not kind & DIGIT
        else:  # a mark may belong to the letters before it, an apostrophe may begin the end of their word
            is_cut = before & LETTER and kind & (SPACE | OTHER) and not kind & (UPPER | LOWER) and code_point != 0x27
        if is_cut:
            return position
        before = kind
    return -1
