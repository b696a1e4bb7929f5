"""One function per figure: data in, `Axes` out. Nothing is computed here, and no other module is imported but `paths`.

One palette for all figures (Okabe and Ito's, which colour-blind readers can tell apart); what is compared differs in lightness
or hatching too, so that it can be read in grey. A title that makes a claim is chosen by the data; the others say what is shown.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from tokembed import files

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, YELLOW = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442",
)  # fmt: skip
GREY, LIGHT_GREY = "#555555", "#DDDDDD"
DOMAIN_COLOURS = {"prose": BLUE, "Python code": GREEN, "numbers": ORANGE, "URLs": VERMILION}

WIDTH, HEIGHT, DPI = 8.0, 4.5, 150  # inches; 1200 pixels across
FONT_SIZE, SMALL = 11, 9
LABEL_CHARACTERS = 24  # of a token at most, in a label
MAIN_FONT = "DejaVu Sans"  # comes with matplotlib
# Tried in this order for characters that the main font lacks, before all other installed ones.
PREFERRED_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "SimHei",
                   "WenQuanYi Zen Hei", "Arial Unicode MS", "Noto Emoji", "Segoe UI Emoji")  # fmt: skip


def new_axes(width: float = WIDTH, height: float = HEIGHT) -> Axes:
    """Return the axes of a new figure, without pyplot's global state."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    style_axes(axes)
    return axes


def style_axes(axes: Axes) -> None:
    """Give axes the look of all figures: fonts, faint grid behind, no box."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=LIGHT_GREY, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=SMALL)


def label_axes(axes: Axes, title: str, x: str, y: str) -> None:
    """Set a figure's words: a title that says what is shown, and axes with their units."""
    axes.set_title(title, fontsize=FONT_SIZE + 1, loc="left", fontweight="bold")
    axes.set_xlabel(x, fontsize=FONT_SIZE)
    axes.set_ylabel(y, fontsize=FONT_SIZE)


def save_figure(axes: Axes, path: Path, caption: str) -> None:
    """Write the axes' figure as PNG, in one step, with a caption that tells corpus and settings."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    caption = drawable(files.encodable(caption))
    if any("[U+" in text.get_text() for text in figure.findobj(Text)):
        caption += " [U+…]: the Unicode number of a character that is invisible, or in none of the fonts installed here."
    width = int(figure.get_size_inches()[0] * 15)
    figure.supxlabel("\n".join(textwrap.wrap(caption, width)), fontsize=SMALL - 1, color=GREY, x=0.01, ha="left")
    texts = figure.findobj(Text)
    families = font_families("".join(text.get_text() for text in texts))
    for text in texts:
        text.set_fontfamily(families)
        text.set_parse_math(False)  # a dollar sign is a dollar sign
    with files.atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


# ---------------------------------------------------------------- fonts and labels


def font_families(text: str) -> list[str]:
    """Return the fonts that text is drawn in: matplotlib's own, then those installed ones that its other characters need."""
    needed = (_family_with(character) for character in set(text) if character.isprintable())
    return list(dict.fromkeys([MAIN_FONT, *(family for family in needed if family)]))


@cache
def _families() -> list[str]:
    regular = (font for font in font_manager.fontManager.ttflist if font.style == "normal" and font.weight in (400, "normal"))
    installed = {font.name for font in regular}
    # Last Resort, which comes with matplotlib, has a box for every character.
    others = sorted(name for name in installed if not name.startswith("Last Resort"))
    return [MAIN_FONT, *(name for name in PREFERRED_FONTS if name in installed), *others]


@cache
def _face(family: str) -> FT2Font:
    return FT2Font(font_manager.findfont(family))


@cache
def _family_with(character: str) -> str | None:
    """Return the first font that has a character, with an outline: those of colour fonts are empty."""
    for family in _families():
        face = _face(family)
        if face.get_char_index(ord(character)) and (character.isspace() or face.load_char(ord(character)).width):
            return family
    return None


def drawable(text: str) -> str:
    """Return text with each character that is invisible or in no installed font replaced by its number: never an empty box.

    >>> drawable("a\\U0010fffe\\u200d")
    'a[U+10FFFE] [U+200D]'
    """

    def shown(character: str) -> str:
        is_visible = unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn")
        return character if is_visible and _family_with(character) else f"[U+{ord(character):04X}]"

    return "".join(map(shown, text)).replace("][U+", "] [U+")


def token_label(token: str) -> str:
    """Return a token as a label: drawable, and its end left out where it is long (a token may be as long as the corpus).

    >>> token_label("creature"), token_label("ha" * 250_000)
    ('creature', 'hahahahahahahahahahahah…')
    """
    return drawable(token if len(token) <= LABEL_CHARACTERS else token[: LABEL_CHARACTERS - 1] + "…")


# ---------------------------------------------------------------- phase 1


def plot_merge_progression(tokens_per_word: npt.NDArray[np.float64], *, ax: Axes | None = None) -> Axes:
    """Draw mean tokens per word, shape (M + 1,), against the number of merges."""
    ax = ax or new_axes()
    merges = np.arange(len(tokens_per_word))
    ax.plot(merges, tokens_per_word, color=BLUE, linewidth=2)
    ax.axhline(1.0, color=GREY, linewidth=1, linestyle="--")
    style: dict[str, Any] = {"textcoords": "offset points", "fontsize": SMALL}
    # Below the line: the curve never goes there.
    ax.annotate("one token per word", (merges[-1], 1.0), (0, -4), ha="right", va="top", color=GREY, **style)
    if len(merges) > 10:
        half = int(np.argmax(tokens_per_word <= (tokens_per_word[0] + tokens_per_word[-1]) / 2))
        ax.plot([half], [tokens_per_word[half]], "o", color=VERMILION)
        ax.annotate(f"half of the way after {half:,} merges", (half, tokens_per_word[half]), (10, 6), **style)
    ax.set_ylim(0, tokens_per_word[0] * 1.05)
    ax.set_xlim(0, max(merges[-1], 1))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    label_axes(ax, "Each merge shortens the text, the first ones most", "merges", "mean tokens per word")
    return ax


def plot_token_lengths(counts: Mapping[str, int], *, ax: Axes | None = None) -> Axes:
    """Draw how many tokens have 1, 2, 3, 4+ characters."""
    ax = ax or new_axes()
    bars = ax.bar(list(counts), list(counts.values()), color=BLUE, width=0.7)
    total = max(sum(counts.values()), 1)
    labels = [f"{count:,}\n({count / total:.0%})" for count in counts.values()]
    ax.bar_label(bars, labels=labels, fontsize=SMALL, padding=2)
    ax.set_ylim(0, max(*counts.values(), 1) * 1.2)
    ax.yaxis.set_major_formatter("{x:,.0f}")
    title = "Token lengths in the vocabulary"
    if counts["4+"] * 2 > total:
        title = "Most tokens are longer than three characters"
    label_axes(ax, title, "characters in the token", "tokens in the vocabulary")
    return ax


def plot_top_subwords(subwords: Sequence[tuple[str, int, bool]], *, ax: Axes | None = None) -> Axes:
    """Draw the most frequent subwords, (text, count, ends a word), as bars; the largest on top."""
    ax = ax or new_axes(height=0.9 + 0.21 * max(len(subwords), 3))
    places = np.arange(len(subwords))[::-1]
    for is_final, colour, hatch in ((True, BLUE, ""), (False, ORANGE, "//")):
        chosen = [(place, count) for place, (_, count, final) in zip(places, subwords, strict=True) if final == is_final]
        if chosen:
            ax.barh(*zip(*chosen, strict=True), color=colour, hatch=hatch, edgecolor="white", linewidth=0.5)
    ax.set_yticks(places, [token_label(text) + ("" if final else "-") for text, _, final in subwords], fontsize=SMALL)
    ax.set_ylim(-0.7, len(subwords) - 0.3)
    ax.grid(axis="y", visible=False)
    ax.grid(axis="x", color=LIGHT_GREY, linewidth=0.8)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    handles = [
        Patch(facecolor=BLUE, label="ends a word"),
        Patch(facecolor=ORANGE, hatch="//", edgecolor="white", label="its word goes on (-)"),
    ]
    ax.legend(handles=handles, fontsize=SMALL, loc="lower right", frameon=False)
    label_axes(ax, "The most frequent tokens of two characters or more", "occurrences in the corpus", "")
    return ax


# ---------------------------------------------------------------- phase 2


def plot_domains(efficiency: Mapping[str, Sequence[float]], *, ax: Axes | None = None) -> Axes:
    """Draw tokens per 100 characters of each kind of text, the lowest mean first: a bar for the mean, a dot per sample."""
    ax = ax or new_axes()
    scatter = np.random.default_rng(0)  # sideways only, so that dots do not hide each other
    kinds = sorted(efficiency, key=lambda kind: float(np.mean(efficiency[kind])))
    for place, kind in enumerate(kinds):
        values = efficiency[kind]
        mean = float(np.mean(values))
        ax.bar(place, mean, color=DOMAIN_COLOURS.get(kind, SKY), alpha=0.55, width=0.65)
        ax.plot(place + scatter.uniform(-0.22, 0.22, len(values)), values, ".", color=GREY, markersize=4, alpha=0.7)
        ax.annotate(f"{mean:.0f}", (place, 0), (0, 6), textcoords="offset points", ha="center", fontweight="bold")
    ax.set_xticks(range(len(kinds)), kinds, fontsize=FONT_SIZE)
    ax.set_ylim(0, max(max(values) for values in efficiency.values()) * 1.05)
    label_axes(ax, f"Fewest tokens for {kinds[0]}, most for {kinds[-1]}", "", "tokens per 100 characters")
    return ax


def plot_vocabulary_efficiency(rows: Sequence[tuple[int, float]], *, ax: Axes | None = None) -> Axes:
    """Draw mean tokens per held-out sentence against the number of merges."""
    ax = ax or new_axes()
    merges, tokens = zip(*rows, strict=True)
    ax.plot(merges, tokens, "o-", color=BLUE, linewidth=2)
    for number, value in rows:
        ax.annotate(f"{value:.1f}", (number, value), (4, 7), textcoords="offset points", fontsize=SMALL)
    ax.set_ylim(0, max(tokens) * 1.15)
    ax.set_xlim(0, max(merges) * 1.08)
    ax.set_xticks(merges, [f"{number:,}" for number in merges])
    label_axes(ax, "Tokens per sentence, by number of merges", "merges", "mean tokens per held-out sentence")
    return ax


def plot_token_table(rows: Sequence[tuple[str, str, Sequence[str]]], *, ax: Axes | None = None) -> Axes:
    """Draw (kind, text, tokens) as a table: the text, its tokens between bars, and their number."""
    # Bars stay with the token before them, so that no line begins with one.
    cells = [
        textwrap.wrap(" ".join(f"{drawable(token)}\u00a0|" for token in tokens).rstrip("\u00a0|"), 66) for _, _, tokens in rows
    ]
    names = [textwrap.wrap(drawable(text), 36) for _, text, _ in rows]
    heights = [max(len(cell), 1 + len(name)) + 0.8 for cell, name in zip(cells, names, strict=True)]
    ax = ax or new_axes(height=1.0 + 0.19 * sum(heights))
    ax.set_axis_off()
    ax.set_xlim(0, 1)
    ax.set_ylim(-sum(heights), 1.4)
    style: dict[str, Any] = {"fontsize": SMALL - 1, "va": "top", "linespacing": 1.25}
    for x, heading, align in ((0.0, "text", "left"), (0.33, "tokens", "left"), (0.99, "count", "right")):
        ax.text(x, 0.5, heading, fontsize=FONT_SIZE, fontweight="bold", ha=align)
    y = 0.0
    for (kind, _, tokens), cell, name, height in zip(rows, cells, names, heights, strict=True):
        ax.axhline(y, color=LIGHT_GREY, linewidth=0.8)
        ax.text(0.0, y - 0.4, kind, color=GREY, **style)
        ax.text(0.0, y - 1.4, "\n".join(name), **style)
        ax.text(0.33, y - 0.4, "\n".join(cell), color=BLUE, **style)
        ax.text(0.99, y - 0.4, str(len(tokens)), fontsize=FONT_SIZE, va="top", ha="right", fontweight="bold")
        y -= height
    ax.set_title(
        "Texts unlike prose, and the tokens that they are cut into", fontsize=FONT_SIZE + 1, loc="left", fontweight="bold"
    )
    return ax
