"""Compose a word's vector from its parts: character n-grams, fitted to the vectors of the words that training saw.

Training gives a word a vector from the company it keeps. For a rare word that is little evidence, and for an unseen one none;
but "unhappiness" shares `unh`, `happi` and `ness>` with words that are well known. Each n-gram gets a vector such that a known
word's n-grams together predict the word's own vector, by least squares: it costs seconds and changes no training.

A word's prediction p is m + sum_g len(g) z_g / sum_g len(g) over its known n-grams g. Here m is the mean of all words' unit
vectors: what a word is like of which nothing is known. Longer n-grams weigh more, as they tell more. The z_g minimise

    sum_w count_w^0.25 / mean(count^0.25) * |u_w - p_w|^2 + RIDGE * sum_g |z_g|^2.

So strong a ridge leaves what words share with many: their kind and ending. What a word shares with its relatives alone, its
stem, is in the residuals r_w = u_w - p_w, so an unseen word x also gets those of the words v that it resembles in spelling,

    p_x + sum_v c_xv^5 r_v / sum_v c_xv^4,

where c_xv is the cosine of both words' n-grams of four characters or more, each of which counts its length.

References
----------
Zhao, Mudgal, Liang (2018), Generalizing Word Embeddings using Bag of Subwords. Bojanowski, Grave, Joulin, Mikolov (2017),
Enriching Word Vectors with Subword Information, whose n-grams are trained instead.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

SHORTEST, LONGEST = 2, 6  # characters of an n-gram, the marks of a word's ends included
LONGEST_START = 14  # of one that begins a word: it may hold the stem
SHORTEST_RELATED = 4  # of one by which words are related: shorter ones relate all to all
CLOSENESS = 4  # the power of a cosine that a relative weighs
MIN_WORDS = 2  # what an n-gram of a single word knows is in the word's residual
RIDGE = 0.2
COUNT_POWER = 0.25  # of a word's count, its weight
NUM_STEPS = 12  # of conjugate gradients; the scores do not change after eight
OWN_SHARE = 0.7  # of a trained word's own vector in what is made of it and its parts
EXPONENTS = 1.0, 1.0  # of an n-gram's length, and of a word's sum of those
LENGTHS = 1.0, 0.0  # where n-grams simply count their lengths
EARLIER_EXPONENTS = 0.0, 1.0  # of files that do not say: plain means of n-grams

Matrix = npt.NDArray[np.float32]


def ngrams_of(word: str) -> list[str]:
    """Return the character n-grams of a word, its ends marked, each as often as it occurs; of longer ones, those that begin it.

    >>> ngrams_of("ice")
    ['<i', 'ic', 'ce', 'e>', '<ic', 'ice', 'ce>', '<ice', 'ice>', '<ice>']
    >>> ngrams_of("happily")[-3:]
    ['<happil', '<happily', '<happily>']
    """
    marked = f"<{word}>"
    ngrams = [
        marked[start : start + length] for length in range(SHORTEST, LONGEST + 1) for start in range(len(marked) - length + 1)
    ]
    return ngrams + [marked[:length] for length in range(LONGEST + 1, min(LONGEST_START, len(marked)) + 1)]


class Composition:
    """Vectors of n-grams, of which the vector of any word can be made. G n-grams, W known words, D dimensions.

    Parameters
    ----------
    ngrams : sequence of str
        G different n-grams.
    vectors : array (G, D)
        Kept as float16.
    mean : array (D,)
        What a word's vector begins with.
    exponents : pair of float
        Of an n-gram's length, and of their sum, in the module's formula.
    words : sequence of str
        The W words that n-grams were fitted to, or none.
    residuals : array (W, D), optional
        What the n-grams leave of these words' vectors; kept as float16.

    Raises
    ------
    ValueError
        Shapes that don't fit, an n-gram twice, or a number that is not finite.

    Examples
    --------
    >>> words = ["icy", "ice", "iced", "fire", "fired", "fires"]
    >>> composition = Composition.fitted(words, np.repeat([[1.0, 0.0], [0.0, 1.0]], 3, axis=0))
    >>> icier, firing = composition.vector("icier"), composition.vector("firing")
    >>> bool(icier[0] > icier[1]), bool(firing[1] > firing[0]), composition.vector("hoop")
    (True, True, None)
    """

    def __init__(
        self,
        ngrams: Sequence[str],
        vectors: npt.ArrayLike,
        mean: npt.ArrayLike,
        exponents: tuple[float, float] = EXPONENTS,
        words: Sequence[str] = (),
        residuals: npt.ArrayLike | None = None,
    ) -> None:
        self.ngrams, self.exponents, self.words = list(ngrams), exponents, list(words)
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is reported below
            self.vectors = np.array(vectors, dtype=np.float16, order="C")
            self.mean = np.array(mean, dtype=np.float32)
            empty = np.zeros((0, *self.mean.shape))
            self.residuals = np.array(empty if residuals is None else residuals, dtype=np.float16, order="C")
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.ngrams) or self.mean.shape != self.vectors.shape[1:]:
            raise ValueError(
                f"{len(self.ngrams)} n-grams need vectors of shape ({len(self.ngrams)}, D) and a mean of shape (D,), "
                f"not {self.vectors.shape} and {self.mean.shape}"
            )
        if self.residuals.shape != (len(self.words), len(self.mean)):
            raise ValueError(f"{len(self.words)} words' residuals have the shape {self.residuals.shape}, not (W, D)")
        if not all(np.isfinite(table).all() for table in (self.vectors, self.mean, self.residuals)):
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
        num_words = Counter(ngram for word in words for ngram in set(ngrams_of(word)))
        ngrams = sorted(ngram for ngram, number in num_words.items() if number >= MIN_WORDS)
        weights = np.ones(len(words)) if counts is None else np.asarray(counts, dtype=np.float64) ** COUNT_POWER
        shares = _shares(words, {ngram: row for row, ngram in enumerate(ngrams)}, EXPONENTS)
        solved = _solve_ridge(shares, unit - mean, weights)
        residuals = unit - mean - shares @ solved
        # Norms beyond those of float16 are for nobody's vectors; scaling them keeps cosines, which is what matters.
        scale = min(scale, 1e3)
        return cls(ngrams, solved * scale, mean * scale, EXPONENTS, words, residuals * scale)

    def vector(self, word: str) -> npt.NDArray[np.float32] | None:
        """Return the vector that a word's n-grams and its relatives predict, (D,); None if none of its n-grams is known."""
        shares = _shares([word], self._row_of, self.exponents)
        return self._predicted(shares)[0] + self._residual_of_relatives(word) if shares.nnz else None

    def blended(self, words: Sequence[str], vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return words' own vectors, (W, D), each turned towards what its parts predict; its length is kept."""
        shares = _shares(words, self._row_of, self.exponents)
        own, parts = vectors.astype(np.float64), self._predicted(shares).astype(np.float64)
        lengths, norms = (np.linalg.norm(rows, axis=1, keepdims=True) for rows in (own, parts))
        mixed = OWN_SHARE * own / np.where(lengths > 0, lengths, 1) + (1 - OWN_SHARE) * parts / np.where(norms > 0, norms, 1)
        mixed_norms = np.linalg.norm(mixed, axis=1, keepdims=True)
        is_mixed = (np.diff(shares.indptr)[:, None] > 0) & (lengths > 0) & (norms > 0) & (mixed_norms > 0)
        turned = mixed * (lengths / np.where(mixed_norms > 0, mixed_norms, 1))
        blended: npt.NDArray[np.float32] = np.where(is_mixed, turned, own).astype(np.float32)
        return blended

    def _residual_of_relatives(self, word: str) -> npt.NDArray[np.float32]:
        """Return the mean residual of the words that are spelled like this one, (D,), by the module's formula."""
        row_of, spellings = self._spellings
        longer = Counter(ngram for ngram in ngrams_of(word) if len(ngram) >= SHORTEST_RELATED)
        length = math.sqrt(sum((number * len(ngram)) ** 2 for ngram, number in longer.items()))
        cosines = _shares([word], row_of, LENGTHS) @ spellings / max(length, 1.0)
        weights = cosines.data**CLOSENESS
        weighted = (weights * cosines.data) @ self.residuals[cosines.indices].astype(np.float32)
        residual: npt.NDArray[np.float32] = (weighted / max(float(weights.sum()), 1e-30)).astype(np.float32)
        return residual

    @cached_property
    def _spellings(self) -> tuple[dict[str, int], Any]:
        """Return the rows of the known words' longer n-grams, and these words' unit vectors of n-grams, (rows, W)."""
        longer = sorted({ngram for word in self.words for ngram in ngrams_of(word) if len(ngram) >= SHORTEST_RELATED})
        row_of = {ngram: row for row, ngram in enumerate(longer)}
        spellings = _shares(self.words, row_of, LENGTHS)
        lengths = np.sqrt(np.asarray(spellings.power(2).sum(axis=1)))
        return row_of, spellings.multiply(1 / np.maximum(lengths, 1.0)).T.tocsr()

    def _predicted(self, shares: Any) -> Matrix:
        """Return m plus each word's sum of n-grams, (W, D)."""
        predicted: Matrix = self.mean + np.vstack(
            [part @ self._wide for part in (shares[first : first + 4096] for first in range(0, shares.shape[0], 4096))]
            or [np.zeros((0, len(self.mean)), np.float32)]
        )
        return predicted

    @cached_property
    def _wide(self) -> Matrix:
        return self.vectors.astype(np.float32)


def _shares(words: Sequence[str], row_of: dict[str, int], exponents: tuple[float, float]) -> Any:
    """Return what each n-gram is of each word in the module's formula, a sparse matrix (W, G); unknown ones are left out."""
    from scipy.sparse import csr_matrix

    columns, lengths, ends = [], [], [0]
    for word in words:
        for ngram in ngrams_of(word):
            if (row := row_of.get(ngram)) is not None:
                columns.append(row)
                lengths.append(len(ngram))
        ends.append(len(columns))
    of_length, of_sum = exponents
    values = np.array(lengths, dtype=np.float64) ** of_length
    sums = np.diff(np.concatenate([[0.0], np.cumsum(values)])[ends])
    values /= np.repeat(np.maximum(sums, 1e-30) ** of_sum, np.diff(ends))
    shares = csr_matrix((values.astype(np.float32), np.array(columns, dtype=np.int32), ends), shape=(len(words), len(row_of)))
    shares.sum_duplicates()
    return shares


def _solve_ridge(shares: Any, wanted: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> Matrix:
    """Return the n-grams' vectors (G, D) of the module's formula by preconditioned conjugate gradients, all columns at once."""
    root = np.sqrt(weights / max(float(weights.mean()), 1e-30)) if len(weights) else weights
    a = shares.multiply(root[:, None]).tocsr().astype(np.float32)  # (W, G)
    at = a.T.tocsr()
    diagonal = (np.asarray(a.power(2).sum(axis=0)).ravel() + RIDGE)[:, None].astype(np.float32)
    solved = np.zeros((a.shape[1], wanted.shape[1]), dtype=np.float32)
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
