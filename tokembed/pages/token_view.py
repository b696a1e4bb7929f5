"""Tokens as people see them: rows for the terminal, a page for the browser, plain values for machines."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template
from typing import Any

from tokembed.analysis.tokenization import TextStatistics, printable, text_statistics
from tokembed.bpe.splitting import END_OF_WORD
from tokembed.bpe.tokenizer import BPETokenizerLoader

# Background colours by turns, dark text on them: 256-colour codes, and the same for the page.
TERMINAL_COLOURS = (153, 223, 158, 217, 189)
NUM_PAGE_COLOURS = 5  # of token_view.html
RESET = "\033[0m"


@dataclass(frozen=True)
class TokenView:
    """One token of a text: what it is, its id, and its span of characters (start, end)."""

    token: str
    id: int
    start: int
    end: int


def token_views(tokenizer: BPETokenizerLoader, text: str) -> list[TokenView]:
    """Return a text's tokens with their ids and places."""
    ids, offsets = tokenizer.encode_with_offsets(text)
    return [TokenView(tokenizer.id_to_token[i], i, start, end) for i, (start, end) in zip(ids, offsets, strict=True)]


def display_width(text: str) -> int:
    """Return how many terminal columns a text takes: 2 for wide (CJK, emoji) characters, 0 for combining ones and joiners.

    >>> display_width("未来"), display_width("e\\u0301"), display_width("abc")
    (4, 1, 3)
    """
    seen = (each for each in text if unicodedata.category(each) not in ("Mn", "Me", "Cf", "Cc"))
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in seen)


def terminal_rows(views: list[TokenView], columns: int, *, colour: bool) -> Iterator[str]:
    """Yield pairs of lines, tokens between bars and their ids below, wrapped to the terminal's width."""
    rows: list[list[tuple[str, str]]] = []
    used = columns
    for index, view in enumerate(views):
        shown, number = printable(view.token), str(view.id)
        width = max(display_width(shown), len(number))
        if used + width + 1 > columns:
            rows.append([])
            used = 0
        padded = shown + " " * (width - display_width(shown))
        if colour:
            padded = f"\033[30;48;5;{TERMINAL_COLOURS[index % len(TERMINAL_COLOURS)]}m{padded}{RESET}"
        rows[-1].append((padded, number.ljust(width)))
        used += width + 1
    for tokens, numbers in (zip(*row, strict=True) for row in rows):
        yield "|".join(tokens)
        yield " ".join(numbers).rstrip()


def statistics_line(statistics: TextStatistics) -> str:
    """Return a text's numbers in one line."""
    return (
        f"{statistics.num_characters} characters, {statistics.num_bytes} bytes, {statistics.num_words} words, "
        f"{statistics.num_tokens} tokens: {statistics.characters_per_token:.2f} characters and "
        f"{statistics.bytes_per_token:.2f} bytes per token, mean token length {statistics.mean_token_length:.2f}"
    )


def as_json(tokenizer: BPETokenizerLoader, text: str) -> dict[str, Any]:
    """Return a text's tokens and numbers as plain values."""
    return {
        "text": text,
        "tokens": [asdict(view) for view in token_views(tokenizer, text)],
        "statistics": asdict(text_statistics(tokenizer, text)),
    }


def page(tokenizer: BPETokenizerLoader, texts: list[str], title: str) -> str:
    """Return a page, one file without a network, of coloured tokens that tell their ids when pointed at."""
    blocks = []
    for text in texts:
        spans = []
        for index, view in enumerate(token_views(tokenizer, text)):
            ends = " end" if view.token.endswith(END_OF_WORD) else ""
            label = html.escape(f"id {view.id} · {view.token} · characters {view.start}-{view.end}", quote=True)
            shown = html.escape(printable(view.token))
            spans.append(f'<span class="t{index % NUM_PAGE_COLOURS}{ends}" tabindex="0" title="{label}">{shown}</span>')
        numbers = html.escape(statistics_line(text_statistics(tokenizer, text)))
        blocks.append(f"<section><p class=tokens>{''.join(spans)}</p><p class=numbers>{numbers}</p></section>")
    template = Template(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
    return template.substitute(title=html.escape(title), texts="\n".join(blocks))
