"""Apply merges to one word: the plain Python form, in O(L log L) however long the word is.

The form to read first is `reference.encode_word`, which applies every merge there is; this one looks only at the pairs that the
word has.
"""

from __future__ import annotations

import heapq
import itertools

from tokembed.bpe.model import BYTE_TOKENS, UNKNOWN_TOKEN, BPEModel
from tokembed.bpe.splitting import END_OF_WORD, PIECE_PATTERN, check_no_surrogate, lower

SHORT_WORD = 32  # up to here, looking at every pair before each merge beats keeping a heap


class WordEncoder:
    """Tokenize words, one at a time, nothing remembered.

    Parameters
    ----------
    model : BPEModel
    merge_ranks : dict
        (left, right) to rank.
    """

    def __init__(self, model: BPEModel, merge_ranks: dict[tuple[str, str], int]) -> None:
        self._lowercase, self._byte_fallback = model.lowercase, model.byte_fallback
        self._merge_ranks = merge_ranks
        self._known = set(model.alphabet)

    def __call__(self, word: str) -> tuple[str, ...]:
        """Return the tokens of one word.

        Raises
        ------
        ValueError
            It is not exactly one piece of text, or holds a lone surrogate.
        """
        if not PIECE_PATTERN.fullmatch(word):
            raise ValueError(
                f"{word!r:.80} is not one word: give a run of letters and digits or one punctuation mark, or use tokenize(text)"
            )
        piece = lower(word) if self._lowercase else word
        symbols = [*piece, END_OF_WORD]
        merged = self.merge_short(symbols) if len(symbols) <= SHORT_WORD else self.merge_long(symbols)
        if all(character in self._known for character in piece):
            return tuple(merged)
        check_no_surrogate(word)
        tokens: list[str] = []
        for token in merged:
            if len(token) > 1 or token in self._known:
                tokens.append(token)
            elif self._byte_fallback:
                tokens += [BYTE_TOKENS[byte] for byte in token.encode("utf-8")]
            else:
                tokens.append(UNKNOWN_TOKEN)
        return tuple(tokens)

    def merge_short(self, symbols: list[str]) -> list[str]:
        """Merge the pair of lowest rank, the leftmost first, until none is left: O(L²)."""
        ranks, no_rank = self._merge_ranks, len(self._merge_ranks)
        while len(symbols) > 1:
            pairs = [ranks.get(pair, no_rank) for pair in itertools.pairwise(symbols)]
            best = min(pairs)
            if best == no_rank:
                break
            position = pairs.index(best)
            symbols[position : position + 2] = [symbols[position] + symbols[position + 1]]
        return symbols

    def merge_long(self, symbols: list[str]) -> list[str]:
        """Do as `merge_short` with a heap of pairs over linked symbols: O(L log L)."""
        ranks = self._merge_ranks
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
