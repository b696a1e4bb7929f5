"""tokembed: byte-pair encoding and skip-gram embeddings, readable and fast.

    from tokembed import load_corpus, train_bpe, BPETokenizerLoader, TrainingConfig, train_skipgram, Embeddings

Names are imported when they are first used: `import tokembed` alone loads no numba, numpy or torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "load_corpus": "corpora.sources",
    "Corpus": "corpora.sources",
    "CorpusError": "corpora.sources",
    "train_bpe": "bpe.learning",
    "BPEModel": "bpe.model",
    "BPETokenizerLoader": "bpe.tokenizer",
    "select_device": "device",
    "SkipGramModel": "skipgram.model",
    "TrainingConfig": "skipgram.settings",
    "TrainingResult": "skipgram.training",
    "train_skipgram": "skipgram.training",
    "Embeddings": "vectors.embeddings",
}
__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from tokembed.bpe.learning import train_bpe as train_bpe
    from tokembed.bpe.model import BPEModel as BPEModel
    from tokembed.bpe.tokenizer import BPETokenizerLoader as BPETokenizerLoader
    from tokembed.corpora.sources import Corpus as Corpus
    from tokembed.corpora.sources import CorpusError as CorpusError
    from tokembed.corpora.sources import load_corpus as load_corpus
    from tokembed.device import select_device as select_device
    from tokembed.skipgram.model import SkipGramModel as SkipGramModel
    from tokembed.skipgram.settings import TrainingConfig as TrainingConfig
    from tokembed.skipgram.training import TrainingResult as TrainingResult
    from tokembed.skipgram.training import train_skipgram as train_skipgram
    from tokembed.vectors.embeddings import Embeddings as Embeddings


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
