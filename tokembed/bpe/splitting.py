r"""The one splitting rule: text to pieces, before any merge.

A piece is a run of word characters or one character of punctuation, by Python's `re`: ``\w+|[^\w\s]``. White space
separates pieces and is not one. Pieces are split first and lower-cased second, each character by itself, so that a piece never
depends on its neighbours (`str.lower` would turn a final sigma into another letter).

No Unicode normalisation happens: "é" and "e" + U+0301 are different pieces (U+0301 is not a word character, so the second
is even two pieces).
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
import numpy.typing as npt

PIECE_PATTERN = re.compile(r"\w+|[^\w\s]")
END_OF_WORD = "</w>"

NUM_CODE_POINTS = 0x110000
SPACE, WORD, PUNCTUATION = 0, 1, 2


def lower(piece: str) -> str:
    """Lower each character by itself, without context.

    >>> lower("ΟΔΟΣ"), "ΟΔΟΣ".lower()  # str.lower sees that the sigma is final
    ('οδοσ', 'οδος')
    """
    # For ASCII both agree, and str.lower is 20 times as fast.
    return piece.lower() if piece.isascii() else "".join([character.lower() for character in piece])


def pieces(text: str, lowercase: bool = True) -> list[str]:
    """Split text into pieces.

    >>> pieces("Don't panic, it's 3.14!")
    ['don', "'", 't', 'panic', ',', 'it', "'", 's', '3', '.', '14', '!']
    """
    found = PIECE_PATTERN.findall(text)
    return [lower(piece) for piece in found] if lowercase else found


def check_is_text(text: object) -> None:
    """Raise `TypeError` for anything but a str."""
    if not isinstance(text, str):
        hint = ": decode it first" if isinstance(text, (bytes, bytearray)) else ""
        raise TypeError(f"text must be a str, not {type(text).__name__}{hint}")


def check_no_surrogate(text: str) -> None:
    """Raise `ValueError` at the first lone surrogate: no UTF-8 and so no token can stand for one."""
    check_is_text(text)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise surrogate_error(text, error.start) from None


def surrogate_error(text: str, position: int) -> ValueError:
    """Return the error for a lone surrogate at `position`."""
    return ValueError(
        f"text has a lone surrogate {text[position]!r} at position {position}: "
        'it is not valid Unicode; decode its source with errors="replace" first'
    )


@lru_cache(maxsize=1)
def character_classes() -> npt.NDArray[np.uint8]:
    """Return the class of every code point, shape (0x110000,): SPACE, WORD or PUNCTUATION.

    Built from the running `re` itself, so that kernels which look classes up here split exactly as `pieces` does,
    whichever Unicode version this Python knows.
    """
    every = np.arange(NUM_CODE_POINTS, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")
    classes = np.full(NUM_CODE_POINTS, PUNCTUATION, dtype=np.uint8)
    for pattern, label in ((r"\w+", WORD), (r"\s+", SPACE)):
        for match in re.finditer(pattern, every):
            classes[match.start() : match.end()] = label
    return classes
