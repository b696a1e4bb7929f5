"""Text in: where does a text come from, and how is it read when it is larger than memory?

Read `corpus.py` (a text with a name, whole or in parts), then `sources.py` (the named corpora, cleaned) and `download.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokembed import lazy_names

_HOMES = {
    "Corpus": "corpus",
    "CorpusError": "corpus",
    "CorpusNotFoundError": "corpus",
    "load_corpus": "sources",
}
__all__ = sorted(_HOMES)
__getattr__ = lazy_names(__name__, _HOMES)

if TYPE_CHECKING:
    from tokembed.corpora.corpus import Corpus as Corpus
    from tokembed.corpora.corpus import CorpusError as CorpusError
    from tokembed.corpora.corpus import CorpusNotFoundError as CorpusNotFoundError
    from tokembed.corpora.sources import load_corpus as load_corpus
