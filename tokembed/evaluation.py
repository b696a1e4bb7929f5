"""Measure vectors against human judgement."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tokembed.embeddings import Embeddings


@dataclass(frozen=True)
class WordPairScore:
    """How well cosines rank word pairs as people do.

    Attributes
    ----------
    spearman : float
        Rank correlation over the covered pairs, -1 to 1; NaN when fewer than two are covered.
    num_covered, num_pairs : int
        Pairs both of whose words have a vector, and pairs in the file.
    """

    spearman: float
    num_covered: int
    num_pairs: int


def read_word_pairs(path: str | os.PathLike[str]) -> list[tuple[str, str, float]]:
    """Read lines "word, word, score", separated by tabs or commas; `#` begins a comment, a first line may be a heading.

    Raises
    ------
    ValueError
        A line that is none of these; the message names it.
    """
    pairs: list[tuple[str, str, float]] = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split("\t" if "\t" in line else ",")]
        try:
            first, second, score = parts[0], parts[1], float(parts[2])
        except (IndexError, ValueError):
            if not pairs:  # a heading
                continue
            raise ValueError(f"{path}, line {number}: {line!r:.60} is not word, word, score") from None
        pairs.append((first, second, score))
    if not pairs:
        raise ValueError(f"{path} holds no word pairs")
    return pairs


def evaluate_word_pairs(embeddings: Embeddings, path: str | os.PathLike[str]) -> WordPairScore:
    """Correlate cosines with a file of judged pairs, such as WordSim-353 or SimLex-999.

    A word of several tokens is the mean of its tokens' vectors; with a tokenizer nearly every pair is covered.

    References
    ----------
    Finkelstein et al. (2002), Placing Search in Context: The Concept Revisited. Spearman's correlation with average ranks
    for ties, as usual.
    """
    pairs = read_word_pairs(path)
    covered = [pair for pair in pairs if pair[0] in embeddings and pair[1] in embeddings]
    cosines = np.array([embeddings.similarity(first, second) for first, second, _ in covered])
    scores = np.array([score for _, _, score in covered])
    return WordPairScore(spearman(cosines, scores), len(covered), len(pairs))


def spearman(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation, NaN for fewer than two values."""
    if len(first) < 2:
        return float("nan")
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic)
