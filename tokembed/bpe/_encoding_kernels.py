"""Compiled loops that turn pieces into tokens. The readable twin is `reference.encode_word`; wrappers validate, kernels do not.

Encoding rests on one fact: text repeats its words. Each thread has a table of the pieces it has seen, with their tokens; a
piece is merged once, when it is new, and found by its bytes ever after. Lower-casing too happens only then.
"""

from __future__ import annotations

import numpy as np
from numba import carray, from_dtype

from tokembed.bpe._layouts import (
    DONE,
    LOOK_AHEAD,
    MAX_TABLE_BYTES,
    MAX_TOKENS_OF_A_PIECE,
    NO_MEMORY,
    OUTPUT_FULL,
    TABLE,
    TABLE_FULL,
)
from tokembed.bpe._memory import (
    LONGEST_INLINE,
    call_kernel,
    first_slot,
    is_same,
    kernel,
    key_of,
    load_byte,
    load_word,
    pointer,
    prefetch,
    short_key,
    store_word,
)

NO_KEY = np.uint64(0xFFFFFFFFFFFFFFFF)

_TABLE = from_dtype(TABLE)


@kernel
def enter_whole_pieces(table_address, checks, starts_address, ids_address, num_pieces):
    """Fill `whole_pieces` with those that are a token each: bytes `starts[t]`, not 0, to `starts[t + 1]` of `whole_octets`.

    They need not be merged. If it `checks`, those are left out that merges make something else of.
    """
    table = carray(pointer(table_address, _TABLE), 1)[0]
    starts, ids = carray(pointer(starts_address, np.int64), num_pieces + 1), carray(pointer(ids_address, np.int32), num_pieces)
    slots = carray(pointer(table.whole_pieces, np.uint64), (table.num_whole_slots, 4))
    symbols = carray(pointer(table.symbols, np.int32), MAX_TOKENS_OF_A_PIECE)
    octets_address = table.whole_octets
    for t in range(num_pieces):
        address, length = octets_address + starts[t], starts[t + 1] - starts[t]
        if length > MAX_TABLE_BYTES:
            continue
        if checks:
            count = call_kernel(table.merger, address, length, table.rules, table.symbols, table.made)
            if count != 1 or symbols[0] != ids[t]:
                continue
        low, high = key_of(address, length)
        slot = first_slot(low, high, slots.shape[0])
        while slots[slot, 1] != 0:
            slot = (slot + 1) & (slots.shape[0] - 1)
        place = np.uint64(starts[t]) if length > LONGEST_INLINE else np.uint64(0)
        slots[slot, 0], slots[slot, 1] = low, high | place
        slots[slot, 2], slots[slot, 3] = np.uint64(ids[t]), np.uint64(1) << np.uint64(32)
    return 0


@kernel
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


@kernel
def _enter(slot, low, high, address, length, symbols, count, table):
    """Enter a piece with its tokens at an empty slot; return whether there was room."""
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


@kernel
def _find_or_enter(slot, low, high, address, length, table_address):
    """Return a piece's slot, entering it if it is new; -1 if there is no room for it, -2 no memory to merge it in."""
    table = carray(pointer(table_address, _TABLE), 1)[0]
    slot = _find(slot, low, high, table.slots, table.num_slots, address, length, table.long_pieces)
    if load_word(table.slots + 32 * slot + 8) == 0:
        symbols = carray(pointer(table.symbols, np.int32), MAX_TOKENS_OF_A_PIECE)
        whole = first_slot(low, high, table.num_whole_slots)
        whole = _find(whole, low, high, table.whole_pieces, table.num_whole_slots, address, length, table.whole_octets)
        if load_word(table.whole_pieces + 32 * whole + 8) != 0:
            symbols[0] = np.int32(load_word(table.whole_pieces + 32 * whole + 16))
            count = 1
        else:
            count = call_kernel(table.merger, address, length, table.rules, table.symbols, table.made)
            if count < 0:
                return -2
        if not _enter(slot, low, high, address, length, symbols, count, table):
            return -1
    return slot


@kernel
def _ask_for_entries(table_address, text_address, last_start, first, number):
    """Write the keys of `number` pieces, where their entries are and their bounds to `keys`, and ask for the entries.

    16 bytes of the text may be read from `last_start` on. Returns the address behind the last.
    """
    table = carray(pointer(table_address, _TABLE), 1)[0]
    slots_address, num_slots, key = table.slots, table.num_slots, table.keys
    first_bounds = table.bounds + 8 * first
    for place in range(first_bounds, first_bounds + 8 * number, 8):
        bounds = load_word(place)
        start, length = np.int64(bounds & np.uint64(0xFFFFFFFF)), np.int64(bounds >> np.uint64(32))
        if np.uint64(length - 1) < np.uint64(LONGEST_INLINE) and start <= last_start:
            low, high = short_key(text_address + start, length)
        elif 0 < length <= MAX_TABLE_BYTES:
            low, high = key_of(text_address + start, length)
        else:
            low = high = NO_KEY
        entry = slots_address + 32 * first_slot(low, high, num_slots)
        prefetch(entry)
        store_word(key, low)
        store_word(key + 8, high)
        store_word(key + 16, np.uint64(entry))
        store_word(key + 24, bounds)
        key += 32
    return key


@kernel
def _ask_for_whole_pieces(table_address, keys_end):
    """Of the pieces in `keys` that have no entry yet, ask for where they are looked up next."""
    table = carray(pointer(table_address, _TABLE), 1)[0]
    whole_address, num_whole = table.whole_pieces, table.num_whole_slots
    for key in range(table.keys, keys_end, 32):
        low, high, entry = load_word(key), load_word(key + 8), np.int64(load_word(key + 16))
        is_first = load_word(entry) == low and load_word(entry + 8) == high
        if not is_first and (load_word(entry + 32) != low or load_word(entry + 40) != high):
            prefetch(whole_address + 32 * first_slot(low, high, num_whole))


@kernel
def _encode_block(table_address, text_address, size, output_address, output, output_end):
    """Write the tokens of the pieces found, from the first on that is not done; return the address behind them.

    Pieces are counted from the text's address, from which `size` bytes may be read. The table tells how far it came.
    """
    table = carray(pointer(table_address, _TABLE), 1)[0]
    # Addresses instead of arrays: numba would look at each index, whether it counts from the end.
    slots_address, tokens_address, keys_address = table.slots, table.tokens, table.keys
    reason = DONE
    num_pieces = -1  # in the table before the last ones that were asked for
    while reason == DONE and table.num_done < table.num_found:
        number = min(LOOK_AHEAD, table.num_found - table.num_done)
        keys_end = _ask_for_entries(table_address, text_address, size - 16, table.num_done, number)
        if table.num_pieces != num_pieces:  # some of those were new, and new ones come in swarms
            _ask_for_whole_pieces(table_address, keys_end)
            num_pieces = table.num_pieces
        key = keys_address
        while key < keys_end:
            low, high, entry = load_word(key), load_word(key + 8), np.int64(load_word(key + 16))
            # One of the two entries of a cache line; that of a long piece is neither, for it has its place there.
            if (load_word(entry) ^ low) | (load_word(entry + 8) ^ high):
                entry += 32
            if (load_word(entry) ^ low) | (load_word(entry + 8) ^ high):
                bounds = np.int64(load_word(key + 24))
                start, length = bounds & 0xFFFFFFFF, bounds >> 32
                if length == 0:
                    token_ends = carray(pointer(table.token_ends, np.int64), table.num_token_ends + 1)
                    token_ends[table.num_token_ends] = table.num_before + (output - output_address) // 4
                    table.num_token_ends += 1
                    key += 32
                    continue
                if length > MAX_TABLE_BYTES:
                    table.needed = 2 * length + 2
                    if output + 4 * table.needed > output_end:
                        reason = OUTPUT_FULL
                        break
                    # Its symbols become tokens where they are to stand.
                    count = call_kernel(table.merger, text_address + start, length, table.rules, output, table.made)
                    if count < 0:
                        reason = NO_MEMORY
                        break
                    output += 4 * count
                    key += 32
                    continue
                slot = ((entry - slots_address) >> 5) - 1
                slot = _find_or_enter(slot, low, high, text_address + start, length, table_address)
                if slot < 0:
                    reason = TABLE_FULL if slot == -1 else NO_MEMORY
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
            key += 32
        table.num_done += (key - keys_address) >> 5
    table.reason = reason
    return output


@kernel
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
            table.num_found = call_kernel(
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
