"""The Hogwild engine's compiled loops: skip-gram with negative sampling on threads that share two tables.

For each position of the stream, its neighbours are the n targets (input rows U), and the token there is the positive they
all share, as they share K negatives (output rows V, m = 1 + K). With learning rate η, labels Y (1 in the positive's
column, else 0) and every product from the rows as they were before the position:

    S = U Vᵀ              (n, m)   scores
    E = η (Y - σ(S))      (n, m)   errors
    U += E V,  V += Eᵀ U  (n, D), (m, D)

Threads write to the tables without locks: rows collide rarely, and a lost update is noise among millions.
All that decides which pairs are made is a hash of (seed, epoch, position), and negatives are drawn from a generator seeded
by block: so pairs are the same at any number of threads, and one thread repeats itself bit for bit.

n targets, m outputs, D the padded dimension (a multiple of 16 floats, one cache line), W the window.

References: Recht, Ré, Wright, Niu (2011), Hogwild!; Ji, Satish, Li, Dubey (2016), Parallelizing Word2Vec in Shared and
Distributed Memory (shared negatives as matrix products). The readable twin is `reference.skipgram_step`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from tokembed.compilation import can_keep_kernels, stand_in_for_old_names

KEPT = can_keep_kernels()
__getattr__ = stand_in_for_old_names(__name__)

GOLDEN = 0x9E3779B97F4A7C15
_GOLDEN = np.uint64(GOLDEN)
_LOW_32 = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)

_LOG2_E = np.float32(1.4426950408889634)


class Tables(NamedTuple):
    """What is trained, shared by all threads."""

    targets: Any  # (V, D) float32
    contexts: Any  # (V, D) float32


class Draws(NamedTuple):
    """What is drawn, and how likely."""

    keep_below: Any  # (V,) uint64: an occurrence is kept if 32 random bits are below
    thresholds: Any  # (V,) uint32, with `aliases` the negatives' alias table
    aliases: Any  # (V,) int32
    window_size: int
    num_negatives: int


class Scratch(NamedTuple):
    """One thread's room: a block's kept tokens with their windows, and one position's rows, scores and outputs, zeroed."""

    tokens: Any  # int32
    windows: Any  # int32
    inputs: Any  # (n, D) float32: U
    outputs: Any  # (m, D) float32: V
    scores: Any  # (n, m) float32: S, then E
    signs: Any  # (m,) float32
    output_ids: Any  # (m,) int32


@njit(cache=KEPT, nogil=True, inline="always")
def _mix(state):
    """Return 64 well-mixed bits of a 64-bit counter (the output function of splitmix64)."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@njit(cache=KEPT, nogil=True, inline="always")
def _draw(position, key):
    """Return the 64 random bits of a position: the upper half decides whether it is kept, the lower its window."""
    return _mix(key + np.uint64(position) * _GOLDEN)


@njit(cache=KEPT, nogil=True, no_cfunc_wrapper=True)
def gather_kept(token_ids, start, end, draws, key, tokens, windows):
    """Collect the kept tokens of [start, end) and up to W kept ones on either side, with their windows.

    Returns where the block's own tokens begin and end in `tokens`, and where its right margin ends.
    """
    keep_below, window_size = draws.keep_below, draws.window_size
    left = start
    margin = 0
    while left > 0 and margin < window_size:
        left -= 1
        if (_draw(left, key) >> _32) < keep_below[token_ids[left]]:
            margin += 1
    num_kept = 0
    first = last = 0
    position = left
    while position < token_ids.size:
        if position == start:
            first = num_kept
        if position == end:
            last = num_kept
        if position >= end and num_kept - last >= window_size:
            break
        bits = _draw(position, key)
        if (bits >> _32) < keep_below[token_ids[position]]:
            tokens[num_kept] = token_ids[position]
            windows[num_kept] = 1 + (((bits & _LOW_32) * np.uint64(window_size)) >> _32)
            num_kept += 1
        position += 1
    if end >= token_ids.size:
        last = num_kept
    return first, last, num_kept


# ---------------------------------------------------------------- matrix products
#
# Written as vector instructions of 16 floats, since rows are whole cache lines: a compiler that vectorises plain loops has to
# check for overlap and for a remainder at every call, which takes as long as the products.

_FLOAT, _LANES = ir.FloatType(), 16
_VECTOR = ir.VectorType(_FLOAT, _LANES)


def _lane_numbers(numbers):
    return ir.Constant(ir.VectorType(ir.IntType(32), len(numbers)), list(numbers))


def _row_pointer(context, builder, array_type, array, row):
    """Return a pointer to a row of a C-contiguous float32 matrix, and the row's length."""
    matrix = context.make_array(array_type)(context, builder, array)
    dim = cgutils.unpack_tuple(builder, matrix.shape)[1]
    return builder.gep(matrix.data, [builder.mul(row, dim)]), dim


def _lanes(builder, pointer, offset):
    return builder.bitcast(builder.gep(pointer, [offset]), _VECTOR.as_pointer())


def _multiply_add(builder, x, y, total):
    return builder.fadd(total, builder.fmul(x, y, flags=["fast"]), flags=["fast"])


def _fold(builder, vectors):
    """Return one vector of the sums of eight: each step adds halves, and packs two vectors into one."""
    halves = [
        builder.fadd(
            *(builder.shuffle_vector(v, v, _lane_numbers(range(first, first + 8))) for first in (0, 8)), flags=["fast"]
        )
        for v in vectors
    ]
    group = 8  # lanes that still hold parts of one sum
    while len(halves) > 1:
        half = group // 2
        left = [start + lane for start in range(0, 16, group) for lane in range(half)]
        right = [lane + half for lane in left]
        halves = [
            builder.fadd(*(builder.shuffle_vector(x, y, _lane_numbers(lanes)) for lanes in (left, right)), flags=["fast"])
            for x, y in zip(halves[::2], halves[1::2], strict=True)
        ]
        group = half
    return halves[0]


@intrinsic
def _dot_2x4(typing_context, inputs, i, outputs, j, scores):
    """scores[i : i + 2, j : j + 4] = inputs[i : i + 2] @ outputs[j : j + 4].T: each load serves two sums or four."""

    def generate(context, builder, signature, arguments):
        types_of = signature.args
        u, dim = _row_pointer(context, builder, types_of[0], arguments[0], arguments[1])
        v, _ = _row_pointer(context, builder, types_of[2], arguments[2], arguments[3])
        sums = [cgutils.alloca_once(builder, _VECTOR) for _ in range(8)]
        for sum_ in sums:
            builder.store(ir.Constant(_VECTOR, [0.0] * _LANES), sum_)
        with cgutils.for_range(builder, builder.udiv(dim, ir.Constant(dim.type, _LANES))) as loop:
            offset = builder.mul(loop.index, ir.Constant(dim.type, _LANES))
            rows = [builder.add(offset, builder.mul(dim, ir.Constant(dim.type, row))) for row in range(4)]
            us = [builder.load(_lanes(builder, u, rows[row]), align=4) for row in range(2)]
            vs = [builder.load(_lanes(builder, v, rows[row]), align=4) for row in range(4)]
            for place, sum_ in enumerate(sums):
                builder.store(_multiply_add(builder, us[place // 4], vs[place % 4], builder.load(sum_)), sum_)
        folded = _fold(builder, [builder.load(sum_) for sum_ in sums])
        four = ir.VectorType(_FLOAT, 4)
        for row in range(2):
            target, _ = _row_pointer(
                context, builder, types_of[4], arguments[4], builder.add(arguments[1], ir.Constant(arguments[1].type, row))
            )
            part = builder.shuffle_vector(folded, folded, _lane_numbers(range(4 * row, 4 * row + 4)))
            builder.store(part, builder.bitcast(builder.gep(target, [arguments[3]]), four.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(inputs, types.intp, outputs, types.intp, scores), generate


@intrinsic
def _add_product(typing_context, table, row, scores, start, step, matrix, count):
    """table[row] += c @ matrix[:count], with the coefficients c[k] = scores.flat[start + k * step].

    Four rows of the matrix at a time, so that a row of the table is loaded and stored once for four products.
    """

    def generate(context, builder, signature, arguments):
        types_of = signature.args
        target, dim = _row_pointer(context, builder, types_of[0], arguments[0], arguments[1])
        coefficients = context.make_array(types_of[2])(context, builder, arguments[2]).data
        integer = dim.type
        source, _ = _row_pointer(context, builder, types_of[5], arguments[5], ir.Constant(integer, 0))
        start, step, count = arguments[3], arguments[4], arguments[6]

        def add(first, number):
            undefined, zeros = ir.Constant(_VECTOR, ir.Undefined), _lane_numbers([0] * _LANES)
            ks = [builder.add(first, ir.Constant(integer, k)) for k in range(number)]
            factors = []
            for k in ks:
                factor = builder.load(builder.gep(coefficients, [builder.add(start, builder.mul(k, step))]))
                factor = builder.insert_element(undefined, factor, ir.Constant(ir.IntType(32), 0))
                factors.append(builder.shuffle_vector(factor, undefined, zeros))
            with cgutils.for_range(builder, builder.udiv(dim, ir.Constant(integer, _LANES))) as loop:
                offset = builder.mul(loop.index, ir.Constant(integer, _LANES))
                pointer = _lanes(builder, target, offset)
                total = builder.load(pointer, align=4)
                for k, factor in zip(ks, factors, strict=True):
                    place = _lanes(builder, source, builder.add(offset, builder.mul(k, dim)))
                    total = _multiply_add(builder, factor, builder.load(place, align=4), total)
                builder.store(total, pointer, align=4)

        with cgutils.for_range(builder, builder.lshr(count, ir.Constant(integer, 2))) as fours:
            add(builder.mul(fours.index, ir.Constant(integer, 4)), 4)
        for number in (2, 1):
            has_it = builder.icmp_unsigned("!=", builder.and_(count, ir.Constant(integer, number)), ir.Constant(integer, 0))
            with builder.if_then(has_it):
                add(builder.and_(count, ir.Constant(integer, -2 * number)), number)
        return context.get_dummy_value()

    return types.void(table, types.intp, scores, types.intp, types.intp, matrix, types.intp), generate


@intrinsic
def _copy_row(typing_context, table, row, buffer, place):
    """buffer[place] = table[row]."""

    def generate(context, builder, signature, arguments):
        source, dim = _row_pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        target, _ = _row_pointer(context, builder, signature.args[2], arguments[2], arguments[3])
        with cgutils.for_range(builder, builder.udiv(dim, ir.Constant(dim.type, _LANES))) as loop:
            offset = builder.mul(loop.index, ir.Constant(dim.type, _LANES))
            builder.store(builder.load(_lanes(builder, source, offset), align=4), _lanes(builder, target, offset), align=4)
        return context.get_dummy_value()

    return types.void(table, types.intp, buffer, types.intp), generate


# ---------------------------------------------------------------- errors and loss


@njit(cache=KEPT, nogil=True, inline="always")
def _exp_of_negative(x):
    """Return e^x for -87 <= x <= 0, relative error below 6e-6: 2^n by its bits, 2^f by a minimax polynomial."""
    t = x * _LOG2_E
    n = np.floor(t)
    f = t - n
    power = np.float32(1.87757664e-03)
    power = power * f + np.float32(8.98934047e-03)
    power = power * f + np.float32(5.58263174e-02)
    power = power * f + np.float32(2.40153617e-01)
    power = power * f + np.float32(6.93153073e-01)
    power = power * f + np.float32(9.99999925e-01)
    return power * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@njit(cache=KEPT, nogil=True, inline="always")
def _log1p_of_fraction(z):
    """Return log(1 + z) for 0 <= z <= 1, relative error below 3e-7, by a minimax polynomial of log(1 + z) / z."""
    ratio = np.float32(-8.78330232e-03)
    ratio = ratio * z + np.float32(4.49444696e-02)
    ratio = ratio * z + np.float32(-1.08857952e-01)
    ratio = ratio * z + np.float32(1.78255091e-01)
    ratio = ratio * z + np.float32(-2.45235868e-01)
    ratio = ratio * z + np.float32(3.32801736e-01)
    ratio = ratio * z + np.float32(-4.99976993e-01)
    ratio = ratio * z + np.float32(9.99999836e-01)
    return ratio * z


# error_model: numba's own checks each division for zero and raises, which no vector instruction can do.
@njit(cache=KEPT, nogil=True, no_cfunc_wrapper=True, error_model="numpy", fastmath={"reassoc", "contract", "arcp", "nsz"})
def _errors(scores, signs, num_inputs, learning_rate):
    """Replace the scores by the errors E = η (Y - σ(S)); return the loss, the sum of -log σ(± S).

    `signs` holds 1 for the positive's column, -1 for a negative's, 0 for padding. With y = sign · score, the error is
    sign · (1 - σ(y)) and the loss softplus(-y), both from z = e^-|y|, which cannot overflow. NaN stays NaN.
    """
    one, zero, limit = np.float32(1.0), np.float32(0.0), np.float32(-87.0)
    total = zero
    for i in range(num_inputs):
        for j in range(scores.shape[1]):
            sign = signs[j]
            y = sign * scores[i, j]
            z = _exp_of_negative(max(-abs(y), limit))
            miss = z if y >= zero else one
            scores[i, j] = learning_rate * sign * miss / (one + z)
            total += sign * sign * (_log1p_of_fraction(z) + (zero if y >= zero else -y))
    return total


@njit(cache=KEPT, nogil=True, no_cfunc_wrapper=True)
def _draw_outputs(positive, draws, state, outputs, signs):
    """List the positive and K negatives, skipping those equal to it; return how many, and the generator's new state."""
    thresholds, aliases = draws.thresholds, draws.aliases
    outputs[0] = positive
    signs[0] = np.float32(1.0)
    count = 1
    for _ in range(draws.num_negatives):
        state += _GOLDEN
        bits = _mix(state)
        column = np.int32(((bits >> _32) * np.uint64(thresholds.size)) >> _32)
        negative = column if (bits & _LOW_32) < thresholds[column] else aliases[column]
        if negative != positive:
            outputs[count] = negative
            signs[count] = np.float32(-1.0)
            count += 1
    for j in range(count, signs.size):
        signs[j] = np.float32(0.0)
    return count, state


@njit(cache=KEPT, nogil=True, no_cfunc_wrapper=True, error_model="numpy")
def train_block(token_ids, start, end, tables, draws, rate_at_start, rate_at_end, draw_key, state, scratch):
    """Train on positions start..end-1 of a stream, (N,); return the pairs' number and their summed loss.

    `draw_key` is the epoch's key of `_draw`, `state` the block's own generator, uint64 each.
    """
    target_table, context_table = tables.targets, tables.contexts
    tokens, windows, inputs, outputs = scratch.tokens, scratch.windows, scratch.inputs, scratch.outputs
    scores, signs, output_ids = scratch.scores, scratch.signs, scratch.output_ids
    first, last, num_kept = gather_kept(token_ids, start, end, draws, draw_key, tokens, windows)
    stride = scores.shape[1]
    num_pairs, loss = 0, 0.0
    for i in range(first, last):
        left, right = max(i - windows[i], 0), min(i + windows[i] + 1, num_kept)
        n = right - left - 1
        if n <= 0:
            continue
        m, state = _draw_outputs(tokens[i], draws, state, output_ids, signs)
        for j in range(m):
            _copy_row(context_table, output_ids[j], outputs, j)
        row = 0
        for neighbour in range(left, right):
            if neighbour != i:
                _copy_row(target_table, tokens[neighbour], inputs, row)
                row += 1

        for row in range(0, n, 2):
            for column in range(0, m, 4):
                _dot_2x4(inputs, row, outputs, column, scores)
        rate = rate_at_start + (rate_at_end - rate_at_start) * np.float32(i - first) / np.float32(last - first)
        loss += np.float64(_errors(scores, signs, n, rate))
        num_pairs += n

        row = 0
        for neighbour in range(left, right):
            if neighbour != i:
                _add_product(target_table, tokens[neighbour], scores, row * stride, 1, outputs, m)  # U += E V
                row += 1
        for j in range(m):
            _add_product(context_table, output_ids[j], scores, j, stride, inputs, n)  # V += E^T U
    return num_pairs, loss
