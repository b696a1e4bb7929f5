"""How training went, by epoch, and trainings that differ in one thing: the dimension, or the objective."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from tokembed.analysis.finding import Finding
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.skipgram import sampling
from tokembed.skipgram.reference import softmax_step
from tokembed.skipgram.settings import TrainingConfig, TrainingDivergedError
from tokembed.skipgram.training import train_skipgram
from tokembed.vectors.embeddings import Embeddings
from tokembed.vectors.evaluation import SynonymScore, evaluate_synonyms, read_synonyms
from tokembed.vectors.storage import count_whole_words

FOLLOWED_EPOCHS = (1, 2, 5, 20)  # after which a word's neighbours are shown, and after the last
NUM_SEEDS = 3  # of each dimension
SOFTMAX_BATCH = 256  # pairs; more are faster, but the rows they start from are staler
SOFTMAX_MAX_STEP = 1.0  # of a row in a batch: Frankenstein's longest is 0.7, pydocs', whose tables repeat themselves, above 8
LEAST_GAIN = 0.05  # of an AUC over chance, for it to be what others are shares of
SYNONYM_AUC = "Synonym AUC: how often a pair of synonyms has a higher cosine than a pair of frequent words; 0.5 is chance."
# Of each objective: quality and time, as shares of the full softmax's.
QUOTED = {
    "full softmax": ("100 %", "100 %"),
    "5 negatives": ("92 %", "1.25 %"),
    "10 negatives": ("95 %", "2.5 %"),
    "20 negatives": ("98 %", "5 %"),
}


@dataclass(frozen=True)
class TrainingProgress:
    """Rows of (epoch, loss, mean cosine of random pairs, of synonyms, synonym AUC); a word's neighbours after some epochs."""

    rows: list[tuple[float, ...]]
    word: str = ""
    neighbours: list[tuple[int, list[str]]] = field(default_factory=list)


def word_to_follow(embeddings: Embeddings, words: Iterable[str]) -> str:
    """Return the word whose nearest neighbours are nearest, on average; "" of none."""

    def nearness(word: str) -> float:
        found = embeddings.most_similar(word, 4, words_only=True)
        return sum(cosine for _, cosine in found) / max(len(found), 1)

    return max((word for word in words if word in embeddings), key=nearness, default="")


def describe_training(
    losses: Sequence[float],
    history: Sequence[Mapping[str, float]],
    neighbours: Sequence[Mapping[str, Sequence[str]]] = (),
    embeddings: Embeddings | None = None,
) -> Finding:
    """Report loss, cosines and synonym AUC by epoch, as a checkpoint kept them; epoch 0 is before training.

    Given the neighbours by epoch, those of one word are reported too: the one that ends up with the nearest.
    """
    names = ("random_cosine", "synonym_cosine", "auc")
    rows = [
        (epoch, loss, *(entry.get(name, math.nan) for name in names))
        for epoch, (loss, entry) in enumerate(zip([math.nan, *losses], history, strict=True))
    ]
    lines = ["by epoch: loss, mean cosine of frequent words and of synonyms, synonym AUC (0 is before training)"]
    for epoch, loss, *more in rows:
        lines.append(f"  {epoch:>3}{_number(loss, 9, 4)}" + "".join(_number(value, 8, 3) for value in more))
    has_synonyms = any("auc" in entry for entry in history)
    note = (
        f"{SYNONYM_AUC} Synonyms: the test list." if has_synonyms else "No synonyms: this text has other words than the list."
    )
    note += " Epoch 0: before training."
    kept = neighbours[-1] if neighbours else {}
    word = word_to_follow(embeddings, kept) if embeddings is not None else ""
    epochs = sorted({epoch for epoch in (*FOLLOWED_EPOCHS, len(neighbours)) if epoch <= len(neighbours)})
    followed = [(epoch, list(neighbours[epoch - 1][word])) for epoch in epochs if word in neighbours[epoch - 1]]
    if followed:
        lines.append(f"nearest to “{word}” after so many epochs")
        lines += [f"  {epoch:>3}  {', '.join(near)}" for epoch, near in followed]
        note += f" Of {len(kept)} words followed, “{word}” ends up with the nearest neighbours; bold: those of the last epoch."
    return Finding("training_progress", TrainingProgress(rows, word, followed), lines, note, ("epoch", "loss", *names), rows)


def _number(value: float, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if math.isnan(value) else f"{value:>{width}.{digits}f}"


# ---------------------------------------------------------------- dimensions


def compare_dimensions(
    tokenizer: BPETokenizerLoader,
    token_ids: npt.NDArray[np.int32],
    config: TrainingConfig,
    dimensions: Sequence[int] = (10, 25, 50, 100, 200),
    num_seeds: int = NUM_SEEDS,
    *,
    progress: bool = False,
) -> Iterator[tuple[int, int, SynonymScore]]:
    """Train at each dimension with each seed, 1, 2, ...; yield (dimension, seed, how synonyms stand out) of each run."""
    for dimension in dimensions:
        for seed in range(1, num_seeds + 1):
            changed = replace(config, embedding_dim=dimension, seed=seed)
            result = train_skipgram(token_ids, tokenizer.vocab_size, changed, progress=progress)
            embeddings = Embeddings.from_training(result, tokenizer, token_ids)
            yield dimension, seed, evaluate_synonyms(embeddings, read_synonyms("test"))


def describe_dimensions(
    tokenizer: BPETokenizerLoader, token_ids: npt.NDArray[np.int32], config: TrainingConfig, on_line: Callable[[str], None]
) -> Finding:
    """Report quality against the dimension; trainings take a while, so each line goes to `on_line` as soon as there is one."""
    on_line("quality by dimension: synonym AUC, and mean cosine of synonyms minus that of all pairs of frequent words")
    rows = []
    for dimension, seed, score in compare_dimensions(tokenizer, token_ids, config, progress=True):
        gap = score.synonym_cosine - score.random_cosine
        rows.append((dimension, score.auc, gap))
        on_line(f"  {dimension:>4}  seed {seed}  {score.auc:.3f}  {gap:.3f}")
    note = (
        f"{config.epochs} epochs, window {config.window_size}, {config.num_negative_samples} negatives. A dot is one training "
        f"(seeds 1 to {NUM_SEEDS}), the line their mean. {SYNONYM_AUC} The vertical axes show only the range of the data."
    )
    return Finding("dimension_comparison", rows, [], note, ("dimension", "synonym_auc", "cosine_gap"), rows)


# ---------------------------------------------------------------- objectives


@dataclass(frozen=True)
class ObjectiveRun:
    """One training with one objective; each has a loss of its own, which starts at ln V or at (1 + K) ln 2."""

    name: str
    num_outputs: int  # output rows a pair is scored against: V for the softmax, 1 + K with K negatives
    losses: list[float]  # mean loss per pair, in nats, one per epoch
    seconds_per_epoch: float
    auc: float  # synonym AUC, test list


def compare_objectives(
    tokenizer: BPETokenizerLoader,
    token_ids: npt.NDArray[np.int32],
    config: TrainingConfig,
    negatives: Sequence[int] = (5, 10, 20),
    *,
    progress: bool = False,
) -> Iterator[ObjectiveRun]:
    """Train with the full softmax and with K negatives, on the same tokens with the same settings; yield each run.

    The softmax is `reference.softmax_step` over batches, matrix products in NumPy's BLAS; negative sampling is the hogwild
    engine.
    """
    synonyms = read_synonyms("test")
    yield train_full_softmax(tokenizer, token_ids, config, progress=progress)
    train_skipgram(token_ids[:20_000], tokenizer.vocab_size, replace(config, epochs=1, min_count=1))
    for number in negatives:
        result = train_skipgram(token_ids, tokenizer.vocab_size, replace(config, num_negative_samples=number))
        auc = evaluate_synonyms(Embeddings.from_training(result, tokenizer, token_ids), synonyms).auc
        yield ObjectiveRun(f"{number} negatives", 1 + number, result.epoch_losses, float(np.mean(result.seconds)), auc)


def train_full_softmax(
    tokenizer: BPETokenizerLoader, token_ids: npt.NDArray[np.int32], config: TrainingConfig, *, progress: bool = False
) -> ObjectiveRun:
    """Train by the full softmax over the tokens that occur `min_count` times, with the same subsampling, windows and rates.

    A run whose mean loss is well above ln V, where it began, has diverged: `TrainingDivergedError`.
    """
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
        label = f"full softmax, epoch {epoch + 1}/{config.epochs}"
        with tqdm(
            total=len(pairs), desc=label, unit="pair", unit_scale=True, disable=None if progress else True, leave=False
        ) as bar:
            for first in range(0, len(pairs), SOFTMAX_BATCH):
                batch = pairs[first : first + SOFTMAX_BATCH]
                rate = config.rate_after((epoch + first / len(pairs)) / config.epochs)
                loss += softmax_step(targets, contexts, batch[:, 0], batch[:, 1], rate, SOFTMAX_MAX_STEP)
                bar.update(len(batch))
        losses.append(loss / max(len(pairs), 1))
        at_first = math.log(len(trained))
        if not losses[-1] <= at_first + 1.0:
            raise TrainingDivergedError(
                f"the full softmax diverged in epoch {epoch + 1}: its loss is {losses[-1]:.4g}, at first {at_first:.4g}; "
                f"lower the learning rate ({config.learning_rate:g}), or take fewer epochs"
            )
        seconds.append(time.perf_counter() - start)
    vectors[trained] = targets
    word_counts = count_whole_words(token_ids, tokenizer.id_to_token, tokenizer.rule)
    words = Embeddings.of_trained_rows(tokenizer.id_to_token, vectors, counts, tokenizer, word_counts)
    auc = evaluate_synonyms(words, read_synonyms("test")).auc
    return ObjectiveRun("full softmax", len(trained), losses, float(np.mean(seconds)), auc)


def describe_objectives(
    tokenizer: BPETokenizerLoader, token_ids: npt.NDArray[np.int32], config: TrainingConfig, on_line: Callable[[str], None]
) -> Finding:
    """Report operations, time and quality of the full softmax and of negative sampling, each line as soon as there is one."""
    on_line(f"full softmax against negative sampling, {config.epochs} epochs; in brackets what is often quoted")
    on_line(f"  {'':<14}{'scores/pair':>14}{'s/epoch':>12}{'time':>17}{'synonym AUC':>13}{'quality':>17}{'last loss':>11}")
    runs: list[ObjectiveRun] = []
    for run in compare_objectives(tokenizer, token_ids, config, progress=True):
        runs.append(run)
        time, gain = run.seconds_per_epoch / runs[0].seconds_per_epoch, runs[0].auc - 0.5
        quality = f"{(run.auc - 0.5) / gain:.0%}" if gain >= LEAST_GAIN else "-"
        quoted_quality, quoted_time = QUOTED[run.name]
        on_line(
            f"  {run.name:<14}{run.num_outputs:>14,}{run.seconds_per_epoch:>12.2f}{f'{time:.1%} ({quoted_time})':>17}"
            f"{run.auc:>13.3f}{f'{quality} ({quoted_quality})':>17}{run.losses[-1]:>11.3f}"
        )
    on_line(
        f"  10 negatives score {runs[0].num_outputs / runs[2].num_outputs:.0f} times fewer rows per pair (often quoted: 250)"
    )
    is_learned = runs[0].auc - 0.5 >= LEAST_GAIN
    too_little = "" if is_learned else ": none is told, as it is hardly better than chance (too little text, or too few epochs)"
    on_line(f"  quality: AUC - 0.5 as a share of the softmax's{too_little}")
    note = (
        f"{config.embedding_dim} dimensions, window {config.window_size}, seed {config.seed}. Each objective has a loss of its "
        "own; their values can't be compared. Quality is that of one training each, on at most "
        f"{len(read_synonyms('test'))} pairs of synonyms: differences below about 0.02 are noise."
    )
    epochs = [f"loss_{epoch}" for epoch in range(1, config.epochs + 1)]
    heading = ("objective", "scores_a_pair", "seconds_an_epoch", "synonym_auc", *epochs)
    rows = [(run.name, run.num_outputs, run.seconds_per_epoch, run.auc, *run.losses) for run in runs]
    return Finding("softmax_comparison", runs, [], note, heading, rows)
