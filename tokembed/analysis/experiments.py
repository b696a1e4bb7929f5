"""Trainings that differ in one thing: the dimension, or the objective."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.skipgram import sampling
from tokembed.skipgram.reference import softmax_step
from tokembed.skipgram.settings import TrainingConfig
from tokembed.skipgram.training import train_skipgram
from tokembed.vectors.embeddings import Embeddings
from tokembed.vectors.evaluation import SynonymScore, evaluate_synonyms, read_synonyms
from tokembed.vectors.storage import count_whole_words

SOFTMAX_BATCH = 256  # pairs; more are faster, but the rows they start from are staler


@dataclass(frozen=True)
class DimensionRun:
    """One training at one dimension, and how its synonyms stand out."""

    embedding_dim: int
    seed: int
    score: SynonymScore


def compare_dimensions(
    tokenizer: BPETokenizerLoader,
    token_ids: npt.NDArray[np.int32],
    config: TrainingConfig,
    dimensions: Sequence[int] = (10, 25, 50, 100, 200),
    num_seeds: int = 3,
) -> Iterator[DimensionRun]:
    """Train at each dimension with each seed, 1, 2, ...; yield each run."""
    for dimension in dimensions:
        for seed in range(1, num_seeds + 1):
            changed = replace(config, embedding_dim=dimension, seed=seed)
            result = train_skipgram(token_ids, tokenizer.vocab_size, changed)
            embeddings = Embeddings.from_training(result, tokenizer, token_ids)
            yield DimensionRun(dimension, seed, evaluate_synonyms(embeddings, read_synonyms("test")))


@dataclass(frozen=True)
class ObjectiveRun:
    """One training with one objective.

    Attributes
    ----------
    name : str
    num_outputs : int
        Output rows a pair is scored against: V for the softmax, 1 + K with K negatives.
    losses : list of float
        Mean loss per pair, in nats, one per epoch, each objective's own: they start at ln V and at (1 + K) ln 2.
    seconds_per_epoch : float
    auc : float
        Synonym AUC, test list.
    """

    name: str
    num_outputs: int
    losses: list[float]
    seconds_per_epoch: float
    auc: float


def compare_objectives(
    tokenizer: BPETokenizerLoader,
    token_ids: npt.NDArray[np.int32],
    config: TrainingConfig,
    negatives: Sequence[int] = (5, 10, 20),
) -> Iterator[ObjectiveRun]:
    """Train with the full softmax and with K negatives, on the same tokens with the same settings; yield each run.

    The softmax is `reference.softmax_step` over batches, matrix products in NumPy's BLAS; negative sampling is the hogwild
    engine, its kernels compiled before the clock starts.
    """
    synonyms = read_synonyms("test")
    yield train_full_softmax(tokenizer, token_ids, config)
    train_skipgram(token_ids[:20_000], tokenizer.vocab_size, replace(config, epochs=1, min_count=1))
    for number in negatives:
        result = train_skipgram(token_ids, tokenizer.vocab_size, replace(config, num_negative_samples=number))
        auc = evaluate_synonyms(Embeddings.from_training(result, tokenizer, token_ids), synonyms).auc
        yield ObjectiveRun(f"{number} negatives", 1 + number, result.epoch_losses, float(np.mean(result.seconds)), auc)


def train_full_softmax(tokenizer: BPETokenizerLoader, token_ids: npt.NDArray[np.int32], config: TrainingConfig) -> ObjectiveRun:
    """Train by the full softmax over the tokens that occur `min_count` times, with the same subsampling, windows and rates."""
    counts = sampling.count_tokens(token_ids, tokenizer.vocab_size, config.min_count)
    (trained,) = np.nonzero(counts)
    row_of = np.full(tokenizer.vocab_size, -1, dtype=np.int64)
    row_of[trained] = np.arange(len(trained))
    stream = row_of[token_ids]
    stream = stream[stream >= 0]
    keep = sampling.keep_probability(counts, config.subsample)[trained]
    targets = sampling.initial_vectors(tokenizer.vocab_size, config.embedding_dim, config.seed)[trained]
    contexts = np.zeros_like(targets)
    random = np.random.default_rng([config.seed, 1])
    losses, seconds = [], []
    for epoch in range(config.epochs):
        start = time.perf_counter()
        kept = stream[random.random(stream.size) < keep[stream]]
        pairs = sampling.window_pairs(kept, random.integers(1, config.window_size + 1, kept.size))
        loss = 0.0
        for first in range(0, len(pairs), SOFTMAX_BATCH):
            batch = pairs[first : first + SOFTMAX_BATCH]
            rate = config.rate_after((epoch + first / len(pairs)) / config.epochs)
            loss += softmax_step(targets, contexts, batch[:, 0], batch[:, 1], rate)
        losses.append(loss / max(len(pairs), 1))
        seconds.append(time.perf_counter() - start)
    words = Embeddings(
        [tokenizer.id_to_token[row] for row in trained],
        targets,
        tokenizer,
        counts[trained],
        count_whole_words(token_ids, tokenizer.id_to_token)[trained],
    )
    auc = evaluate_synonyms(words, read_synonyms("test")).auc
    return ObjectiveRun("full softmax", len(trained), losses, float(np.mean(seconds)), auc)
