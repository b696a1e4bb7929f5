"""Compose a word's vector from its parts: character n-grams, fitted to the vectors of the words that training saw.

Training gives a word a vector from the company it keeps. For a rare word that is little evidence, and for an unseen one none;
but "unhappiness" shares `unh`, `happi` and `ness>` with words that are well known. Each n-gram gets a vector such that a known
word's n-grams together predict the word's own vector, by least squares: it costs a second and changes no training.

A word's prediction is m + mean(z_g) over its known n-grams g. Here m is the mean of all words' unit vectors: what a word
is like of which nothing is known, and the z_g minimise

    sum_w sqrt(count_w) / mean(sqrt(count)) * |u_w - m - mean(z_g)|^2 + RIDGE * sum_g |z_g|^2.

References
----------
Zhao, Mudgal, Liang (2018), Generalizing Word Embeddings using Bag of Subwords. Bojanowski, Grave, Joulin, Mikolov (2017),
Enriching Word Vectors with Subword Information, whose n-grams are trained instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

SHORTEST, LONGEST = 2, 5  # characters of an n-gram, the marks of a word's ends included
MIN_WORDS = 2  # an n-gram of a single word knows nothing that could be of use to another
RIDGE = 0.5
NUM_STEPS = 12  # of conjugate gradients; the scores do not change after eight
OWN_SHARE = 0.7  # of a trained word's own vector in what is made of it and its parts

Matrix = npt.NDArray[np.float32]


def ngrams_of(word: str) -> list[str]:
    """Return the character n-grams of a word, its ends marked, each as often as it occurs.

    >>> ngrams_of("ice")
    ['<i', 'ic', 'ce', 'e>', '<ic', 'ice', 'ce>', '<ice', 'ice>', '<ice>']
    """
    marked = f"<{word}>"
    return [
        marked[start : start + length] for length in range(SHORTEST, LONGEST + 1) for start in range(len(marked) - length + 1)
    ]


class Composition:
    """Vectors of n-grams, of which the vector of any word can be made. G n-grams, D dimensions.

    Parameters
    ----------
    ngrams : sequence of str
        G different n-grams.
    vectors : array (G, D)
        Kept as float16.
    mean : array (D,)
        What a word's vector begins with.

    Raises
    ------
    ValueError
        Shapes that don't fit, an n-gram twice, or a number that is not finite.

    Examples
    --------
    >>> composition = Composition.fitted(["icy", "ice", "fire", "fired"], np.array([[1, 0], [1, 0], [0, 1], [0, 1]]))
    >>> icier, firing = composition.vector("icier"), composition.vector("firing")
    >>> bool(icier[0] > icier[1]), bool(firing[1] > firing[0]), composition.vector("hoop")
    (True, True, None)
    """

    def __init__(self, ngrams: Sequence[str], vectors: npt.ArrayLike, mean: npt.ArrayLike) -> None:
        self.ngrams = list(ngrams)
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is reported below
            self.vectors = np.array(vectors, dtype=np.float16, order="C")
            self.mean = np.array(mean, dtype=np.float32)
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.ngrams) or self.mean.shape != self.vectors.shape[1:]:
            raise ValueError(
                f"{len(self.ngrams)} n-grams need vectors of shape ({len(self.ngrams)}, D) and a mean of shape (D,), "
                f"not {self.vectors.shape} and {self.mean.shape}"
            )
        if not (np.isfinite(self.vectors).all() and np.isfinite(self.mean).all()):
            raise ValueError("the n-grams' vectors hold a number that is not finite")
        self._row_of = {ngram: row for row, ngram in enumerate(self.ngrams)}
        if len(self._row_of) < len(self.ngrams):
            raise ValueError(f"{len(self.ngrams) - len(self._row_of)} n-grams occur twice")

    @classmethod
    def fitted(
        cls, words: Sequence[str], vectors: npt.NDArray[Any], counts: npt.NDArray[np.integer[Any]] | None = None
    ) -> Composition:
        """Fit n-grams to the directions of words' vectors, (W, D); what occurred more often, by `counts` (W,), weighs more.

        O(NUM_STEPS · N · D) for N n-grams in all words; deterministic.
        """
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
        unit = vectors / np.where(lengths > 0, lengths, 1.0)
        scale = float(lengths.mean()) if len(words) else 1.0  # a composed vector is about as long as a trained one
        mean = unit.mean(axis=0) if len(words) else np.zeros(vectors.shape[1])
        pieces = [ngrams_of(word) for word in words]
        num_words = Counter(ngram for each in pieces for ngram in dict.fromkeys(each))
        ngrams = [ngram for ngram, number in num_words.items() if number >= MIN_WORDS]
        weights = np.ones(len(words)) if counts is None else np.sqrt(np.asarray(counts, dtype=np.float64))
        solved = _solve_ridge(pieces, ngrams, unit - mean, weights)
        # Norms beyond those of float16 are for nobody's vectors; scaling them keeps cosines, which is what matters.
        return cls(ngrams, solved * min(scale, 1e3), mean * min(scale, 1e3))

    def vector(self, word: str) -> npt.NDArray[np.float32] | None:
        """Return the vector that a word's n-grams predict, (D,); None if none of them is known."""
        rows = [row for ngram in ngrams_of(word) if (row := self._row_of.get(ngram)) is not None]
        return self.mean + self.vectors[rows].mean(axis=0, dtype=np.float32) if rows else None

    def blended(self, words: Sequence[str], vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return words' own vectors, (W, D), each turned towards what its parts predict; its length is kept."""
        blended = vectors.copy()
        for row, word in enumerate(words):
            own, parts = vectors[row].astype(np.float64), self.vector(word)
            length = np.linalg.norm(own)
            if parts is None or not length or not parts.any():
                continue
            mixed = OWN_SHARE * own / length + (1 - OWN_SHARE) * parts / np.linalg.norm(parts)
            if mixed.any():
                blended[row] = mixed * (length / np.linalg.norm(mixed))
        return blended


def _solve_ridge(
    pieces: list[list[str]], ngrams: list[str], wanted: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
) -> Matrix:
    """Return the n-grams' vectors (G, D) of the module's formula by preconditioned conjugate gradients, all columns at once."""
    from scipy.sparse import csr_matrix

    row_of = {ngram: row for row, ngram in enumerate(ngrams)}
    columns = [[row_of[ngram] for ngram in each if ngram in row_of] for each in pieces]
    lengths = np.array([len(each) for each in columns], dtype=np.int64)
    root = np.sqrt(weights / max(float(weights.mean()), 1e-30)) if len(weights) else weights
    values = np.repeat(root / np.maximum(lengths, 1), lengths).astype(np.float32)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    flat = np.array([column for each in columns for column in each], dtype=np.int32)
    a = csr_matrix((values, flat, ends), shape=(len(pieces), len(ngrams)))  # (W, G)
    a.sum_duplicates()
    at = a.T.tocsr()
    diagonal = (np.asarray(a.power(2).sum(axis=0)).ravel() + RIDGE)[:, None]
    solved = np.zeros((len(ngrams), wanted.shape[1]), dtype=np.float32)
    residual = at @ (wanted * root[:, None]).astype(np.float32)
    direction = residual / diagonal
    steepness = (residual * direction).sum(axis=0)
    for _ in range(NUM_STEPS):
        image = at @ (a @ direction) + RIDGE * direction
        step = steepness / np.maximum((direction * image).sum(axis=0), 1e-30)
        solved += step * direction
        residual = residual - step * image
        scaled = residual / diagonal
        before, steepness = steepness, (residual * scaled).sum(axis=0)
        direction = scaled + direction * (steepness / np.maximum(before, 1e-30))
    return solved


def unit_rows(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the rows scaled to length 1; rows of zeros stay.

    In float64, where the square of no float32 overflows or vanishes.
    """
    rows = vectors.astype(np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(norms > 0, norms, 1.0)
    return rows
