"""Compiled loops that write a part of a str, as CPython keeps it, as UTF-8; the readable twin is `str.encode`."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tokembed.bpe._memory import kernel, store_word, unit_at

_AT_ONCE = 16


@intrinsic
def _narrow(typing_context, address, width, output):
    """Write the low bytes of 16 code points of `width` bytes, 1 or 2, a literal; return whether they are ASCII."""

    def generate(context, builder, signature, arguments):
        unit = ir.IntType(8 * width.literal_value)
        lanes, octets = ir.VectorType(unit, _AT_ONCE), ir.VectorType(ir.IntType(8), _AT_ONCE)
        units = builder.load(builder.inttoptr(arguments[0], lanes.as_pointer()), align=1)
        narrow = units if unit.width == 8 else builder.trunc(units, octets)
        builder.store(narrow, builder.inttoptr(arguments[2], octets.as_pointer()), align=1)
        beyond = builder.icmp_unsigned(">", units, ir.Constant(lanes, [0x7F] * _AT_ONCE))
        mask = builder.bitcast(beyond, ir.IntType(_AT_ONCE))
        return builder.icmp_unsigned("==", mask, ir.Constant(ir.IntType(_AT_ONCE), 0))

    if not isinstance(width, types.IntegerLiteral):
        return None
    return types.boolean(types.int64, width, types.int64), generate


@kernel
def write_utf8(address, width, start, end, output):
    """Write code points of `width` bytes as UTF-8; return the number of bytes, or -1 - the place of a surrogate.

    At the address `output` there must be room for as many bytes as the code points can take, and sixteen more.
    """
    first_output = output
    position = next_try = start
    while position < end:
        if position >= next_try and position + _AT_ONCE <= end and width < 4:
            place = address + width * position
            is_ascii = _narrow(place, 1, output) if width == 1 else _narrow(place, 2, output)
            next_try = position + _AT_ONCE
            if is_ascii:
                output += _AT_ONCE
                position = next_try
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
