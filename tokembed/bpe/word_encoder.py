"""Apply merges to one word: the plain Python form, in O(L log L) however long the word is.

The form to read first is `reference.encode_word`, which applies every merge there is; this one looks only at the pairs that the
word has.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping
from functools import cached_property

from tokembed.bpe.model import BYTE_TOKENS, UNKNOWN_TOKEN, BPEModel
from tokembed.bpe.splitting import lower, utf8

SHORT_WORD = 32  # up to here, looking at every pair before each merge beats keeping a heap

_ADVICE = {
    False: "give a run of letters and digits or one punctuation mark",
    True: "give one piece, as its splitting rule cuts text",
}


class WordEncoder:
    """Tokenize words, one at a time, nothing remembered.

    Parameters
    ----------
    model : BPEModel
    """

    def __init__(self, model: BPEModel) -> None:
        self._model = model
        self._rule, self._byte_fallback = model.rule, model.byte_fallback
        self._lowercase = model.lowers
        self._known = set(model.alphabet)
        # A Llama's pieces that are tokens get their ids, whatever merges make of them.
        self._whole_pieces = model.vocab.keys() - model.special_tokens.keys() if model.ignore_merges else frozenset()

    @cached_property
    def merge_ranks(self) -> dict[tuple[str, str], int]:
        """(left, right) to rank."""
        if not self._model.merges_tie:
            return {pair: rank for rank, pair in enumerate(self._model.merges)}
        first: dict[str, int] = {}
        return {pair: first.setdefault("".join(pair), rank) for rank, pair in enumerate(self._model.merges)}

    def __call__(self, word: str) -> tuple[str, ...]:
        """Return the tokens of one word.

        Raises
        ------
        ValueError
            It is not exactly one piece of text (which only a pattern of one's own can't tell), or holds a lone surrogate.
        """
        # A pattern of one's own may look at a piece's neighbours, and then finds others in the piece alone.
        if not word or (self._rule.family and self._rule.pieces(word) != [word]):
            raise ValueError(f"{word!r:.80} is not one word: {_ADVICE[self._rule.is_lossless]}, or use tokenize(text)")
        utf8(word)  # refuses surrogates
        piece = lower(word) if self._lowercase else word
        symbols = self._rule.symbols(piece)
        if self._whole_pieces and (token := "".join(symbols)) in self._whole_pieces:
            return (token,)
        merged = merge(symbols, self.merge_ranks)
        if self._rule.is_lossless or all(character in self._known for character in piece):
            return tuple(merged)
        tokens: list[str] = []
        for token in merged:
            if len(token) > 1 or token in self._known:
                tokens.append(token)
            elif self._byte_fallback:
                tokens += [BYTE_TOKENS[byte] for byte in token.encode("utf-8")]
            else:
                tokens.append(UNKNOWN_TOKEN)
        return tuple(tokens)


def merge(symbols: list[str], ranks: Mapping[tuple[str, str], int]) -> list[str]:
    """Merge the pair of lowest rank, the leftmost first, until none is left; `symbols` may be changed.

    >>> merge([*"lowest"], {("l", "o"): 0, ("lo", "w"): 1})
    ['low', 'e', 's', 't']
    """
    return _merge_short(symbols, ranks) if len(symbols) <= SHORT_WORD else _merge_long(symbols, ranks)


def _merge_short(symbols: list[str], ranks: Mapping[tuple[str, str], int]) -> list[str]:
    """Look at every pair before each merge: O(L²)."""
    no_rank = len(ranks)
    while len(symbols) > 1:
        pairs = [ranks.get(pair, no_rank) for pair in itertools.pairwise(symbols)]
        best = min(pairs)
        if best == no_rank:
            break
        position = pairs.index(best)
        symbols[position : position + 2] = [symbols[position] + symbols[position + 1]]
    return symbols


def _merge_long(symbols: list[str], ranks: Mapping[tuple[str, str], int]) -> list[str]:
    """Keep a heap of pairs over linked symbols: O(L log L)."""
    following = [*range(1, len(symbols)), -1]
    previous = [-1, *range(len(symbols) - 1)]
    heap = [(ranks[pair], i) for i, pair in enumerate(itertools.pairwise(symbols)) if pair in ranks]
    heapq.heapify(heap)
    while heap:
        rank, position = heapq.heappop(heap)
        partner = following[position]
        # An entry is stale when either half has been merged since: then the pair there has another rank, or none.
        if partner < 0 or not symbols[position] or ranks.get((symbols[position], symbols[partner])) != rank:
            continue
        symbols[position] += symbols[partner]
        symbols[partner] = ""
        after, before = following[partner], previous[position]
        following[position] = after
        if after >= 0:
            previous[after] = position
            if (new_rank := ranks.get((symbols[position], symbols[after]))) is not None:
                heapq.heappush(heap, (new_rank, position))
        if before >= 0 and (new_rank := ranks.get((symbols[before], symbols[position]))) is not None:
            heapq.heappush(heap, (new_rank, before))
    return [symbol for symbol in symbols if symbol]
