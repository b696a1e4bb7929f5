"""One page to try a tokenizer and its vectors by hand: undo merges, compare educations, walk the map, watch training.

The page is one file that asks nothing of a network: its parts (`explorer_parts/`), the merges and the vectors are all inside.
The browser encodes with the merges themselves and compares the vectors themselves, so what it shows is what
`BPETokenizerLoader.encode` and `Embeddings.most_similar` give, but for code points that the browser's Unicode version and this
Python's classify or lower differently. Those are what only the newer one knows as letters: 14,049 code points for Python 3.11
(Unicode 14) and Chromium 156, all unassigned in the former.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import numpy.typing as npt

from tokembed.analysis.clusters import cluster_rows
from tokembed.analysis.film import Film
from tokembed.analysis.neighbours import query_words
from tokembed.analysis.projection import project
from tokembed.analysis.tokenization import printable, visible
from tokembed.bpe.splitting import END_OF_WORD
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.files import encodable
from tokembed.vectors.embeddings import Embeddings
from tokembed.vectors.evaluation import WORD_LISTS, read_analogies

MAX_TOKENS = 10_000  # the map stays smooth, and the page below 10 MB
PERPLEXITY = 30.0  # neighbours that t-SNE keeps: more than for a figure of a hundred words
MAP_SIZE = 1000.0  # the longer side of the map, in its own units: two decimals are then finer than any screen
INT16_MAX = 32767
PARTS = Path(__file__).with_name("explorer_parts")
SCRIPTS = ("tokenizer", "vectors", "drawing", "fields", "map", "film", "playground", "page")  # in the order of their use

# How the page says what its map does with the vectors.
PROJECTIONS = {
    "tsne": "t-SNE draws similar tokens close together where it can, and far distances mean nothing",
    "pca": "PCA keeps the two directions in which the vectors differ most, and drops all others",
}

# Sentences to begin with, by what they are like; the first one has a bit of each.
SAMPLES = {
    "all three": "The wretched creature raised an exception in the 1998 season.",
    "a novel": "I felt the cold of the mountains, and my heart was filled with melancholy.",
    "help texts": "If the optional argument is omitted, a list of strings is returned.",
    "an encyclopedia": "The album was released in November and reached number one on the charts.",
    "none of them": "Even supercalifragilistic, naïve 未来 and 🙂 become tokens.",
}

MAX_PRESETS = 6
NUMBERS = {1: "One", 2: "Two", 3: "Three", 4: "Four"}
PUBLISHED_NOTE = (
    "GPT's vocabularies are too large for this page: how they cut the sample sentences was computed when it was made. They "
    "keep capitals and spaces (␣), which the merges here do not, and the slider does not change them."
)


def explorer_page(
    embeddings: Embeddings,
    name: str,
    *,
    projection: str = "tsne",
    max_tokens: int = MAX_TOKENS,
    title: str | None = None,
    educations: Mapping[str, BPETokenizerLoader] | None = None,
    published: Mapping[str, BPETokenizerLoader] | None = None,
    film: Film | None = None,
    sample: str | None = None,
    notes: Sequence[str] = (),
) -> str:
    """Return the page.

    Parameters
    ----------
    embeddings : Embeddings
        With their tokenizer. With counts, the most frequent tokens come first, and are those that stay.
    name : str
        What the vectors were trained on, for the title.
    projection : str
        "tsne" or "pca"; see `projection.project`.
    max_tokens : int
        How many tokens the page knows vectors of.
    title : str, optional
        What the text is, beside those of `educations`; its name if left out.
    educations : mapping of str to BPETokenizerLoader, optional
        Tokenizers of the rule "words" that learned from other texts, by what these are. Their merges go into the page.
    published : mapping of str to BPETokenizerLoader, optional
        Vocabularies of language models, by their names. They are too large for a page, which has how they cut `SAMPLES`.
    film : Film, optional
        Of the training.
    sample : str, optional
        A sentence of the text itself, which the page begins with instead of the first of `SAMPLES`.
    notes : sequence of str
        Sentences below the educations: which are missing, say.

    Raises
    ------
    ValueError
        There is no tokenizer, or there are too few vectors or numbers in them for a map.

    Notes
    -----
    t-SNE takes O(V log V) time for V tokens, a minute or two for 10,000; all else takes a few seconds.
    """
    check_showable(embeddings, max_tokens)
    assert embeddings.tokenizer is not None
    name = encodable(name)
    rows = frequent_rows(embeddings, max_tokens)
    points = map_points(embeddings.vectors[rows], projection)
    clusters = cluster_rows(embeddings, rows)
    tokenizers = {title or name: embeddings.tokenizer, **(educations or {})}
    samples = ({"this text": encodable(sample)} if sample else {}) | SAMPLES
    data = {
        "corpus": name,
        "projection": {"tsne": "t-SNE", "pca": "PCA"}[projection],
        "tokenizers": [{"title": title, **_tokenizer_data(tokenizer)} for title, tokenizer in tokenizers.items()],
        "samples": [{"title": title, "text": text} for title, text in samples.items()],
        "published": [_published_data(title, tokenizer, samples.values()) for title, tokenizer in (published or {}).items()],
        "notes": [*notes, *([PUBLISHED_NOTE] if published else [])],
        "vectors": {**_vector_data(embeddings, rows), "clusters": clusters.labels.tolist()},
        "clusters": clusters.names,
        "points": points.ravel().tolist(),
        "film": film and _film_data(film, [embeddings.tokens[row] for row in rows]),
        "presets": presets(embeddings, rows),
        "start": _start(embeddings, rows),
    }
    shown = f"{len(rows):,}" if len(rows) == len(embeddings) else f"the {len(rows):,} most frequent of {len(embeddings):,}"
    style, script = _part("page.css"), "\n".join(_part(f"{part}.js") for part in SCRIPTS)
    return Template(_part("page.html")).substitute(
        title=html.escape(f"tokembed explorer: {name}"),
        corpus=html.escape(name),
        facts=f"{len(embeddings.tokenizer.merges):,} merges; vectors of {embeddings.embedding_dim} numbers for {shown} tokens",
        educations_heading=f"{NUMBERS.get(len(tokenizers), 'Several')} educations",
        dimension=embeddings.embedding_dim,
        projection=PROJECTIONS[projection],
        unicode=unicodedata.unidata_version.removesuffix(".0"),
        style=style,
        style_hash=_content_hash(style),
        data=_inline_json(data),
        script=script,
        script_hash=_content_hash(script),
    )


def check_showable(embeddings: Embeddings, max_tokens: int = MAX_TOKENS) -> None:
    """Raise `ValueError` for vectors that no page can show, before anything takes time."""
    if embeddings.tokenizer is None:
        raise ValueError("these vectors come without their tokenizer: train them again with train_embeddings.py")
    if embeddings.rule.is_lossless:
        raise ValueError('the page itself splits text by the rule "words" alone: look at vectors trained without --splitting')
    if max_tokens < 2:
        raise ValueError(f"max_tokens must be at least 2, not {max_tokens}")


def frequent_rows(embeddings: Embeddings, max_tokens: int) -> npt.NDArray[np.intp]:
    """Return the rows of the most frequent tokens, the most frequent first; the first rows if there are no counts."""
    rows = np.arange(len(embeddings)) if embeddings.counts is None else np.argsort(-embeddings.counts, kind="stable")
    return rows[:max_tokens]


def map_points(vectors: npt.NDArray[np.float32], projection: str) -> npt.NDArray[np.float64]:
    """Return where to draw each vector, shape (n, 2): centred, the longer side of all `MAP_SIZE`, to two decimals."""
    points = project(vectors, projection, PERPLEXITY)
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float((high - low).max()) or 1.0
    centred: npt.NDArray[np.float64] = np.round((points - (low + high) / 2) * (MAP_SIZE / extent), 2)
    return centred


def presets(embeddings: Embeddings, rows: npt.NDArray[np.intp]) -> list[list[str]]:
    """Return those of the listed analogies that these vectors answer rightly, as [a, b, c] for a - b + c.

    The answer must be the first among all tokens but a, b and c, fragments included.
    """
    unit = embeddings.unit_vectors[rows]
    place = {embeddings.tokens[row]: index for index, row in enumerate(rows)}
    right = []
    (questions,) = read_analogies(WORD_LISTS / "analogies.tsv").values()
    for question in questions:
        a, b, c, answer = (place.get(word + END_OF_WORD, -1) for word in question)
        if min(a, b, c, answer) < 0:
            continue
        scores = unit @ (unit[a] - unit[b] + unit[c])
        scores[[a, b, c]] = -np.inf
        if int(scores.argmax()) == answer:
            right.append(list(question[:3]))
    return right[:MAX_PRESETS]


def _start(embeddings: Embeddings, rows: npt.NDArray[np.intp]) -> int:
    """Return the place of the token that is selected when the page opens: a word that has something to say."""
    known = {embeddings.tokens[row]: place for place, row in enumerate(rows)}
    places = (known.get(word + END_OF_WORD) for word in query_words(embeddings, 10))
    return next((place for place in places if place is not None), 0)


# ---------------------------------------------------------------- data for the page


def _tokenizer_data(tokenizer: BPETokenizerLoader) -> dict[str, Any]:
    """Return what the page needs to encode: ids in place of strings, since each token is made of two earlier ones."""
    ids = tokenizer.token_to_id
    return {
        "lowercase": tokenizer.model.lowercase,
        "byteFallback": tokenizer.model.byte_fallback,
        "alphabet": tokenizer.model.alphabet,
        "merges": [ids[token] for pair in tokenizer.merges for token in pair],
    }


def _published_data(name: str, tokenizer: BPETokenizerLoader, samples: Iterable[str]) -> dict[str, Any]:
    """Return how a vocabulary cuts the samples, tokens as people read them."""
    cuts = [[printable(visible(tokenizer, token)) for token in tokenizer.tokenize(sample)] for sample in samples]
    return {"title": name, "note": f"{tokenizer.vocab_size:,} tokens", "cuts": cuts}


def _film_data(film: Film, tokens: list[str]) -> dict[str, Any] | None:
    """Return the film of those tokens that the page has, to three decimals; None if it has too few."""
    row_of = {token: row for row, token in enumerate(tokens)}
    kept = [place for place, token in enumerate(film.tokens) if token in row_of]
    if len(kept) < 2:
        return None
    return {
        "epochs": film.epochs,
        "rows": [row_of[film.tokens[place]] for place in kept],
        "frames": [np.round(frame[kept], 3).ravel().tolist() for frame in film.frames],
        "losses": film.losses,
        "share": film.share,
    }


def _vector_data(embeddings: Embeddings, rows: npt.NDArray[np.intp]) -> dict[str, Any]:
    """Return the tokens with their counts, unit vectors and the lengths these had; and the tokens that have no room here.

    A number of a unit vector lies in -1 to 1, so 16 bits of fixed point do: the cosines of 10,000 trained vectors of 100
    numbers then err by at most 7e-5 (float16, of the same size, by 2.3e-4), and the page shows three digits.
    """
    fixed = np.round(embeddings.unit_vectors[rows] * INT16_MAX).astype("<i2")
    lengths = np.linalg.norm(embeddings.vectors[rows].astype(np.float64), axis=1)
    shown = set(rows.tolist())
    return {
        "tokens": [embeddings.tokens[row] for row in rows],
        "omitted": [token for row, token in enumerate(embeddings.tokens) if row not in shown],
        "lengths": [float(f"{length:.6g}") for length in lengths],
        "counts": None if embeddings.counts is None else embeddings.counts[rows].tolist(),
        "isWord": embeddings.is_word[rows].astype(int).tolist(),
        "dimension": embeddings.embedding_dim,
        "scale": 1 / INT16_MAX,
        "fixedPoint": base64.b64encode(fixed.tobytes()).decode("ascii"),
    }


def _part(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")


def _content_hash(content: str) -> str:
    """Return what a content security policy calls an inline script or style that may be used."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode("ascii")


def _inline_json(data: dict[str, Any]) -> str:
    r"""Return JSON that can stand in a script element: without "<", no token in it can end the element.

    >>> _inline_json({"token": "</script>"})
    '{"token":"\\u003c/script>"}'
    """
    return encodable(json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"))
