"""Which tokens are used alike: clusters of vectors, named by their most central words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokembed.analysis.neighbours import is_more_than_grammar
from tokembed.vectors.embeddings import Embeddings, unit_rows

MAX_CLUSTERS = 8  # as many as colours that can be told apart
TOKENS_A_CLUSTER = 20  # at least, on average
NAME_WORDS = 3


@dataclass(frozen=True)
class Clusters:
    """The cluster of each of some rows, (n,), and the clusters' names, the largest cluster first."""

    labels: npt.NDArray[np.intp]
    names: list[str]


def cluster_rows(
    embeddings: Embeddings, rows: npt.NDArray[np.intp], num_clusters: int = MAX_CLUSTERS, seed: int = 0
) -> Clusters:
    """Group rows by the directions of their vectors, with what all have in common taken away.

    Fewer clusters come back for fewer than `TOKENS_A_CLUSTER` rows each, or fewer different directions. A cluster's name is the
    words nearest to its centre: whole words of four letters or more, of the more frequent half of the rows; its first tokens
    where it has no such word.

    Notes
    -----
    k-means (scikit-learn's) of the unit vectors minus their mean, scaled to length 1 again.
    """
    unit = unit_rows(embeddings.vectors[rows])
    directions = unit_rows((unit - unit.mean(axis=0)).astype(np.float32))
    num_different = len(np.unique(directions.round(6), axis=0))
    num_clusters = max(min(num_clusters, len(rows) // TOKENS_A_CLUSTER, num_different), 1)
    if num_clusters == 1:
        return Clusters(np.zeros(len(rows), dtype=np.intp), ["all tokens"])
    from sklearn.cluster import KMeans

    found = KMeans(num_clusters, n_init=4, random_state=seed).fit(directions)
    order = np.argsort(-np.bincount(found.labels_, minlength=num_clusters), kind="stable")
    labels = np.argsort(order)[found.labels_]
    centrality = np.einsum("ij,ij->i", directions, unit_rows(found.cluster_centers_.astype(np.float32))[found.labels_])
    counts = np.ones(len(rows), dtype=np.int64) if embeddings.counts is None else embeddings.counts[rows]
    tokens = [embeddings.tokens[row] for row in rows]
    can_name = embeddings.is_word[rows] & (counts >= np.median(counts))
    can_name &= np.array([is_more_than_grammar(embeddings.word_of(token)) for token in tokens])
    names = []
    for cluster in range(num_clusters):
        (members,) = np.nonzero(labels == cluster)
        named = members[can_name[members]] if can_name[members].any() else members
        central = named[np.argsort(-centrality[named], kind="stable")][:NAME_WORDS]
        names.append(", ".join(embeddings.word_of(tokens[member]) for member in central))
    return Clusters(labels.astype(np.intp), names)
