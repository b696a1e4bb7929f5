"""The three forms of one mathematics: the reference in NumPy, the torch model, the Hogwild kernel."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from numpy.testing import assert_allclose
from scipy.stats import chisquare
from torch.nn.functional import logsigmoid

from tokembed import SkipGramModel
from tokembed.skipgram import _hogwild_kernels as kernels, reference
from tokembed.skipgram.hogwild import HogwildEngine, _scratch
from tokembed.skipgram.model import Groups, descend
from tokembed.skipgram.sampling import alias_table, noise_distribution, window_pairs
from tokembed.skipgram.settings import TrainingConfig
from tokembed.skipgram.stream import TokenStream
from tokembed.skipgram.torch_engine import NEGATIVES_DRAWN, OUTSIDE, TorchEngine


def random_tables(vocab_size: int, dim: int, scale: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    return random.normal(size=(vocab_size, dim)) * scale, random.normal(size=(vocab_size, dim)) * scale


def test_the_reference_step_descends_the_numerical_gradient_of_its_loss() -> None:
    targets, contexts = random_tables(6, 4)
    positive, negatives = 2, [3, 4, 2, 3]  # one equals the positive, one comes twice

    def loss(u: np.ndarray, v: np.ndarray) -> float:
        return sum(reference.skipgram_loss(u[target], v[positive], v[[3, 4, 3]]) for target in (0, 1))

    moved_targets, moved_contexts = targets.copy(), contexts.copy()
    reported = reference.skipgram_step(moved_targets, moved_contexts, [0, 1], positive, negatives, learning_rate=1.0)
    assert reported == pytest.approx(loss(targets, contexts))
    step = 1e-6
    for table, moved in ((0, moved_targets), (1, moved_contexts)):
        for place in np.ndindex(6, 4):
            ends = []
            for sign in (1, -1):
                both = [targets.copy(), contexts.copy()]
                both[table][place] += sign * step
                ends.append(loss(*both))
            gradient = (ends[0] - ends[1]) / (2 * step)
            assert (targets, contexts)[table][place] - moved[place] == pytest.approx(gradient, abs=1e-7)


def test_the_models_scores_are_dot_products() -> None:
    model = SkipGramModel(10, 4)
    torch.nn.init.normal_(model.context_embeddings.weight)
    targets, positives, negatives = torch.tensor([1, 2]), torch.tensor([3, 4]), torch.tensor([[5, 6, 7], [8, 9, 0]])
    positive_scores, negative_scores = model(targets, positives, negatives)
    u, v = model.target_embeddings.weight, model.context_embeddings.weight
    assert positive_scores.shape == (2,)
    assert negative_scores.shape == (2, 3)
    assert torch.allclose(positive_scores[1], u[2] @ v[4])
    assert torch.allclose(negative_scores[1, 2], u[2] @ v[0])
    with pytest.raises(ValueError, match="at least 1"):
        SkipGramModel(10, 0)


def group(targets: list[int], positives: list[int], negatives: list[int], pairs: list[list[int]]) -> Groups:
    """Return one group that has a pair of a target (row) and a positive (column) where `pairs` say so; negatives count once."""
    terms = [[sum(row[g] for g in range(len(positives)) if positives[g] != n) for n in negatives] for row in pairs]
    weights = torch.cat([torch.tensor(pairs), torch.tensor(terms)], dim=1).double()
    return Groups(torch.tensor([targets]), torch.tensor([positives + negatives]), weights.unsqueeze(0))


def test_the_loss_is_stable_where_a_naive_logarithm_is_not() -> None:
    model = SkipGramModel(2, 1).double()
    model.target_embeddings.weight.data.fill_(100.0)
    model.context_embeddings.weight.data.copy_(torch.tensor([[100.0], [-100.0]]))
    losses = [float(descend(model, group([0], [at], [1 - at], [[1]]), 1, learning_rate=1e-9)) for at in (0, 1)]
    assert losses == pytest.approx([0.0, 2e4], rel=1e-4)


def test_the_written_out_gradient_is_autograds() -> None:
    torch.manual_seed(0)
    model = SkipGramModel(12, 5).double()
    torch.nn.init.normal_(model.target_embeddings.weight)
    torch.nn.init.normal_(model.context_embeddings.weight)
    targets, positives, negatives = [1, 1, 2, 3], [3, 4], [5, 4, 8, 8]  # one equals a positive, one comes twice
    pairs = [[1, 0], [0, 1], [1, 1], [0, 0]]
    before = [layer.weight.detach().clone() for layer in (model.target_embeddings, model.context_embeddings)]
    made = [(targets[t], positives[g]) for t, g in itertools.product(range(4), range(2)) if pairs[t][g]]
    target_ids, positive_ids = torch.tensor(made).T
    negative_ids = torch.tensor(negatives).expand(len(made), -1)
    positive_scores, negative_scores = model(target_ids, positive_ids, negative_ids)
    negative_terms = logsigmoid(-negative_scores) * (negative_ids != positive_ids.unsqueeze(1))
    loss = -(logsigmoid(positive_scores).sum() + negative_terms.sum())
    loss.backward()  # type: ignore[no-untyped-call]
    returned = descend(model, group(targets, positives, negatives, pairs), 2, learning_rate=0.1)
    assert returned.item() == pytest.approx(loss.item(), rel=1e-6)
    for table, layer in zip(before, (model.target_embeddings, model.context_embeddings), strict=True):
        assert layer.weight.grad is not None
        torch.testing.assert_close(layer.weight.detach(), table - 0.1 * layer.weight.grad)


def test_torch_takes_the_references_step() -> None:
    targets, contexts = random_tables(6, 4)
    model = SkipGramModel(6, 4).double()
    u, v = model.target_embeddings.weight.data, model.context_embeddings.weight.data
    u.copy_(torch.from_numpy(targets))
    v.copy_(torch.from_numpy(contexts))
    loss = descend(model, group([0, 1], [2], [3, 4, 2], [[1], [1]]), 1, 0.1)
    assert loss.item() == pytest.approx(reference.skipgram_step(targets, contexts, [0, 1], 2, [3, 4, 2], 0.1))
    assert_allclose(u.numpy(), targets)
    assert_allclose(v.numpy(), contexts)


def test_a_blocks_groups_hold_the_pairs_of_its_windows() -> None:
    """The pairs, and how often each target meets each negative, are those of the windows one by one."""
    random = np.random.default_rng(2)
    counts = np.full(9, 20)
    engine = TorchEngine(TokenStream([np.arange(9)]), counts, TrainingConfig(window_size=3, batch_size=20), "cpu")
    kept, windows = random.integers(0, 9, 13), random.integers(1, 4, 13)
    groups = engine._groups(np.pad(kept, 3, constant_values=OUTSIDE), windows)
    size = engine._group_positions
    found: Counter[tuple[int, int]] = Counter()
    for target_ids, context_ids, weights in zip(*(part.numpy() for part in groups), strict=True):
        positives, negatives = context_ids[:size], context_ids[size:]
        for target, own in zip(target_ids, weights, strict=True):
            made = [int(positive) for positive, weight in zip(positives, own, strict=False) if weight]
            found.update((int(target), positive) for positive in made)
            expected = [sum(positive != negative for positive in made) / NEGATIVES_DRAWN for negative in negatives]
            assert_allclose(own[size:], expected)
    assert found == Counter(map(tuple, window_pairs(kept, windows).tolist()))
    assert size < 13 < size * len(groups.weights), "the last of several groups is filled up"


@pytest.mark.parametrize("y", [np.linspace(-60, 60, 961, dtype=np.float32), np.float32([1e4, -1e4, 0, -0.0])])
def test_the_kernels_sigmoid_and_logarithm_are_accurate(y: np.ndarray) -> None:
    for sign in (1.0, -1.0):
        scores = np.zeros((len(y), 16), dtype=np.float32)
        scores[:, 0] = y
        signs = np.zeros(16, dtype=np.float32)
        signs[0] = sign
        exact = y.astype(np.float64)
        loss = sum(kernels._errors(row.copy()[None], signs, 1, np.float32(1.0)) for row in scores)
        assert loss == pytest.approx(np.logaddexp(0, -sign * exact).sum(), rel=2e-6)
        kernels._errors(scores, signs, len(y), np.float32(1.0))
        with np.errstate(over="ignore"):
            assert_allclose(scores[:, 0], sign / (1 + np.exp(sign * exact)), rtol=6e-6, atol=1e-37)
        assert not scores[:, 1:].any()


def test_a_score_that_is_no_number_shows_in_the_loss() -> None:
    scores, signs = np.full((1, 16), np.nan, dtype=np.float32), np.zeros(16, dtype=np.float32)
    signs[0] = 1.0
    assert np.isnan(kernels._errors(scores, signs, 1, np.float32(1.0)))


@pytest.mark.parametrize(("dim", "num_negatives", "window_size"), [(7, 3, 2), (16, 1, 1), (100, 10, 5), (33, 21, 4)])
def test_the_kernel_takes_the_references_steps(dim: int, num_negatives: int, window_size: int) -> None:
    """A block of text trained by the kernel, and by the reference with the same draws, gives the same tables and loss."""
    random = np.random.default_rng(1)
    ids = random.integers(0, 30, size=60).astype(np.int32)
    counts = np.bincount(ids, minlength=30)
    config = TrainingConfig(
        embedding_dim=dim, num_negative_samples=num_negatives, window_size=window_size, min_count=1, subsample=0.02, epochs=3
    )
    engine = HogwildEngine(TokenStream([ids]), counts, config, workers=1)
    engine._tables.contexts[:, :dim] = random.normal(size=(30, dim)) * 0.3
    targets, contexts = engine.target_vectors.astype(np.float64), engine.context_vectors.astype(np.float64)

    tokens, windows = np.zeros(100, dtype=np.int32), np.zeros(100, dtype=np.int32)
    key, state = np.uint64(77), np.uint64(123456789)
    first, last, kept = kernels.gather_kept(ids, 20, 50, engine._draws, key, tokens, windows)
    assert 0 < first < last < kept < len(ids)
    num_pairs, loss = kernels.train_block(
        ids, 20, 50, engine._tables, engine._draws, np.float32(0.05), np.float32(0.01), key, state, _scratch(config)
    )

    expected_loss, expected_pairs = 0.0, 0
    outputs, signs = np.zeros(num_negatives + 4, dtype=np.int32), np.zeros(32, dtype=np.float32)
    for i in range(first, last):
        neighbours = [tokens[j] for j in range(max(i - windows[i], 0), min(i + windows[i] + 1, kept)) if j != i]
        if not neighbours:
            continue
        m, drawn = kernels._draw_outputs(tokens[i], engine._draws, state, outputs, signs)
        state = np.uint64(drawn)
        assert tokens[i] not in outputs[1:m]
        rate = 0.05 + (0.01 - 0.05) * (i - first) / (last - first)
        expected_loss += reference.skipgram_step(targets, contexts, neighbours, tokens[i], outputs[1:m].tolist(), rate)
        expected_pairs += len(neighbours)
    assert num_pairs == expected_pairs
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert_allclose(engine.target_vectors, targets, atol=2e-6)
    assert_allclose(engine.context_vectors, contexts, atol=2e-6)


@pytest.mark.endurance
@settings(max_examples=400, deadline=None)
@given(
    dim=st.integers(1, 300), num_negatives=st.integers(1, 50), window_size=st.integers(1, 20), vocab_size=st.integers(2, 40),
    size=st.integers(2, 90), seed=st.integers(0, 2**32), data=st.data(),
)  # fmt: skip
def test_the_kernel_takes_the_references_step_whatever_the_shape(
    dim: int, num_negatives: int, window_size: int, vocab_size: int, size: int, seed: int, data: st.DataObject
) -> None:
    """One position, among neighbours of which many are the same: what a step moves is the reference's, to seven digits."""
    random = np.random.default_rng(seed)
    ids = random.integers(0, vocab_size, size).astype(np.int32)
    counts = np.bincount(ids, minlength=vocab_size)
    config = TrainingConfig(
        embedding_dim=dim, num_negative_samples=num_negatives, window_size=window_size, min_count=1, subsample=0
    )
    engine = HogwildEngine(TokenStream([ids]), counts, config, workers=1)
    for table in (engine._tables.targets, engine._tables.contexts):
        table[:, :dim] = random.normal(size=(vocab_size, dim)) * 0.3
    before = engine.target_vectors.astype(np.float64), engine.context_vectors.astype(np.float64)
    targets, contexts = (table.copy() for table in before)
    place = data.draw(st.integers(0, size - 1))
    key, state = np.uint64(seed), np.uint64(seed + 1)
    tokens, windows = np.zeros((2, size + 2 * window_size), dtype=np.int32)
    first, _, kept = kernels.gather_kept(ids, place, place + 1, engine._draws, key, tokens, windows)
    rate = np.float32(0.05)
    num_pairs, loss = kernels.train_block(
        ids, place, place + 1, engine._tables, engine._draws, rate, rate, key, state, _scratch(config)
    )
    reach = range(max(first - windows[first], 0), min(first + windows[first] + 1, kept))
    neighbours = [tokens[j] for j in reach if j != first]
    outputs, signs = np.zeros(num_negatives + 4, dtype=np.int32), np.zeros(num_negatives + 32, dtype=np.float32)
    m, _ = kernels._draw_outputs(tokens[first], engine._draws, state, outputs, signs)
    expected = reference.skipgram_step(targets, contexts, neighbours, tokens[first], outputs[1:m].tolist(), 0.05)
    assert num_pairs == len(neighbours)
    assert loss == pytest.approx(expected, rel=1e-4, abs=1e-5)
    for found, moved, old in zip((engine.target_vectors, engine.context_vectors), (targets, contexts), before, strict=True):
        assert_allclose(found, moved, atol=3e-6 + 3e-5 * np.abs(moved - old).max())


def test_the_kernel_draws_negatives_by_the_noise_distribution() -> None:
    """By the chi-square test of 600,000 draws; one seed in 10,000 would fail, and this one is fixed."""
    counts = np.array([0, 1, 3, 10, 50, 400, 9_000, 0, 120_000, 7])
    distribution = noise_distribution(counts, 0.75)
    draws = kernels.Draws(np.zeros(10, dtype=np.uint64), *alias_table(distribution), window_size=1, num_negatives=1000)
    outputs, signs = np.zeros(1004, dtype=np.int32), np.zeros(1008, dtype=np.float32)
    found, state = np.zeros(10, dtype=np.int64), np.uint64(1)
    for _ in range(600):
        m, state = kernels._draw_outputs(-1, draws, np.uint64(state), outputs, signs)
        found += np.bincount(outputs[1:m], minlength=10)
    assert found.sum() == 600_000
    assert not found[counts == 0].any()
    drawn = counts > 0
    assert chisquare(found[drawn], 600_000 * counts[drawn] ** 0.75 / (counts[drawn] ** 0.75).sum()).pvalue > 1e-4


def test_blocks_see_their_neighbours_across_borders() -> None:
    """Cut anywhere, the stream makes the pairs that it makes in one piece: windows reach over the blocks' borders."""
    ids = np.random.default_rng(2).integers(0, 9, size=500).astype(np.int32)
    keep_below = np.full(9, np.uint64(2**32 * 0.6), dtype=np.uint64)
    keep_below[3] = 0
    draws = kernels.Draws(keep_below, *alias_table(np.full(9, 1 / 9)), window_size=4, num_negatives=1)
    key = np.uint64(9)

    def pairs(bounds: list[int]) -> list[list[int]]:
        made = []
        for start, end in itertools.pairwise(bounds):
            tokens, windows = np.zeros(600, dtype=np.int32), np.zeros(600, dtype=np.int32)
            first, last, kept = kernels.gather_kept(ids, start, end, draws, key, tokens, windows)
            reach = windows[:kept].copy()
            reach[:first] = reach[last:] = 0
            made += window_pairs(tokens[:kept], reach).tolist()
        return made

    whole = pairs([0, 500])
    assert len(whole) > 500
    assert pairs([0, 1, 2, 77, 78, 250, 499, 500]) == whole
    assert not any(3 in pair for pair in whole)
