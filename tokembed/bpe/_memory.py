"""What kernels share: what they need of the machine and numba does not give, and how a piece is found by its bytes."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

#: What is decorated by it is called by kernels, or from Python through `compilation.machine_code`: numba need not do that.
kernel = njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)

LONGEST_INLINE = 15  # bytes of a piece that stand in an entry themselves

_ALL_BITS = np.uint64(0xFFFFFFFFFFFFFFFF)
_MULTIPLIER, _SECOND_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
_LONG = np.uint64(0xFF)  # in the place of a length


@intrinsic
def pointer(typing_context, address, data_type):
    """Return an address as a pointer to values of a type, for `numba.carray`."""
    made = types.CPointer(data_type.dtype if isinstance(data_type, types.DTypeSpec) else data_type.instance_type)

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(made))

    return made(address, data_type), generate


@intrinsic
def call_kernel(typing_context, kernel, *arguments):
    """Call another kernel, of integers alone, by its address: so each file's kernels are compiled and kept by themselves."""
    given = types.StarArgTuple([types.int64] * len(arguments))

    def generate(context, builder, signature, values):
        number = ir.IntType(64)
        kind = ir.FunctionType(number, [number] * len(given)).as_pointer()
        return builder.call(builder.inttoptr(values[0], kind), cgutils.unpack_tuple(builder, values[1]))

    return types.int64(types.int64, given), generate


@intrinsic
def load_byte(typing_context, address):
    """Return the byte at an address."""

    def generate(context, builder, signature, arguments):
        octet = builder.load(builder.inttoptr(arguments[0], ir.IntType(8).as_pointer()))
        return builder.zext(octet, ir.IntType(64))

    return types.int64(types.int64), generate


@intrinsic
def load_word(typing_context, address):
    """Return the eight bytes at an address, aligned or not, the first one lowest."""

    def generate(context, builder, signature, arguments):
        word = ir.IntType(64)
        return builder.load(builder.inttoptr(arguments[0], word.as_pointer()), align=1)

    return types.uint64(types.int64), generate


@intrinsic
def store_word(typing_context, address, word):
    """Write eight bytes at an address, aligned or not."""

    def generate(context, builder, signature, arguments):
        builder.store(arguments[1], builder.inttoptr(arguments[0], ir.IntType(64).as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.uint64), generate


@intrinsic
def prefetch(typing_context, address):
    """Ask for the cache line at an address, without waiting for it."""

    def generate(context, builder, signature, arguments):
        number, octet = ir.IntType(32), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [octet, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [octet], kind)
        flags = [ir.Constant(number, flag) for flag in (0, 3, 1)]  # to read, to keep in all caches, data
        builder.call(function, [builder.inttoptr(arguments[0], octet), *flags])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def trailing_zeros(typing_context, bits):
    """Return the number of zeros below the lowest one, 64 for 0."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


@intrinsic
def allocate(typing_context, size):
    """Return the address of so many new bytes, for `release`; 0 if there is no such room."""

    def generate(context, builder, signature, arguments):
        number = ir.IntType(64)
        kind = ir.FunctionType(ir.IntType(8).as_pointer(), [number])
        made = cgutils.get_or_insert_function(builder.module, kind, "malloc")
        return builder.ptrtoint(builder.call(made, arguments), number)

    return types.int64(types.int64), generate


@intrinsic
def release(typing_context, address):
    """Give back what `allocate` gave."""

    def generate(context, builder, signature, arguments):
        octet = ir.IntType(8).as_pointer()
        free = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), [octet]), "free")
        builder.call(free, [builder.inttoptr(arguments[0], octet)])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@kernel
def unit_at(address, width, position):
    """Return a code point of a str that keeps each in `width` bytes."""
    if width == 1:
        return load_byte(address + position)
    if width == 2:
        return load_byte(address + 2 * position) | load_byte(address + 2 * position + 1) << 8
    return np.int64(carray(pointer(address + 4 * position, np.uint32), 1)[0])


@kernel
def character_at(address):
    """Return a character's code point and its length in bytes; the text is valid UTF-8."""
    first = load_byte(address)
    if first < 0x80:
        return first, 1
    second = load_byte(address + 1) & 0x3F
    if first < 0xE0:
        return (first & 0x1F) << 6 | second, 2
    third = load_byte(address + 2) & 0x3F
    if first < 0xF0:
        return (first & 0x0F) << 12 | second << 6 | third, 3
    return (first & 0x07) << 18 | second << 12 | third << 6 | load_byte(address + 3) & 0x3F, 4


@njit(nogil=True, inline="always")
def short_key(address, length):
    """Return `key_of` for a piece of up to 15 bytes where 16 may be read: no branch depends on the length."""
    low = load_word(address) & (_ALL_BITS >> np.uint64(max(64 - 8 * length, 0)))
    high = load_word(address + 8) & ~(_ALL_BITS << np.uint64(max(8 * length - 64, 0)))
    return low, high | np.uint64(length) << np.uint64(56)


@intrinsic
def leading_zeros(typing_context, bits):
    """Return the number of zeros above the highest one, 64 for 0."""

    def generate(context, builder, signature, arguments):
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


@intrinsic
def least_of_16(typing_context, address):
    """Return the least of the sixteen int32 at an address."""

    def generate(context, builder, signature, arguments):
        number = ir.IntType(32)
        lanes = ir.VectorType(number, 16)
        kind = ir.FunctionType(number, [lanes])
        least = cgutils.get_or_insert_function(builder.module, kind, "llvm.vector.reduce.smin.v16i32")
        return builder.call(least, [builder.load(builder.inttoptr(arguments[0], lanes.as_pointer()), align=1)])

    return types.int32(types.int64), generate


@intrinsic
def count_ones(typing_context, bits):
    """Return the number of bits that are set."""

    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


@kernel
def _load_some(address, length):
    """Return up to eight bytes as a number, reading no other."""
    word = np.uint64(0)
    for i in range(length):
        word |= np.uint64(load_byte(address + i)) << np.uint64(8 * i)
    return word


@kernel
def key_of(address, length):
    """Return the two numbers that a piece is found by: its bytes and length or, of a long one, its hash and length.

    The length has the highest 8 bits or, where those are all set, the 24 below; the lowest 32 are then free for the place of
    the bytes.
    """
    if length <= LONGEST_INLINE:
        low, high = _load_some(address, min(length, 8)), _load_some(address + 8, length - 8)
        return low, high | np.uint64(length) << np.uint64(56)
    mixed = np.uint64(length)
    for i in range(0, length - 7, 8):
        mixed = (mixed ^ load_word(address + i)) * _MULTIPLIER
        mixed ^= mixed >> np.uint64(29)
    mixed = (mixed ^ load_word(address + length - 8)) * _MULTIPLIER
    mixed ^= mixed >> np.uint64(29)
    return mixed, _LONG << np.uint64(56) | np.uint64(length) << np.uint64(32)


@kernel
def first_slot(low, high, num_slots):
    """Return the first slot to look for a key in: an even one, for two share a cache line. The number is a power of two."""
    if high >> np.uint64(63):
        high = np.uint64(0)
    mixed = (low ^ (high * _SECOND_MULTIPLIER)) * _MULTIPLIER
    return np.int64(mixed >> np.uint64(32)) & (num_slots - 2)


@kernel
def is_same(address, other, length):
    """Tell whether there are the same bytes at two addresses, eight at least."""
    for i in range(0, length - 7, 8):
        if load_word(address + i) != load_word(other + i):
            return False
    return load_word(address + length - 8) == load_word(other + length - 8)


@kernel
def move_entries(old_address, num_old, slots_address, num_slots):
    """Enter what `num_old` old slots hold, four uint64 each, the first two a key, into new ones, which are empty."""
    old = carray(pointer(old_address, np.uint64), (num_old, 4))
    slots = carray(pointer(slots_address, np.uint64), (num_slots, 4))
    for i in range(num_old):
        if old[i, 1] != 0:
            slot = first_slot(old[i, 0], old[i, 1], num_slots)
            while slots[slot, 1] != 0:
                slot = (slot + 1) & (num_slots - 1)
            for j in range(4):
                slots[slot, j] = old[i, j]
    return 0
