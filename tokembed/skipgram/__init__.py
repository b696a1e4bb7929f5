"""Token ids to vectors: skip-gram with negative sampling.

Read in this order:

1. `reference.py`: the loss of a pair and a step of descent, slow and readable. Every engine computes the same, and
   `reference_engine.py` trains by it.
2. `settings.py`, `sampling.py`: what can be set; which tokens, pairs and negatives are seen, and how often?
3. `training.py`: the loop over epochs, and which engine runs it.
4. `hogwild.py`, `native/skipgram.c`: how do threads train on a CPU, without locks?
5. `model.py`, `torch_engine.py`: the same in batches, on an accelerator.
6. `distributed.py`: how do several processes train one model, and what does it cost?
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokembed import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {"model": "SkipGramModel", "settings": "TrainingConfig TrainingDivergedError", "training": "TrainingResult train_skipgram"},
)

if TYPE_CHECKING:
    from tokembed.skipgram.model import SkipGramModel as SkipGramModel
    from tokembed.skipgram.settings import TrainingConfig as TrainingConfig, TrainingDivergedError as TrainingDivergedError
    from tokembed.skipgram.training import TrainingResult as TrainingResult, train_skipgram as train_skipgram
