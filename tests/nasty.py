"""Text that splitting rules are most likely to get wrong."""

from __future__ import annotations

import os
import sysconfig
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

from hypothesis import strategies as st

#: How many times as long the longest of the long forms take: with 10, 100,000 random texts, and each corpus whole.
THOROUGHNESS = int(os.environ.get("TOKEMBED_THOROUGHNESS", "1"))

FRAGMENTS = (
    "a", "b", "Z", "Q", "the", " The", "ABc", "aBC", "word", "camelCase", "HTTPServer", "é", "É", "e\u0301", "ß", "İ",
    "ı", "ſ", "K", "'", "’", "'s", "'S", "'t", "'T", "'re", "'RE", "'rE", "'ve", "'VE", "'m", "'M", "'ll", "'LL", "'lL",
    "'d", "'D", "'ſ", "'ſs", "'l", "'r", "'v", " ", "  ", "   ", "\t", "\n", "\r", "\r\n", "\n\n", " \n", "\n ", "\v",
    "\f", "\x85", "\xa0", "\u2028", "\u2029", "\u3000", "\u200b", "\u200d", "\ufeff", "\x00", "\x1c", "\x1d", "\x1e",
    "\x1f", "\x7f", "\u180e", "1", "12", "123", "1234", "7" * 9, "٣", "٣٤٥٦", "१२३४", "²", "½", "Ⅷ", "〇", "𝟘𝟙",
    "\u0301", "\u0301\u0302", "\u0903", "\u20dd", "\ufe0f", "ǅ", "ǅa", "Aǅ", "ᾈ", "ʰ", "ʰA", "ˀ", "ʕ", "Aʕ", "ʕA", "ª",
    "ー", "ﾞ", "未", "未来世界", "の", "カ", "한국", "ไทย", "हिन्दी", "العربية", "עברית", "ΟΔΟΣ", "Привет", "ЁЖ", "🤷",
    "🤷🏽‍♀️", "🇩🇪", "𐐀", "𐐨", "𝒜", "\u0378", "\U0001fbff", "\U000e0080", "\U0010ffff", "\ue000", "\u1c89", "\ua7cb",
    "\u088f", "\U00010940", "\U000323b0", "_", "-", "--", ".", "...", ",", "!", "/", "//", "/\n", "!\n", "!\r\n\r\n",
    "?/\n", "(", ")", "{", "$", "€", "<|endoftext|>", "#", "\\", '"', "Ω", "Å", "ﬁ", "Ġ", "Ċ", "</w>", "<0x41>",
    "\U0010fffd",
)  # fmt: skip

#: Fragments one after the other, some any character at all.
_ANY = st.sampled_from(FRAGMENTS) | st.characters(exclude_categories=["Cs"])
NASTY_TEXT = (st.lists(_ANY, max_size=8) | st.lists(_ANY, min_size=12, max_size=40)).map("".join)

#: Every code point that is a character: no surrogates.
CHARACTERS = [chr(number) for number in range(0x110000) if not 0xD800 <= number < 0xE000]
ASSIGNED = [character for character in CHARACTERS if unicodedata.category(character) != "Cn"]


def in_contexts(characters: list[str]) -> Iterator[str]:
    """Yield texts with each character alone, after a space, among letters, after an apostrophe, and around a line's end."""
    for context in ("{c}", " {c}", "a{c}B b", "'{c}1", "{c}{c}\n{c} "):
        for start in range(0, len(characters), 4096):
            yield "".join(context.replace("{c}", character) for character in characters[start : start + 4096])


def python_sources() -> str:
    """Return the modules of the standard library, in one text."""
    paths = sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py"))
    return "".join(_read(path) for path in paths if not {"site-packages", "test", "tests"} & {*path.parts})


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:  # a few are in other encodings, on purpose
        return ""


def keeping(is_alike: Callable[[str], bool]) -> Callable[[str], str]:
    """Return what drops from a text the characters that two libraries, of two versions of Unicode, do not class alike."""
    known: dict[str, bool] = {}

    def without_others(text: str) -> str:
        for character in {*text} - known.keys():
            known[character] = is_alike(character)
        return "".join(character for character in text if known[character])

    every = "".join(FRAGMENTS)
    assert len(without_others(every)) > len(every) - 15, "they agree on nearly all"
    return without_others
