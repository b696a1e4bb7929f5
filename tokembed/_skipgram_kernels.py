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

import numpy as np
from numba import njit

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_LOW_32 = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)

_LOG2_E = np.float32(1.4426950408889634)


@njit(cache=True, nogil=True, inline="always")
def _mix(state):
    """Return 64 well-mixed bits of a 64-bit counter (the output function of splitmix64)."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@njit(cache=True, nogil=True, inline="always")
def _draw(position, key):
    """Return the 64 random bits of a position: the upper half decides whether it is kept, the lower its window."""
    return _mix(key + np.uint64(position) * _GOLDEN)


@njit(cache=True, nogil=True)
def gather_kept(token_ids, start, end, keep_below, window_size, key, tokens, windows):
    """Collect the kept tokens of [start, end) and up to W kept ones on either side, with their windows.

    Returns where the block's own tokens begin and end in `tokens`, and where its right margin ends.
    """
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


@njit(cache=True, nogil=True, fastmath=True)
def _scores(inputs, outputs, num_inputs, num_outputs, scores):
    """S = U Vᵀ, two rows of U against four of V at a time, so that each load serves several sums."""
    dim = inputs.shape[1]
    for i in range(0, num_inputs, 2):
        for j in range(0, num_outputs, 4):
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = np.float32(0.0)
            for d in range(dim):
                a, b = inputs[i, d], inputs[i + 1, d]
                w, x, y, z = outputs[j, d], outputs[j + 1, d], outputs[j + 2, d], outputs[j + 3, d]
                a0 += a * w
                a1 += a * x
                a2 += a * y
                a3 += a * z
                b0 += b * w
                b1 += b * x
                b2 += b * y
                b3 += b * z
            scores[i, j], scores[i, j + 1], scores[i, j + 2], scores[i, j + 3] = a0, a1, a2, a3
            scores[i + 1, j], scores[i + 1, j + 1], scores[i + 1, j + 2], scores[i + 1, j + 3] = b0, b1, b2, b3


@njit(cache=True, nogil=True, inline="always")
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


@njit(cache=True, nogil=True, inline="always")
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


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "arcp", "nsz"})
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


@njit(cache=True, nogil=True, fastmath=True)
def _add_four(row, w, x, y, z, matrix, k):
    """row += w, x, y, z times rows k to k + 3 of the matrix: one load and store of `row` for four products."""
    for d in range(row.size):
        row[d] += w * matrix[k, d] + x * matrix[k + 1, d] + y * matrix[k + 2, d] + z * matrix[k + 3, d]


@njit(cache=True, nogil=True)
def _draw_outputs(positive, num_negatives, thresholds, aliases, state, outputs, signs):
    """List the positive and K negatives, skipping those equal to it; return how many, and the generator's new state."""
    outputs[0] = positive
    signs[0] = np.float32(1.0)
    count = 1
    for _ in range(num_negatives):
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


@njit(cache=True, nogil=True)
def train_block(
    token_ids, start, end,  # the stream (N,), and this block's part of it
    target_table, context_table,  # (V, D) float32 each, shared by all threads
    keep_below, thresholds, aliases,  # (V,) each: subsampling, and the negatives' alias table
    window_size, num_negatives, rate_at_start, rate_at_end,
    draw_key, state,  # uint64: this epoch's key of `_draw`, this block's generator
    tokens, windows,  # scratch for the block's kept tokens and their windows
    inputs, outputs, scores, signs, output_ids,  # scratch for one position, zeroed: U, V, S, and (m,) each
):  # fmt: skip
    """Train on every position of a block; return the pairs' number and their summed loss."""
    first, last, num_kept = gather_kept(token_ids, start, end, keep_below, window_size, draw_key, tokens, windows)
    dim = target_table.shape[1]
    num_pairs, loss = 0, 0.0
    for i in range(first, last):
        left, right = max(i - windows[i], 0), min(i + windows[i] + 1, num_kept)
        n = right - left - 1
        if n <= 0:
            continue
        m, state = _draw_outputs(tokens[i], num_negatives, thresholds, aliases, state, output_ids, signs)
        for j in range(m):
            source = context_table[output_ids[j]]
            for d in range(dim):
                outputs[j, d] = source[d]
        row = 0
        for neighbour in range(left, right):
            if neighbour != i:
                source = target_table[tokens[neighbour]]
                for d in range(dim):
                    inputs[row, d] = source[d]
                row += 1

        _scores(inputs, outputs, n, m, scores)
        rate = rate_at_start + (rate_at_end - rate_at_start) * np.float32(i - first) / np.float32(last - first)
        loss += np.float64(_errors(scores, signs, n, rate))
        num_pairs += n
        scores[n : (n + 3) // 4 * 4] = np.float32(0.0)  # the rows that fill up fours

        row = 0
        for neighbour in range(left, right):
            if neighbour != i:
                target = target_table[tokens[neighbour]]
                for k in range(0, m, 4):
                    w, x, y, z = scores[row, k], scores[row, k + 1], scores[row, k + 2], scores[row, k + 3]
                    _add_four(target, w, x, y, z, outputs, k)
                row += 1
        for j in range(m):
            context = context_table[output_ids[j]]
            for k in range(0, n, 4):
                w, x, y, z = scores[k, j], scores[k + 1, j], scores[k + 2, j], scores[k + 3, j]
                _add_four(context, w, x, y, z, inputs, k)
    return num_pairs, loss
