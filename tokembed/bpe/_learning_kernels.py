"""Compiled loops that learn merges. The readable twin is `reference.train_bpe`; wrappers validate, kernels do not.

Learning rests on one fact: a merge that makes symbol X only ever creates pairs that hold X. So the places of a
pair are all known when its younger symbol is made, are stored once as one run of positions, and from then on its count
can only fall. Hence

- the heap may be lazy: an entry's count is an upper bound, looked up again when it comes to the top;
- a pair below `min_frequency` when it is made can never be merged, and is not stored at all.

The words lie in one flat array of symbols, linked both ways inside each word; a merged symbol takes the place of its left
half, and its right half's place is dead (-1).

References: Sennrich, Haddow, Birch (2016), Algorithm 1, for what is computed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from tokembed.compilation import can_keep_kernels, stand_in_for_old_names

KEPT = can_keep_kernels()
__getattr__ = stand_in_for_old_names(__name__)


class Words(NamedTuple):
    """The distinct words as one row of N symbols; a symbol that a merge took is -1."""

    symbols: Any  # (N,) int32
    previous: Any  # (N,) int32, -1 at a word's first symbol
    following: Any  # (N,) int32, -1 at its last
    weights: Any  # (N,) int64: the word's frequency


class Pairs(NamedTuple):
    """The pairs met so far, by index, with room for more, and the hash table that finds them."""

    slots: Any  # (2^n,) int32: index of a pair, or -1
    keys: Any  # int64: left id << 32 | right id
    counts: Any  # int64: occurrences, weighted
    starts: Any  # int64: where the pair's run of positions begins in the pool
    sizes: Any  # int32: length of that run


class Heap(NamedTuple):
    """Which pair comes next: a heap whose counts are upper bounds."""

    counts: Any  # int64
    pairs: Any  # int32


class Sides(NamedTuple):
    """Scratch for one merge: its new pairs by partner, which stands before the new symbol (0) or after it (1)."""

    counts: Any  # (2, V) int64
    sizes: Any  # (2, V) int32
    next: Any  # (2, V) int64: where the pair's next position goes in the pool, -1 for a pair too rare
    partners: Any  # (2V,) int32


class Learned(NamedTuple):
    """What comes out."""

    merges: Any  # (M, 2) int32
    applications: Any  # (M,) int64


# Slots of the `progress` array, the learner's scalars.
NUM_PAIRS, POOL_USED, HEAP_SIZE, NUM_MERGED = range(4)
# What `merge_some` stopped for.
DONE, MORE, FULL = range(3)

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

# For functions that only kernels call: without the wrappers that Python needs they compile in half the time.
_internal = njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)


@_internal
def _slot_of(key, slots):
    """Return where `key` hashes to in a table whose size is a power of two."""
    mixed = np.uint64(key) * _MULTIPLIER
    return np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(slots.size - 1))


@_internal
def find_pair(key, slots, pair_keys):
    """Return the index of a pair (left id << 32 | right id), or -1."""
    slot = _slot_of(key, slots)
    while slots[slot] >= 0:
        if pair_keys[slots[slot]] == key:
            return slots[slot]
        slot = (slot + 1) & (slots.size - 1)
    return np.int32(-1)


@_internal
def insert_pair(pair, slots, pair_keys):
    """Enter a pair that is not in the table."""
    slot = _slot_of(pair_keys[pair], slots)
    while slots[slot] >= 0:
        slot = (slot + 1) & (slots.size - 1)
    slots[slot] = pair


@_internal
def _comes_first(count, key, other_count, other_key):
    """Tell whether (count, key) is merged before the other: larger count, ties to the smallest (left id, right id)."""
    return count > other_count or (count == other_count and key < other_key)


@_internal
def _push(heap_counts, heap_pairs, size, count, pair, pair_keys):
    hole = size
    while hole > 0:
        parent = (hole - 1) >> 1
        if not _comes_first(count, pair_keys[pair], heap_counts[parent], pair_keys[heap_pairs[parent]]):
            break
        heap_counts[hole] = heap_counts[parent]
        heap_pairs[hole] = heap_pairs[parent]
        hole = parent
    heap_counts[hole] = count
    heap_pairs[hole] = pair


@_internal
def _sift_down(heap_counts, heap_pairs, size, count, pair, pair_keys):
    """Put (count, pair) in place of the heap's top."""
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        if child + 1 < size and _comes_first(
            heap_counts[child + 1], pair_keys[heap_pairs[child + 1]], heap_counts[child], pair_keys[heap_pairs[child]]
        ):
            child += 1
        if not _comes_first(heap_counts[child], pair_keys[heap_pairs[child]], count, pair_keys[pair]):
            break
        heap_counts[hole] = heap_counts[child]
        heap_pairs[hole] = heap_pairs[child]
        hole = child
    heap_counts[hole] = count
    heap_pairs[hole] = pair


@njit(cache=KEPT, nogil=True, no_cfunc_wrapper=True)
def link_words(word_starts, word_counts, words):
    """Fill the per-position arrays from the words' bounds: weight (its word's frequency) and links, -1 at the ends."""
    previous, following, weights = words.previous, words.following, words.weights
    for word in range(word_counts.size):
        first, end = word_starts[word], word_starts[word + 1]
        for position in range(first, end):
            weights[position] = word_counts[word]
            previous[position] = position - 1 if position > first else -1
            following[position] = position + 1 if position + 1 < end else -1


@njit(cache=KEPT, nogil=True, no_cfunc_wrapper=True)
def count_first_pairs(words, pairs):
    """Count the alphabet's adjacent pairs; return how many are distinct."""
    symbols, following, weights = words.symbols, words.following, words.weights
    slots, keys, counts, sizes = pairs.slots, pairs.keys, pairs.counts, pairs.sizes
    num_pairs = 0
    for position in range(symbols.size):
        if following[position] < 0:
            continue
        key = np.int64(symbols[position]) << 32 | np.int64(symbols[following[position]])
        pair = find_pair(key, slots, keys)
        if pair < 0:
            pair = np.int32(num_pairs)
            keys[pair] = key
            insert_pair(pair, slots, keys)
            num_pairs += 1
        counts[pair] += weights[position]
        sizes[pair] += 1
    return num_pairs


@njit(cache=KEPT, nogil=True, no_cfunc_wrapper=True)
def place_first_pairs(words, pairs, pool):
    """Write each first pair's positions into its run of the pool, in ascending order (sizes are counted up again)."""
    symbols, following = words.symbols, words.following
    slots, keys, starts, sizes = pairs.slots, pairs.keys, pairs.starts, pairs.sizes
    for position in range(symbols.size):
        if following[position] >= 0:
            key = np.int64(symbols[position]) << 32 | np.int64(symbols[following[position]])
            pair = find_pair(key, slots, keys)
            pool[starts[pair] + sizes[pair]] = position
            sizes[pair] += 1


@njit(cache=KEPT, nogil=True, no_cfunc_wrapper=True)
def push_pairs(first, last, min_frequency, pairs, heap, progress):
    """Put pairs first..last-1 on the heap, but for those too rare ever to be merged."""
    keys, counts, heap_counts, heap_pairs = pairs.keys, pairs.counts, heap.counts, heap.pairs
    for pair in range(first, last):
        if counts[pair] >= min_frequency:
            _push(heap_counts, heap_pairs, progress[HEAP_SIZE], counts[pair], np.int32(pair), keys)
            progress[HEAP_SIZE] += 1


@_internal
def _lose(left, right, weight, slots, pair_keys, pair_counts):
    """Take `weight` off a pair's count; a pair too rare to be stored has none."""
    pair = find_pair(np.int64(left) << 32 | np.int64(right), slots, pair_keys)
    if pair >= 0:
        pair_counts[pair] -= weight


@_internal
def _replace(run, left, right, symbol, words, pairs):
    """Replace (left, right) by `symbol` at the positions of `run`, from the left, and lower its old neighbours' counts.

    The positions where it happened move to the front of `run`. Returns their number and their summed weight.
    """
    symbols, previous, following, weights = words.symbols, words.previous, words.following, words.weights
    slots, keys, counts = pairs.slots, pairs.keys, pairs.counts
    num_replaced, applied = 0, np.int64(0)
    for index in range(run.size):
        position = run[index]
        if symbols[position] != left:  # an earlier merge took it
            continue
        partner = following[position]
        if partner < 0 or symbols[partner] != right:
            continue
        weight = weights[position]
        before, after = previous[position], following[partner]
        if before >= 0 and symbols[before] != symbol:  # pairs that hold `symbol` are counted afterwards, all at once
            _lose(symbols[before], left, weight, slots, keys, counts)
        if after >= 0:
            _lose(right, symbols[after], weight, slots, keys, counts)
            previous[after] = position
        following[position] = after
        symbols[position] = symbol
        symbols[partner] = -1
        run[num_replaced] = position
        num_replaced += 1
        applied += weight
    return num_replaced, applied


@_internal
def _count_sides(replaced, symbol, words, sides):
    """Count the new pairs by partner: side 0 (partner, symbol), side 1 (symbol, partner). Return how many are distinct.

    (symbol, symbol) is counted on side 0 alone. A partner of side 1 is listed as its id, of side 0 as -1 - id.
    """
    symbols, previous, following, weights = words.symbols, words.previous, words.following, words.weights
    side_counts, side_sizes, partners = sides.counts, sides.sizes, sides.partners
    num_partners = 0
    for index in range(replaced.size):
        position = replaced[index]
        before, after = previous[position], following[position]
        if before >= 0:
            partner = symbols[before]
            if side_sizes[0, partner] == 0:
                partners[num_partners] = -1 - partner
                num_partners += 1
            side_counts[0, partner] += weights[position]
            side_sizes[0, partner] += 1
        if after >= 0 and symbols[after] != symbol:
            partner = symbols[after]
            if side_sizes[1, partner] == 0:
                partners[num_partners] = partner
                num_partners += 1
            side_counts[1, partner] += weights[position]
            side_sizes[1, partner] += 1
    return num_partners


@njit(cache=KEPT, nogil=True, no_cfunc_wrapper=True)
def merge_some(words, pairs, pool, heap, sides, learned, progress, alphabet_size, min_frequency, until):
    """Learn merges until there are `until` of them, none is left (DONE), or the pair arrays must grow (FULL).

    `pool` holds the pairs' runs of positions, int32; `progress` the learner's scalars, (4,) int64.
    """
    # Local names: taking an array out of a tuple counts a reference, each time.
    symbols, previous, following = words.symbols, words.previous, words.following
    slots, keys, counts, starts, sizes = pairs.slots, pairs.keys, pairs.counts, pairs.starts, pairs.sizes
    heap_counts, heap_pairs = heap.counts, heap.pairs
    side_counts, side_sizes, side_next, partners = sides.counts, sides.sizes, sides.next, sides.partners
    merges, applications = learned.merges, learned.applications
    while progress[NUM_MERGED] < until:
        if progress[HEAP_SIZE] == 0:
            return DONE
        pair, count = heap_pairs[0], heap_counts[0]
        if counts[pair] != count and counts[pair] >= min_frequency:
            _sift_down(heap_counts, heap_pairs, progress[HEAP_SIZE], counts[pair], pair, keys)
            continue
        stale = counts[pair] != count
        size = sizes[pair]
        # A position makes two pairs at most, and a symbol stands on two sides: of many positions few pairs may come.
        most_new = 2 * min(np.int64(size), alphabet_size + progress[NUM_MERGED] + 1)
        if not stale and progress[NUM_PAIRS] + most_new > keys.size:
            return FULL
        progress[HEAP_SIZE] -= 1
        last = progress[HEAP_SIZE]
        if last > 0:
            _sift_down(heap_counts, heap_pairs, last, heap_counts[last], heap_pairs[last], keys)
        if stale:
            continue

        left, right = np.int32(keys[pair] >> 32), np.int32(keys[pair] & 0xFFFFFFFF)
        merge = progress[NUM_MERGED]
        symbol = np.int32(alphabet_size + merge)
        run = pool[starts[pair] : starts[pair] + size]
        num_replaced, applied = _replace(run, left, right, symbol, words, pairs)
        counts[pair] = 0
        merges[merge, 0], merges[merge, 1] = left, right
        applications[merge] = applied
        progress[NUM_MERGED] += 1

        replaced = run[:num_replaced]
        num_partners = _count_sides(replaced, symbol, words, sides)
        first_new = progress[NUM_PAIRS]
        for index in range(num_partners):
            side = 1 if partners[index] >= 0 else 0
            partner = partners[index] if side else -1 - partners[index]
            side_next[side, partner] = -1
            if side_counts[side, partner] >= min_frequency:
                new = np.int32(progress[NUM_PAIRS])
                key = np.int64(symbol) << 32 | np.int64(partner) if side else np.int64(partner) << 32 | np.int64(symbol)
                keys[new] = key
                counts[new] = side_counts[side, partner]
                starts[new] = side_next[side, partner] = progress[POOL_USED]
                sizes[new] = side_sizes[side, partner]
                insert_pair(new, slots, keys)
                progress[NUM_PAIRS] += 1
                progress[POOL_USED] += sizes[new]
            side_counts[side, partner] = 0
            side_sizes[side, partner] = 0
        for index in range(num_replaced):
            position = replaced[index]
            before, after = previous[position], following[position]
            if before >= 0 and side_next[0, symbols[before]] >= 0:
                pool[side_next[0, symbols[before]]] = before
                side_next[0, symbols[before]] += 1
            if after >= 0 and symbols[after] != symbol and side_next[1, symbols[after]] >= 0:
                pool[side_next[1, symbols[after]]] = position
                side_next[1, symbols[after]] += 1
        push_pairs(first_new, progress[NUM_PAIRS], min_frequency, pairs, heap, progress)
    return MORE


@njit(cache=KEPT, nogil=True, no_cfunc_wrapper=True)
def rehash(num_pairs, pairs):
    """Enter all pairs into an empty, larger table."""
    for pair in range(num_pairs):
        insert_pair(np.int32(pair), pairs.slots, pairs.keys)
