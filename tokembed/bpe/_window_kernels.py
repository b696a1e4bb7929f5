"""Kinds of bytes, of 64 at once: masks in which bit i stands for byte i.

They are compiled into the kernels of `_splitting_kernels`, which numba keeps until that file changes: as in `_memory`, what
stands here must never change its meaning.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tokembed.bpe._memory import kernel

WINDOW = 64


def _lanes_at(builder, address, count):
    """Return a vector of `count` bytes from an address on, and a maker of constants of its type."""
    lanes = ir.VectorType(ir.IntType(8), count)
    loaded = builder.load(builder.inttoptr(address, lanes.as_pointer()), align=1)
    return loaded, lambda number: ir.Constant(lanes, [number] * count)


@intrinsic
def classify(typing_context, address):
    """Return masks of 64 bytes: capitals, small letters, digits, underscores, white space, U+001C to U+001F, line ends,
    spaces, apostrophes, bytes beyond ASCII, and those of them that continue a character."""  # fmt: skip

    def generate(context, builder, signature, arguments):
        loaded, constant = _lanes_at(builder, arguments[0], WINDOW)

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
def bytes_with(typing_context, address):
    """Return seven masks of 64 bytes: those that have bit 0, bit 1, ... set."""

    def generate(context, builder, signature, arguments):
        loaded, constant = _lanes_at(builder, arguments[0], WINDOW)
        bits = []
        for bit in range(7):
            is_set = builder.icmp_unsigned("!=", builder.and_(loaded, constant(1 << bit)), constant(0))
            bits.append(builder.bitcast(is_set, ir.IntType(64)))
        return context.make_tuple(builder, signature.return_type, bits)

    return types.UniTuple(types.uint64, 7)(types.int64), generate


@kernel
def ends_of_runs(bits):
    """Return the first and the last of every run of bits: all but those between two."""
    return bits & ~(bits << np.uint64(1) & bits >> np.uint64(1))


@kernel
def every_third(bits):
    """Return the first of every run of bits, the fourth, the seventh, ..."""
    chosen = more = bits & ~(bits << np.uint64(1))
    while more != 0:
        more = more << np.uint64(3) & bits & bits << np.uint64(1) & bits << np.uint64(2)
        chosen |= more
    return chosen
