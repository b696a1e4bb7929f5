"""The figures of vectors, one function each: data in, `Axes` out (see `plotting`)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from tokembed.figures.canvas import (
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
    label_axes,
    new_axes,
    style_axes,
    token_label,
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


def _ink(colour: str) -> str:
    """Return a colour dark enough for small text on white (a contrast of 4.5 to 1)."""
    red, green, blue = to_rgb(colour)
    return to_hex((0.6 * red, 0.6 * green, 0.6 * blue))


def panels(number: int, height: float) -> list[Axes]:
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
    ax.set_xlim(min(-0.6, *(values.min() for values in cosines.values())), 1.0)
    ax.legend(fontsize=SMALL, frameon=False, title="mean ± standard deviation", title_fontsize=SMALL, alignment="left")
    label_axes(ax, "Cosines of random pairs of tokens, before and after training", "cosine of two random tokens", "density")
    return ax


def plot_heatmap(cosines: Floats, words: Sequence[str], groups: Sequence[str], *, ax: Axes | None = None) -> Axes:
    """Draw pairwise cosines (n, n), in the order given; each word has its group's colour.

    The colours span the middle 98 % of the cosines of different words; the diagonal, 1 by definition, is left grey.
    """
    ax = ax or new_axes(height=8.4)
    ax.grid(visible=False)
    is_diagonal = np.eye(len(cosines), dtype=bool)
    others = cosines[~is_diagonal]
    low, high = np.quantile(others, [0.01, 0.99]) if others.size else (-1.0, 1.0)
    colours = mpl.colormaps["viridis"].with_extremes(bad=LIGHT_GREY)
    image = ax.imshow(
        np.where(is_diagonal, np.nan, cosines), cmap=colours, vmin=low, vmax=max(high, low + 1e-6), aspect="equal"
    )
    colour_bar = ax.figure.colorbar(image, ax=ax, shrink=0.55, pad=0.02, extend="both")
    colour_bar.set_label("cosine", fontsize=FONT_SIZE)
    colour_bar.ax.tick_params(labelsize=SMALL)
    styles = group_styles(list(dict.fromkeys(sorted(groups))))
    places = range(len(words))
    ax.set_xticks(places, [token_label(word) for word in words], rotation=90, fontsize=SMALL - 1)
    ax.set_yticks(places, [token_label(word) for word in words], fontsize=SMALL - 1)
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        for text, group in zip(labels, groups, strict=True):
            text.set_color(_ink(styles[group][0]))
    ax.tick_params(length=0)
    handles = [ax.plot([], [], "s", color=colour, label=name)[0] for name, (colour, _) in styles.items()]
    longest = max(len(text.get_text()) for text in ax.get_xticklabels())
    below = ax.transAxes + ScaledTranslation(0, -0.15 - 0.062 * longest, ax.figure.dpi_scale_trans)  # inches: under the words
    ax.legend(
        handles=handles,
        fontsize=SMALL,
        frameon=False,
        ncols=min(len(handles), 5),
        loc="upper left",
        borderpad=0,
        bbox_to_anchor=(0, 0),
        bbox_transform=below,
    )
    label_axes(ax, "Similar words side by side, coloured by kind", "", "")
    return ax


def plot_neighbours(rows: Sequence[tuple[str, Sequence[tuple[str, float]]]], *, ax: Axes | None = None) -> Axes:
    """Draw (query, [(neighbour, cosine), ...]) as a table whose cells are darker for higher cosines."""
    ax = ax or new_axes(height=1.2 + 0.36 * len(rows))

    def fitted(word: str, size: float) -> tuple[str, float]:
        label = token_label(word)
        return label, size * min(1.0, 14 / max(len(label), 1))  # 14 characters fill a cell

    ax.set_axis_off()
    columns = max((len(found) for _, found in rows), default=1)
    ax.set_xlim(0, 1.2 + columns)
    ax.set_ylim(len(rows) - 0.4, -1.0)
    scores = [score for _, found in rows for _, score in found] or [0.0]
    low, high = min(scores), max(scores)
    for column in range(columns):
        ax.text(1.7 + column, -0.75, str(column + 1), ha="center", va="center", fontsize=SMALL, color=GREY)
    for place, (query, found) in enumerate(rows):
        label, size = fitted(query, FONT_SIZE)
        ax.text(1.1, place, label, ha="right", va="center", fontsize=size, fontweight="bold")
        for column, (word, score) in enumerate(found):
            shade = 0.12 + 0.5 * (score - low) / max(high - low, 1e-9)
            ax.barh(place, 0.94, left=1.23 + column, height=0.84, color=BLUE, alpha=shade)
            label, size = fitted(word, SMALL)
            ax.text(1.7 + column, place - 0.13, label, ha="center", va="center", fontsize=size)
            ax.text(1.7 + column, place + 0.25, f"{score:.2f}", ha="center", va="center", fontsize=SMALL - 1)
    ax.set_title("Nearest neighbours, and their cosines", fontsize=FONT_SIZE + 1, loc="left", fontweight="bold")
    return ax


def plot_projection(
    points: Floats,
    words: Sequence[str],
    groups: Sequence[str | None],
    *,
    counts: Sequence[int] | None = None,
    title: str = "Words in two dimensions",
    axis_names: tuple[str, str] = ("", ""),
    ax: Axes | None = None,
) -> Axes:
    """Draw words at points (n, 2): those of a group in its colour and shape, the others, or all with `counts`, by frequency.

    Every word of a group has a label, and every other one that finds room; none hides a point or another label.
    """
    ax = ax or new_axes(height=6.6)
    ax.grid(visible=False)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[["left", "bottom"]].set_color(LIGHT_GREY)
    span = np.maximum(np.ptp(points, axis=0), 1e-9)  # 0 where all vectors have one direction
    ax.set_xlim(points[:, 0].min() - 0.08 * span[0], points[:, 0].max() + 0.08 * span[0])
    ax.set_ylim(points[:, 1].min() - 0.05 * span[1], points[:, 1].max() + 0.05 * span[1])
    if counts is not None:
        dots = ax.scatter(points[:, 0], points[:, 1], c=np.log10(counts), cmap="viridis_r", s=22)
        bar = ax.figure.colorbar(dots, ax=ax, shrink=0.5, pad=0.02)
        bar.set_label("occurrences, log10", fontsize=SMALL)
        colours = ["black"] * len(words)
    else:
        styles = group_styles(sorted({group for group in groups if group}))
        colours = [_ink(styles[group][0]) if group else GREY for group in groups]
        for name, (colour, marker) in [*styles.items(), (None, (LIGHT_GREY, "."))]:
            chosen = [place for place, group in enumerate(groups) if group == name]
            if chosen:
                label = name or "other frequent words"
                style: dict[str, Any] = {"c": colour, "marker": marker, "s": 26 if name else 14, "zorder": 2 if name else 1}
                ax.scatter(points[chosen, 0], points[chosen, 1], label=label, **style)
        ax.legend(
            fontsize=SMALL,
            frameon=False,
            ncols=min(len(styles) + 1, 6),
            loc="upper left",
            bbox_to_anchor=(0, -0.03),
            columnspacing=1.2,
        )
    label_axes(ax, title, *axis_names)
    order = sorted(range(len(words)), key=lambda place: groups[place] is None)
    required = sum(group is not None for group in groups)
    _place_labels(ax, points, [token_label(word) for word in words], colours, order, required)
    return ax


def _place_labels(
    ax: Axes, points: Floats, words: Sequence[str], colours: Sequence[str], order: Sequence[int], required: int
) -> None:
    """Label points in `order`, each at the nearest place where it hides nothing, with a line to its point if that is far.

    The first `required` get a label anyway, where it hides least; of the others, those that find no room get none.
    """
    assert isinstance(ax.figure, Figure)
    ax.figure.draw_without_rendering()  # the layout is settled before places are measured
    point_size = ax.figure.dpi / 72  # pixels
    centers = ax.transData.transform(points)
    low, high = np.array(ax.get_window_extent().get_points())
    taken = np.hstack([centers - 3 * point_size, centers + 3 * point_size])  # boxes (n, 4): left, bottom, right, top
    for rank, place in enumerate(order):
        style: dict[str, Any] = {"fontsize": SMALL - 1, "color": colours[place], "ha": "center", "va": "center"}
        measured = ax.text(0, 0, words[place], **style)
        half = np.array(measured.get_window_extent().size) / 2
        measured.remove()
        others = np.delete(taken, place, axis=0)
        best, least, is_far, boxes = np.zeros(2), np.inf, False, np.empty((0, 4))
        for distance, shift in _label_shifts(half, point_size):
            box = np.hstack([centers[place] + shift - half, centers[place] + shift + half])
            if (box[:2] < low).any() or (box[2:] > high).any():
                continue
            # The line's points are boxes too: nothing may lie below it, nor be put there later.
            line = centers[place] + np.linspace(0.1, 0.9, 12 if distance else 0)[:, None] * shift
            tried = np.vstack([box, np.hstack([line - 1, line + 1])])
            sides = np.minimum(tried[:, None, 2:], others[:, 2:]) - np.maximum(tried[:, None, :2], others[:, :2])
            hidden = float(np.prod(np.maximum(sides, 0.0), axis=2).sum())
            if hidden < least:
                best, least, is_far, boxes = shift, hidden, distance > 0, tried
            if least == 0.0:
                break
        if least > 0.0 and rank >= required:
            continue
        arrow = {"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3} if is_far else None
        ax.annotate(
            words[place],
            tuple(points[place]),
            tuple(best / point_size),
            textcoords="offset points",
            arrowprops=arrow,
            **style,
        )
        taken = np.vstack([taken, boxes])


def _label_shifts(half: Floats, point_size: float) -> Iterator[tuple[float, Floats]]:
    """Yield (distance, shift of a label's center from its point in pixels), eight sides at each distance, the nearest first."""
    sides = np.array([(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)])
    for distance in (0.0, 8.0, 16.0, 26.0, 38.0, 52.0):
        for side in sides:
            gap = 4.0 if 0 in side else 2.5
            yield distance, side * (half + (gap + distance) * point_size)


@dataclass(frozen=True)
class SensePanel:
    """What is drawn of a word of two senses.

    Attributes
    ----------
    word : str
    senses : pair of str
    uses : pair of arrays (n, 2) and (m, 2)
        Each use's cosine with the mean of either sense's uses.
    own : pair of float
        The same of the word's one vector.
    cosine, random_cosine, p_value : float
        Cosine of both senses' means, that of random splits of the uses (their mean), and the share of splits that differ as
        much.
    is_told_apart : bool
        Whether the senses' contexts differ by more than chance.
    """

    word: str
    senses: tuple[str, str]
    uses: tuple[Floats, Floats]
    own: tuple[float, float]
    cosine: float
    random_cosine: float
    p_value: float
    is_told_apart: bool


def plot_senses(words: Sequence[SensePanel]) -> Axes:
    """Draw, for each word, its uses by their cosine with the mean use of either sense, and the word's one vector as a star.

    All panels have one scale on all axes, so that distances from the diagonal can be compared.
    """
    all_axes = panels(len(words), height=4.7)
    drawn = np.concatenate([np.vstack([*word.uses, word.own]) for word in words])
    low, high = drawn.min() - 0.08, drawn.max() + 0.08
    for axes, word in zip(all_axes, words, strict=True):
        style: dict[str, Any] = {"s": 16, "alpha": 0.75, "linewidths": 0}
        axes.axline((0, 0), slope=1, color=GREY, linewidth=0.8, linestyle=":", label="equally near to both")
        for points, name, colour, marker in zip(word.uses, word.senses, (BLUE, ORANGE), ("o", "^"), strict=True):
            axes.scatter(points[:, 0], points[:, 1], c=colour, marker=marker, label=f"{name}: {len(points)} uses", **style)
        axes.plot(*word.own, "*", color=VERMILION, markersize=13, markeredgecolor="white", label="the word's one vector")
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", anchor="N")
        verdict = "told apart" if word.is_told_apart else "not told apart"
        label_axes(axes, f"“{word.word}”: {verdict}", f"cosine with “{word.senses[0]}”", f"cosine with “{word.senses[1]}”")
        for text in (axes.xaxis.label, axes.yaxis.label):
            text.set_fontsize(SMALL)
        note = f"cosine of both means: {word.cosine:.2f}\nof random splits: {word.random_cosine:.2f} (p = {word.p_value:.3f})"
        below = axes.transAxes + ScaledTranslation(-0.4, -0.45, axes.figure.dpi_scale_trans)  # inches: under the axis' name
        axes.legend(
            title=note,
            title_fontsize=SMALL - 1,
            alignment="left",
            fontsize=SMALL - 1,
            frameon=False,
            handletextpad=0.4,
            borderpad=0,
            loc="upper left",
            bbox_to_anchor=(0, 0),
            bbox_transform=below,
        )
    return all_axes[0]
