from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from tokembed import TrainingConfig
from tokembed.skipgram import sampling


def test_counts_below_the_minimum_are_dropped() -> None:
    ids = np.array([0, 0, 0, 1, 1, 3])
    assert sampling.count_tokens(ids, 5).tolist() == [3, 2, 0, 1, 0]
    assert sampling.count_tokens(ids, 5, min_count=2).tolist() == [3, 2, 0, 0, 0]


def test_the_noise_distribution_flattens_counts() -> None:
    counts = np.array([16, 1, 0])
    np.testing.assert_allclose(sampling.noise_distribution(counts, 0.75), [8 / 9, 1 / 9, 0])
    np.testing.assert_allclose(sampling.noise_distribution(counts, 0.0), [0.5, 0.5, 0])


def test_the_keep_probability_is_word2vecs() -> None:
    counts = np.array([900_000, 99_000, 1_000, 0])
    keep = sampling.keep_probability(counts, 1e-3)
    share = np.array([0.9, 0.099])
    np.testing.assert_allclose(keep[:2], np.sqrt(1e-3 / share) + 1e-3 / share)
    assert keep[2:].tolist() == [1.0, 0.0]
    assert sampling.keep_probability(counts, 0).tolist() == [1, 1, 1, 0]


def test_counts_far_beyond_32_bits_give_what_small_ones_in_their_proportion_give() -> None:
    small = np.array([9000, 900, 90, 0])
    for compute in (sampling.noise_distribution, sampling.keep_probability):
        np.testing.assert_allclose(compute(small * 2**45), compute(small), rtol=1e-12)


@given(arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 10**12)).filter(lambda counts: counts.sum() > 0))
def test_the_alias_table_holds_the_distribution_exactly(counts: np.ndarray) -> None:
    probabilities = counts / counts.sum()
    thresholds, aliases = sampling.alias_table(probabilities)
    own = (thresholds + 1.0) / 2**32  # a full column is its own alias, so its last 2^-32 is its own too
    drawn = np.bincount(np.arange(len(own)), own, len(own)) + np.bincount(aliases, 1 - own, len(own))
    np.testing.assert_allclose(drawn / len(own), probabilities, atol=1e-8)
    assert not (thresholds[probabilities == 0] > 0).any()


def test_pairs_reach_as_far_as_each_positions_window() -> None:
    pairs = sampling.window_pairs(np.array([10, 11, 12, 13]), np.array([3, 1, 2, 1]))
    expected = [(11, 10), (12, 10), (13, 10), (10, 11), (12, 11), (10, 12), (11, 12), (13, 12), (12, 13)]
    assert list(map(tuple, pairs.tolist())) == expected


@pytest.mark.parametrize("length", [0, 1])
def test_a_stream_too_short_has_no_pairs(length: int) -> None:
    assert sampling.window_pairs(np.zeros(length, dtype=int), np.ones(length, dtype=int)).shape == (0, 2)


def test_expected_updates_are_those_that_pairs_make() -> None:
    random = np.random.default_rng(0)
    config = TrainingConfig(window_size=3, num_negative_samples=4, subsample=0)
    ids = random.choice(20, size=20_000, p=np.arange(1, 21) / 210)
    counts = np.bincount(ids, minlength=20)
    pairs = sampling.window_pairs(ids, random.integers(1, 4, ids.size))
    assert sampling.pairs_per_token(counts, 3, 0) * ids.size == pytest.approx(len(pairs), rel=0.02)
    targets, contexts = (each * len(pairs) for each in sampling.updates_per_pair(counts, config))
    assert targets == pytest.approx(np.bincount(pairs[:, 0], minlength=20) * 5, rel=0.05)
    negatives = random.choice(20, size=(len(pairs), 4), p=sampling.noise_distribution(counts))
    expected = np.bincount(pairs[:, 1], minlength=20) + np.bincount(negatives.ravel(), minlength=20)
    assert contexts == pytest.approx(expected, rel=0.05)
