"""Tokens as people see them: rows for the terminal, a page for the browser, plain values for machines."""

from __future__ import annotations

import html
import itertools
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template
from typing import Any

from tokembed.analysis.tokenization import TextStatistics, printable, text_statistics, visible
from tokembed.bpe.splitting import END_OF_WORD
from tokembed.bpe.tokenizer import BPETokenizerLoader

# Background colours by turns, dark text on them: 256-colour codes, and the same for the page.
TERMINAL_COLOURS = (153, 223, 158, 217, 189)
NUM_PAGE_COLOURS = 5  # of token_view.html
MAX_PAGE_TOKENS = 40_000  # of the page, of every vocabulary: some 7 MB, which browsers still show at once
RESET = "\033[0m"


@dataclass(frozen=True)
class TokenView:
    """One token of a text: what it is, its id, its span of characters (start, end), and how it is shown."""

    token: str
    id: int
    start: int
    end: int
    shown: str


def token_views(tokenizer: BPETokenizerLoader, text: str) -> list[TokenView]:
    """Return a text's tokens with their ids and places."""
    ids, offsets = tokenizer.encode_with_offsets(text)
    tokens = [tokenizer.id_to_token[i] for i in ids]
    return [
        TokenView(token, i, *span, printable(visible(tokenizer, token)))
        for token, i, span in zip(tokens, ids, offsets, strict=True)
    ]


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
        number = str(view.id)
        width = max(display_width(view.shown), len(number))
        if used + width + 1 > columns:
            rows.append([])
            used = 0
        padded = view.shown + " " * (width - display_width(view.shown))
        if colour:
            padded = f"\033[30;48;5;{TERMINAL_COLOURS[index % len(TERMINAL_COLOURS)]}m{padded}{RESET}"
        rows[-1].append((padded, number.ljust(width)))
        used += width + 1
    for tokens, numbers in (zip(*row, strict=True) for row in rows):
        yield "|".join(tokens)
        yield " ".join(numbers).rstrip()


def comparison_rows(cuts: Mapping[str, list[TokenView]], columns: int, *, colour: bool) -> Iterator[str]:
    """Yield the rows of several cuts of one text under one another; left of each its name, and the number of its tokens."""
    margin = max(map(display_width, [*cuts, *map(number_of, cuts.values())])) + 2
    for name, views in cuts.items():
        rows = terminal_rows(views, max(columns - margin, 20), colour=colour)
        for label, row in itertools.zip_longest((name, number_of(views)), rows, fillvalue=""):
            yield (label + " " * (margin - display_width(label)) + row).rstrip()


def counted(number: int, noun: str) -> str:
    """Return a number of things, in words.

    >>> counted(1, "word"), counted(2000, "token")
    ('1 word', '2,000 tokens')
    """
    return f"{number:,} {noun}" + "s" * (number != 1)


def number_of(views: list[TokenView]) -> str:
    """Return how many tokens there are, in words."""
    return counted(len(views), "token")


def statistics_line(statistics: TextStatistics) -> str:
    """Return a text's numbers in one line."""
    numbers = statistics.num_characters, statistics.num_bytes, statistics.num_words, statistics.num_tokens
    return (
        f"{', '.join(map(counted, numbers, ('character', 'byte', 'word', 'token')))}: "
        f"{statistics.characters_per_token:.2f} characters and {statistics.bytes_per_token:.2f} bytes per token, "
        f"mean token length {statistics.mean_token_length:.2f}"
    )


def as_json(
    tokenizer: BPETokenizerLoader, text: str, compared: Mapping[str, BPETokenizerLoader] | None = None
) -> dict[str, Any]:
    """Return a text's tokens and numbers as plain values, and its tokens in the vocabularies that it is compared in."""
    others = {name: [asdict(view) for view in token_views(other, text)] for name, other in (compared or {}).items()}
    return {
        "text": text,
        "tokens": [asdict(view) for view in token_views(tokenizer, text)],
        "statistics": asdict(text_statistics(tokenizer, text)),
        **({"compared": others} if others else {}),
    }


def page(
    tokenizer: BPETokenizerLoader, texts: list[str], title: str, compared: Mapping[str, BPETokenizerLoader] | None = None
) -> str:
    """Return a page, one file without a network, of coloured tokens that tell their ids when pointed at.

    Above each text's tokens stands the text, under them those of the vocabularies that it is compared in, with their names.
    Texts that have more than `MAX_PAGE_TOKENS` tokens in all are cut short, which a line says.
    """
    blocks = []
    num_left = MAX_PAGE_TOKENS // (1 + len(compared or {}))
    for number, text in enumerate(texts):
        if num_left <= 0:
            blocks.append(_paragraph("numbers", f"The page is full: {len(texts) - number:,} further texts are not on it."))
            break
        views = token_views(tokenizer, text)
        if len(views) > num_left:
            text = text[: views[num_left].start]
            blocks.append(
                _paragraph("numbers", f"The page is full: of the next text, only the first {len(text):,} characters.")
            )
            views = token_views(tokenizer, text)
        num_left -= len(views)
        lines = [_paragraph("source", printable(text)), _coloured(views)]
        lines.append(_paragraph("numbers", statistics_line(text_statistics(tokenizer, text))))
        for name, other in (compared or {}).items():
            views = token_views(other, text)
            lines += [_coloured(views), _paragraph("numbers", f"{name}: {number_of(views)}")]
        blocks.append(f"<section>{''.join(lines)}</section>")
    template = Template(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
    return template.substitute(title=html.escape(title), texts="\n".join(blocks))


def _coloured(views: list[TokenView]) -> str:
    spans = []
    for index, view in enumerate(views):
        ends = " end" if view.token.endswith(END_OF_WORD) else ""
        label = html.escape(f"id {view.id} · {view.token} · characters {view.start}-{view.end}", quote=True)
        spans.append(
            f'<span class="t{index % NUM_PAGE_COLOURS}{ends}" tabindex="0" title="{label}">{html.escape(view.shown)}</span>'
        )
    return f"<p class=tokens>{''.join(spans)}</p>"


def _paragraph(kind: str, text: str) -> str:
    return f"<p class={kind}>{html.escape(text)}</p>"
