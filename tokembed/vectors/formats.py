"""Vectors in other programs' formats: word2vec's text (gensim, fastText, spaCy) and the TensorBoard Embedding Projector's."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tokembed import files

if TYPE_CHECKING:
    from tokembed.vectors.embeddings import Embeddings

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
