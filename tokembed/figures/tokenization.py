"""The figures of tokens, one function each: what merging does to a text, and how texts of different kinds fare."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from tokembed.analysis.domains import KindOfText
from tokembed.analysis.tokenization import Progression, Subword
from tokembed.analysis.vocabularies import MODELS
from tokembed.figures import chips
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
    WIDTH,
    drawable,
    label_axes,
    new_axes,
    panels,
    token_label,
)


def plot_merge_progression(progression: Progression, *, ax: Axes | None = None) -> Axes:
    """Draw mean tokens per word, shape (M + 1,), against the number of merges, and a sentence's tokens after some of them.

    The sentence needs a panel of its own, and is left out where `ax` is given.
    """
    tokens_per_word, stages = progression.tokens_per_word, progression.stages if ax is None else []
    below = None
    if stages:
        ax, below = panels(1, 3.2 + 0.36 * len(stages), 2, height_ratios=[2.5, 0.36 * len(stages)])
    ax = ax or new_axes()
    merges = np.arange(len(tokens_per_word))
    ax.plot(merges, tokens_per_word, color=BLUE, linewidth=2)
    ax.axhline(1.0, color=GREY, linewidth=1, linestyle="--")
    style: dict[str, Any] = {"textcoords": "offset points", "fontsize": SMALL}
    # Below the line: the curve never goes there.
    ax.annotate("one token per word", (merges[-1], 1.0), (0, -4), ha="right", va="top", color=GREY, **style)
    title = "Each merge shortens the text, the first ones most"
    counts = [count for count, _ in stages]
    ax.plot(counts, tokens_per_word[counts], "o", color=BLUE, markersize=4, clip_on=False)
    if len(merges) > 10:
        half = progression.half_way
        ax.plot([half], [tokens_per_word[half]], "o", color=VERMILION)
        ax.annotate(f"half of the way after {half:,} merges", (half, tokens_per_word[half]), (10, 6), **style)
        title = f"{half:,} merges do half of the work of {merges[-1]:,}"
    ax.set_ylim(0, tokens_per_word[0] * 1.05)
    ax.set_xscale("symlog", linthresh=1, linscale=0.5)
    ax.set_xlim(0, max(merges[-1], 1) * 1.02)
    ticks = [0, *(10**power for power in range(6) if 10**power <= merges[-1])]
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.minorticks_off()
    label_axes(ax, title, "merges (log scale)", "mean tokens per word")
    if below:
        _draw_stages(below, stages)
    return ax


def _draw_stages(ax: Axes, stages: Sequence[tuple[int, Sequence[str]]]) -> None:
    """Draw the tokens after so many merges, a line each, as blocks."""
    _as_sheet(ax)
    ax.set_yticks(
        [-row - 0.42 for row in range(len(stages))], [f"{count:,} merges:\n{len(tokens)} tokens" for count, tokens in stages]
    )
    for label in ax.get_yticklabels():
        label.set_fontsize(SMALL - 1)
    ax.set_ylim(-len(stages), 0.0)
    width = _inches_of(ax)
    ax.set_xlim(0, width)
    lines = [chips.lay_out(tokens, np.inf, SMALL) for _, tokens in stages]
    scale = min(1.0, width / max(line[-1].left + line[-1].width for line in lines))
    for row, line in enumerate(lines):
        chips.draw_chips(ax, line, [-row - 0.1], 0.64, SMALL, scale)


def _as_sheet(ax: Axes) -> None:
    """Take away what makes axes a plot."""
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_xticks([])
    ax.set_yticks([])


def _inches_of(ax: Axes) -> float:
    """Return how wide the layout leaves axes, in inches."""
    figure = ax.figure
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()  # settles the layout
    return float(ax.get_window_extent().width) / figure.dpi


def plot_token_lengths(counts: Mapping[str, int], *, ax: Axes | None = None) -> Axes:
    """Draw how many tokens have 1, 2, 3, 4+ characters."""
    ax = ax or new_axes()
    bars = ax.bar(list(counts), list(counts.values()), color=BLUE, width=0.7)
    total = max(sum(counts.values()), 1)
    labels = [f"{count:,}\n({count / total:.0%})" for count in counts.values()]
    ax.bar_label(bars, labels=labels, fontsize=SMALL, padding=2)
    for label in ax.texts:
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # no grid line runs through it
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


def plot_domains(kinds: Sequence[KindOfText], *, ax: Axes | None = None) -> Axes:
    """Draw how many tokens each kind of text takes, as multiples of prose: a bar, a line over its samples, and a snippet."""
    prose = next((kind.mean for kind in kinds if kind.name == "prose"), kinds[0].mean)
    kinds = sorted(kinds, key=lambda kind: kind.mean)
    ax = ax or new_axes(height=1.7 + 0.72 * len(kinds))
    ax.set_xlim(0, max(max(kind.samples) for kind in kinds) / prose * 1.03)
    ax.set_ylim(len(kinds) - 0.6, -0.75)
    style: dict[str, Any] = {"textcoords": "offset points", "fontsize": FONT_SIZE, "fontweight": "bold", "va": "center"}
    for place, kind in enumerate(kinds):
        ax.barh(place, kind.mean / prose, height=0.4, color=SKY)
        ax.plot([min(kind.samples) / prose, max(kind.samples) / prose], [place] * 2, color=GREY, linewidth=1)
        ax.annotate(f"{kind.mean / prose:.1f}×", (0, place), (6, 0), **style)
    ax.set_yticks(range(len(kinds)), [kind.name for kind in kinds], fontsize=FONT_SIZE)
    ax.grid(axis="y", visible=False)
    ax.grid(axis="x", color=LIGHT_GREY, linewidth=0.8)
    most = kinds[-1]
    title = f"{most.mean / prose:.1f} times as many tokens for {most.name} as for prose of the same length"
    if most.mean <= prose:
        title = "No kind of text takes more tokens than prose"
    label_axes(ax, title, "tokens of the same number of characters, as multiples of prose", "")
    unit = ax.get_xlim()[1] / _inches_of(ax)
    for place, kind in enumerate(kinds):
        line = chips.lay_out(kind.snippet, np.inf, SMALL, spell=True)
        line = [replace(chip, left=chip.left * unit, width=chip.width * unit, end=chip.end * unit) for chip in line]
        chips.draw_chips(ax, line, [place - 0.57], -0.3, SMALL)
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
    """Draw (kind, text, tokens): the text, its tokens as blocks, bytes over the character that they spell, and their number."""
    left, right = 2.45, WIDTH - 0.1
    size, high, plain, bracketed = SMALL, 0.2, 0.27, 0.53  # inches: a block's height, a line's without and with brackets
    heights, tops = [], []
    blocks = [chips.lay_out(tokens, right - left - 0.4, size) for _, _, tokens in rows]
    names = [textwrap.wrap(drawable(text), 36) for _, text, _ in rows]
    for line, name in zip(blocks, names, strict=True):
        num_lines = line[-1].row + 1 if line else 1
        own = [0.0]
        for row in range(num_lines):
            own.append(own[-1] + (bracketed if any(chip.is_bytes for chip in line if chip.row == row) else plain))
        tops.append(own[:-1])
        heights.append(max(own[-1], 0.2 + 0.15 * len(name)) + 0.16)
    ax = ax or new_axes(height=0.95 + sum(heights))
    _as_sheet(ax)
    ax.set_xlim(0, right)
    ax.set_ylim(-sum(heights), 0.05)
    style: dict[str, Any] = {"fontsize": SMALL - 1, "va": "top", "linespacing": 1.25}
    y = 0.0
    for (kind, _, tokens), line, name, own, height in zip(rows, blocks, names, tops, heights, strict=True):
        ax.axhline(y, color=LIGHT_GREY, linewidth=0.8)
        ax.text(0.0, y - 0.08, kind, color=GREY, **style)
        ax.text(0.0, y - 0.24, "\n".join(name), **style)
        shifted = [replace(chip, left=chip.left + left) for chip in line]
        row_tops = [y - 0.08 - top for top in own]
        chips.draw_chips(ax, shifted, row_tops, high, size)
        chips.draw_brackets(ax, shifted, row_tops, high, size)
        ax.text(right, y - 0.06, str(len(tokens)), fontsize=FONT_SIZE, va="top", ha="right", fontweight="bold")
        y -= height
    most = max(rows, key=lambda row: len(row[2]) / max(len(row[1]), 1))
    label_axes(ax, f"Unlike prose: {len(most[1])} characters become {len(most[2])} tokens ({most[0]})", "", "")
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
