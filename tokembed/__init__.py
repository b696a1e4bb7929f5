"""tokembed: byte-pair encoding and skip-gram embeddings, readable and fast.

    from tokembed import load_corpus, train_bpe, BPETokenizerLoader, TrainingConfig, train_skipgram, Embeddings

The core is four rooms: `corpora` (text in), `bpe` (text to ids), `skipgram` (ids to vectors) and `vectors` (vectors in
use). Each room's `__init__.py` says in which order to read it.

Names are imported when they are first used: `import tokembed` alone loads no numba, numpy or torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"


def lazy_names(package: str, homes: dict[str, str]) -> Callable[[str], Any]:
    """Return a package's `__getattr__`, which imports a public name from its module (`homes`: name to module) at first use."""

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)

    return get


_HOMES = {
    "BPEModel": "bpe",
    "BPETokenizerLoader": "bpe",
    "Corpus": "corpora",
    "CorpusError": "corpora",
    "Embeddings": "vectors",
    "SkipGramModel": "skipgram",
    "TrainingConfig": "skipgram",
    "TrainingResult": "skipgram",
    "load_corpus": "corpora",
    "select_device": "device",
    "train_bpe": "bpe",
    "train_skipgram": "skipgram",
}
__all__ = sorted(_HOMES)
__getattr__ = lazy_names(__name__, _HOMES)

if TYPE_CHECKING:
    from tokembed.bpe import BPEModel as BPEModel
    from tokembed.bpe import BPETokenizerLoader as BPETokenizerLoader
    from tokembed.bpe import train_bpe as train_bpe
    from tokembed.corpora import Corpus as Corpus
    from tokembed.corpora import CorpusError as CorpusError
    from tokembed.corpora import load_corpus as load_corpus
    from tokembed.device import select_device as select_device
    from tokembed.skipgram import SkipGramModel as SkipGramModel
    from tokembed.skipgram import TrainingConfig as TrainingConfig
    from tokembed.skipgram import TrainingResult as TrainingResult
    from tokembed.skipgram import train_skipgram as train_skipgram
    from tokembed.vectors import Embeddings as Embeddings


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
