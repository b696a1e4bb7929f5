"""tokembed: byte-pair encoding and skip-gram embeddings, readable and fast.

    from tokembed import load_corpus, train_bpe, BPETokenizerLoader, TrainingConfig, train_skipgram, Embeddings

The core is four rooms: `corpora` (text in), `bpe` (text to ids), `skipgram` (ids to vectors) and `vectors` (vectors in
use). Each room's `__init__.py` says in which order to read it.

Names are imported when they are first used: `import tokembed` alone loads no numpy or torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"


def lazy_names(package: str, homes: dict[str, str]) -> tuple[Callable[[str], Any], list[str]]:
    """Return a package's `__getattr__`, which imports public names at first use, and its `__all__`.

    `homes` has the names, separated by spaces, by the module they come from.
    """
    home_of = {name: module for module, names in homes.items() for name in names.split()}

    def get(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{home_of[name]}"), name)

    return get, sorted(home_of)


__getattr__, __all__ = lazy_names(
    __name__,
    {
        "bpe": "BPEModel BPETokenizerLoader train_bpe",
        "corpora": "Corpus CorpusError load_corpus",
        "device": "select_device",
        "skipgram": "SkipGramModel TrainingConfig TrainingResult train_skipgram",
        "vectors": "Embeddings",
    },
)

if TYPE_CHECKING:
    from tokembed.bpe import BPEModel as BPEModel, BPETokenizerLoader as BPETokenizerLoader, train_bpe as train_bpe
    from tokembed.corpora import Corpus as Corpus, CorpusError as CorpusError, load_corpus as load_corpus
    from tokembed.device import select_device as select_device
    from tokembed.skipgram import (
        SkipGramModel as SkipGramModel,
        TrainingConfig as TrainingConfig,
        TrainingResult as TrainingResult,
        train_skipgram as train_skipgram,
    )
    from tokembed.vectors import Embeddings as Embeddings


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
