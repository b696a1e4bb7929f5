"""The three forms of one mathematics: the reference in NumPy, the torch model, the C library."""

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
from tokembed.skipgram import reference
from tokembed.skipgram.hogwild import HogwildEngine
from tokembed.skipgram.model import Groups, descend
from tokembed.skipgram.reference_engine import ReferenceEngine
from tokembed.skipgram.sampling import window_pairs
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


def both_engines(ids: np.ndarray, config: TrainingConfig, scale: float = 0.3) -> tuple[HogwildEngine, ReferenceEngine]:
    """Return the C library's engine and its twin, with the same random tables."""
    ids = ids.astype(np.int32)
    counts = np.bincount(ids, minlength=int(ids.max()) + 1)
    tables = random_tables(len(counts), config.embedding_dim, scale)
    made = (HogwildEngine(TokenStream([ids]), counts, config, 1), ReferenceEngine(TokenStream([ids]), counts, config, 1))
    for engine in made:
        engine.restore(*tables)
    return made


def assert_they_agree(
    engines: tuple[HogwildEngine, ReferenceEngine], ids: np.ndarray, block: tuple[int, int], rates: tuple[float, float]
) -> int:
    """Train both on one block; compare pairs, loss and how far each vector moved. Return the number of pairs."""
    before = [(engine.target_vectors, engine.context_vectors) for engine in engines]
    done = [engine._block_trainer()(ids.astype(np.int32), *block, 77, 123456789, *rates) for engine in engines]
    assert done[0][0] == done[1][0]
    assert done[0][1] == pytest.approx(done[1][1], rel=1e-5, abs=1e-5)
    for i, name in enumerate(("target_vectors", "context_vectors")):
        found, expected = (getattr(engine, name) for engine in engines)
        assert_allclose(found, expected, atol=3e-6 + 3e-5 * np.abs(expected - before[1][i]).max())
    return done[0][0]


@pytest.mark.parametrize(
    ("dim", "num_negatives", "window_size"), [(7, 3, 2), (16, 1, 1), (100, 10, 5), (33, 21, 4), (300, 5, 9)]
)
def test_c_takes_the_references_steps(dim: int, num_negatives: int, window_size: int) -> None:
    ids = np.random.default_rng(1).integers(0, 30, size=60)
    config = TrainingConfig(
        embedding_dim=dim, num_negative_samples=num_negatives, window_size=window_size, min_count=1, subsample=0.02
    )
    assert assert_they_agree(both_engines(ids, config), ids, (20, 50), (0.05, 0.01)) > 10


@pytest.mark.endurance
@settings(max_examples=400, deadline=None)
@given(
    dim=st.integers(1, 300), num_negatives=st.integers(1, 50), window_size=st.integers(1, 20), vocab_size=st.integers(2, 40),
    size=st.integers(2, 90), seed=st.integers(0, 2**32), data=st.data(),
)  # fmt: skip
def test_c_takes_the_references_step_at_any_shape(
    dim: int, num_negatives: int, window_size: int, vocab_size: int, size: int, seed: int, data: st.DataObject
) -> None:
    """One position, among neighbours of which many are the same."""
    ids = np.random.default_rng(seed).integers(0, vocab_size, size)
    config = TrainingConfig(
        embedding_dim=dim, num_negative_samples=num_negatives, window_size=window_size, min_count=1, subsample=0
    )
    place = data.draw(st.integers(0, size - 1))
    assert_they_agree(both_engines(ids, config), ids, (place, place + 1), (0.05, 0.05))


@pytest.mark.parametrize("score", [-1e4, -87.5, -60.0, -3.0, -1e-3, 0.0, 1e-3, 3.0, 20.0, 60.0, 87.5, 1e4])
def test_c_computes_sigmoid_and_logarithm_accurately(score: float) -> None:
    ids = np.array([0, 1])
    engines = both_engines(
        ids, TrainingConfig(embedding_dim=1, window_size=1, num_negative_samples=4, min_count=1, subsample=0)
    )
    for engine in engines:
        engine.restore(np.array([[1.0], [1.0]]), np.array([[score], [score]]))
    assert assert_they_agree(engines, ids, (0, 2), (0.5, 0.5)) == 2


def test_a_score_that_is_no_number_shows_in_the_loss() -> None:
    ids = np.array([0, 1, 0, 1])
    engine, _ = both_engines(ids, TrainingConfig(embedding_dim=3, min_count=1, subsample=0))
    engine.restore(np.full((2, 3), np.nan), np.ones((2, 3)))
    assert np.isnan(engine._block_trainer()(ids.astype(np.int32), 0, 4, 1, 1, 0.1, 0.1)[1])


def test_ids_outside_the_vocabulary_are_never_kept() -> None:
    ids = np.array([0, 1, 2, 1, 0])
    engine, _ = both_engines(ids, TrainingConfig(embedding_dim=4, window_size=1, min_count=1, subsample=0))
    damaged = np.array([0, 1, 2**30, -7, 0], dtype=np.int32)
    assert engine._block_trainer()(damaged, 0, 5, 1, 1, 0.1, 0.1)[0] == 4  # of three tokens in a row


def test_negatives_are_drawn_by_the_noise_distribution() -> None:
    """By the chi-square test of 600,000 draws; one seed in 10,000 would fail, and this one is fixed."""
    counts = np.array([0, 1, 3, 10, 50, 400, 9_000, 0, 120_000, 7])
    engine = ReferenceEngine(TokenStream([np.arange(10)]), counts, TrainingConfig(num_negative_samples=1000), 1)
    found = np.bincount(engine._negatives(1, 600).ravel(), minlength=10)
    assert not found[counts == 0].any()
    drawn = counts > 0
    assert chisquare(found[drawn], 600_000 * counts[drawn] ** 0.75 / (counts[drawn] ** 0.75).sum()).pvalue > 1e-4


def test_blocks_see_their_neighbours_across_borders() -> None:
    """Cut anywhere, the stream makes the pairs that it makes in one piece: windows reach over the blocks' borders."""
    ids = np.random.default_rng(2).integers(0, 9, size=500)
    config = TrainingConfig(embedding_dim=8, window_size=4, min_count=1, subsample=0.05)
    for engine in both_engines(ids, config):
        train = engine._block_trainer()
        whole, _ = train(ids.astype(np.int32), 0, 500, 77, 1, 0.01, 0.01)
        cuts = itertools.pairwise([0, 1, 2, 77, 78, 250, 499, 500])
        assert sum(train(ids.astype(np.int32), *cut, 77, 1, 0.01, 0.01)[0] for cut in cuts) == whole > 500
