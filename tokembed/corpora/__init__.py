"""Text in: where does a text come from, and how is it read when it is larger than memory?

Read `corpus.py` (a text with a name, whole or in parts), `shards.py` (many files, or a dataset on the hub), then `sources.py`
(the named corpora, cleaned) and `download.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokembed import lazy_names

__getattr__, __all__ = lazy_names(__name__, {"corpus": "Corpus CorpusError CorpusNotFoundError", "sources": "load_corpus"})

if TYPE_CHECKING:
    from tokembed.corpora.corpus import Corpus as Corpus, CorpusError as CorpusError, CorpusNotFoundError as CorpusNotFoundError
    from tokembed.corpora.sources import load_corpus as load_corpus
