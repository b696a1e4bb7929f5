"""Vectors in use: what can one ask them, how good are they, and how are they kept?

Read `embeddings.py` (look up, compare, find neighbours), `composition.py` (words from their parts), `evaluation.py` (judged
word pairs, synonyms, analogies), `storage.py` (our files, checkpoints among them) and `formats.py` (other programs' files).
`word_lists/` holds the lists of this project.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokembed import lazy_names

__getattr__, __all__ = lazy_names(__name__, {"embeddings": "Embeddings UnknownWordError", "storage": "VectorsFileError"})

if TYPE_CHECKING:
    from tokembed.vectors.embeddings import Embeddings as Embeddings, UnknownWordError as UnknownWordError
    from tokembed.vectors.storage import VectorsFileError as VectorsFileError
