"""How training went, by epoch, and trainings that differ in one thing: the dimension, or the objective."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tokembed.analysis.finding import Finding
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.skipgram import sampling
from tokembed.skipgram.reference import softmax_step
from tokembed.skipgram.settings import TrainingConfig
from tokembed.skipgram.training import train_skipgram
from tokembed.vectors.embeddings import Embeddings
from tokembed.vectors.evaluation import SynonymScore, evaluate_synonyms, read_synonyms
from tokembed.vectors.storage import count_whole_words

SOFTMAX_BATCH = 256  # pairs; more are faster, but the rows they start from are staler
SYNONYM_AUC = "Synonym AUC: how often a pair of synonyms has a higher cosine than a pair of frequent words; 0.5 is chance."
# Of each objective: quality and time, as shares of the full softmax's.
QUOTED = {
    "full softmax": ("100%", "100%"),
    "5 negatives": ("92%", "1.25%"),
    "10 negatives": ("95%", "2.5%"),
    "20 negatives": ("98%", "5%"),
}


def describe_training(losses: Sequence[float], history: Sequence[Mapping[str, float]]) -> Finding:
    """Report loss, cosines and synonym AUC by epoch, as a checkpoint kept them; epoch 0 is before training."""
    names = ("random_cosine", "synonym_cosine", "auc")
    rows = [
        (epoch, loss, *(entry.get(name, math.nan) for name in names))
        for epoch, (loss, entry) in enumerate(zip([math.nan, *losses], history, strict=True))
    ]
    lines = ["by epoch: loss, mean cosine of frequent words and of synonyms, synonym AUC (0 is before training)"]
    lines += ["  {:>3}{:>9.4f}{:>8.3f}{:>8.3f}{:>8.3f}".format(*row) for row in rows]
    note = f"{SYNONYM_AUC} Synonyms: the test list. Epoch 0: before training."
    return Finding("training_progress", rows, lines, note, ("epoch", "loss", *names), rows)


# ---------------------------------------------------------------- dimensions


@dataclass(frozen=True)
class DimensionRun:
    """One training at one dimension, and how its synonyms stand out."""

    embedding_dim: int
    seed: int
    score: SynonymScore

    @property
    def cosine_gap(self) -> float:
        """How much higher the synonyms' mean cosine is than that of all pairs of frequent words."""
        return self.score.synonym_cosine - self.score.random_cosine


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


DIMENSIONS_HEADING = "quality by dimension: synonym AUC, and mean cosine of synonyms minus that of all pairs of frequent words"


def dimension_line(run: DimensionRun) -> str:
    """Return what a terminal shows of one training."""
    return f"  {run.embedding_dim:>4}  seed {run.seed}  {run.score.auc:.3f}  {run.cosine_gap:.3f}"


def describe_dimensions(runs: Sequence[DimensionRun], config: TrainingConfig) -> Finding:
    """Report quality against the dimension. Its lines are those of each run, printed as it ends."""
    note = (
        f"{config.epochs} epochs, window {config.window_size}, {config.num_negative_samples} negatives. A dot is one training "
        f"(seeds 1 to {max(run.seed for run in runs)}), the line their mean. {SYNONYM_AUC} The vertical axes show only the "
        "range of the data."
    )
    rows = [(run.embedding_dim, run.score.auc, run.cosine_gap) for run in runs]
    return Finding("dimension_comparison", rows, [], note, ("dimension", "synonym_auc", "cosine_gap"), rows)


# ---------------------------------------------------------------- objectives


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
    vectors = sampling.initial_vectors(tokenizer.vocab_size, config.embedding_dim, config.seed)
    targets = vectors[trained]
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
    vectors[trained] = targets
    word_counts = count_whole_words(token_ids, tokenizer.id_to_token)
    words = Embeddings.of_trained_rows(tokenizer.id_to_token, vectors, counts, tokenizer, word_counts)
    auc = evaluate_synonyms(words, read_synonyms("test")).auc
    return ObjectiveRun("full softmax", len(trained), losses, float(np.mean(seconds)), auc)


OBJECTIVES_HEADING = (
    f"  {'':<14}{'scores a pair':>14}{'s an epoch':>12}{'time':>17}{'synonym AUC':>13}{'quality':>17}{'last loss':>11}"
)


def objective_line(run: ObjectiveRun, softmax: ObjectiveRun) -> str:
    """Return what a terminal shows of one training, with what is often quoted in brackets."""
    time, quality = run.seconds_per_epoch / softmax.seconds_per_epoch, (run.auc - 0.5) / (softmax.auc - 0.5)
    quoted_quality, quoted_time = QUOTED[run.name]
    return (
        f"  {run.name:<14}{run.num_outputs:>14,}{run.seconds_per_epoch:>12.2f}{f'{time:.1%} ({quoted_time})':>17}"
        f"{run.auc:>13.3f}{f'{quality:.0%} ({quoted_quality})':>17}{run.losses[-1]:>11.3f}"
    )


def describe_objectives(runs: Sequence[ObjectiveRun], config: TrainingConfig) -> Finding:
    """Report the full softmax against negative sampling: operations, time and quality. Each run has had its own line."""
    (ten,) = (run for run in runs if run.name == "10 negatives")
    lines = [
        f"  10 negatives score {runs[0].num_outputs / ten.num_outputs:.0f} times fewer rows per pair (often quoted: 250)",
        "  quality: AUC - 0.5 as a share of the softmax's",
    ]
    note = (
        f"{config.embedding_dim} dimensions, window {config.window_size}, seed {config.seed}. Each objective has a loss of its "
        "own; their values can't be compared. Quality is that of one training each, on at most "
        f"{len(read_synonyms('test'))} pairs of synonyms: differences below about 0.02 are noise."
    )
    epochs = [f"loss_{epoch}" for epoch in range(1, config.epochs + 1)]
    heading = ("objective", "scores_a_pair", "seconds_an_epoch", "synonym_auc", *epochs)
    rows = [(run.name, run.num_outputs, run.seconds_per_epoch, run.auc, *run.losses) for run in runs]
    return Finding("softmax_comparison", runs, lines, note, heading, rows)
