"""The figures of vectors, one function each: data in, `Axes` out (see `plotting`)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from tokembed.plotting import (
    BLUE,
    FONT_SIZE,
    GREEN,
    GREY,
    LIGHT_GREY,
    ORANGE,
    PURPLE,
    SKY,
    SMALL,
    VERMILION,
    drawable,
    label_axes,
    new_axes,
    style_axes,
)

GROUP_COLOURS = (VERMILION, BLUE, GREEN, PURPLE, ORANGE, SKY, GREY)
GROUP_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
Floats = npt.NDArray[np.float64]


def group_styles(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return a colour and a marker for each group, by its place."""
    return {
        name: (colour, marker)
        for name, colour, marker in zip(names, itertools.cycle(GROUP_COLOURS), itertools.cycle(GROUP_MARKERS), strict=False)
    }


def _panels(number: int, height: float, width_ratio: float = 1.0) -> list[Axes]:
    """Return the axes of a new figure of panels side by side."""
    first = new_axes(height=height)
    figure = first.figure
    first.remove()
    return [_styled(figure.add_subplot(1, number, place)) for place in range(1, number + 1)]


def _styled(axes: Axes) -> Axes:
    style_axes(axes)
    return axes


def plot_similarity_distribution(cosines: Mapping[str, Floats], *, ax: Axes | None = None) -> Axes:
    """Overlay histograms of the cosines of random token pairs, one for each name; a spike is drawn as a line."""
    ax = ax or new_axes()
    bins = np.linspace(-1, 1, 81).tolist()
    styles = ((GREY, 1.0, ":"), (ORANGE, 0.45, "-"), (BLUE, 0.45, "-"))
    for (name, values), (colour, alpha, line) in zip(cosines.items(), styles, strict=False):
        label = f"{name}: {values.mean():.2f} ± {values.std():.2f}"
        if np.ptp(values) < 1e-9:
            ax.axvline(float(values[0]), color=colour, linestyle=line, linewidth=2.5, label=label)
        else:
            ax.hist(
                values, bins=bins, color=colour, alpha=alpha, label=label, density=True, edgecolor=colour, histtype="stepfilled"
            )
    ax.set_xlim(-0.6, 1.0)
    ax.legend(fontsize=SMALL, frameon=False, title="mean ± standard deviation", title_fontsize=SMALL, alignment="left")
    label_axes(ax, "Training turns unrelated vectors into related ones", "cosine of two random tokens", "density")
    return ax


def plot_heatmap(cosines: Floats, words: Sequence[str], groups: Sequence[str], *, ax: Axes | None = None) -> Axes:
    """Draw pairwise cosines (n, n), in the order given; each word has its group's colour and a bar of it beside the map."""
    ax = ax or new_axes(height=8.6)
    ax.grid(visible=False)
    off_diagonal = cosines[~np.eye(len(cosines), dtype=bool)]
    low, high = np.quantile(off_diagonal, [0.01, 0.99]) if off_diagonal.size else (-1.0, 1.0)
    image = ax.imshow(cosines, cmap="viridis", vmin=low, vmax=max(high, low + 1e-6), aspect="equal")
    colour_bar = ax.figure.colorbar(image, ax=ax, shrink=0.55, pad=0.02)
    colour_bar.set_label("cosine", fontsize=FONT_SIZE)
    colour_bar.ax.tick_params(labelsize=SMALL)
    styles = group_styles(list(dict.fromkeys(sorted(groups))))
    places = range(len(words))
    ax.set_xticks(places, [drawable(word) for word in words], rotation=90, fontsize=SMALL - 1)
    ax.set_yticks(places, [drawable(word) for word in words], fontsize=SMALL - 1)
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        for text, group in zip(labels, groups, strict=True):
            text.set_color(styles[group][0])
    ax.tick_params(length=0)
    handles = [ax.plot([], [], "s", color=colour, label=name)[0] for name, (colour, _) in styles.items()]
    ax.legend(handles=handles, fontsize=SMALL, frameon=False, ncols=len(handles), loc="upper left", bbox_to_anchor=(0, -0.14))
    label_axes(ax, "Words of a kind lie together, unasked", "", "")
    return ax


def plot_neighbours(rows: Sequence[tuple[str, Sequence[tuple[str, float]]]], *, ax: Axes | None = None) -> Axes:
    """Draw (query, [(neighbour, cosine), ...]) as a table whose cells are the darker the nearer."""
    ax = ax or new_axes(height=1.2 + 0.36 * len(rows))
    ax.set_axis_off()
    columns = max((len(found) for _, found in rows), default=1)
    ax.set_xlim(0, 1.2 + columns)
    ax.set_ylim(len(rows) - 0.4, -1.0)
    scores = [score for _, found in rows for _, score in found] or [0.0]
    low, high = min(scores), max(scores)
    for column in range(columns):
        ax.text(1.7 + column, -0.75, str(column + 1), ha="center", va="center", fontsize=SMALL, color=GREY)
    for place, (query, found) in enumerate(rows):
        ax.text(1.1, place, drawable(query), ha="right", va="center", fontsize=FONT_SIZE, fontweight="bold")
        for column, (word, score) in enumerate(found):
            shade = 0.12 + 0.5 * (score - low) / max(high - low, 1e-9)
            ax.barh(place, 0.94, left=1.23 + column, height=0.84, color=BLUE, alpha=shade)
            ax.text(1.7 + column, place - 0.13, drawable(word)[:14], ha="center", va="center", fontsize=SMALL)
            ax.text(1.7 + column, place + 0.25, f"{score:.2f}", ha="center", va="center", fontsize=SMALL - 2, color=GREY)
    ax.set_title("The nearest words, and their cosines", fontsize=FONT_SIZE + 1, loc="left", fontweight="bold")
    return ax


def plot_projection(
    points: Floats,
    words: Sequence[str],
    groups: Sequence[str | None],
    *,
    counts: Sequence[int] | None = None,
    title: str = "Words of a kind gather",
    ax: Axes | None = None,
) -> Axes:
    """Draw words at points (n, 2): those of a group in its colour and shape, the others, or all with `counts`, by frequency.

    Labels are put where they hide neither points nor one another; a word whose label finds no room stays a point.
    """
    ax = ax or new_axes(height=6.6)
    ax.grid(visible=False)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[["left", "bottom"]].set_color(LIGHT_GREY)
    span = np.ptp(points, axis=0)
    ax.set_xlim(points[:, 0].min() - 0.08 * span[0], points[:, 0].max() + 0.08 * span[0])
    ax.set_ylim(points[:, 1].min() - 0.05 * span[1], points[:, 1].max() + 0.05 * span[1])
    if counts is not None:
        dots = ax.scatter(points[:, 0], points[:, 1], c=np.log10(counts), cmap="viridis_r", s=22)
        bar = ax.figure.colorbar(dots, ax=ax, shrink=0.5, pad=0.02)
        bar.set_label("occurrences, log10", fontsize=SMALL)
        colours = ["black"] * len(words)
    else:
        styles = group_styles(sorted({group for group in groups if group}))
        colours = [styles[group][0] if group else GREY for group in groups]
        for name, (colour, marker) in [*styles.items(), (None, (LIGHT_GREY, "."))]:
            chosen = [place for place, group in enumerate(groups) if group == name]
            if chosen:
                label = name or "other frequent words"
                ax.scatter(points[chosen, 0], points[chosen, 1], c=colour, marker=marker, s=26 if name else 14, label=label)
        ax.legend(
            fontsize=SMALL, frameon=False, ncols=len(styles) + 1, loc="upper left", bbox_to_anchor=(0, 0), columnspacing=1.2
        )
    order = sorted(range(len(words)), key=lambda place: groups[place] is None)
    _place_labels(ax, points, [drawable(word) for word in words], colours, order)
    label_axes(ax, title, "", "")
    return ax


def _place_labels(ax: Axes, points: Floats, words: Sequence[str], colours: Sequence[str], order: Sequence[int]) -> None:
    """Label points in `order`, each on the first of eight sides where it hides nothing; leave out what finds no room."""
    assert isinstance(ax.figure, Figure)
    ax.figure.draw_without_rendering()  # the layout is settled before places are measured
    dots = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in ax.transData.transform(points)]
    frame = ax.get_window_extent()
    taken: list[Bbox] = []
    sides: list[tuple[float, float, str, str]] = [
        (4, 0, "left", "center"), (-4, 0, "right", "center"), (0, 4, "center", "bottom"), (0, -4, "center", "top"),
        (3, 3, "left", "bottom"), (-3, 3, "right", "bottom"), (3, -3, "left", "top"), (-3, -3, "right", "top"),
    ]  # fmt: skip
    for place in order:
        others = dots[:place] + dots[place + 1 :] + taken
        for dx, dy, horizontal, vertical in sides:
            text = ax.annotate(
                words[place], tuple(points[place]), (dx, dy), textcoords="offset points", fontsize=SMALL - 1,
                color=colours[place], ha=horizontal, va=vertical,
            )  # fmt: skip
            box = text.get_window_extent()
            inside = box.x0 >= frame.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0 and box.y1 <= frame.y1
            if inside and box.count_overlaps(others) == 0:
                taken.append(box)
                break
            text.remove()


def plot_dimensions(rows: Sequence[tuple[int, float, float]], *, ax: Axes | None = None) -> Axes:
    """Draw (dimension, synonym AUC, mean synonym cosine minus random) of every run: dots, and lines through their means."""
    ax = ax or new_axes()
    dimensions = sorted({dimension for dimension, _, _ in rows})
    for column, colour, marker, name in (
        (1, BLUE, "o", "synonym AUC"),
        (2, ORANGE, "s", "synonyms' mean cosine minus all pairs'"),
    ):
        values = {d: [float(row[column]) for row in rows if row[0] == d] for d in dimensions}
        ax.plot(dimensions, [np.mean(values[d]) for d in dimensions], color=colour, linewidth=2, label=name)
        for d in dimensions:
            ax.plot([d] * len(values[d]), values[d], marker, color=colour, markersize=5, alpha=0.6)
    ax.set_xscale("log")
    ax.set_xticks(dimensions, [str(d) for d in dimensions])
    ax.minorticks_off()
    ax.set_ylim(0, 1)
    ax.legend(fontsize=SMALL, frameon=False, loc="center right")
    label_axes(ax, "What more dimensions buy", "embedding dimension (log scale)", "quality, a dot a seed")
    return ax


def plot_training_progress(losses: Sequence[float], history: Sequence[Mapping[str, float]]) -> Axes:
    """Draw three panels against the epoch: the loss, mean cosines of words (0 is before training), synonym AUC."""
    loss, cosine, auc = _panels(3, height=3.6)
    loss.plot(range(1, len(losses) + 1), losses, "o-", color=BLUE, markersize=3)
    for field, colour, line, name in (
        ("random_cosine", BLUE, "-", "all pairs of\nfrequent words"),
        ("synonym_cosine", ORANGE, "--", "synonyms"),
    ):
        values = [entry.get(field, np.nan) for entry in history]
        cosine.plot(range(len(history)), values, line, marker="o", color=colour, markersize=3, label=name)
    cosine.legend(fontsize=SMALL - 1, frameon=False)
    auc.plot(range(len(history)), [entry.get("auc", np.nan) for entry in history], "o-", color=GREEN, markersize=3)
    auc.axhline(0.5, color=GREY, linestyle=":", linewidth=1)
    auc.annotate(
        "chance", (len(history) - 1, 0.5), (0, 3), textcoords="offset points", ha="right", fontsize=SMALL - 1, color=GREY
    )
    label_axes(loss, "The loss falls,", "epoch", "loss of a pair, nats")
    label_axes(cosine, "vectors turn,", "epoch", "mean pairwise cosine")
    label_axes(auc, "synonyms stand out", "epoch", "synonym AUC")
    return loss


def plot_objectives(rows: Sequence[tuple[str, Sequence[float], float, float]]) -> Axes:
    """Draw (objective, losses an epoch, seconds an epoch, synonym AUC): relative loss, time and quality in three panels."""
    loss, seconds, quality = _panels(3, height=3.9)
    styles = group_styles([name for name, *_ in rows])
    for name, losses, *_ in rows:
        colour, marker = styles[name]
        loss.plot(
            range(1, len(losses) + 1), np.array(losses) / losses[0], marker=marker, color=colour, markersize=4, label=name
        )
    loss.legend(fontsize=SMALL - 1, frameon=False)
    names = [name.removesuffix(" negatives").removeprefix("full ") for name, *_ in rows]
    for axes, column, form in ((seconds, 2, "{:.2f}"), (quality, 3, "{:.2f}")):
        values = [float(row[column]) for row in rows]  # type: ignore[arg-type]
        bars = axes.bar(names, values, color=[styles[name][0] for name, *_ in rows], width=0.7)
        axes.bar_label(bars, labels=[form.format(value) for value in values], fontsize=SMALL, padding=2)
    seconds.set_yscale("log")
    seconds.yaxis.set_major_formatter("{x:g}")
    seconds.minorticks_off()
    seconds.margins(y=0.2)
    quality.set_ylim(0, 1.08)
    label_axes(loss, "All learn,", "epoch", "loss, as a share of the first epoch's")
    label_axes(seconds, "at other prices,", "negatives", "seconds an epoch (log scale)")
    label_axes(quality, "about as well", "negatives", "synonym AUC")
    return loss


def plot_senses(
    words: Sequence[tuple[str, tuple[str, str], tuple[Floats, Floats], tuple[float, float], tuple[float, float]]],
) -> Axes:
    """Draw, for each word, its uses by their cosine with the mean use of either sense, and the word's one vector as a star.

    Each word is (word, names of both senses, their uses (n, 2) and (m, 2), the word's own point, cosines of the senses' mean
    uses and of uses dealt at random).
    """
    panels = _panels(len(words), height=4.0)
    for axes, (word, names, uses, own, (cosine, random_cosine)) in zip(panels, words, strict=True):
        style: dict[str, Any] = {"s": 16, "alpha": 0.75, "linewidths": 0}
        for points, name, colour, marker in zip(uses, names, (BLUE, ORANGE), ("o", "^"), strict=True):
            axes.scatter(points[:, 0], points[:, 1], c=colour, marker=marker, label=f"{name} ({len(points)})", **style)
        axes.plot(*own, "*", color=VERMILION, markersize=13, markeredgecolor="white", label="the word's one vector")
        axes.margins(x=0.1, y=0.25)
        low, high = axes.get_xlim()
        axes.axline((0, 0), slope=1, color=GREY, linewidth=0.8, linestyle=":")
        axes.set_xlim(low, high)
        axes.legend(fontsize=SMALL - 2, frameon=False, loc="upper left", handletextpad=0.2)
        label_axes(axes, f"“{word}”", f"cosine with “{names[0]}”", f"cosine with “{names[1]}”")
        axes.xaxis.label.set_fontsize(SMALL)
        axes.yaxis.label.set_fontsize(SMALL)
        note = f"the senses' contexts: {cosine:.2f}\ndealt at random: {random_cosine:.2f}"
        axes.text(0.98, 0.02, note, transform=axes.transAxes, ha="right", va="bottom", fontsize=SMALL - 2, color=GREY)
    return panels[0]
