"""Find the passages of a text that are nearest to a query: by vectors, by TF-IDF, and by both.

A passage is a paragraph. By vectors, it is the mean of its tokens' rows (`formats.static_rows`), so that a passage without any
of the query's words can be found. By TF-IDF it is the words it has, weighted by how rare they are, so that it can't.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokembed.bpe.splitting import PIECE_PATTERN, is_unspaced, lower, pieces
from tokembed.vectors.composition import unit_rows
from tokembed.vectors.embeddings import Embeddings
from tokembed.vectors.formats import SIF, static_rows

WAYS = ("vectors", "tfidf", "both")
HEADING_WORDS = 5  # what has fewer is a heading, or a line of dialogue, and goes with the paragraph below it
MAX_WORDS = 200  # a longer paragraph is cut
_BETWEEN = re.compile(r"\n[ \t]*\n\s*")

Cosines = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Passage:
    """A part of a text, and the number of the line in which it begins."""

    text: str
    line: int


@dataclass(frozen=True)
class Hit:
    """A passage that was found: its place among the passages, its cosines with the query, and their sum."""

    place: int
    vectors: float
    tfidf: float
    both: float


def passages_of(text: str) -> list[Passage]:
    """Cut a text into its paragraphs, which empty lines separate; a short one goes with the next, a long one is cut.

    One that occurs again is left out.

    >>> [(passage.line, passage.text) for passage in passages_of("Chapter 1\\n\\nIt was a dark and stormy night.\\n")]
    [(1, 'Chapter 1\\n\\nIt was a dark and stormy night.')]
    """
    found: list[Passage] = []
    line, held = 1, ""
    place = 0
    for between in [*_BETWEEN.finditer(text), None]:
        end = between.start() if between else len(text)
        paragraph = held + text[place:end]
        place = between.end() if between else end
        if between and len(paragraph.split()) < HEADING_WORDS:
            held = paragraph + between.group() if paragraph.strip() else ""
            line += 0 if held else text.count("\n", end - len(paragraph), place)
            continue
        held = ""
        for part in _cut(paragraph):
            if part.strip():
                found.append(Passage(part.strip(), line + part[: len(part) - len(part.lstrip())].count("\n")))
            line += part.count("\n")
        line += between.group().count("\n") if between else 0
    return list({passage.text: passage for passage in reversed(found)}.values())[::-1]


def _cut(paragraph: str) -> list[str]:
    """Cut a paragraph of more than `MAX_WORDS` words into equal parts."""
    words = list(re.finditer(r"\S+\s*", paragraph))
    num_parts = -(-len(words) // MAX_WORDS)
    if num_parts < 2:
        return [paragraph]
    starts = [0, *(words[len(words) * part // num_parts].start() for part in range(1, num_parts)), len(paragraph)]
    return [paragraph[start:end] for start, end in itertools.pairwise(starts)]


def terms_of(text: str) -> list[str]:
    """Return a text's words, lowered; of a clause in a script without spaces, each two characters that stand side by side.

    >>> terms_of("New files 创建文件")
    ['new', 'files', '创建', '建文', '文件']
    """
    return [
        term
        for piece in pieces(text)
        for term in (map("".join, itertools.pairwise(piece)) if is_unspaced(piece) and len(piece) > 1 else [piece])
    ]


def text_vectors(rows: npt.NDArray[np.float32], embeddings: Embeddings, texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the mean of the rows of each text's tokens, (N, D); zeros for a text without any."""
    from scipy.sparse import csr_matrix

    assert embeddings.tokenizer is not None
    ids, offsets = embeddings.tokenizer.encode_batch_array(texts)
    ones = csr_matrix((np.ones(len(ids)), ids, offsets), shape=(len(texts), len(rows)))  # (N, V)
    means: npt.NDArray[np.float64] = (ones @ rows) / np.maximum(np.diff(offsets), 1)[:, None]
    return means


class PassageIndex:
    """Passages to be searched. P passages, Q queries.

    Parameters
    ----------
    embeddings : Embeddings
        With a tokenizer and, for a `sif`, with counts.
    passages : sequence of str
    sif, remove_common :
        As `formats.static_rows` takes them.

    Raises
    ------
    ValueError
        There are no passages with a word.
    """

    def __init__(
        self, embeddings: Embeddings, passages: Sequence[str], sif: float | None = SIF, *, remove_common: bool = True
    ) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._embeddings = embeddings
        self._rows = static_rows(embeddings, sif, remove_common=remove_common)
        self._vectors = self._unit_vectors(passages)  # (P, D)
        self._tfidf = TfidfVectorizer(analyzer=terms_of, sublinear_tf=True)
        try:
            self._weights = self._tfidf.fit_transform(passages)  # (P, words), sparse, of length 1
        except ValueError:
            raise ValueError("there is nothing to search: the text has no words") from None

    def _unit_vectors(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        return unit_rows(text_vectors(self._rows, self._embeddings, texts).astype(np.float32))

    def cosines(self, queries: Sequence[str]) -> dict[str, Cosines]:
        """Return the cosines of queries and passages by vectors and by TF-IDF, and the sums of both, each (Q, P).

        A query without a vector, or without a word that a passage has, has a cosine of 0 with every passage.
        """
        vectors: Cosines = self._unit_vectors(queries) @ self._vectors.T
        tfidf: Cosines = (self._tfidf.transform(queries) @ self._weights.T).toarray()
        return {"vectors": vectors, "tfidf": tfidf, "both": vectors + tfidf}

    def unknown_words(self, query: str) -> list[str]:
        """Return the words of a query that occur in no passage and are no token of their own: their letters say nothing."""
        token_to_id = self._embeddings.tokenizer.token_to_id if self._embeddings.tokenizer else {}
        rule = self._embeddings.rule
        words = {word: (word, lower(word)) for word in PIECE_PATTERN.findall(query)}
        known = self._tfidf.vocabulary_.keys()
        return [
            word
            for word, forms in words.items()
            if not {*terms_of(word)} & known and not {*map(rule.token_of, forms)} & token_to_id.keys()
        ]

    def nearest(self, query: str, topn: int, by: str = "both") -> list[Hit]:
        """Return the passages nearest to a query, best first; its unknown words are left out.

        Raises
        ------
        ValueError
            The query has no known word, or by TF-IDF no passage has any of its words.
        """
        if by not in WAYS:
            raise ValueError(f"by is {by!r}, not one of {', '.join(WAYS)}")
        unknown = self.unknown_words(query)
        known = PIECE_PATTERN.sub(lambda match: "" if match[0] in unknown else match[0], query)
        cosines = {way: found[0] for way, found in self.cosines([known]).items()}
        if not cosines[by].any():
            why = "in any passage" if by == "tfidf" else "in any passage, or a token with a vector"
            raise ValueError(f"nothing is found: no word of {query!r:.80} is {why}")
        order = np.argsort(-cosines[by], kind="stable")[:topn].tolist()
        hits = [Hit(place, *(float(cosines[way][place]) for way in WAYS)) for place in order]
        return [hit for hit in hits if by != "tfidf" or hit.tfidf > 0]
