"""The encoder as a ladder: naive to fast, one change per step, each step a whole encoder with the same ids.

A step inherits everything from the steps before it and overrides one thing, so the difference between two steps is what that
change buys, on this text and on top of what is there already. In another order the same changes would buy other shares.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from functools import partial

from tokembed.bpe import reference
from tokembed.bpe.model import BPEModel
from tokembed.bpe.splitting import END_OF_WORD, PIECE_PATTERN, lower
from tokembed.bpe.tokenizer import BPETokenizerLoader

Encode = Callable[[str], Iterable[int]]


class Naive:
    """Every merge is tried on every word, in order: O(M·L²) per word."""

    def __init__(self, model: BPEModel) -> None:
        self.merges, self.vocab, self.lowercase = model.merges, model.vocab, model.lowercase

    def split(self, text: str) -> list[str]:
        return re.findall(PIECE_PATTERN.pattern, text)

    def merge(self, piece: str) -> tuple[str, ...]:
        return reference.encode_word(piece, self.merges)

    def tokens_of(self, piece: str) -> tuple[str, ...]:
        return self.merge(piece)

    def ids_of(self, tokens: tuple[str, ...]) -> list[int]:
        ids: list[int] = []
        for token in tokens:
            if token in self.vocab:
                ids.append(self.vocab[token])
            else:
                ids.extend(self.vocab[f"<0x{byte:02X}>"] for byte in token.encode("utf-8"))
        return ids

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for piece in self.split(text):
            ids.extend(self.ids_of(self.tokens_of(lower(piece) if self.lowercase else piece)))
        return ids


class WordCache(Naive):
    """A word that comes again is not merged again."""

    def __init__(self, model: BPEModel) -> None:
        super().__init__(model)
        self.cache: dict[str, tuple[str, ...]] = {}

    def tokens_of(self, piece: str) -> tuple[str, ...]:
        if piece not in self.cache:
            self.cache[piece] = self.merge(piece)
        return self.cache[piece]


class MergeRanks(WordCache):
    """A table of ranks says which of a word's own pairs comes first; the other merges are not tried."""

    def __init__(self, model: BPEModel) -> None:
        super().__init__(model)
        self.ranks = {pair: rank for rank, pair in enumerate(self.merges)}

    def merge(self, piece: str) -> tuple[str, ...]:
        word: tuple[str, ...] = (*piece, END_OF_WORD)
        while True:
            known = sorted(self.ranks[pair] for pair in itertools.pairwise(word) if pair in self.ranks)
            if not known:
                return word
            word = reference.merge_word(word, self.merges[known[0]])


class CompiledSplit(MergeRanks):
    """The pattern is compiled once; `re` would look it up in a cache of its own at each call."""

    def split(self, text: str) -> list[str]:
        return PIECE_PATTERN.findall(text)


class BestPair(CompiledSplit):
    """The best pair is found by one pass without sorting, and merged in place."""

    def merge(self, piece: str) -> tuple[str, ...]:
        word, last = [*piece, END_OF_WORD], len(self.merges)
        while len(word) > 1:
            best, place = last, -1
            for index in range(len(word) - 1):
                rank = self.ranks.get((word[index], word[index + 1]), last)
                if rank < best:
                    best, place = rank, index
            if place < 0:
                break
            word[place : place + 2] = [word[place] + word[place + 1]]
        return tuple(word)


class UnknownTokens(BestPair):
    """Tokens without an id are remembered with their bytes' ids."""

    def __init__(self, model: BPEModel) -> None:
        super().__init__(model)
        self.unknown: dict[str, list[int]] = {}

    def ids_of(self, tokens: tuple[str, ...]) -> list[int]:
        ids: list[int] = []
        for token in tokens:
            if token in self.vocab:
                ids.append(self.vocab[token])
                continue
            if token not in self.unknown:
                self.unknown[token] = super().ids_of((token,))
            ids.extend(self.unknown[token])
        return ids


class LocalNames(UnknownTokens):
    """The loop over pieces looks no attribute up."""

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        extend, ids_of, tokens_of, is_lowered = ids.extend, self.ids_of, self.tokens_of, self.lowercase
        for piece in self.split(text):
            extend(ids_of(tokens_of(lower(piece) if is_lowered else piece)))
        return ids


PYTHON_STEPS: dict[str, type[Naive]] = {
    "naive": Naive,
    "word cache": WordCache,
    "merge ranks": MergeRanks,
    "precompiled split": CompiledSplit,
    "best-pair merging": BestPair,
    "unknown-token cache": UnknownTokens,
    "local variables": LocalNames,
}


def empty_tokenizer(model: BPEModel) -> BPETokenizerLoader:
    """Return a tokenizer whose tables are made in the C library, with no word in them."""
    tokenizer = BPETokenizerLoader(model)
    tokenizer.encode_array("")
    return tokenizer


def steps(model: BPEModel) -> dict[str, Callable[[], Encode]]:
    """Return each step's maker of an encoder that remembers nothing yet, from the naive one to the C library on threads."""

    def python(step: type[Naive]) -> Callable[[], Encode]:
        return lambda: step(model).encode

    def native(num_threads: int | None) -> Callable[[], Encode]:
        return lambda: partial(empty_tokenizer(model).encode_array, num_threads=num_threads)

    makers = {name: python(step) for name, step in PYTHON_STEPS.items()}
    return {**makers, "C library, one thread": native(1), "threads": native(None)}
