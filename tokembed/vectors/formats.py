"""Vectors in other programs' formats: word2vec's text (gensim, fastText, spaCy), the TensorBoard Embedding Projector's, and
static models (model2vec, sentence-transformers), which turn whole texts into vectors.
"""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tokembed import files
from tokembed.bpe.huggingface import tokenizer_json
from tokembed.vectors import storage

if TYPE_CHECKING:
    from tokembed.vectors.embeddings import Embeddings

SIF = 1e-4  # chosen on WikiText-2's validation articles, where 1e-4 to 3e-3 find 0.794 to 0.782 of the passages
_SPECIAL = re.compile(r"[\s\\\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_ESCAPED = re.compile(r"\\u\{([0-9a-f]+)\}")


def escaped(token: str) -> str:
    r"""Return a token without white space, control characters, lone surrogates or bare backslashes: each becomes `\u{hex}`.

    A word2vec file separates by spaces and lines, so that a token with one could not be read back.

    >>> escaped("a b\\"), escaped("creature</w>")
    ('a\\u{20}b\\u{5c}', 'creature</w>')
    """
    return _SPECIAL.sub(lambda match: f"\\u{{{ord(match.group()):x}}}", token)


def unescaped(token: str) -> str:
    r"""Return the token that `escaped` was given.

    >>> unescaped(escaped("a b\\"))
    'a b\\'
    """
    return _ESCAPED.sub(lambda match: chr(int(match.group(1), 16)), token)


def _numbers(vector: npt.NDArray[np.float32], separator: str) -> str:
    return separator.join(f"{number:.9g}" for number in vector)  # nine significant digits name a float32 exactly


def save_word2vec_format(embeddings: Embeddings, path: str | os.PathLike[str]) -> None:
    """Write "V D", then a token and its D numbers per line, the most frequent first; as float32 they read back exactly."""
    order = np.arange(len(embeddings))
    if embeddings.counts is not None:
        order = np.argsort(-embeddings.counts, kind="stable")
    lines = io.StringIO()
    lines.write(f"{len(embeddings)} {embeddings.embedding_dim}\n")
    for row in order:
        lines.write(f"{escaped(embeddings.tokens[row])} {_numbers(embeddings.vectors[row], ' ')}\n")
    files.write_atomic(path, lines.getvalue())


PROJECTOR_CONFIG = """embeddings {
  tensor_name: "tokembed"
  tensor_path: "vectors.tsv"
  metadata_path: "metadata.tsv"
}
"""


def save_projector(embeddings: Embeddings, folder: str | os.PathLike[str]) -> None:
    """Write `vectors.tsv` and `metadata.tsv`, one line per token in both, and `projector_config.pbtxt`, which names them."""
    folder = Path(folder)
    vectors, metadata = io.StringIO(), io.StringIO()
    counts, is_word = embeddings.counts, embeddings.is_word
    metadata.write("token\tcount\tis_word\n")
    for row, token in enumerate(embeddings.tokens):
        vectors.write(_numbers(embeddings.vectors[row], "\t") + "\n")
        metadata.write(f"{escaped(token)}\t{'' if counts is None else counts[row]}\t{'yes' if is_word[row] else 'no'}\n")
    files.write_atomic(folder / "vectors.tsv", vectors.getvalue())
    files.write_atomic(folder / "metadata.tsv", metadata.getvalue())
    files.write_atomic(folder / "projector_config.pbtxt", PROJECTOR_CONFIG)


# ---------------------------------------------------------------- static models


def static_rows(embeddings: Embeddings, sif: float | None = SIF, *, remove_common: bool = True) -> npt.NDArray[np.float32]:
    """Return a vector for each id of the tokenizer, (V, D), made so that the mean over a text's ids is a vector of the text.

    A token that was never trained, as those are whose rare merges were undone in training, gets what `Embeddings.vector` gives
    its word: what its n-grams predict if there is a `composition`, else the mean of its parts. So a word with a token of its
    own, however rare, has its vector. A word without one is the mean of its tokens here, and not composed of its n-grams: a
    table of tokens can't know of it. A token of which nothing is known is a row of zeros, which does not turn the mean.

    Parameters
    ----------
    sif : float or None
        Each row is multiplied by sif / (sif + p) for a token's share p of the text that was trained on, so that frequent words
        count for little; None leaves rows as they are.
    remove_common : bool
        Take away what each row has of the direction that texts have in common: the first right singular vector of the rows,
        weighted by the roots of their tokens' shares (by nothing if there are no counts).

    References
    ----------
    Arora, Liang, Ma (2017), A Simple but Tough-to-Beat Baseline for Sentence Embeddings, Algorithm 1. There the direction is
    that of given sentences; here it is known before any is.
    """
    if (tokenizer := embeddings.tokenizer) is None:
        raise ValueError("a text is cut by a tokenizer, and these vectors have none: Embeddings(tokens, vectors, tokenizer)")
    if sif is not None and not (sif > 0 and np.isfinite(sif)):
        raise ValueError(f"sif must be a positive number, or None, not {sif}")
    if sif is not None and embeddings.counts is None:
        raise ValueError("sif weighs tokens by their counts, and these vectors have none: give sif=None")
    rows = np.zeros((tokenizer.vocab_size, embeddings.embedding_dim))
    counts = np.zeros(tokenizer.vocab_size)
    for index, token in enumerate(tokenizer.id_to_token):
        row = embeddings.token_to_index.get(token)
        if row is not None:
            rows[index] = embeddings.vectors[row]
            counts[index] = 1 if embeddings.counts is None else embeddings.counts[row]
        elif token and embeddings.rule.is_whole(token) and (word := embeddings.word_of(token)) in embeddings:
            rows[index] = embeddings.vector(word)
        elif parts := embeddings.rows_of_token(token):
            rows[index] = embeddings.vectors[parts].mean(axis=0, dtype=np.float64)
    shares = counts / max(counts.sum(), 1)
    if sif is not None:
        rows *= (sif / (sif + shares))[:, None]
    if remove_common:
        weighted = rows * np.sqrt(shares)[:, None]
        common = np.linalg.eigh(weighted.T @ weighted)[1][:, -1]  # (D,), of length 1
        rows -= np.outer(rows @ common, common)
    return rows.astype(np.float32)


def export_static_model(
    embeddings: Embeddings, folder: str | os.PathLike[str], sif: float | None = SIF, *, remove_common: bool = True
) -> None:
    """Write `tokenizer.json`, `model.safetensors`, `config.json` and `modules.json`; see `Embeddings.export_static_model`.

    Each file is written in one step. The last two, without which nothing loads the folder, are removed first and written last,
    so that what is interrupted leaves no folder in which vectors and tokenizer belong to different models.
    """
    rows = static_rows(embeddings, sif, remove_common=remove_common)
    assert embeddings.tokenizer is not None
    folder = Path(folder)
    files.check_writable(folder)
    parsed = json.loads(tokenizer_json(embeddings.tokenizer.model))
    # A row for each token and a token for each row: ids that a published vocabulary leaves out are closed up.
    kept = [index for index, token in enumerate(embeddings.tokenizer.id_to_token) if token]
    place_of = {index: place for place, index in enumerate(kept)}
    parsed["model"]["vocab"] = {token: place_of[index] for token, index in parsed["model"]["vocab"].items()}
    for token in parsed["added_tokens"]:
        token["id"] = place_of[token["id"]]
    config = {
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "hidden_dim": embeddings.embedding_dim,
        "embedding_dtype": "float32",
        "sif_coefficient": sif,
        "pooling": "mean",
        "normalize": False,
        "max_length": None,  # else model2vec cuts off texts
    }
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.StaticEmbedding"}]
    for name in ("config.json", "modules.json"):
        (folder / name).unlink(missing_ok=True)
    files.write_atomic(folder / "tokenizer.json", json.dumps(parsed, ensure_ascii=False))
    storage.write_tensors(folder / "model.safetensors", {"embeddings": rows[kept]}, {})
    files.write_atomic(folder / "modules.json", json.dumps(modules, indent=1) + "\n")
    files.write_atomic(folder / "config.json", json.dumps(config, indent=1) + "\n")
