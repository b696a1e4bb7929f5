"""The figures of benchmarks, one function each: what a JSON file of results holds in, `Axes` out."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from tokembed.figures.canvas import BLUE, GREEN, GREY, LIGHT_GREY, ORANGE, SMALL, VERMILION, label_axes, new_axes, panels

Row = Mapping[str, Any]


SMALL_STEP = 1.15  # times as fast as the step before, or less: drawn together with the step that it follows


def plot_ladder(steps: Sequence[Row], *, ax: Axes | None = None) -> Axes:
    """Draw the time that is left after each step, on a log scale; small steps are grouped with the one that they follow."""
    groups: list[list[Row]] = []
    for step in steps:
        if groups and step["over_previous"] < SMALL_STEP:
            groups[-1].append(step)
        else:
            groups.append([step])
    left = [group[-1]["seconds"] for group in groups]
    ax = ax or new_axes(height=1.3 + 0.5 * len(groups))
    places = np.arange(len(groups))[::-1]
    bars = ax.barh(places, left, color=BLUE, height=0.6)
    labels = [f" {_duration(now)} ({before / now:.2g}×)" for before, now in itertools.pairwise(left)]
    ax.bar_label(bars, labels=[f" {_duration(left[0])}", *labels], fontsize=SMALL, padding=2)
    names = [[group[0]["name"], *(f"+ {step['name']}" for step in group[1:])] for group in groups]
    ax.set_yticks(places, ["\n".join([name[0], ", ".join(name[1:])]).strip() for name in names], fontsize=SMALL)
    ax.set_xscale("log")
    ax.set_xlim(min(left) / 2, max(left) * 6)
    ax.xaxis.set_major_formatter(lambda seconds, _: _duration(seconds).replace(".0", ""))
    ax.minorticks_off()
    ax.grid(axis="y", visible=False)
    ax.grid(axis="x", color=LIGHT_GREY, linewidth=0.8)
    title = f"The same text takes {_duration(left[-1])} instead of {_duration(left[0])}"
    label_axes(ax, title, "time left (log scale); in brackets, times as fast as the bar above", "")
    return ax


def _duration(seconds: float) -> str:
    """Return a time to two digits, in the unit that fits."""
    unit, name = (1.0, "s") if seconds >= 0.9995 else (1e-3, "ms") if seconds >= 0.9995e-3 else (1e-6, "µs")
    return f"{seconds / unit:.1f} {name}" if seconds / unit < 9.95 else f"{seconds / unit:.0f} {name}"


def plot_tokenizer_results(sizes: Sequence[Row], peers: Sequence[Row], num_bytes: int) -> Axes:
    """Draw four panels: speed-up by size, throughput by size, cache by size, and the peers' throughput.

    `sizes` are `SizeRun`s as dicts; `peers` timings of one case, with "name" and "median", of a text of `num_bytes`.
    """
    axes = panels(2, height=7.2, rows=2)
    _speed_up(axes[0], [run for run in sizes if run["naive_seconds"]])
    names = [_short(run["words"]) for run in sizes]
    _pairs(
        axes[1], names,
        [run["words"] / run["encode_seconds"] / 1e6 for run in sizes],
        [run["words"] / run["array_seconds"] / 1e6 for run in sizes],
    )  # fmt: skip
    label_axes(axes[1], "Throughput by size", "words of text", "million words/s (log scale)")
    _cache(axes[2], names, sizes)
    speeds = [num_bytes / peer["median"] / 1e6 for peer in peers]
    places = np.arange(len(peers))[::-1]
    bars = axes[3].barh(places, speeds, color=[BLUE if peer["name"] == "tokembed" else GREY for peer in peers], height=0.7)
    axes[3].bar_label(bars, labels=[f"{speed:,.0f}" for speed in speeds], fontsize=SMALL, padding=3)
    axes[3].set_yticks(places, [peer["name"] for peer in peers], fontsize=SMALL)
    axes[3].margins(x=0.18)
    axes[3].grid(axis="y", visible=False)
    label_axes(axes[3], "Libraries, from empty caches", "MB/s", "")
    return axes[0]


def plot_matrix(cells: Sequence[Row], *, ax: Axes | None = None) -> Axes:
    """Draw how many times as fast as the peer ours is, as a heat map: green where ours is ahead, on a log scale.

    `cells` are `Cell`s as dicts, with their "ratio". Rows are kinds of text and vocabularies, columns cases and sizes.
    """
    rows = [*dict.fromkeys((cell["kind"], cell["vocabulary"]) for cell in cells)]
    columns = [*dict.fromkeys((cell["case"], _characters(cell["size"], cell["case"])) for cell in cells)]
    columns.sort(key=lambda column: [*dict.fromkeys(cell["case"] for cell in cells)].index(column[0]))
    ratios = np.full((len(rows), len(columns)), np.nan)
    for cell in cells:
        column = columns.index((cell["case"], _characters(cell["size"], cell["case"])))
        ratios[rows.index((cell["kind"], cell["vocabulary"])), column] = cell["ratio"]
    ax = ax or new_axes(height=1.8 + 0.24 * len(rows))
    ax.imshow(np.log2(ratios), cmap="RdYlGn", vmin=-2, vmax=2, aspect="auto")
    for row, column in np.argwhere(~np.isnan(ratios)):
        ax.text(column, row, f"{ratios[row, column]:.2f}", ha="center", va="center", fontsize=SMALL - 2)
    ax.set_xticks(
        range(len(columns)), [f"{case},\n{size}" for case, size in columns], fontsize=SMALL - 2, rotation=45, ha="right"
    )
    ax.set_yticks(range(len(rows)), [f"{kind} · {vocabulary}" for kind, vocabulary in rows], fontsize=SMALL - 2)
    ax.grid(visible=False)
    ahead = int(np.sum(ratios >= 1))
    label_axes(ax, f"Ahead of gigatoken in {ahead} of {np.sum(~np.isnan(ratios))} cells", "", "")
    return ax


def _characters(size: int, case: str) -> str:
    """Return a size of text for a column; the first text is as long as a small corpus allows."""
    if case == "first text":
        return "up to 1M characters"
    return f"{_short(size) if size >= 1000 else size} characters" if size < 500_000 else "1M characters or all"


def _short(number: int) -> str:
    """Return a count in short: 1K, 75K, 2.1M."""
    return f"{number / 1e6:.1f}M" if number >= 1e6 else f"{number / 1e3:.0f}K"


def _pairs(ax: Axes, names: Sequence[str], plain: Sequence[float], native: Sequence[float]) -> None:
    """Draw the plain encoder and the C library side by side, on a log scale."""
    for shift, values, colour, label in (
        (-0.2, plain, ORANGE, "encode (Python)"),
        (0.2, native, BLUE, "encode_array (C)"),
    ):
        bars = ax.bar(np.arange(len(names)) + shift, values, width=0.38, color=colour, label=label)
        ax.bar_label(bars, labels=[f"{value:,.0f}" if value >= 10 else f"{value:.1f}" for value in values], fontsize=SMALL - 2)
    ax.set_xticks(range(len(names)), names)
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter("{x:,g}")
    ax.minorticks_off()
    ax.margins(y=0.25)
    low, high = ax.get_ylim()
    ax.set_ylim(low, high * (high / low) ** 0.15)  # room for the legend above the bars and their labels
    ax.legend(fontsize=SMALL - 1, edgecolor="none", framealpha=1.0, loc="upper left")  # no grid line runs through it


def _speed_up(ax: Axes, sizes: Sequence[Row]) -> None:
    if sizes:
        plain, native = ([run["naive_seconds"] / run[key] for run in sizes] for key in ("encode_seconds", "array_seconds"))
        _pairs(ax, [_short(run["words"]) for run in sizes], plain, native)
    label_axes(ax, "Speed over the naive encoder", "words of text (sizes it can finish)", "times as fast (log scale)")


def _cache(ax: Axes, names: Sequence[str], sizes: Sequence[Row]) -> None:
    for key, colour, marker, label in (
        ("first_pass_rate", VERMILION, "o", "one pass"),
        ("four_passes_rate", GREEN, "s", "four passes"),
    ):
        ax.plot(names, [100 * run[key] for run in sizes], marker=marker, color=colour, label=label)
    for place, run in enumerate(sizes):
        ax.annotate(
            f"{run['cache_bytes'] / 1e6:.1f} MB", (place, 100 * run["first_pass_rate"]), (6, -9), textcoords="offset points",
            fontsize=SMALL - 1, color=GREY, ha="left",
        )  # fmt: skip
    ax.set_ylim(40, 102)
    ax.margins(x=0.2)
    ax.legend(fontsize=SMALL - 1, frameon=False, loc="lower right")
    label_axes(ax, "Cache hits and memory", "words of text", "hit rate, %")


def plot_scaling(runs: Sequence[Row], exponents: Mapping[str, float], *, ax: Axes | None = None) -> Axes:
    """Draw each task's time against the words of text, both on log scales, with the exponent of its fit."""
    ax = ax or new_axes()
    for (task, slope), colour, marker in zip(exponents.items(), (BLUE, ORANGE, GREEN), ("o", "s", "^"), strict=False):
        own = [run for run in runs if run["task"] == task]
        words, seconds = [run["words"] for run in own], [run["seconds"] for run in own]
        ax.plot(words, seconds, marker=marker, color=colour, linewidth=2, label=f"{task}: words to the power {slope:.2f}")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ticks = sorted({run["words"] for run in runs})
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.legend(fontsize=SMALL, frameon=False)
    label_axes(ax, "Time against the length of the text", "words of text (log scale)", "seconds (log scale)")
    return ax
