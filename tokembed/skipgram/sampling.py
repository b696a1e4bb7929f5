"""What skip-gram draws: which tokens are kept, which negatives are likely, which pairs a window makes.

V is the vocabulary's size throughout.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tokembed.skipgram.settings import TrainingConfig


def count_tokens(token_ids: npt.NDArray[np.integer[Any]], vocab_size: int, min_count: int = 1) -> npt.NDArray[np.int64]:
    """Return how often each id occurs, shape (V,); ids below `min_count` count as 0, since training drops them."""
    counts = np.zeros(vocab_size, dtype=np.int64)
    for part in parts(token_ids):
        counts += np.bincount(part, minlength=vocab_size)
    return np.where(counts >= min_count, counts, 0)


def parts(token_ids: npt.NDArray[np.integer[Any]], size: int = 1 << 22) -> Iterator[npt.NDArray[np.integer[Any]]]:
    """Yield a stream in parts of `size` ids: a memory-mapped one may be larger than memory."""
    for start in range(0, len(token_ids), size):
        yield token_ids[start : start + size]


def noise_distribution(counts: npt.NDArray[np.int64], exponent: float = 0.75) -> npt.NDArray[np.float64]:
    """Return the probability of each token as a negative: counts^exponent, normalised, shape (V,).

    An exponent of 1 draws tokens as often as they occur, 0 all of them (that occur) alike.

    References
    ----------
    Mikolov et al. (2013), Distributed Representations of Words and Phrases and their Compositionality, section 2.2.
    """
    is_there = counts > 0
    logarithms = exponent * np.log(counts[is_there])
    weights = np.zeros(counts.shape)
    weights[is_there] = np.exp(logarithms - logarithms.max())  # relative to the largest, so that no exponent overflows
    total: float = weights.sum()
    return weights / total


def keep_probability(counts: npt.NDArray[np.int64], subsample: float = 1e-3) -> npt.NDArray[np.float64]:
    """Return the probability that an occurrence of each token is kept, sqrt(t/f) + t/f up to 1, shape (V,).

    f is the token's share of all counted tokens and t is `subsample`; 0 keeps every token that occurs.

    References
    ----------
    The formula of the word2vec program, which differs from the paper's 1 - sqrt(t/f).
    """
    if subsample == 0:
        return (counts > 0).astype(np.float64)
    with np.errstate(divide="ignore", over="ignore"):
        ratio = subsample * counts.sum() / counts
    return np.where(counts > 0, np.minimum(np.sqrt(ratio) + ratio, 1.0), 0.0)


def initial_vectors(vocab_size: int, dim: int, seed: int) -> npt.NDArray[np.float32]:
    """Return where the target vectors start, uniform in ±1/(2D), shape (V, D)."""
    random = np.random.default_rng([seed, 0])
    return (random.random((vocab_size, dim), dtype=np.float32) - np.float32(0.5)) / np.float32(dim)


def pairs_per_token(counts: npt.NDArray[np.int64], window_size: int, subsample: float = 1e-3) -> float:
    """Return how many pairs per token of the stream makes, as expected: a window of 1 to W on either side makes W + 1.

    `counts` are those of the tokens that training keeps; pairs lost at the stream's ends are not taken off.
    """
    kept: float = (counts * keep_probability(counts, subsample)).sum()
    return kept / float(counts.sum()) * (window_size + 1)


def updates_per_pair(
    counts: npt.NDArray[np.int64], config: TrainingConfig
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return how many terms of the loss move each token's vector as target, and as context, a pair, as expected; (V,) each.

    A pair's target is in 1 + K terms, its positive and its negatives in one each.
    """
    kept = counts * keep_probability(counts, config.subsample)
    share = kept / kept.sum()
    targets = share * (1 + config.num_negative_samples)
    contexts = share + config.num_negative_samples * noise_distribution(counts, config.ns_exponent)
    return targets.astype(np.float32), contexts.astype(np.float32)


def alias_table(probabilities: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int32]]:
    """Prepare draws from a discrete distribution in constant time.

    To draw, take a uniform column c and a uniform 32-bit number x: the result is c if x < thresholds[c], else aliases[c].

    Parameters
    ----------
    probabilities : array (V,)
        They sum to 1.

    Returns
    -------
    thresholds : array (V,) of uint32
        The share of each column that is the column's own, times 2^32.
    aliases : array (V,) of int32

    References
    ----------
    Vose (1991), A linear algorithm for generating random numbers with a given distribution.
    """
    num_columns = probabilities.size
    heights = probabilities * num_columns
    aliases = np.arange(num_columns, dtype=np.int32)
    short = [column for column in range(num_columns) if heights[column] < 1.0]
    tall = [column for column in range(num_columns) if heights[column] >= 1.0]
    while short and tall:
        low, high = short.pop(), tall[-1]
        aliases[low] = high
        heights[high] -= 1.0 - heights[low]
        if heights[high] < 1.0:
            short.append(tall.pop())
    # What rounding leaves over is a full column, which is its own alias.
    thresholds = np.minimum(heights * 2.0**32, 2.0**32 - 1).astype(np.uint32)
    return thresholds, aliases


def window_pairs(tokens: npt.NDArray[np.integer[Any]], windows: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
    """Return the (target, positive) pairs of a stream of tokens, shape (number of pairs, 2).

    Position i, with a window of `windows[i]`, is the positive of each neighbour at a distance of at most that.

    >>> window_pairs(np.array([7, 8, 9]), np.array([1, 1, 2])).tolist()
    [[8, 7], [7, 8], [9, 8], [7, 9], [8, 9]]
    """
    widest = int(windows.max(initial=0))
    offsets = np.delete(np.arange(-widest, widest + 1), widest)  # (2W,)
    neighbours = np.arange(tokens.size)[:, None] + offsets
    inside = (neighbours >= 0) & (neighbours < tokens.size) & (abs(offsets) <= windows[:, None])
    return np.stack([tokens[neighbours[inside]], np.repeat(tokens, inside.sum(axis=1))], axis=1).astype(np.int64)


GOLDEN = 0x9E3779B97F4A7C15


def mix(*numbers: int) -> int:
    """Return 64 bits that depend on all the numbers (splitmix64, absorbed one by one)."""
    state = 0
    for number in numbers:
        state = int(mix_counters(state + number, np.ones(1, dtype=np.uint64))[0])
    return state


def mix_counters(key: int, counters: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return 64 mixed bits of key + counter * golden ratio, for each counter: the generator that all engines draw from.

    References
    ----------
    Steele, Lea, Flood (2014), Fast Splittable Pseudorandom Number Generators (splitmix64).
    """
    state = counters * np.uint64(GOLDEN) + np.uint64(key % 2**64)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
