"""Time our training beside gensim's, alternating: the same ids, settings, threads and seeds, with quality beside speed."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.cli import PRESETS
from tokembed.corpora.corpus import Corpus
from tokembed.device import available_cores
from tokembed.skipgram.hogwild import HogwildEngine
from tokembed.skipgram.settings import TrainingConfig
from tokembed.skipgram.stream import TokenStream
from tokembed.skipgram.training import TrainingResult, train_skipgram
from tokembed.vectors.embeddings import Embeddings
from tokembed.vectors.evaluation import evaluate_synonyms, evaluate_word_pairs, read_synonyms
from tokembed.vectors.storage import count_whole_words
from tokembed.workspace import default_num_merges, token_ids_for, tokenizer_for

LARGE_VOCABULARY = 200_000
HELD_OUT = 0.02  # of a text, at its end
NO_RATE = 1e-20  # a learning rate that moves no vector: added to a 32-bit number, so little changes no bit of it
SCORES = {"wordsim353": "WordSim-353", "simlex999": "SimLex-999", "synonym_auc": "synonym AUC"}


@dataclass(frozen=True)
class TimedRun:
    """One training by one trainer, and how fast it was."""

    name: str
    seed: int
    seconds: float
    tokens_per_second: float


@dataclass(frozen=True)
class TrainingRun(TimedRun):
    """A training, and how good its vectors are. `loss` is the last epoch's; gensim's lies. `held_out_loss` is that of a text
    which was not trained on, by the finished vectors.

    `pairs_per_token` is counted by ours; for gensim it is its own count of the tokens that subsampling left, times the W + 1
    pairs that a window of 1 to W on either side makes on average.
    """

    pairs_per_token: float
    loss: float | None
    wordsim353: float
    simlex999: float
    synonym_auc: float
    held_out_loss: float | None = None


def score(embeddings: Embeddings) -> dict[str, float]:
    """Return Spearman's correlation on the word pairs that gensim ships, and the AUC of the synonyms for quoting."""
    from gensim.test.utils import datapath

    return {
        "wordsim353": evaluate_word_pairs(embeddings, datapath("wordsim353.tsv")).spearman,
        "simlex999": evaluate_word_pairs(embeddings, datapath("simlex999.txt")).spearman,
        "synonym_auc": evaluate_synonyms(embeddings, read_synonyms("test")).auc,
    }


def train_ours(
    tokenizer: BPETokenizerLoader,
    token_ids: npt.NDArray[np.int32],
    config: TrainingConfig,
    name: str = "tokembed",
    *,
    holds_out: bool = False,
) -> TrainingRun:
    """Train by ours, on all but the text's end if it `holds_out` that; the time is the sum of its epochs'."""
    token_ids, held_out = hold_out(token_ids) if holds_out else (token_ids, token_ids[:0])
    result = train_skipgram(token_ids, tokenizer.vocab_size, config)
    embeddings = Embeddings.from_training(result, tokenizer, token_ids)
    pairs = statistics.mean(result.num_pairs) / token_ids.size
    times = sum(result.seconds), result.tokens_per_second
    held_out_loss = loss_on(held_out, result) if held_out.size else None
    scores = score(embeddings)
    return TrainingRun(name, config.seed, *times, pairs, result.epoch_losses[-1], **scores, held_out_loss=held_out_loss)


def hold_out(ids: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return a text, ids (N,), without its end, and the end."""
    end = ids.size - int(ids.size * HELD_OUT)
    return ids[:end], ids[end:]


def loss_on(ids: npt.NDArray[np.int32], result: TrainingResult) -> float:
    """Return the mean loss of a pair of other text, ids (N,), by a training's vectors, which stay as they are."""
    config = replace(result.config, learning_rate=NO_RATE, epochs=1)
    engine = HogwildEngine(TokenStream([ids]), result.counts, config, 1)
    engine.restore(result.target_vectors, result.context_vectors)
    num_pairs, loss = engine.train(0, 0, ids.size, lambda *_: None)
    return loss / num_pairs


def compare_trainers(
    tokenizer: BPETokenizerLoader, token_ids: npt.NDArray[np.int32], config: TrainingConfig, rounds: int
) -> Iterator[TrainingRun]:
    """Train by ours and by gensim in turn, on the same ids with the same settings, threads and seeds; yield each run.

    Both are scored by the same code, a word being the mean of its tokens.
    """
    sentences = gensim_sentences(token_ids)
    counts = np.bincount(token_ids, minlength=tokenizer.vocab_size)
    word_counts = count_whole_words(token_ids, tokenizer.id_to_token, tokenizer.rule)
    train_skipgram(token_ids[:20_000], tokenizer.vocab_size, replace(config, epochs=1, min_count=1))
    for seed in range(1, rounds + 1):
        seeded = replace(config, seed=seed)
        yield train_ours(tokenizer, token_ids, seeded)

        model, num_kept, seconds, speed = train_gensim(sentences, seeded)
        rows = np.array([int(word) for word in model.wv.index_to_key])
        tokens = [tokenizer.id_to_token[row] for row in rows]
        theirs = Embeddings(tokens, model.wv.vectors, tokenizer, counts[rows], word_counts[rows])
        pairs = num_kept / (token_ids.size * config.epochs) * (config.window_size + 1)
        yield TrainingRun("gensim", seed, seconds, speed, pairs, None, **score(theirs))


def compare_on_large_tables(config: TrainingConfig, rounds: int) -> Iterator[TimedRun]:
    """Train by ours and by gensim in turn on `LARGE_VOCABULARY` tokens, whose tables no cache holds; yield each run.

    Tokens are drawn at random, so that only speed can be compared: half of them from Zipf's law, and the others are each token
    as often as every other.
    """
    random = np.random.default_rng(0)
    shares = 1.0 / np.arange(1, LARGE_VOCABULARY + 1)
    alike = np.repeat(np.arange(LARGE_VOCABULARY), config.min_count)
    by_zipf = random.choice(LARGE_VOCABULARY, alike.size, p=shares / shares.sum())
    token_ids = random.permutation(np.concatenate([alike, by_zipf])).astype(np.int32)
    sentences = gensim_sentences(token_ids)
    train_skipgram(token_ids[:20_000], LARGE_VOCABULARY, replace(config, epochs=1, min_count=1))
    for seed in range(1, rounds + 1):
        seeded = replace(config, seed=seed)
        result = train_skipgram(token_ids, LARGE_VOCABULARY, seeded)
        yield TimedRun("tokembed", seed, sum(result.seconds), result.tokens_per_second)
        _, _, seconds, speed = train_gensim(sentences, seeded)
        yield TimedRun("gensim", seed, seconds, speed)


def gensim_sentences(token_ids: npt.NDArray[np.int32]) -> list[list[str]]:
    """Return ids as gensim takes them: words, in sentences of 10,000, the most it takes."""
    words = list(map(str, token_ids.tolist()))
    return [words[start : start + 10_000] for start in range(0, len(words), 10_000)]


def train_gensim(sentences: list[list[str]], config: TrainingConfig) -> tuple[Any, int, float, float]:
    """Train gensim's Word2Vec with our settings; return it, the tokens that subsampling left, seconds and tokens per second.

    Its vocabulary is built before the clock starts.
    """
    from gensim.models import Word2Vec

    model = Word2Vec(
        vector_size=config.embedding_dim, window=config.window_size, sg=1, hs=0, negative=config.num_negative_samples,
        sample=config.subsample, ns_exponent=config.ns_exponent, min_count=config.min_count, seed=config.seed,
        alpha=config.learning_rate, min_alpha=config.min_learning_rate, workers=config.workers or available_cores(),
    )  # fmt: skip
    model.build_vocab(sentences)
    start = time.perf_counter()
    num_kept, num_words = model.train(sentences, total_examples=len(sentences), epochs=config.epochs)
    seconds = time.perf_counter() - start
    return model, num_kept, seconds, num_words / seconds


def preset_jobs() -> dict[str, dict[str, Any]]:
    """Return the presets, and the balanced one on 1 and 4 threads, as names and changed settings."""
    presets = {name: preset.values for name, preset in PRESETS.items()}
    return {**presets, "balanced, 1 thread": {"workers": 1}, "balanced, 4 threads": {"workers": 4}}


def sweep_jobs() -> dict[str, dict[str, Any]]:
    """Return trainings that each change one setting: negatives, or the window."""
    jobs: dict[str, dict[str, Any]] = {"as given": {}}
    jobs |= {f"{number} negatives": {"num_negative_samples": number} for number in (2, 5, 20)}
    return jobs | {f"window {width}": {"window_size": width} for width in (2, 3, 10)}


def batch_jobs() -> dict[str, dict[str, Any]]:
    """Return trainings by the threads, and by torch on the CPU with batches of several sizes."""
    sizes = (512, 2048, 8192, 16_384, 65_536)
    torch_jobs = {f"torch, batch {size:,}": {"engine": "torch", "device": "cpu", "batch_size": size} for size in sizes}
    return {"threads": {"engine": "hogwild"}, **torch_jobs}


JOBS = {"presets": preset_jobs, "sweep": sweep_jobs, "batches": batch_jobs}


def compare_settings(
    corpus: Corpus,
    config: TrainingConfig,
    jobs: Mapping[str, Mapping[str, Any]],
    rounds: int,
    *,
    holds_out: bool = False,
    **learning: Any,
) -> Iterator[TrainingRun]:
    """Train with each job's changes of the settings, in turn, `rounds` seeds each; yield each run.

    `learning` are settings of `train_bpe`, the same for all. If it `holds_out` the text's end, runs have a `held_out_loss`.
    """
    own = {field.name for field in fields(TrainingConfig)}
    streams = {}
    for name, changes in jobs.items():
        tokenizer, path, _ = tokenizer_for(corpus, changes.get("num_merges", default_num_merges(corpus)), **learning)
        streams[name] = tokenizer, token_ids_for(corpus, tokenizer, path, changes.get("vocabulary_threshold", 0))[0]
    for seed in range(1, rounds + 1):
        for name, changes in jobs.items():
            changed = replace(config, seed=seed, **{key: value for key, value in changes.items() if key in own})
            yield train_ours(*streams[name], changed, name, holds_out=holds_out)


def summary(runs: Sequence[TrainingRun]) -> list[str]:
    """Return a line for each contender, medians and means over its seeds; beside gensim, how much faster ours is."""
    contenders, lines = by_name(runs), []
    for name, own in contenders.items():
        seconds, speed, pairs = (median_of(own, key) for key in ("seconds", "tokens_per_second", "pairs_per_token"))
        intervals = [mean_and_margin([getattr(run, key) for run in own]) for key in SCORES]
        scores = "".join(f"{f'{mean:.3f} ±{margin:.3f}':>15}" for mean, margin in intervals)
        loss = f"{statistics.mean(run.loss for run in own if run.loss):>9.4f}" if own[0].loss else f"{'':>9}"
        lines.append(f"{name:<22}{seconds:>7.1f} s{loss}{speed:>12,.0f} tokens/s{speed * pairs:>12,.0f} pairs/s{scores}")
    ours, *others = contenders
    if others == ["gensim"]:
        middle, low, high = speed_ratios(*contenders.values())
        lines.append(f"{ours} is {middle:.1f} times as fast, the median of {len(runs) // 2} turns ({low:.1f} to {high:.1f})")
    return lines


def by_name(runs: Sequence[TrainingRun]) -> dict[str, list[TrainingRun]]:
    """Return each contender's runs."""
    return {name: [run for run in runs if run.name == name] for name in dict.fromkeys(run.name for run in runs)}


def median_of(runs: Sequence[object], key: str) -> float:
    """Return the median of a field over runs."""
    return float(statistics.median(getattr(run, key) for run in runs))


def speed_ratios(ours: Sequence[TimedRun], theirs: Sequence[TimedRun]) -> tuple[float, float, float]:
    """Return how many times as fast ours was, turn by turn: median, least, most."""
    ratios = [a.tokens_per_second / b.tokens_per_second for a, b in zip(ours, theirs, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


def mean_and_margin(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean, and half the width of its 95 % confidence interval (Student's t; NaN for a single value).

    >>> mean, margin = mean_and_margin([1.0, 2.0, 3.0])
    >>> mean, round(margin, 2)
    (2.0, 2.48)
    """
    if len(values) < 2 or math.isnan(sum(values)):
        return statistics.mean(values), math.nan
    from scipy.stats import t

    margin = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.mean(values), margin
