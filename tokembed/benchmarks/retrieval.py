"""Measure how well passages of the same article find one another: by vectors of several kinds, by TF-IDF, and by both.

Each paragraph of an encyclopedia's articles is a query, and is answered rightly if the nearest other paragraph is of its
article. It is asked whole, and once more with those of its words alone that no other paragraph of its article has: nothing that
counts words can be right there, and what vectors find, they find by meaning.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokembed.analysis.search import Cosines, PassageIndex
from tokembed.bpe.splitting import pieces
from tokembed.vectors.embeddings import Embeddings
from tokembed.vectors.formats import SIF

MIN_WORDS = 20  # of a paragraph
MIN_BARE_WORDS = 3  # of a query of its own words
_TITLE = re.compile(r"\s*= (?!= ).* =\s*")
_HEADING = re.compile(r"\s*(?:= )+.*(?:= ?)+\s*")
# By name: the kind of rows (`static_rows`), and the way.
KINDS: dict[str, tuple[float | None, bool, str]] = {
    "mean of the vectors": (None, False, "vectors"),
    "weighted (SIF)": (SIF, False, "vectors"),
    "weighted, less what all have in common": (SIF, True, "vectors"),
    "TF-IDF": (SIF, True, "tfidf"),
    "both, cosines added": (SIF, True, "both"),
}


@dataclass(frozen=True)
class Retrieval:
    """Shares of queries whose nearest passage is of the same article: whole paragraphs, and their own words alone."""

    name: str
    whole: float
    own_words: float


@dataclass(frozen=True)
class RetrievalReport:
    """What was measured; how many articles and queries there were, and what chance would find."""

    rows: list[Retrieval]
    num_articles: int
    num_whole: int
    num_own_words: int
    chance: float


def articles_of(text: str) -> list[list[str]]:
    """Return the paragraphs of each article of WikiText, those of `MIN_WORDS` or more."""
    articles: list[list[str]] = []
    before = ""
    for line in text.splitlines():
        if _TITLE.fullmatch(line) and not before.strip():  # else a line of a formula
            articles.append([])
        elif articles and not _HEADING.fullmatch(line) and len(line.split()) >= MIN_WORDS:
            articles[-1].append(line.strip())
        before = line
    return [article for article in articles if len(article) > 1]


def own_words(article: list[str]) -> Iterator[str]:
    """Yield, of each paragraph, the words that no other paragraph of the article has.

    >>> list(own_words(["the old castle", "the castle moat"]))
    ['old', 'moat']
    """
    words = [pieces(paragraph) for paragraph in article]
    num_paragraphs = Counter(word for each in words for word in set(each))
    for each in words:
        yield " ".join(word for word in each if num_paragraphs[word] == 1)


def measure_retrieval(embeddings: Embeddings, text: str) -> RetrievalReport:
    """Ask for each paragraph of a text of articles, in each way of `KINDS`; fewer than two articles are a `ValueError`."""
    articles = articles_of(text)
    if len(articles) < 2:
        raise ValueError(f"articles of two paragraphs or more are compared, and the text has {len(articles)}")
    passages = [paragraph for article in articles for paragraph in article]
    bare = [words for article in articles for words in own_words(article)]
    article_of = np.repeat(np.arange(len(articles)), [len(article) for article in articles])
    is_asked = np.array([len(words.split()) >= MIN_BARE_WORDS for words in bare])
    rows = []
    for name, (sif, remove_common, way) in KINDS.items():
        index = PassageIndex(embeddings, passages, sif, remove_common=remove_common)
        whole, own = (_is_right(index.cosines(queries)[way], article_of) for queries in (passages, bare))
        rows.append(Retrieval(name, float(whole.mean()), float(own[is_asked].mean()) if is_asked.any() else 0.0))
    sizes = np.bincount(article_of)[article_of]
    chance = float(((sizes - 1) / (len(passages) - 1)).mean())
    return RetrievalReport(rows, len(articles), len(passages), int(is_asked.sum()), chance)


def _is_right(cosines: Cosines, article_of: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Tell for each query, (P,), whether the nearest passage, itself aside, is of its article; what finds nothing is wrong."""
    others = cosines.copy()
    np.fill_diagonal(others, 0.0)
    nearest = others.argmax(axis=1)
    right: npt.NDArray[np.bool_] = (article_of[nearest] == article_of) & (others.max(axis=1) > 0)
    return right
