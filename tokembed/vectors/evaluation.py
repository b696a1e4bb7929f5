"""Measure vectors against human judgement: judged word pairs, synonyms, analogies.

A word of several tokens is the mean of its tokens' vectors wherever a word is looked up; each score says how many of its
questions have vectors at all.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tokembed.bpe.splitting import lower
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.corpora.corpus import decode_text
from tokembed.skipgram.training import TrainingResult
from tokembed.vectors.embeddings import Embeddings
from tokembed.vectors.storage import StreamFacts

_T = TypeVar("_T")
SYNONYM_FIGURES = ("auc", "synonym_cosine", "random_cosine")
WORD_LISTS = Path(__file__).parent / "word_lists"
MAX_LIST_BYTES = 64 << 20
# Endings of inflected words and of their lemmas, tried in this order.
INFLECTIONS = (
    ("ies", "y"), ("ied", "y"), ("es", ""), ("s", ""), ("ed", ""), ("ed", "e"), ("ing", ""), ("ing", "e"), ("ly", ""),
)  # fmt: skip
SHORTEST_LEMMA = 4  # "thing" is no inflection of "th"
LIKE_COUNTS = 25  # on either side of a lemma
FREQUENT_WORDS = 1000  # synonyms are compared with all pairs of so many frequent words
LEAST_KNOWN = 0.25  # of the pairs of synonyms, to be scored: words made of parts are alike, whatever they mean


def _rows(path: str | os.PathLike[str], parse: Callable[[list[str]], _T], wanted: str, *, has_heading: bool) -> list[_T]:
    """Return what `parse` makes of the fields of each line, but for comments, empty lines and what stands above the first.

    Fields are separated by tabs or commas; a line for which `parse` raises is a `ValueError` that names it.
    """
    rows: list[_T] = []
    for number, line in enumerate(_lines(path), start=1):
        if line.strip() and not line.startswith("#"):
            try:
                rows.append(parse([part.strip() for part in line.split("\t" if "\t" in line else ",")]))
            except (IndexError, ValueError):
                if rows or not has_heading:
                    raise ValueError(f"{path}, line {number}: {line!r:.60} is not {wanted}") from None
    if not rows:
        raise ValueError(f"{path} holds no word pairs")
    return rows


def _lines(path: str | os.PathLike[str]) -> list[str]:
    with open(path, "rb") as file:
        data = file.read(MAX_LIST_BYTES + 1)
    if len(data) > MAX_LIST_BYTES:
        raise ValueError(f"{path} is no such list: it is larger than {MAX_LIST_BYTES >> 20} MiB")
    return decode_text(data, str(path)).splitlines()


# ---------------------------------------------------------------- judged word pairs


@dataclass(frozen=True)
class WordPairScore:
    """How well cosines rank word pairs as people do.

    Attributes
    ----------
    spearman : float
        Rank correlation over the covered pairs, -1 to 1; NaN when fewer than two are covered.
    num_covered, num_pairs : int
        Pairs both of whose words have a vector, and pairs in the file.
    num_known : int
        Pairs both of whose words have a token of their own; in the others, one is made of parts.
    """

    spearman: float
    num_covered: int
    num_pairs: int
    num_known: int


def read_word_pairs(path: str | os.PathLike[str]) -> list[tuple[str, str, float]]:
    """Read lines "word, word, score", separated by tabs or commas; `#` begins a comment, a first line may be a heading.

    Any other line is a `ValueError` that names it.
    """

    def judged(fields: list[str]) -> tuple[str, str, float]:
        if not math.isfinite(score := float(fields[2])):
            raise ValueError
        return fields[0], fields[1], score

    return _rows(path, judged, "word, word, score", has_heading=True)


def evaluate_word_pairs(embeddings: Embeddings, path: str | os.PathLike[str]) -> WordPairScore:
    """Correlate cosines with a file of judged pairs, such as WordSim-353 or SimLex-999.

    References
    ----------
    Finkelstein et al. (2002), Placing Search in Context: The Concept Revisited. Spearman's correlation with average ranks
    for ties, as usual.
    """
    pairs = read_word_pairs(path)
    covered = [pair for pair in pairs if pair[0] in embeddings and pair[1] in embeddings]
    cosines = np.array([embeddings.similarity(first, second) for first, second, _ in covered])
    scores = np.array([score for _, _, score in covered])
    known = num_known(embeddings, [pair[:2] for pair in pairs])
    return WordPairScore(spearman(cosines, scores), len(covered), len(pairs), known)


def spearman(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation, NaN for fewer than two values."""
    if len(first) < 2:
        return float("nan")
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic)


# ---------------------------------------------------------------- synonyms


@dataclass(frozen=True)
class SynonymScore:
    """How far synonyms stand out among all pairs of frequent words.

    Attributes
    ----------
    auc : float
        The share of all pairs of frequent words that a synonym pair beats in cosine, on average: 0.5 is chance, 1 perfect.
    synonym_cosine, random_cosine : float
        Means over the synonyms, and over all pairs of frequent words.
    num_covered, num_pairs : int
        Synonym pairs both of whose words have a vector, and pairs in the list.
    num_known : int
        Those both of whose words have a token of their own. Where they are fewer than a quarter of the list, the AUC and the
        synonyms' cosine are NaN: the text, or the vocabulary, does not have these words.
    """

    auc: float
    synonym_cosine: float
    random_cosine: float
    num_covered: int
    num_pairs: int
    num_known: int


def read_synonyms(name: str | os.PathLike[str] = "test") -> list[tuple[str, str]]:
    """Read pairs of synonyms: the list "development" (to choose settings on), "test" (to quote), or a file of two columns."""
    path = WORD_LISTS / f"synonyms_{name}.tsv" if name in ("development", "test") else Path(name)

    def pair(fields: list[str]) -> tuple[str, str]:
        if len(fields) != 2 or not all(fields):
            raise ValueError
        return fields[0], fields[1]

    return _rows(path, pair, "word, word", has_heading=False)


def evaluate_synonyms(embeddings: Embeddings, synonyms: list[tuple[str, str]]) -> SynonymScore:
    """Compare the cosines of synonyms with those of all pairs among the 1,000 most frequent whole words.

    Notes
    -----
    The AUC is that of a classifier which calls a pair synonyms by its cosine (Mann and Whitney's U, ties counted half), exact:
    nothing is sampled. Tokens have to come with counts; without any, the first 1,000 words are taken.
    """
    frequent = frequent_words(embeddings, FREQUENT_WORDS)
    unit = embeddings.unit_vectors[frequent]
    others = np.sort(np.concatenate([unit[row + 1 :] @ unit[row] for row in range(len(frequent))] or [np.empty(0)]))
    covered = [pair for pair in synonyms if pair[0] in embeddings and pair[1] in embeddings]
    coverage = len(covered), len(synonyms), num_known(embeddings, synonyms)
    if not covered or coverage[-1] < LEAST_KNOWN * len(synonyms) or not others.size:
        return SynonymScore(math.nan, math.nan, float(others.mean()) if others.size else math.nan, *coverage)
    cosines = np.array([embeddings.similarity(first, second) for first, second in covered])
    ranks = (np.searchsorted(others, cosines, "left") + np.searchsorted(others, cosines, "right")) / 2
    auc = float(ranks.mean()) / others.size
    return SynonymScore(auc, float(cosines.mean()), float(others.mean()), *coverage)


def num_known(embeddings: Embeddings, pairs: Sequence[tuple[str, str]]) -> int:
    """Return how many of the pairs have two words with a token of its own each."""
    return sum(len(embeddings.tokens_of(first)) == len(embeddings.tokens_of(second)) == 1 for first, second in pairs)


def synonym_measure(
    tokenizer: BPETokenizerLoader, token_ids: npt.NDArray[np.int32] | StreamFacts
) -> Callable[[TrainingResult], dict[str, float]]:
    """Return what a training's history is made of: `SYNONYM_FIGURES` of a result on these ids, by the test list.

    A corpus that has few of the synonyms gives the cosine of random pairs alone.
    """
    synonyms = read_synonyms("test")
    facts = token_ids if isinstance(token_ids, StreamFacts) else StreamFacts.of(token_ids, tokenizer)

    def measure(result: TrainingResult) -> dict[str, float]:
        tokens = tokenizer.id_to_token
        embeddings = Embeddings.of_trained_rows(tokens, result.vectors, result.counts, tokenizer, facts.word_counts)
        score = evaluate_synonyms(embeddings, synonyms)
        figures = {name: float(getattr(score, name)) for name in SYNONYM_FIGURES}
        return {name: value for name, value in figures.items() if math.isfinite(value)}

    return measure


def frequent_words(embeddings: Embeddings, num_words: int) -> npt.NDArray[np.intp]:
    """Return the rows of the most frequent whole words, the most frequent first."""
    (words,) = np.nonzero(embeddings.is_word)
    if embeddings.counts is not None:
        words = words[np.argsort(-embeddings.counts[words], kind="stable")]
    return words[:num_words]


# ---------------------------------------------------------------- inflections


def inflected_pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    """Return (inflected word, lemma) for the regular English inflections among words, by spelling alone, in their order.

    >>> inflected_pairs(["walk", "walked", "move", "moving", "party", "parties", "thing"])
    [('walked', 'walk'), ('moving', 'move'), ('parties', 'party')]
    """
    known = {word for word in words if len(word) >= SHORTEST_LEMMA}
    pairs = []
    for word in words:
        for ending, lemma_ending in INFLECTIONS:
            lemma = word.removesuffix(ending) + lemma_ending
            if word.endswith(ending) and lemma in known:
                pairs.append((word, lemma))
                break
    return pairs


def inflection_ranks(
    vectors: npt.NDArray[np.float32],
    lemmas: Sequence[int],
    unit_vectors: npt.NDArray[np.float32],
    counts: npt.NDArray[np.int64],
    words: Sequence[int],
) -> npt.NDArray[np.float64]:
    """Return, for vectors (N, D) of inflected words, how often each lemma beats another word as frequent in cosine, (N,).

    `unit_vectors` (V, D) and `counts` (V,) are those of all tokens, `lemmas` (N,) and `words` rows among them. A lemma is
    compared with the 25 words next to it in count on either side; the mean over lemmas is an AUC, and 0.5 is chance.
    """
    by_count = np.array(sorted(words, key=lambda row: (counts[row], row)))
    place = {row: index for index, row in enumerate(by_count.tolist())}
    ranks = []
    for vector, lemma in zip(vectors, lemmas, strict=True):
        around = by_count[max(0, place[lemma] - LIKE_COUNTS) : place[lemma] + LIKE_COUNTS + 1]
        scores = unit_vectors[around[around != lemma]] @ vector
        own = unit_vectors[lemma] @ vector
        ranks.append(float(np.mean((scores < own) + 0.5 * (scores == own))) if scores.size else math.nan)
    return np.array(ranks)


# ---------------------------------------------------------------- analogies


@dataclass(frozen=True)
class AnalogyScore:
    """How many questions "a is to b as c is to ?" the vectors answer.

    Attributes
    ----------
    accuracy : float
        Share of the covered questions whose first answer is right; NaN when none is covered.
    num_covered, num_questions : int
        Questions all of whose words are whole-word tokens, and questions in the file.
    sections : dict
        Heading to (right answers, covered questions).
    """

    accuracy: float
    num_covered: int
    num_questions: int
    sections: dict[str, tuple[int, int]]


def read_analogies(path: str | os.PathLike[str]) -> dict[str, list[tuple[str, str, str, str]]]:
    """Read questions of four words per line, under headings ": name", as in word2vec's questions-words.txt."""
    sections: dict[str, list[tuple[str, str, str, str]]] = {}
    heading = "questions"
    for number, line in enumerate(_lines(path), start=1):
        if line.startswith(":"):
            heading = line[1:].strip()
        elif line.strip() and not line.startswith("#"):
            words = line.split()
            if len(words) != 4:
                raise ValueError(f"{path}, line {number}: {line!r:.60} is not four words")
            sections.setdefault(heading, []).append((words[0], words[1], words[2], words[3]))
    if not sections:
        raise ValueError(f"{path} holds no questions")
    return sections


def evaluate_analogies(embeddings: Embeddings, path: str | os.PathLike[str], num_words: int = 30_000) -> AnalogyScore:
    """Answer each question a : b = c : ? with the word nearest to b - a + c (3CosAdd), a, b and c excluded.

    Parameters
    ----------
    path : path
        See `read_analogies`. Words are lowered if the tokenizer lowers.
    num_words : int
        Answers come from so many of the most frequent whole words; a question with another word is not covered.

    References
    ----------
    Levy, Goldberg (2014), Linguistic Regularities in Sparse and Explicit Word Representations, equation 3.
    """
    rows = frequent_words(embeddings, num_words)
    unit = embeddings.unit_vectors[rows]  # (n, D)
    place = {embeddings.word_of(embeddings.tokens[row]): index for index, row in enumerate(rows)}
    is_lowered = embeddings.tokenizer is None or embeddings.tokenizer.model.lowers
    sections: dict[str, tuple[int, int]] = {}
    num_questions = 0
    for heading, questions in read_analogies(path).items():
        num_questions += len(questions)
        words = [[lower(word) if is_lowered else word for word in question] for question in questions]
        asked = [[place[word] for word in four] for four in words if all(word in place for word in four)]
        num_right = 0
        for batch in np.array_split(np.array(asked, dtype=np.intp).reshape(-1, 4), len(asked) // 512 + 1):
            a, b, c, expected = batch.T
            scores = (unit[b] - unit[a] + unit[c]) @ unit.T  # (questions, n)
            scores[np.arange(len(batch))[:, None], batch[:, :3]] = -np.inf
            num_right += int((scores.argmax(axis=1) == expected).sum()) if len(batch) else 0
        sections[heading] = num_right, len(asked)
    num_covered = sum(covered for _, covered in sections.values())
    num_right = sum(right for right, _ in sections.values())
    return AnalogyScore(num_right / num_covered if num_covered else float("nan"), num_covered, num_questions, sections)
