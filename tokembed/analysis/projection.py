"""How to lay vectors out on a page: two dimensions for a hundred."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokembed.analysis.finding import Finding
from tokembed.analysis.geometry import Matrix, words_of_kinds
from tokembed.analysis.neighbours import is_more_than_grammar
from tokembed.vectors.embeddings import Embeddings, unit_rows
from tokembed.vectors.evaluation import frequent_words

MIN_SPREAD = 1e-6  # of unit vectors: below it, they are one direction, but for what rounding to float32 leaves
NUM_FREQUENT = 60  # words beside the groups' in the projection


def project(vectors: npt.NDArray[np.float32], method: str = "tsne", perplexity: float = 12.0, seed: int = 0) -> Matrix:
    """Lay vectors out in two dimensions by their directions, shape (n, 2).

    Parameters
    ----------
    vectors : array (n, D)
    method : str
        "tsne" keeps neighbourhoods and says nothing of far distances; "pca" keeps the two directions of largest variance.
    perplexity : float
        About how many neighbours t-SNE keeps; at most (n - 1) / 3 is used.

    Raises
    ------
    ValueError
        An unknown method, fewer than two vectors, vectors of one number, or a perplexity that is not above 0.

    Notes
    -----
    Fewer than five vectors are laid out by PCA: t-SNE needs neighbourhoods to keep. Vectors of one direction all come to lie
    at (0, 0): there is nothing to tell them apart, and scikit-learn's t-SNE, which scales its start to a spread of 1e-4, would
    divide by zero and crash.

    References
    ----------
    van der Maaten, Hinton (2008), Visualizing Data using t-SNE.
    """
    if method not in ("tsne", "pca"):
        raise ValueError(f"a projection is tsne or pca, not {method!r}")
    if len(vectors) < 2 or vectors.shape[1] < 2:
        raise ValueError(f"a map needs at least 2 vectors of at least 2 numbers, not {len(vectors)} of {vectors.shape[1]}")
    if not perplexity > 0:
        raise ValueError(f"perplexity must be above 0, not {perplexity}")
    unit = unit_rows(vectors)
    if np.ptp(unit, axis=0).max() < MIN_SPREAD:
        return np.zeros((len(unit), 2))
    if method == "pca" or len(unit) < 5:
        from sklearn.decomposition import PCA

        points: Matrix = PCA(n_components=2, random_state=seed).fit_transform(unit)
        return points
    from sklearn.manifold import TSNE

    perplexity = min(perplexity, (len(unit) - 1) / 3)
    points = TSNE(2, perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed).fit_transform(unit)
    return points.astype(np.float64)


@dataclass(frozen=True)
class Projection:
    """Words at points (n, 2), the kind of each (or None), how often each occurred (or None), and what the axes are."""

    points: Matrix
    words: Sequence[str]
    kinds: Sequence[str | None]
    counts: Sequence[int] | None = None
    title: str = "Words in two dimensions"
    axis_names: tuple[str, str] = ("", "")


def describe_projection(
    embeddings: Embeddings, corpus_name: str, method: str = "tsne", perplexity: float = 12.0, *, by_frequency: bool = False
) -> Finding:
    """Report where the kinds' words, and the most frequent others of four letters or more, lie in two dimensions."""
    kind_of, _ = words_of_kinds(embeddings, corpus_name)
    frequent = dict.fromkeys(embeddings.word_of(embeddings.tokens[row]) for row in frequent_words(embeddings, 400))
    words = [
        *kind_of,
        *[word for word in frequent if is_more_than_grammar(word) and word not in kind_of][:NUM_FREQUENT],
    ]
    kinds = [kind_of.get(word) for word in words]
    vectors = np.stack([embeddings.vector(word) for word in words])
    points = project(vectors, method, perplexity)
    counts = [word_count(embeddings, word) for word in words] if by_frequency else None
    if method == "pca" or len(words) < 5:  # too few for t-SNE: `project` takes PCA
        name, note = "PCA", "The vectors are scaled to length 1."
        title = "Words along the two directions of largest variance (PCA)"
        shares = points.var(axis=0) / max(unit_rows(vectors).var(axis=0).sum(), 1e-9)
        axis_names = (f"1st component: {shares[0]:.0%} of the variance", f"2nd component: {shares[1]:.0%}")
    else:
        name = f"t-SNE, perplexity {min(perplexity, (len(words) - 1) / 3):.0f}, seed 0"
        title, axis_names = "Words placed so that similar ones are close (t-SNE)", ("", "")
        note = f"{name}. The axes have no units, and large distances no meaning."
    return Finding(
        f"projection_{method}",
        Projection(points, words, kinds, counts, title, axis_names),
        [f"{len(words)} words in two dimensions by {name}"],
        note,
        ("word", "kind", "x", "y"),
        [(word, kind or "", *point) for word, kind, point in zip(words, kinds, points.round(4).tolist(), strict=True)],
    )


def word_count(embeddings: Embeddings, word: str) -> int:
    """Return how often a word's token occurred, 1 for a word of several tokens."""
    row = embeddings.token_to_index.get(embeddings.rule.token_of(word))
    return int(embeddings.counts[row]) if row is not None and embeddings.counts is not None else 1
