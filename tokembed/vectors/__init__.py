"""Vectors in use: what can one ask them, how good are they, and how are they kept?

Read `embeddings.py` (look up, compare, find neighbours), `evaluation.py` (judged word pairs, synonyms, analogies), `storage.py`
(our files, checkpoints among them) and `formats.py` (other programs' files). `word_lists/` holds the lists of this project.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokembed import lazy_names

_HOMES = {
    "Embeddings": "embeddings",
    "UnknownWordError": "embeddings",
    "VectorsFileError": "storage",
}
__all__ = sorted(_HOMES)
__getattr__ = lazy_names(__name__, _HOMES)

if TYPE_CHECKING:
    from tokembed.vectors.embeddings import Embeddings as Embeddings
    from tokembed.vectors.embeddings import UnknownWordError as UnknownWordError
    from tokembed.vectors.storage import VectorsFileError as VectorsFileError
