"""The figures of tokens, one function each: what merging does to a text, and how texts of different kinds fare."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from tokembed.analysis.tokenization import Subword
from tokembed.analysis.vocabularies import MODELS
from tokembed.figures.canvas import (
    BLUE,
    FONT_SIZE,
    GREEN,
    GREY,
    LIGHT_GREY,
    ORANGE,
    SKY,
    SMALL,
    VERMILION,
    drawable,
    label_axes,
    new_axes,
    panels,
    token_label,
)

DOMAIN_COLOURS = {"prose": BLUE, "Python code": GREEN, "numbers": ORANGE, "URLs": VERMILION}


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


def plot_top_subwords(subwords: Sequence[Subword], *, ax: Axes | None = None) -> Axes:
    """Draw the most frequent subwords as bars, the largest on top."""
    ax = ax or new_axes(height=0.9 + 0.21 * max(len(subwords), 3))
    places = np.arange(len(subwords))[::-1]
    for is_final, colour, hatch in ((True, BLUE, ""), (False, ORANGE, "//")):
        chosen = [(place, each.count) for place, each in zip(places, subwords, strict=True) if each.is_final == is_final]
        if chosen:
            ax.barh(*zip(*chosen, strict=True), color=colour, hatch=hatch, edgecolor="white", linewidth=0.5)
    ax.set_yticks(places, [token_label(each.text) + ("" if each.is_final else "-") for each in subwords], fontsize=SMALL)
    ax.set_ylim(-0.7, len(subwords) - 0.3)
    ax.grid(axis="y", visible=False)
    ax.grid(axis="x", color=LIGHT_GREY, linewidth=0.8)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    if not all(each.is_final for each in subwords):  # as under a byte-level rule, where no token says so
        handles = [
            Patch(facecolor=BLUE, label="ends a word"),
            Patch(facecolor=ORANGE, hatch="//", edgecolor="white", label="its word continues (-)"),
        ]
        ax.legend(handles=handles, fontsize=SMALL, loc="lower right", frameon=False)
    label_axes(ax, "The most frequent tokens of two characters or more", "occurrences in the corpus", "")
    return ax


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
    label_axes(ax, "Texts unlike prose, and the tokens that they are cut into", "", "")
    return ax


def plot_vocabulary_costs(costs: Mapping[str, Mapping[str, float]]) -> Axes:
    """Draw tokens per 100 characters by vocabulary, a panel per kind of text, all on one scale; return the first panel.

    Merges learned here are hatched, published vocabularies are not.
    """
    names = list(next(iter(costs.values())))
    columns = min(4, len(costs))
    rows = -(-len(costs) // columns)
    axes = panels(columns, 0.9 + rows * (0.5 + 0.2 * len(names)), rows)
    own_style: dict[str, Any] = {"color": SKY, "hatch": "//", "edgecolor": "white"}
    longest = max(max(by_name.values()) for by_name in costs.values())
    for place, (panel, (kind, by_name)) in enumerate(zip(axes, costs.items(), strict=False)):
        for row, name in enumerate(names):
            style = own_style if name not in MODELS.values() else {"color": GREEN}
            bar = panel.barh(-row, by_name[name], height=0.78, linewidth=0.5, **style)
            panel.bar_label(bar, fmt="%.0f", fontsize=SMALL, padding=2)
        panel.set_title(kind, fontsize=FONT_SIZE, loc="left")
        panel.set_yticks([-row for row in range(len(names))], names if place % columns == 0 else [""] * len(names))
        panel.set_xlim(0, longest * 1.2)
        panel.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        panel.grid(axis="y", visible=False)
        panel.tick_params(axis="y", length=0)
    for unused in axes[len(costs) :]:
        unused.set_axis_off()
    figure = axes[0].figure
    figure.suptitle("Tokens per 100 characters, by vocabulary", fontsize=FONT_SIZE + 1, fontweight="bold", x=0.01, ha="left")
    return axes[0]
