"""Byte-pair encoding, slow and readable: what the fast code must equal, and the "before" of every benchmark.

Read this file first. Nothing in it is clever; everything else in this room computes the same.
"""

from __future__ import annotations

import itertools
from collections import Counter

from tokembed.bpe.splitting import BYTE_CHARACTERS, END_OF_WORD, lower, rule_of

Pair = tuple[str, str]


def split(text: str, lowercase: bool = True, splitting: str = "words") -> list[tuple[str, ...]]:
    """Split text into words, each as the symbols that merging begins with.

    >>> split("Low é")
    [('l', 'o', 'w', '</w>'), ('é', '</w>')]
    >>> split("Low é", splitting="gpt2")  # bytes, a character for each, and Ġ for a space
    [('L', 'o', 'w'), ('Ġ', 'Ã', '©')]
    """
    rule = rule_of(splitting)
    pieces = rule.pieces(text)
    if lowercase and not rule.is_lossless:
        pieces = [lower(piece) for piece in pieces]
    return [tuple(rule.symbols(piece)) for piece in pieces]


def count_words(text: str, lowercase: bool = True, splitting: str = "words") -> dict[tuple[str, ...], int]:
    """Return each distinct word, as its symbols, with how often it occurs.

    >>> count_words("low low")
    {('l', 'o', 'w', '</w>'): 2}
    """
    return dict(Counter(split(text, lowercase, splitting)))


def count_pairs(words: dict[tuple[str, ...], int]) -> Counter[Pair]:
    """Count adjacent symbols over all words, each word weighted by its frequency.

    >>> count_pairs({("a", "a", "a", "</w>"): 5})
    Counter({('a', 'a'): 10, ('a', '</w>'): 5})
    """
    counts: Counter[Pair] = Counter()
    for word, frequency in words.items():
        for pair in itertools.pairwise(word):
            counts[pair] += frequency
    return counts


def merge_word(word: tuple[str, ...], pair: Pair) -> tuple[str, ...]:
    """Replace every occurrence of `pair` by its concatenation, from the left.

    >>> merge_word(("a", "a", "a", "</w>"), ("a", "a"))
    ('aa', 'a', '</w>')
    """
    merged = []
    position = 0
    while position < len(word):
        if word[position : position + 2] == pair:
            merged.append(pair[0] + pair[1])
            position += 2
        else:
            merged.append(word[position])
            position += 1
    return tuple(merged)


def train_bpe(
    text: str, num_merges: int, *, lowercase: bool = True, min_frequency: int = 2, splitting: str = "words"
) -> list[Pair]:
    """Learn merges by recounting all pairs before each one: O(M·N) where `learning.train_bpe` touches only what changed.

    >>> train_bpe("low low low lower lowest", 3)
    [('l', 'o'), ('lo', 'w'), ('low', '</w>')]
    >>> train_bpe("low low low lower lowest", 4, splitting="gpt2")  # spaces belong to what follows them
    [('l', 'o'), ('lo', 'w'), ('Ġ', 'low'), ('Ġlow', 'e')]
    """
    words = count_words(text, lowercase, splitting)
    if rule_of(splitting).is_lossless:
        alphabet = sorted(BYTE_CHARACTERS)
    else:
        alphabet = [*sorted({character for word in words for character in word[:-1]}), END_OF_WORD]
    token_to_id = {token: index for index, token in enumerate(alphabet)}
    merges: list[Pair] = []
    while len(merges) < num_merges:
        counts = count_pairs(words)
        # The largest count; among equals the smallest ids, so that the result depends on the text alone.
        best = min(counts, key=lambda pair: (-counts[pair], token_to_id[pair[0]], token_to_id[pair[1]]), default=None)
        if best is None or counts[best] < min_frequency:
            break
        words = {merge_word(word, best): frequency for word, frequency in words.items()}
        token_to_id[best[0] + best[1]] = len(token_to_id)
        merges.append(best)
    return merges


def encode_word(piece: str, merges: list[Pair], splitting: str = "words") -> tuple[str, ...]:
    """Apply every merge, in the order learned, to one piece: O(M·L).

    >>> encode_word("lowest", [("l", "o"), ("lo", "w"), ("low", "</w>")])
    ('low', 'e', 's', 't', '</w>')
    """
    return merge_all(tuple(rule_of(splitting).symbols(piece)), merges)


def merge_all(word: tuple[str, ...], merges: list[Pair]) -> tuple[str, ...]:
    """Apply every merge, in the order learned, to the symbols of one word."""
    for pair in merges:
        word = merge_word(word, pair)
    return word


def tokenize(
    text: str, merges: list[Pair], alphabet: list[str], *, lowercase: bool = True, splitting: str = "words"
) -> list[str]:
    """Tokenize text, nothing remembered from one word to the next; unknown characters become UTF-8 byte tokens.

    >>> tokenize("Low é", [("l", "o"), ("lo", "w"), ("low", "</w>")], ["l", "o", "w", "</w>"])
    ['low</w>', '<0xC3>', '<0xA9>', '</w>']
    """
    known = set(alphabet)
    tokens: list[str] = []
    for word in split(text, lowercase, splitting):
        for token in merge_all(word, merges):
            if len(token) == 1 and token not in known:
                tokens.extend(f"<0x{byte:02X}>" for byte in token.encode("utf-8"))
            else:
                tokens.append(token)
    return tokens
