"""How to lay vectors out on a page: two dimensions for a hundred."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """Words at points (n, 2), the kind of each (or None), how often each occurred (or None), what the axes are."""

    points: Matrix
    words: Sequence[str]
    kinds: Sequence[str | None]
    counts: Sequence[int] | None = None
    title: str = "Words in two dimensions"
    axis_names: tuple[str, str] = ("", "")
    before: Matrix | None = None  # where the same words lie before training


@dataclass(frozen=True)
class Comparison:
    """A question asked of a corpus before its vectors are looked at: are some words nearer to one than to others of a kind?"""

    words: tuple[str, ...]
    one: str
    kind: str  # of the corpus' list, which the words belong to: they are compared with its other words
    kind_is: str  # what a sentence calls those


COMPARISONS = {"frankenstein": Comparison(("monster", "creature"), "wretched", "character", "people")}


def compared(embeddings: Embeddings, kind_of: Mapping[str, str], comparison: Comparison) -> tuple[str, str]:
    """Answer a comparison by cosines: a sentence without numbers, and the same with them; "" for words that are unknown."""
    others = [word for word, kind in kind_of.items() if kind == comparison.kind and word not in comparison.words]
    asked = [word for word in comparison.words if word in embeddings]
    if not asked or not others or comparison.one not in embeddings:
        return "", ""
    nearer: list[tuple[str, float, float]] = []
    farther: list[tuple[str, float, float]] = []
    for word in asked:
        to_one = embeddings.similarity(word, comparison.one)
        to_others = float(np.mean([embeddings.similarity(word, other) for other in others]))
        (nearer if to_one > to_others else farther).append((word, to_one, to_others))
    said, measured = [], []
    for answers, is_nearer in ((nearer, True), (farther, False)):
        if answers:
            ends = [comparison.one, comparison.kind_is] if is_nearer else [comparison.kind_is, comparison.one]
            lie = "lie" if len(answers) > 1 else "lies"
            said.append(f"{' and '.join(word for word, *_ in answers)} {lie} nearer to {ends[0]} than to {ends[1]}")
            cosines = "; ".join(f"{word} {one:.2f}, {rest:.2f}" for word, one, rest in answers)
            measured.append(f"{said[-1]} (cosine with {comparison.one}, mean cosine with {comparison.kind_is}: {cosines})")
    return "; ".join(said), "; ".join(measured)


def own_kind_share(embeddings: Embeddings, kind_of: Mapping[str, str]) -> tuple[str, str]:
    """Count the words whose mean cosine is largest with words of their own kind: a sentence, and one that names the others."""
    words, kinds = list(kind_of), np.array(list(kind_of.values()))
    unit = unit_rows(np.stack([embeddings.vector(word) for word in words]))
    cosines = unit @ unit.T
    strays = []
    for place, word in enumerate(words):
        is_other = np.arange(len(words)) != place
        means = {str(kind): float(cosines[place][is_other & (kinds == kind)].mean()) for kind in np.unique(kinds[is_other])}
        nearest = max(means, key=lambda kind: means[kind])
        if nearest != kind_of[word]:
            strays.append(f"{word} ({nearest})")
    number = f"{len(words) - len(strays)} of" if strays else "all"
    said = f"{number} {len(words)} words lie nearest to their own kind"
    named = f"; {', '.join(strays)} to another" if strays else ""
    return said, f"by mean cosine {said}{named}"


def describe_projection(
    embeddings: Embeddings,
    corpus_name: str,
    method: str = "tsne",
    perplexity: float = 12.0,
    *,
    by_frequency: bool = False,
    untrained: Embeddings | None = None,
) -> Finding:
    """Report where the kinds' words, and the most frequent others of four letters or more, lie in two dimensions.

    Given the vectors from before training, their layout is added. What is said of the kinds is computed in all dimensions.
    """
    kind_of, are_listed = words_of_kinds(embeddings, corpus_name)
    frequent = dict.fromkeys(embeddings.word_of(embeddings.tokens[row]) for row in frequent_words(embeddings, 400))
    words = [
        *kind_of,
        *[word for word in frequent if is_more_than_grammar(word) and word not in kind_of][:NUM_FREQUENT],
    ]
    kinds = [kind_of.get(word) for word in words]
    vectors = np.stack([embeddings.vector(word) for word in words])
    points = project(vectors, method, perplexity)
    before = None
    if untrained is not None and all(word in untrained for word in words):
        before = project(np.stack([untrained.vector(word) for word in words]), method, perplexity)
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
    lines = [f"{len(words)} words in two dimensions by {name}"]
    if are_listed:
        answers = [own_kind_share(embeddings, kind_of)]
        if corpus_name in COMPARISONS:
            answers.insert(0, compared(embeddings, kind_of, COMPARISONS[corpus_name]))
        answers = [(said[0].upper() + said[1:], measured[0].upper() + measured[1:]) for said, measured in answers if said]
        if method != "pca":  # whose two directions may show it otherwise
            title = answers[0][0]
        note += f" In all dimensions: {' '.join(measured + '.' for _, measured in answers)}"
        lines += [f"  {measured}" for _, measured in answers]
    return Finding(
        f"projection_{method}",
        Projection(points, words, kinds, counts, title, axis_names, before),
        lines,
        note,
        ("word", "kind", "x", "y"),
        [(word, kind or "", *point) for word, kind, point in zip(words, kinds, points.round(4).tolist(), strict=True)],
    )


def word_count(embeddings: Embeddings, word: str) -> int:
    """Return how often a word's token occurred, 1 for a word of several tokens."""
    row = embeddings.token_to_index.get(embeddings.rule.token_of(word))
    return int(embeddings.counts[row]) if row is not None and embeddings.counts is not None else 1
