"""Compiled loops that write a part of a str, as CPython keeps it, as UTF-8; the readable twin is `str.encode`."""

from __future__ import annotations

import numpy as np

from tokembed.bpe._memory import kernel, load_word, store_word, unit_at


@kernel
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
        unit = np.uint64(unit_at(address, width, position))
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
