"""Text to token ids and back: byte-pair encoding.

Read in this order:

1. `reference.py`: the whole algorithm, slow and readable. Everything else computes the same.
2. `splitting.py`: what is a word, to a tokenizer of ours and to those of language models?
3. `model.py`, `learning.py`: what is learned, and how without recounting everything for each merge (`native/learn.c`).
4. `word_encoder.py`, `tokenizer.py`, `offsets.py`: how are merges applied to new text, undone, and traced back to it?
5. `finding.py`, `counting.py`, `whole_texts.py`: how does the C library split, count and encode hundreds of megabytes, on
   threads (`native/split.c`, `merge.c`, `encode.c`)?
6. `rare_tokens.py`: splitting tokens too rare to train. `tiktoken.py`, `huggingface.py`: other programs' vocabularies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokembed import lazy_names

__getattr__, __all__ = lazy_names(
    __name__, {"model": "BPEModel ModelFileError", "tokenizer": "BPETokenizerLoader", "learning": "train_bpe"}
)

if TYPE_CHECKING:
    from tokembed.bpe.learning import train_bpe as train_bpe
    from tokembed.bpe.model import BPEModel as BPEModel, ModelFileError as ModelFileError
    from tokembed.bpe.tokenizer import BPETokenizerLoader as BPETokenizerLoader
