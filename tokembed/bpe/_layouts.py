"""What kernels and those who call them share: numbers with a meaning, and records, of which kernels get the address."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Splitting.

# What a character may be: bits of `Rule.kinds`. UPPER and LOWER are what may stand in the first and in the second part of a
# piece's letters, which are two parts in "o200k" alone; there a combining mark is both, and OTHER besides.
# They are uint8, as kinds are: for each literal numba would compile a kernel of its own.
UPPER, LOWER, LETTER, DIGIT, SPACE, NEWLINE, OTHER = (np.uint8(1 << bit) for bit in range(7))
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

# Merging.

FEW = 64  # symbols, which have a bit each in one number
MADE_SIZE = FEW + 16
NO_PAIR = np.int32(2**31 - 1)
EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
FILTER_BITS = 20
FILTER_WORDS = 1 << (FILTER_BITS - 6)

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


def merge_table(num_merges: int) -> npt.NDArray[np.uint64]:
    """Return an empty hash table of pairs, for so many: (left id, right id, rank) in 64 bits, and a filter behind them."""
    num_slots = 1 << (2 * num_merges + 16).bit_length()
    return np.concatenate([np.full(num_slots, EMPTY), np.zeros(FILTER_WORDS, dtype=np.uint64)])


def shift_of(merges: npt.NDArray[np.uint64]) -> np.uint64:
    """Return by how much a hash is shifted to be a place in a table that `merge_table` made."""
    return np.uint64(65 - (len(merges) - FILTER_WORDS).bit_length())


# Encoding.

# What `encode_text` stopped for; NO_MEMORY is that of the machine.
DONE, OUTPUT_FULL, TABLE_FULL, NO_MEMORY = range(4)

MAX_TABLE_BYTES = 1000  # longer pieces come back too rarely to be worth a place
MAX_TOKENS_OF_A_PIECE = 2 * MAX_TABLE_BYTES + 2  # two a byte and two more: lowered, U+0130 has two letters for two bytes
LOOK_AHEAD = 32  # pieces whose entries are asked for together: memory is slow, but answers many at once

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
        ("made", np.int64),  # of (MADE_SIZE,) int32: see `tokens_of`
        ("keys", np.int64),  # of (LOOK_AHEAD, 4) uint64: keys, entries and bounds of the pieces that come next
        ("token_ends", np.int64),  # of int64: how many tokens there are up to the end of each of several texts
        ("num_token_ends", np.int64),
        ("num_before", np.int64),  # tokens that were written in earlier calls
        ("finder", np.int64),  # of `find_pieces`, and what it is to be called with
        ("rule", np.int64),
        ("bounds", np.int64),
        ("max_found", np.int64),
        ("scratch", np.int64),
        ("merger", np.int64),  # of `tokens_of`, and of the rules that it is to be called with
        ("rules", np.int64),
        ("whole_pieces", np.int64),  # of (2^n, 4) uint64: pieces that are a token each, as entries like those of `slots`
        ("num_whole_slots", np.int64),
        ("whole_octets", np.int64),  # of uint8: where the bytes of the long ones are
        ("block_start", np.int64),  # how far it came: pieces found from there on, and how many of them are done
        ("num_found", np.int64),
        ("num_done", np.int64),
        ("is_last", np.int64),
        ("num_written", np.int64),
        ("reason", np.int64),
        ("needed", np.int64),  # room that the output lacked
    ]
)

# Counting.

# An entry is a piece's key (see `key_of`; a long one's has the length alone), the address where it first occurred, and how
# often it has.
LOW, HIGH, FIRST, COUNT = range(4)
LONG = np.uint64(1 << 63)


# The pieces that one thread has counted. The table, (num_slots, 4) of uint64, is half empty.
COUNTS = np.dtype(
    [
        ("slots", np.int64),
        ("num_slots", np.int64),
        ("num_entered", np.int64),
        ("finder", np.int64),  # the address of `find_pieces`, and what it is to be called with
        ("rule", np.int64),
        ("bounds", np.int64),
        ("max_found", np.int64),
        ("scratch", np.int64),
        ("block_start", np.int64),  # how far it came: pieces found from there on
        ("num_found", np.int64),
        ("is_last", np.int64),
    ]
)
