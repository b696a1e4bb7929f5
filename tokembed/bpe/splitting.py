r"""Splitting rules: text to pieces, before any merge, and a piece to the symbols that merging begins with.

`"words"`, the default, is made for learning what words are: a piece is a run of word characters or one character of
punctuation, by Python's `re`: ``\w+|[^\w\s]``. White space separates pieces and is not one. Pieces are split first and
lower-cased second, each character by itself, so that a piece never depends on its neighbours (`str.lower` would turn a final
sigma into another letter). Symbols are characters, and `</w>` ends each piece.

The others are those of language models, made to lose nothing: a piece is a run of letters, digits, marks or white space, mostly
with the space before it, as the patterns say that are published with the vocabularies. Symbols are the bytes of its UTF-8,
written as GPT-2 does: a character for each byte, so that a token is a str that can be seen (`Ġ` is the space).

No rule normalizes Unicode: "é" and "e" + U+0301 are different pieces (U+0301 is not a word character, so the second is even two
pieces in "words").
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from typing import Any

END_OF_WORD = "</w>"
PIECE_PATTERN = re.compile(r"\w+|[^\w\s]")
UNLIMITED = 1 << 62

_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]  # bytes that stand for themselves
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
_CHARACTER_OF = {byte: chr(byte) for byte in _PRINTABLE} | {byte: chr(256 + i) for i, byte in enumerate(_OTHERS)}
#: The character that stands for each byte in the tokens of byte-level rules.
BYTE_CHARACTERS = [_CHARACTER_OF[byte] for byte in range(256)]
BYTE_OF_CHARACTER = {character: byte for byte, character in enumerate(BYTE_CHARACTERS)}
_FROM_BYTE_CHARACTERS = {ord(character): byte for character, byte in BYTE_OF_CHARACTER.items() if ord(character) != byte}
_TO_BYTE_CHARACTERS = {byte: character for byte, character in enumerate(BYTE_CHARACTERS) if ord(character) != byte}


def byte_characters(octets: bytes) -> str:
    """Write bytes as characters, one each.

    >>> byte_characters(" é".encode())
    'ĠÃ©'
    """
    return octets.decode("latin-1").translate(_TO_BYTE_CHARACTERS)


def bytes_of_all(tokens: Iterable[str]) -> list[bytes]:
    """Undo `byte_characters` for many tokens, at once."""
    tokens = list(tokens)
    octets = "".join(tokens).translate(_FROM_BYTE_CHARACTERS).encode("latin-1")
    return [octets[end - len(token) : end] for token, end in zip(tokens, itertools.accumulate(map(len, tokens)), strict=True)]


def byte_characters_of_all(tokens: Iterable[bytes]) -> list[str]:
    """Write the bytes of many tokens as characters, at once."""
    tokens = list(tokens)
    written = byte_characters(b"".join(tokens))
    return [written[end - len(token) : end] for token, end in zip(tokens, itertools.accumulate(map(len, tokens)), strict=True)]


def bytes_of(token: str) -> bytes:
    """Undo `byte_characters`; raise `KeyError` for a character that stands for no byte."""
    return bytes([BYTE_OF_CHARACTER[character] for character in token])


def decode_octets(octets: bytes | bytearray) -> str:
    """Return the text of bytes in UTF-8; if they are not that, one U+FFFD for each."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return "\ufffd" * len(octets)


@dataclass(frozen=True)
class Splitting:
    """A splitting rule.

    Attributes
    ----------
    name : str
        What it is called, in files too; a pattern of one's own is its name.
    pattern : str
        What finds pieces: by `re` in "words", by `regex` in the others.
    family : str
        Which scanner of the C library finds the same pieces: "words", "gpt2", "cl100k", "o200k", or "" for none.
    max_digits : int
        Digits in a piece, at most.
    keeps_last_spaces : bool
        Whether white space at the end of a text is one piece, line ends in it or not.
    """

    name: str
    pattern: str
    family: str = ""
    max_digits: int = UNLIMITED
    keeps_last_spaces: bool = False

    @property
    def is_lossless(self) -> bool:
        """Whether pieces make up the whole text and symbols are bytes."""
        return self.family != "words"

    @property
    def _is_of_unicode_16(self) -> bool:
        return self.family not in ("", "words")

    @cached_property
    def compiled(self) -> Any:
        """The pattern, compiled: its `findall` and `finditer` give pieces."""
        if not self.is_lossless:
            return re.compile(self.pattern)
        import regex

        return regex.compile(self.pattern)

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """Find the pieces of a text: where each begins and ends.

        What a pattern of one's own leaves out between two matches is a piece too, so that nothing is lost.
        """
        looked_at = _as_of_unicode_16(text) if self._is_of_unicode_16 else text
        spans = (match.span() for match in self.compiled.finditer(looked_at))
        return spans if self.family else _with_gaps(spans, len(text))

    def pieces(self, text: str) -> list[str]:
        """Split text into pieces, as written.

        >>> rule_of("words").pieces("It's 1000, isn't it?")
        ['It', "'", 's', '1000', ',', 'isn', "'", 't', 'it', '?']
        >>> rule_of("cl100k").pieces("It's 1000, isn't it?")
        ['It', "'s", ' ', '100', '0', ',', ' isn', "'t", ' it', '?']
        """
        # `findall` is faster, but of a pattern with groups it would give their texts.
        is_other = self._is_of_unicode_16 and not text.isascii() and _not_of_unicode_16().search(text)
        if not self.family or self.compiled.groups or is_other:
            return [text[start:end] for start, end in self.find(text)]
        found: list[str] = self.compiled.findall(text)
        return found

    def symbols(self, piece: str) -> list[str]:
        """Return what merging begins with.

        >>> rule_of("words").symbols("né"), rule_of("gpt2").symbols(" né")
        (['n', 'é', '</w>'], ['Ġ', 'n', 'Ã', '©'])
        """
        return [*byte_characters(piece.encode())] if self.is_lossless else [*piece, END_OF_WORD]

    def token_of(self, word: str) -> str:
        """Return the token that a whole word is if it is one: with `</w>`, or with the space before it.

        >>> rule_of("words").token_of("né"), rule_of("gpt2").token_of("né")
        ('né</w>', 'ĠnÃ©')
        """
        if self.is_lossless:
            return byte_characters((word if word[:1].isspace() else " " + word).encode())
        return word if word.endswith(END_OF_WORD) else word + END_OF_WORD

    def text_of(self, token: str) -> str:
        """Return a token's text: without `</w>`, or its bytes' characters, U+FFFD for a part of one.

        >>> rule_of("words").text_of("né</w>"), rule_of("gpt2").text_of("ĠnÃ©")
        ('né', ' né')
        """
        if not self.is_lossless:
            return token.removesuffix(END_OF_WORD)
        try:
            return bytes_of(token).decode("utf-8", errors="replace")
        except KeyError:  # a special token
            return token

    def word_of(self, token: str) -> str:
        """Return the word that a token is, or the text of a part of one; see `is_whole`."""
        text = self.text_of(token)
        return text[1:] if self.is_lossless and text[:1] == " " and len(text) > 1 else text

    def is_whole(self, token: str) -> bool:
        """Tell whether a token is made to be a word: it ends in `</w>` or begins with a space, and has a letter first.

        A byte-level token without the space may be a word at the beginning of a line, or what another word goes on with; of a
        script that has no spaces it is taken for a word.

        >>> [rule_of("gpt2").is_whole(byte_characters(text.encode())) for text in (" creature", "creature", "未来")]
        [True, False, True]
        """
        if not self.is_lossless:
            return token.endswith(END_OF_WORD) and token[0].isalpha()
        text = self.text_of(token)
        return (text[:1] == " " and text[1:2].isalpha()) or is_unspaced(text)

    def edges(self, token: str) -> tuple[bool, bool]:
        """Tell whether no token of the same word can stand before a token, and after it."""
        if not self.is_lossless:
            return False, token.endswith(END_OF_WORD)
        text = self.text_of(token)
        return not _may_go_on(text[:1]), not _may_go_on(text[-1:])


# Thai, Lao, Tibetan, Burmese, Khmer, kana, Chinese characters.
UNSPACED = re.compile(
    "[\u0e01-\u0edf\u0f40-\u0f6c\u1000-\u102a\u1780-\u17b3\u3041-\u30fa\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


def is_unspaced(text: str) -> bool:
    """Tell whether a text begins with a letter of a script that puts no spaces between words.

    >>> is_unspaced("未来"), is_unspaced("мир")
    (True, False)
    """
    return UNSPACED.match(text) is not None


def _may_go_on(character: str) -> bool:
    """Tell whether the letter next to this one is of the same word. A part of a character may be, for all that one can tell."""
    return character == "\ufffd" or (character.isalpha() and not is_unspaced(character))


def _with_gaps(spans: Iterator[tuple[int, int]], length: int) -> Iterator[tuple[int, int]]:
    """Yield the spans that are not empty, and what lies between them, before the first and after the last."""
    done = 0
    for start, end in spans:
        if done < start:
            yield done, start
        if start < end:
            yield start, end
        done = end
    if done < length:
        yield done, length


@cache
def unassigned() -> list[tuple[int, int]]:
    """Return the ranges of code points, first and last, that Unicode 16 does not assign.

    To the published vocabularies these are no letters, whatever a later version, and `regex` with it, makes of them.
    """
    lines = resources.files(__package__).joinpath("unassigned.txt").read_text(encoding="ascii").splitlines()
    return [(int(line.split()[0], 16), int(line.split()[-1], 16)) for line in lines]


@cache
def _not_of_unicode_16() -> re.Pattern[str]:
    return re.compile("[\\u0295" + "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in unassigned()) + "]")


def _as_of_unicode_16(text: str) -> str:
    """Replace what later versions class otherwise by characters of the class it had, one for one."""
    if text.isascii():
        return text
    # U+0295 was a small letter, and has no case since version 17.
    return _not_of_unicode_16().sub(lambda match: "a" if match[0] == "\u0295" else "\u00a7", text)


_LETTERS = r"[^\r\n\p{L}\p{N}]?"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LLAMA = rf"{_ENDINGS}|{_LETTERS}\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

SPLITTINGS = {
    rule.name: rule
    for rule in (
        Splitting("words", PIECE_PATTERN.pattern, "words"),
        Splitting(
            "gpt2", r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s", "gpt2",
            keeps_last_spaces=True,
        ),
        Splitting(
            "cl100k",
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
            r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
            "cl100k", 3, keeps_last_spaces=True,
        ),
        Splitting(
            "o200k",
            rf"{_LETTERS}{_UPPER}*{_LOWER}+{_ENDINGS}?|{_LETTERS}{_UPPER}+{_LOWER}*{_ENDINGS}?|\p{{N}}{{1,3}}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            "o200k", 3,
        ),
        # As "cl100k", but for white space at the end of a text; and for numbers, which Qwen cuts into digits.
        Splitting("llama3", _LLAMA, "cl100k", 3),
        Splitting("qwen2", _LLAMA.replace("{1,3}", ""), "cl100k", 1),
    )
}  # fmt: skip


@cache
def rule_of(splitting: str) -> Splitting:
    """Return the rule of that name or, for a pattern, the byte-level rule that finds pieces by it.

    Raises
    ------
    ValueError
        It is neither a name nor a pattern.

    Examples
    --------
    >>> rule_of("gpt2").family, rule_of(r"\\p{L}+").family
    ('gpt2', '')
    """
    for rule in SPLITTINGS.values():
        if splitting == rule.name or (splitting == rule.pattern and rule.is_lossless):
            return rule
    problem: object = "a pattern has signs that a name has not"
    if not re.fullmatch(r"\w*", splitting):
        import regex

        try:
            if not regex.compile(splitting).flags & regex.REVERSE:
                return Splitting(splitting, splitting)
            problem = "it searches from the end"
        except regex.error as error:
            problem = error
    raise ValueError(f"splitting is {splitting!r}, neither one of {', '.join(SPLITTINGS)} nor a pattern: {problem}")


def lower(piece: str) -> str:
    """Lower each character by itself, without context.

    >>> lower("ΟΔΟΣ"), "ΟΔΟΣ".lower()  # str.lower sees that the sigma is final
    ('οδοσ', 'οδος')
    """
    # For ASCII both agree, and str.lower is 20 times as fast.
    return piece.lower() if piece.isascii() else "".join([character.lower() for character in piece])


def pieces(text: str, lowercase: bool = True) -> list[str]:
    """Split text into pieces by the rule "words".

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


def utf8(text: str) -> bytes:
    """Return a text's UTF-8; raise `TypeError` for anything but a str, `ValueError` at its first lone surrogate.

    No UTF-8, and so no token, can stand for a surrogate.
    """
    check_is_text(text)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise surrogate_error(text, error.start) from None


def surrogate_error(text: str, position: int) -> ValueError:
    """Return the error for a lone surrogate at `position`."""
    return ValueError(
        f"text has a lone surrogate {text[position]!r} at position {position}: "
        'it is not valid Unicode; decode its source with errors="replace" first'
    )
