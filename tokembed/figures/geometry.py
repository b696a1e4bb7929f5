"""The figures of vectors, one function each: what they have learned, laid out on a page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import ScaledTranslation

from tokembed.analysis.geometry import Heatmap
from tokembed.analysis.projection import Projection
from tokembed.analysis.senses import Polysemy
from tokembed.figures.canvas import (
    BLUE,
    FONT_SIZE,
    GREY,
    LIGHT_GREY,
    ORANGE,
    SMALL,
    VERMILION,
    choose_fonts,
    fonts_of,
    group_styles,
    ink,
    label_axes,
    label_width,
    new_axes,
    panels,
    text_width,
    token_label,
)

Floats = npt.NDArray[np.float64]
NUM_GREY_LABELS = 12  # of a map, on words that are of no kind


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
            form: dict[str, Any] = {"bins": bins, "density": True, "histtype": "stepfilled"}
            ax.hist(values, color=colour, edgecolor=colour, alpha=alpha, label=label, **form)
    ax.set_xlim(min(-0.6, *(values.min() for values in cosines.values())), 1.0)
    style: dict[str, Any] = {"title_fontsize": SMALL, "alignment": "left", "edgecolor": "none", "framealpha": 0.9}
    ax.legend(fontsize=SMALL, title="mean ± standard deviation", **style)  # a paper ground: the line of one-hot goes below
    label_axes(ax, "Cosines of random pairs of tokens, before and after training", "cosine of two random tokens", "density")
    return ax


def plot_heatmap(heatmap: Heatmap, *, ax: Axes | None = None) -> Axes:
    """Draw pairwise cosines in the order given; white is the mean between kinds, and a frame is around each kind.

    The colours reach as far as the middle 98 % of the cosines of different words; the diagonal, 1 by definition, is left grey.
    """
    ax = ax or new_axes(height=6.9)
    cosines, words, kinds = heatmap.cosines, heatmap.words, heatmap.kinds
    ax.grid(visible=False)
    is_diagonal = np.eye(len(cosines), dtype=bool)
    others = cosines[~is_diagonal]
    reach = float(np.quantile(np.abs(others - heatmap.between), 0.98)) if others.size else 1.0
    colours = mpl.colormaps["PuOr_r"].with_extremes(bad=LIGHT_GREY)
    limits: dict[str, Any] = {"vmin": heatmap.between - max(reach, 1e-6), "vmax": heatmap.between + max(reach, 1e-6)}
    image = ax.imshow(np.where(is_diagonal, np.nan, cosines), cmap=colours, aspect="equal", **limits)
    colour_bar = ax.figure.colorbar(image, ax=ax, shrink=0.55, pad=0.02, extend="both")
    colour_bar.set_label(f"cosine (white: {heatmap.between:.2f}, the mean between kinds)", fontsize=SMALL)
    colour_bar.ax.tick_params(labelsize=SMALL)
    styles = group_styles(sorted(set(kinds)))
    places = range(len(words))
    ax.set_xticks(places, [token_label(word) for word in words], rotation=90, fontsize=SMALL)
    ax.set_yticks(places, [token_label(word) for word in words], fontsize=SMALL)
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        for text, kind in zip(labels, kinds, strict=True):
            text.set_color(ink(styles[kind][0]))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    for kind, (colour, _) in styles.items():
        first, size = kinds.index(kind) - 0.5, kinds.count(kind)
        ax.add_patch(Rectangle((first, first), size, size, fill=False, edgecolor=ink(colour), linewidth=2.2, zorder=3))
    in_order = dict.fromkeys(kinds)
    handles = [ax.plot([], [], "s", color=styles[name][0], label=token_label(name))[0] for name in in_order]
    columns = _num_columns(in_order, 4)
    by_column = [handle for column in range(columns) for handle in handles[column::columns]]  # to be read row by row
    longest = max(text_width(text.get_text(), SMALL) for text in ax.get_xticklabels())
    _legend_below(ax, 0, 0.15 + longest, handles=by_column, fontsize=SMALL, ncols=columns)  # under the words
    within, is_within = cosines, np.equal.outer(kinds, kinds) & ~is_diagonal
    title = "Cosines of words, kind by kind"
    if is_within.any() and float(within[is_within].mean()) > heatmap.between:
        title = "Words of a kind are more similar than others"
    label_axes(ax, title, "", "")
    return ax


def plot_neighbours(rows: Sequence[tuple[str, Sequence[tuple[str, float]]]], *, ax: Axes | None = None) -> Axes:
    """Draw (query, [(neighbour, cosine), ...]) as a table whose cells are darker for higher cosines."""
    ax = ax or new_axes(height=1.2 + 0.36 * len(rows))

    def fitted(word: str, size: float) -> tuple[str, float]:
        label = token_label(word)
        return label, size * min(1.0, 14 / max(label_width(label), 1))  # 14 characters fill a cell

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
    label_axes(ax, "Nearest neighbours, and their cosines", "", "")
    return ax


def plot_projection(projection: Projection, *, ax: Axes | None = None) -> Axes:
    """Draw words at points: those of a kind in its colour and shape, the others in grey; with counts, all by frequency.

    Every word of a kind has a label, and a few of the others that find room; none hides a point or another label. Where the
    words lay before training is a small panel beside it; there is none where `ax` is given.
    """
    small = None
    if ax is None and projection.before is not None:
        ax, small = panels(2, 5.6, width_ratios=[3.1, 1.0])
    ax = ax or new_axes(height=6.6)
    words, kinds, counts = projection.words, projection.kinds, projection.counts
    styles = group_styles(sorted({kind for kind in kinds if kind}))
    if small and projection.before is not None:
        _draw_points(small, projection.before, kinds, counts, styles, 0.5)
        small.set_aspect("equal", adjustable="box", anchor="N")
        small.spines[:].set_visible(True)
        small.spines[:].set_color(LIGHT_GREY)
        small.set_title("Before training", fontsize=SMALL, loc="left")
    dots = _draw_points(ax, projection.points, kinds, counts, styles, 1.0)
    ax.spines[["left", "bottom"]].set_color(LIGHT_GREY)
    if counts is not None:
        bar = ax.figure.colorbar(dots, ax=ax, shrink=0.5, pad=0.02)
        bar.set_label("occurrences, log10", fontsize=SMALL)
        colours = ["black"] * len(words)
    else:
        colours = [ink(styles[kind][0]) if kind else GREY for kind in kinds]
        columns: dict[str, Any] = {
            "ncols": 1 if small else _num_columns([*styles, "other frequent words"], 4),
            "columnspacing": 1.2,
            "handletextpad": 0.4,
        }
        corner: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (-0.05, -0.05) if small else (0, -0.02)}
        (small or ax).legend(handles=ax.get_legend_handles_labels()[0], fontsize=SMALL, frameon=False, **corner, **columns)
    label_axes(ax, textwrap.fill(projection.title, 72), *projection.axis_names)
    required = [place for place, kind in enumerate(kinds) if kind is not None]
    others = [place for place, kind in enumerate(kinds) if kind is None]
    order = [*required, *others][: len(required) + NUM_GREY_LABELS]
    _place_labels(ax, projection.points, [token_label(word) for word in words], colours, order, len(required))
    return ax


def _draw_points(
    ax: Axes,
    points: Floats,
    kinds: Sequence[str | None],
    counts: Sequence[int] | None,
    styles: Mapping[str, tuple[str, str]],
    scale: float,
) -> PathCollection:
    """Draw words as dots, without labels, each kind in its style; their size is scaled."""
    ax.grid(visible=False)
    ax.set_xticks([])
    ax.set_yticks([])
    span = np.maximum(np.ptp(points, axis=0), 1e-9)  # 0 where all vectors have one direction
    ax.set_xlim(points[:, 0].min() - 0.08 * span[0], points[:, 0].max() + 0.08 * span[0])
    ax.set_ylim(points[:, 1].min() - 0.05 * span[1], points[:, 1].max() + 0.05 * span[1])
    if counts is not None:
        return ax.scatter(points[:, 0], points[:, 1], c=np.log10(counts), cmap="viridis_r", s=22 * scale)
    dots = None
    for name, (colour, marker) in [*styles.items(), (None, (LIGHT_GREY, "."))]:
        chosen = [place for place, kind in enumerate(kinds) if kind == name]
        if chosen:
            label = name or "other frequent words"
            style: dict[str, Any] = {
                "c": colour,
                "marker": marker,
                "s": (26 if name else 14) * scale,
                "zorder": 2 if name else 1,
            }
            dots = ax.scatter(points[chosen, 0], points[chosen, 1], label=label, **style)
    assert dots is not None
    return dots


def _place_labels(
    ax: Axes, points: Floats, words: Sequence[str], colours: Sequence[str], order: Sequence[int], required: int
) -> None:
    """Label points in `order`, each at the nearest place where it hides nothing, with a line to its point if that is far.

    The first `required` get a label anyway, where it hides least; of the others, those that find no room get none.
    """
    assert isinstance(ax.figure, Figure)
    choose_fonts(ax.figure)
    ax.figure.draw_without_rendering()  # the layout is settled before places are measured
    fonts = fonts_of(words)
    point_size = ax.figure.dpi / 72  # pixels
    centers = ax.transData.transform(points)
    low, high = np.array(ax.get_window_extent().get_points())
    taken = np.hstack([centers - 3 * point_size, centers + 3 * point_size])  # boxes (n, 4): left, bottom, right, top
    for rank, place in enumerate(order):
        style: dict[str, Any] = {"size": SMALL - 1, "color": colours[place], "ha": "center", "va": "center", "family": fonts}
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
        away = tuple(best / point_size)
        ax.annotate(words[place], tuple(points[place]), away, textcoords="offset points", arrowprops=arrow, **style)
        taken = np.vstack([taken, boxes])


def _label_shifts(half: Floats, point_size: float) -> Iterator[tuple[float, Floats]]:
    """Yield (distance, shift of a label's center from its point in pixels), eight sides at each distance, the nearest first."""
    sides = np.array([(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)])
    for distance in (0.0, 8.0, 16.0, 26.0, 38.0, 52.0):
        for side in sides:
            gap = 4.0 if 0 in side else 2.5
            yield distance, side * (half + (gap + distance) * point_size)


def plot_senses(words: Sequence[Polysemy]) -> Axes:
    """Draw, for each word, its uses by their cosine with the mean use of either sense, and the word's one vector as a star.

    All panels have one scale on all axes, so that distances from the diagonal can be compared.
    """
    all_axes = panels(len(words), height=4.7)
    cosines = [word.use_cosines() for word in words]
    drawn = np.concatenate([np.vstack([*uses, own]) for uses, own in cosines])
    low, high = drawn.min() - 0.08, drawn.max() + 0.08
    for axes, lesson, (uses, own) in zip(all_axes, words, cosines, strict=True):
        names = [sense.name for sense in lesson.senses]
        style: dict[str, Any] = {"s": 16, "alpha": 0.75, "linewidths": 0}
        axes.axline((0, 0), slope=1, color=GREY, linewidth=0.8, linestyle=":", label="equally near to both")
        for points, name, colour, marker in zip(uses, names, (BLUE, ORANGE), ("o", "^"), strict=True):
            axes.scatter(points[:, 0], points[:, 1], c=colour, marker=marker, label=f"{name}: {len(points)} uses", **style)
        axes.plot(*own, "*", color=VERMILION, markersize=13, markeredgecolor="white", label="the word's one vector")
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", anchor="N")
        verdict = "told apart" if lesson.is_told_apart else "not told apart"
        label_axes(axes, f"“{lesson.word}”: {verdict}", *(f"cosine with “{name}”" for name in names))
        for text in (axes.xaxis.label, axes.yaxis.label):
            text.set_fontsize(SMALL)
        note = f"cosine of both means: {lesson.context_cosine:.2f}\n"
        note += f"of random splits: {lesson.random_cosine:.2f} (p = {lesson.p_value:.3f})"
        sizes = {"fontsize": SMALL - 1, "title_fontsize": SMALL - 1, "handletextpad": 0.4}
        _legend_below(axes, -0.4, 0.45, title=note, alignment="left", **sizes)  # under the axis' name
    return all_axes[0]


def _num_columns(names: Iterable[str], most: int) -> int:
    """Return how many columns of a legend with these names fit beside one another."""
    widths = [0.45 + 0.075 * label_width(token_label(name)) for name in names]  # inches
    return max(min(len(widths), most, int(7.8 / max(widths))), 1)


def _legend_below(ax: Axes, right: float, down: float, **style: Any) -> None:
    """Put the legend so many inches to the right of the axes' lower left corner and below it."""
    corner = ax.transAxes + ScaledTranslation(right, -down, ax.figure.dpi_scale_trans)
    ax.legend(loc="upper left", frameon=False, borderpad=0, bbox_to_anchor=(0, 0), bbox_transform=corner, **style)
