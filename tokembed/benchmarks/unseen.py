"""Words that training never saw, composed of n-grams by ours and by gensim's FastText: the same text, judged word pairs.

The words of WordSim-353 and SimLex-999 that a corpus lacks are few, and so are their pairs: the text is trained on with several
seeds. And a fifth of the lists' words, drawn at random, is taken out of it altogether; the pairs with one of them are scored.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tokembed.bpe.rare_tokens import RareTokenSplitter
from tokembed.bpe.splitting import lower
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.corpora.corpus import Corpus
from tokembed.device import available_cores
from tokembed.skipgram import sampling
from tokembed.skipgram.settings import TrainingConfig
from tokembed.skipgram.training import train_skipgram
from tokembed.vectors.embeddings import Embeddings
from tokembed.vectors.evaluation import read_word_pairs, spearman

LISTS = {"wordsim353": "wordsim353.tsv", "simlex999": "simlex999.txt"}
SHARE_TAKEN_OUT = 0.2
FASTTEXT = {"vector_size": 100, "sg": 1, "negative": 5, "epochs": 10, "min_count": 5}  # the rest are gensim's defaults


@dataclass(frozen=True)
class UnseenRun:
    """One training; `draw` 0 takes nothing out. Scores are of the pairs that have a word that the text lacks."""

    name: str
    draw: int
    seed: int
    seconds: float  # of training, and of composing
    num_pairs: dict[str, int]
    spearman: dict[str, float]


def compare_unseen(
    corpus: Corpus, tokenizer: BPETokenizerLoader, config: TrainingConfig, threshold: int, draws: int
) -> Iterator[UnseenRun]:
    """Train both on the whole text, and on it without some words, `draws` times each; yield each run.

    Ours splits tokens that occur less often than the `threshold`; FastText drops words of less than 5 occurrences, and its
    windows end with a line.
    """
    from gensim.models import FastText
    from gensim.test.utils import datapath

    lists = {name: read_word_pairs(datapath(file)) for name, file in LISTS.items()}
    judged = sorted({lower(word) for pairs in lists.values() for first, second, _ in pairs for word in (first, second)})
    lines = [[lower(piece) for piece in tokenizer.rule.pieces(line)] for line in corpus.text.split("\n")]
    numbers = range(1, draws + 1)
    for draw, seed in [*((0, seed) for seed in numbers), *((draw, draw) for draw in numbers)]:
        random = np.random.default_rng(draw).random(len(judged))
        taken = {word for word, number in zip(judged, random, strict=True) if draw and number < SHARE_TAKEN_OUT}
        kept = [[piece for piece in line if piece not in taken] for line in lines]
        kept = [line for line in kept if line]
        seen = {piece for line in kept for piece in line}

        ids = tokenizer.encode_array("\n".join(" ".join(line) for line in kept))
        ids = RareTokenSplitter(tokenizer, sampling.count_tokens(ids, tokenizer.vocab_size), threshold).split(ids)
        start = time.perf_counter()
        result = train_skipgram(ids, tokenizer.vocab_size, replace(config, seed=seed))
        ours = Embeddings.from_training(result, tokenizer, ids)
        yield _scored("tokembed", draw, seed, time.perf_counter() - start, ours, lists, seen)

        start = time.perf_counter()
        theirs = FastText(kept, **FASTTEXT, workers=config.workers or available_cores(), seed=seed).wv
        yield _scored("FastText", draw, seed, time.perf_counter() - start, theirs, lists, seen)


def _scored(
    name: str,
    draw: int,
    seed: int,
    seconds: float,
    vectors: Any,
    lists: Mapping[str, list[tuple[str, str, float]]],
    seen: set[str],
) -> UnseenRun:
    """Score vectors (anything with a `similarity` of two words) by the pairs that have a word that is not among the seen."""
    numbers, scores = {}, {}
    for list_name, pairs in lists.items():
        lowered = [(lower(first), lower(second), score) for first, second, score in pairs]
        chosen = [pair for pair in lowered if not {pair[0], pair[1]} <= seen]
        cosines = np.array([float(vectors.similarity(first, second)) for first, second, _ in chosen])
        numbers[list_name] = len(chosen)
        scores[list_name] = spearman(cosines, np.array([score for _, _, score in chosen]))
    return UnseenRun(name, draw, seed, seconds, numbers, scores)
