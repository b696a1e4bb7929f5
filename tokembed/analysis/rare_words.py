"""How good is a word's vector that few occurrences have trained, alone, made of its parts, or of both?

Frequent words are made rare: of some inflected words (walked), the stream keeps as many occurrences as chance assigns to
each, or none, and is trained on. So rare and frequent are words of one kind. What is asked is whether the word's vector is
nearer to that of its lemma (walk) than to those of other words about as frequent as the lemma.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokembed.analysis.finding import Finding
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.skipgram import sampling
from tokembed.skipgram.settings import TrainingConfig
from tokembed.skipgram.training import train_skipgram
from tokembed.vectors.composition import Composition
from tokembed.vectors.embeddings import Embeddings
from tokembed.vectors.evaluation import LIKE_COUNTS, inflected_pairs, inflection_ranks
from tokembed.vectors.storage import count_whole_words

KEPT = (0, 5, 10, 20, 50, 100)  # occurrences of a word that training sees
KINDS = ("whole words", "parts", "both")


@dataclass(frozen=True)
class RareWordScore:
    """AUC of the lemma among words as frequent, by kind of vector (`KINDS`), of words with so many occurrences."""

    num_kept: int
    num_words: int
    auc: dict[str, float]


def thinned(token_ids: npt.NDArray[np.int32], kept: Mapping[int, int], vocab_size: int, seed: int) -> npt.NDArray[np.int32]:
    """Return the stream with only so many occurrences of some ids, chosen at random; the others are taken out.

    >>> thinned(np.array([7, 1, 7, 2, 7], dtype=np.int32), {7: 0, 1: 5}, 8, 1)
    array([1, 2], dtype=int32)
    """
    is_thinned = np.zeros(vocab_size, dtype=bool)
    is_thinned[list(kept)] = True
    (places,) = np.nonzero(is_thinned[token_ids])
    places = np.random.default_rng(seed).permutation(places)
    order = np.argsort(token_ids[places], kind="stable")
    ids, starts, counts = np.unique(token_ids[places][order], return_index=True, return_counts=True)
    stays = np.ones(len(token_ids), dtype=bool)
    for token, start, count in zip(ids.tolist(), starts.tolist(), counts.tolist(), strict=True):
        stays[places[order[start + kept[token] : start + count]]] = False
    return token_ids[stays]


def score_rare_words(
    tokenizer: BPETokenizerLoader, token_ids: npt.NDArray[np.int32], config: TrainingConfig
) -> list[RareWordScore]:
    """Train on a stream in which frequent inflected words are made rare, once; return a score for each of `KEPT`.

    Parts are fitted without any of the words made rare; "whole words" of 0 occurrences are the means of their tokens.
    """
    counts = sampling.count_tokens(token_ids, tokenizer.vocab_size)
    alone = count_whole_words(token_ids, tokenizer.id_to_token, tokenizer.rule)
    rule, tokens = tokenizer.rule, tokenizer.id_to_token
    rows = [row for row in np.flatnonzero(2 * alone >= np.maximum(counts, 1)).tolist() if rule.is_whole(tokens[row])]
    row_of = {rule.word_of(tokens[row]): row for row in rows if counts[row] >= max(KEPT)}
    pairs = inflected_pairs(list(row_of))
    if len(pairs) < len(KEPT):
        raise ValueError(
            f"only {len(pairs)} inflected words occur {max(KEPT)} times, and {len(KEPT)} are needed: "
            "take a larger text, or more merges"
        )
    share = np.random.default_rng(config.seed).permutation(np.arange(len(pairs)) % len(KEPT))
    num_kept = {inflected: KEPT[group] for (inflected, _), group in zip(pairs, share.tolist(), strict=True)}
    pairs = [pair for pair in pairs if pair[1] not in num_kept]  # a lemma stays as frequent as it is
    ids = thinned(token_ids, {row_of[word]: number for word, number in num_kept.items()}, len(tokens), config.seed)
    result = train_skipgram(ids, tokenizer.vocab_size, config)
    whole_counts = count_whole_words(ids, tokens, rule)
    plain = Embeddings.of_trained_rows(tokens, result.vectors, result.counts, tokenizer, whole_counts)
    assert plain.counts is not None
    others = [row for row in np.flatnonzero(plain.is_word).tolist() if plain.word_of(plain.tokens[row]) not in num_kept]
    names = [plain.word_of(plain.tokens[row]) for row in others]
    composition = Composition.fitted(names, plain.vectors[others], plain.counts[others])
    ranks: dict[str, npt.NDArray[np.float64]] = {}
    queries = {kind: np.stack([_vector(plain, composition, word, kind) for word, _ in pairs]) for kind in KINDS}
    lemmas = [plain.token_to_index[rule.token_of(lemma)] for _, lemma in pairs]
    for kind, vectors in queries.items():
        ranks[kind] = inflection_ranks(vectors, lemmas, plain.unit_vectors, plain.counts, others)
    of_word = np.array([num_kept[word] for word, _ in pairs])
    return [
        RareWordScore(
            number,
            int((of_word == number).sum()),
            {
                kind: float(each[of_word == number].mean()) if (of_word == number).any() else math.nan
                for kind, each in ranks.items()
            },
        )
        for number in KEPT
    ]


def _vector(plain: Embeddings, composition: Composition, word: str, kind: str) -> npt.NDArray[np.float32]:
    """Return a word's vector of a kind: its own row, or the mean of its tokens; its parts' prediction; or both."""
    own = plain.vector(word) if word in plain else np.zeros(plain.embedding_dim, np.float32)  # as near to one as to another
    parts = composition.vector(word)
    if parts is None or kind == "whole words":
        return own
    if kind == "parts" or plain.rule.token_of(word) not in plain.token_to_index:
        return parts
    both: npt.NDArray[np.float32] = composition.blended([word], own[None])[0]
    return both


def describe_rare_words(scores: Sequence[RareWordScore]) -> Finding:
    """Report the scores by the number of a word's occurrences."""
    rows = [(score.num_kept, score.num_words, *(score.auc[kind] for kind in KINDS)) for score in scores]
    heading = f"  {'occurrences':>11}{'words':>7}" + "".join(f"{kind:>13}" for kind in KINDS)
    lines = ["inflected words made rare: how often the lemma beats a word as frequent (AUC; 0.5 is chance)", heading]
    lines += ["  {:>11}{:>7}{:>13.3f}{:>13.3f}{:>13.3f}".format(*row) for row in rows]
    note = (
        f"Inflected words that occur {max(KEPT)} times or more, made rare: training saw each as often as the axis says. AUC: "
        f"how often the cosine with the lemma (walked: walk) beats that with one of {2 * LIKE_COUNTS} words about as frequent; "
        "0.5 is chance. Parts were fitted without these words. Of a word never seen, the whole word's vector is the mean of "
        "its tokens' vectors, and both is the parts' alone."
    )
    return Finding("rare_words", list(scores), lines, note, ("occurrences", "words", *KINDS), rows)
