"""Split rare tokens into those they were merged from: a token seen twice learns nothing, its parts may know something.

Byte-pair encoding with many merges gives most words a token of their own, which is what vectors want, but its rare tokens are
seen too seldom to be trained. Dropping them leaves words without a vector. Reverting their merges instead keeps every
character of the stream, each in a token that occurs often enough.

Reference: Sennrich, Birch, Currey, Germann, Haddow, Heafield, Barone, Williams (2017), The University of Edinburgh's Neural MT
Systems for WMT17, section 3.1 (the vocabulary threshold of subword-nmt).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tokembed.bpe.tokenizer import BPETokenizerLoader


class RareTokenSplitter:
    """Reverts the merges whose tokens occur less often than a threshold.

    Parameters
    ----------
    tokenizer : BPETokenizerLoader
    counts : array (V,) of int64
        Occurrences of each id.
    threshold : int
        Tokens that occur less often are split, the newest merge first; its parts then occur that much more often.

    Examples
    --------
    >>> from tokembed import train_bpe
    >>> tokenizer = BPETokenizerLoader(train_bpe("low low low lower", num_merges=6))
    >>> token_ids = tokenizer.encode_array("low low lower lowr")
    >>> splitter = RareTokenSplitter(tokenizer, np.bincount(token_ids, minlength=tokenizer.vocab_size), threshold=2)
    >>> [tokenizer.id_to_token[index] for index in splitter.split(token_ids)]
    ['low</w>', 'low</w>', 'low', 'e', 'r', '</w>', 'low', 'r', '</w>']
    """

    def __init__(self, tokenizer: BPETokenizerLoader, counts: npt.NDArray[np.int64], threshold: int) -> None:
        ids = tokenizer.token_to_id
        counts = counts.tolist()
        is_split = [False] * tokenizer.vocab_size
        # A merge's parts are older than it is, so that going back in time meets every part with all that it inherits.
        for left, right in reversed(tokenizer.merges):
            token = ids[left + right]
            if counts[token] < threshold:
                is_split[token] = True
                for part in (ids[left], ids[right]):
                    counts[part] += counts[token]
        splits = [[token] for token in range(tokenizer.vocab_size)]
        for left, right in tokenizer.merges:
            token = ids[left + right]
            if is_split[token]:
                splits[token] = splits[ids[left]] + splits[ids[right]]
        self._lengths = np.array([len(split) for split in splits], dtype=np.int64)
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._flat = np.array([part for split in splits for part in split], dtype=np.int32)

    def split(self, token_ids: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int32]:
        """Return the stream with its rare tokens split, as int32; it decodes to the same text."""
        lengths = self._lengths[token_ids]
        ends = np.cumsum(lengths)
        within = np.arange(ends[-1] if ends.size else 0) - np.repeat(ends - lengths, lengths)
        split: npt.NDArray[np.int32] = self._flat[np.repeat(self._starts[token_ids], lengths) + within]
        return split
