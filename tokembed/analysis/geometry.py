"""What vectors have learned: how their cosines spread and which words lie together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokembed.analysis.finding import Finding
from tokembed.analysis.neighbours import nearest_words, query_words
from tokembed.skipgram.training import TrainingResult
from tokembed.vectors.embeddings import Embeddings, unit_rows
from tokembed.vectors.evaluation import WORD_LISTS

Matrix = npt.NDArray[np.float64]

NUM_PAIRS = 50_000  # random pairs whose cosines make a histogram


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


def vectors_caption(embeddings: Embeddings, result: TrainingResult, corpus_name: str) -> str:
    """Return corpus and settings, for below a figure."""
    config = result.config
    merges = f"{len(embeddings.tokenizer.merges):,} merges, " if embeddings.tokenizer else ""
    return (
        f"{corpus_name}: {merges}vectors of {len(embeddings):,} tokens, {config.embedding_dim} dimensions, "
        f"window {config.window_size}, {config.num_negative_samples} negatives, {len(result.epoch_losses)} epochs, "
        f"seed {config.seed}."
    )


def describe_similarities(embeddings: Embeddings, result: TrainingResult) -> Finding:
    """Report the cosines of random pairs of trained tokens: one-hot, as initialised, and trained."""
    initial = result.before_training().vectors[result.counts > 0]
    pairs = random_pairs(len(embeddings), NUM_PAIRS)
    cosines = {
        "one-hot": one_hot_cosines(pairs),
        "random, before training": pair_cosines(initial, pairs),
        "after training": pair_cosines(embeddings.vectors, pairs),
    }
    lines = [
        f"cosines of {NUM_PAIRS:,} random token pairs: mean ± standard deviation",
        *(f"  {name:<26}{values.mean():>6.3f} ± {values.std():.3f}" for name, values in cosines.items()),
        f"  ({len(embeddings):,} one-hot vectors are all at right angles: no pair is more similar than any other)",
    ]
    note = (
        f"{NUM_PAIRS:,} pairs. A mean above 0 comes from a direction that all vectors share, not from a relation between the "
        "tokens of a pair; only the spread around it tells pairs apart."
    )
    edges = np.linspace(-1, 1, 81)
    columns = [np.histogram(values, edges)[0].tolist() for values in cosines.values()]
    rows = list(zip(edges[:-1].round(3).tolist(), *columns, strict=True))
    return Finding("similarity_distribution", cosines, lines, note, ("cosine_from", *cosines), rows)


# ---------------------------------------------------------------- groups of words


def words_of_kinds(embeddings: Embeddings, corpus_name: str) -> tuple[dict[str, str], bool]:
    """Return 30 to 40 words with the kind of each, and whether these were chosen before looking at vectors.

    They are from a list made for the corpus, where there is one. For a corpus without a list, some of its words are asked for
    the five nearest to them: a picture, but no evidence.
    """
    path = WORD_LISTS / f"themes_{corpus_name}.tsv"
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
        listed = {word: kind for kind, word in rows if word in embeddings}
        if len(set(listed.values())) >= 2:
            return listed, True
    kinds: dict[str, str] = {}
    for query in query_words(embeddings, 6):
        if query not in kinds:
            near = (embeddings.word_of(token) for token, _ in nearest_words(embeddings, query, 5))
            kinds |= {word: f"like {query}" for word in (query, *near) if word not in kinds}
    return kinds, False


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

    The groups' names are dealt out again `permutations` times; the p-value is the share of deals, the true one included, whose
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


NUM_HEATMAP_WORDS = 24  # at most, for their names to be read


@dataclass(frozen=True)
class Heatmap:
    """Pairwise cosines of words, (n, n), the words of a kind side by side; and the mean cosine of words of different kinds."""

    cosines: Matrix
    words: list[str]
    kinds: list[str]
    between: float


def mean_between(cosines: Matrix, kinds: Sequence[str]) -> float:
    """Return the mean cosine of words of different kinds; of all pairs, where there is one kind.

    >>> mean_between(np.array([[1.0, 0.8, 0.1], [0.8, 1.0, 0.3], [0.1, 0.3, 1.0]]), ["a", "a", "b"])
    0.2
    """
    names = np.asarray(kinds)
    are_others = names[:, None] != names
    if not are_others.any():
        are_others = ~np.eye(len(names), dtype=bool)
    return float(cosines[are_others].mean()) if are_others.any() else 0.0


def heatmap(cosines: Matrix, kinds: Mapping[str, str]) -> Heatmap:
    """Return the cosines of the first few words of each kind, kind by kind, in a kind similar ones side by side."""
    names = list(dict.fromkeys(kinds.values()))
    all_words, each = list(kinds), max(NUM_HEATMAP_WORDS // max(len(names), 1), 2)
    order: list[int] = []
    for name in names:
        places = [place for place, word in enumerate(all_words) if kinds[word] == name][:each]
        order += [places[leaf] for leaf in cluster_order(cosines[np.ix_(places, places)])]
    words = [all_words[place] for place in order]
    between = mean_between(cosines, list(kinds.values()))
    return Heatmap(cosines[np.ix_(order, order)], words, [kinds[word] for word in words], between)


def describe_kinds(embeddings: Embeddings, corpus_name: str) -> Finding:
    """Report the cosines of 30 to 40 words of a few kinds, and whether words of a kind are more similar than others."""
    kinds, are_listed = words_of_kinds(embeddings, corpus_name)
    unit = unit_rows(np.stack([embeddings.vector(word) for word in kinds]))
    cosines = unit @ unit.T
    names = list(dict.fromkeys(kinds.values()))
    lines = [f"{len(kinds)} words of {len(names)} kinds ({', '.join(names)})"]
    drawn = heatmap(cosines, kinds)
    note = f"White is the mean cosine between kinds, {drawn.between:.2f}; the diagonal, 1, is grey."
    if are_listed:
        found = separation(cosines, list(kinds.values()))
        line = f"mean cosine within kinds {found.within:.3f}, between them {found.between:.3f}, p = {found.p_value:.4f}"
        lines.append(f"  {line} (permutation test)")
        note += f" {len(drawn.words)} words of a list made before training; of all its {len(kinds)}: {line} (permutation test)."
    else:
        lines.append("  chosen by the vectors themselves, as there is no list for this corpus: an illustration, not evidence")
        note += " Words and kinds were chosen by the vectors themselves: an illustration, not evidence."
    order = cluster_order(cosines)
    words, ordered = [list(kinds)[place] for place in order], cosines[np.ix_(order, order)]
    rows = [(kinds[word], word, *row) for word, row in zip(words, ordered.round(4).tolist(), strict=True)]
    return Finding("similarity_heatmap", drawn, lines, note, ("kind", "word", *words), rows)
