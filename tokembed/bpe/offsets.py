"""Where the tokens of a piece stand in the text."""

from __future__ import annotations

import itertools

from tokembed.bpe.model import BYTE_TOKENS, UNKNOWN_TOKEN
from tokembed.bpe.splitting import END_OF_WORD, lower

_BYTE_TOKENS = frozenset(BYTE_TOKENS)


def word_spans(tokens: tuple[str, ...], piece: str, start: int, lowercase: bool) -> list[tuple[int, int]]:
    """Return the span of each token of one piece that begins at `start`."""
    # A character may lower to several (U+0130 does): each of those stands for the one it came from.
    origin = [place for place, character in enumerate(piece) for _ in (character.lower() if lowercase else character)]
    characters = lower(piece) if lowercase else piece
    spans = []
    position = bytes_left = 0
    for token in tokens:
        if token in _BYTE_TOKENS:
            if bytes_left == 0:
                bytes_left = len(characters[position].encode("utf-8"))
                position += 1
            bytes_left -= 1
            length, end = 1, position
        elif token == UNKNOWN_TOKEN:
            length, position = 1, position + 1
            end = position
        else:
            length = len(token.removesuffix(END_OF_WORD))
            position += length
            end = position
        first, last = end - max(length, 1), end - 1
        spans.append((start + origin[first], start + origin[last] + 1))
    return spans


def byte_spans(tokens: tuple[str, ...], piece: str, start: int) -> list[tuple[int, int]]:
    """Return the span of characters that each token of one piece has bytes of; a token is as long as its bytes are many."""
    origin = [place for place, character in enumerate(piece) for _ in character.encode()]
    ends = [*itertools.accumulate(map(len, tokens))]
    return [(start + origin[end - len(token)], start + origin[end - 1] + 1) for token, end in zip(tokens, ends, strict=True)]
