"""What vectors have learned: how their cosines spread, which words lie together, and how to lay them out on a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokembed.analysis.neighbours import query_words
from tokembed.vectors.embeddings import Embeddings, unit_rows
from tokembed.vectors.evaluation import WORD_LISTS

Matrix = npt.NDArray[np.float64]

MIN_SPREAD = 1e-6  # of unit vectors: below it, they are one direction, but for what rounding to float32 leaves


def random_pairs(num_items: int, num_pairs: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Return pairs of different items, drawn uniformly, shape (num_pairs, 2)."""
    random = np.random.default_rng(seed)
    first = random.integers(0, num_items, num_pairs)
    second = (first + random.integers(1, num_items, num_pairs)) % num_items
    return np.stack([first, second], axis=1)


def pair_cosines(vectors: npt.NDArray[np.float32], pairs: npt.NDArray[np.int64]) -> Matrix:
    """Return the cosine of each pair of rows."""
    unit = unit_rows(vectors)
    cosines: Matrix = np.einsum("pd,pd->p", unit[pairs[:, 0]], unit[pairs[:, 1]])
    return cosines


def one_hot_cosines(pairs: npt.NDArray[np.int64]) -> Matrix:
    """Return the cosine of each pair of one-hot vectors: 1 for a token with itself, else 0, whatever the vocabulary.

    V such vectors of V numbers need no table: their product has one term that is not zero, if both have their 1 in one place.
    """
    cosines: Matrix = (pairs[:, 0] == pairs[:, 1]).astype(np.float64)
    return cosines


# ---------------------------------------------------------------- groups of words


@dataclass(frozen=True)
class WordGroups:
    """Words, the group of each, and whether the groups were chosen before (or by) looking at vectors."""

    words: list[str]
    groups: list[str]
    chosen_before: bool

    @property
    def names(self) -> list[str]:
        """The groups' names, in the order of their first words."""
        return list(dict.fromkeys(self.groups))


def word_groups(embeddings: Embeddings, corpus_name: str) -> WordGroups:
    """Return 30 to 40 words in groups: from a list made for the corpus, where there is one, those that it has.

    For a corpus without a list, some of its words are asked for the five nearest to them: a picture, but no evidence.
    """
    path = WORD_LISTS / f"themes_{corpus_name}.tsv"
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
        known = [(group, word) for group, word in rows if word in embeddings]
        if len({group for group, _ in known}) >= 2:
            return WordGroups([word for _, word in known], [group for group, _ in known], True)
    words: dict[str, str] = {}
    for query in query_words(embeddings, 6):
        if query not in words:
            found = [query, *(token.removesuffix("</w>") for token, _ in embeddings.most_similar(query, 5, words_only=True))]
            words |= {word: f"like {query}" for word in found if word not in words}
    return WordGroups(list(words), list(words.values()), False)


def cosine_matrix(embeddings: Embeddings, words: Sequence[str]) -> Matrix:
    """Return the words' pairwise cosines, shape (n, n)."""
    unit = unit_rows(np.stack([embeddings.vector(word) for word in words]))
    cosines: Matrix = unit @ unit.T
    return cosines


def cluster_order(cosines: Matrix) -> list[int]:
    """Return an order of the rows in which similar ones are neighbours: the leaves of their tree by average linkage.

    References
    ----------
    Bar-Joseph, Gifford, Jaakkola (2001), Fast optimal leaf ordering for hierarchical clustering.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(cosines) < 3:
        return list(range(len(cosines)))
    distances = np.clip(1.0 - (cosines + cosines.T) / 2, 0.0, None)
    np.fill_diagonal(distances, 0.0)
    tree = linkage(squareform(distances, checks=False), "average", optimal_ordering=True)
    return [int(leaf) for leaf in leaves_list(tree)]


@dataclass(frozen=True)
class Separation:
    """Mean cosines within groups and between them, and how likely chance makes the difference."""

    within: float
    between: float
    p_value: float


def separation(cosines: Matrix, groups: Sequence[str], permutations: int = 9999, seed: int = 0) -> Separation:
    """Compare cosines within groups and between them by a permutation test.

    The groups' names are shuffled `permutations` times; the p-value is the share of deals, the true one included, whose
    difference is at least the true one.
    """
    names, labels = np.unique(np.asarray(groups), return_inverse=True)
    upper = np.triu_indices(len(labels), k=1)
    values = cosines[upper]

    def means(of: npt.NDArray[np.intp]) -> tuple[float, float]:
        is_within = of[upper[0]] == of[upper[1]]
        return float(values[is_within].mean()), float(values[~is_within].mean())

    if len(names) < 2 or len(names) == len(labels):
        raise ValueError("groups can be compared if there are two or more, one of them with two words or more")
    within, between = means(labels)
    random = np.random.default_rng(seed)
    deals = (means(random.permutation(labels)) for _ in range(permutations))
    at_least = 1 + sum(w - b >= within - between for w, b in deals)
    return Separation(within, between, at_least / (permutations + 1))


# ---------------------------------------------------------------- two dimensions


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
    if len(unit) < 5:
        method = "pca"
    if method == "pca":
        from sklearn.decomposition import PCA

        points: Matrix = PCA(n_components=2, random_state=seed).fit_transform(unit)
        return points
    from sklearn.manifold import TSNE

    perplexity = min(perplexity, (len(unit) - 1) / 3)
    points = TSNE(2, perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed).fit_transform(unit)
    return points.astype(np.float64)
