"""Figures of how training went: its progress by epoch, dimensions and objectives compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tokembed.analysis.experiments import ObjectiveRun, TrainingProgress
from tokembed.analysis.rare_words import KINDS, RareWordScore
from tokembed.figures.canvas import (
    BLUE,
    FONT_SIZE,
    GREEN,
    GREY,
    LIGHT_GREY,
    ORANGE,
    SMALL,
    group_styles,
    label_axes,
    panels,
    token_label,
)  # fmt: skip


def plot_dimensions(rows: Sequence[tuple[int, float, float]]) -> Axes:
    """Draw (dimension, synonym AUC, mean synonym cosine minus random) of every run: dots, and lines through their means.

    Each panel's axis spans its own data: what differs between dimensions is small beside the whole range.
    """
    auc, gap = panels(2, height=4.0)
    dimensions = sorted({dimension for dimension, _, _ in rows})
    for axes, column, colour, title, name in (
        (auc, 1, BLUE, "Synonym AUC", "synonym AUC (chance: 0.5)"),
        (gap, 2, ORANGE, "Cosine gap", "mean cosine: synonyms minus others"),
    ):
        values = {d: [float(row[column]) for row in rows if row[0] == d] for d in dimensions}
        axes.plot(dimensions, [np.mean(values[d]) for d in dimensions], color=colour, linewidth=2)
        for d in dimensions:
            axes.plot([d] * len(values[d]), values[d], "o", color=colour, markersize=5, alpha=0.6)
        axes.set_xscale("log")
        axes.set_xticks(dimensions, [str(d) for d in dimensions])
        axes.minorticks_off()
        axes.margins(y=0.15)
        label_axes(axes, title, "dimensions (log scale)", name)
    return auc


def plot_training_progress(progress: TrainingProgress) -> Axes:
    """Draw loss, cosines and synonym AUC by epoch in three panels, epoch 0 before training; below, a word's neighbours.

    Of a text that has no synonyms there is no third panel.
    """
    epochs, losses, random_cosine, synonym_cosine, aucs = (np.array(column) for column in zip(*progress.rows, strict=True))
    has_synonyms = bool(np.isfinite(aucs).any())
    num_panels = 3 if has_synonyms else 2
    if progress.neighbours:
        drawn = panels(num_panels, height=5.0, rows=2, height_ratios=[3.0, 1.25])
        (loss, cosine, *ranking), below = drawn[:num_panels], drawn[num_panels:]
        grid = below[0].get_gridspec()
        for unused in below:
            unused.remove()
        assert grid is not None
        _draw_neighbours(loss.figure.add_subplot(grid[1, :]), progress)
    else:
        loss, cosine, *ranking = panels(num_panels, height=3.6)
    loss.plot(epochs[1:], losses[1:], "o-", color=BLUE, markersize=3)
    for values, colour, line, name in (
        (random_cosine, BLUE, "-", "all pairs of\nfrequent words"),
        (synonym_cosine, ORANGE, "--", "synonyms"),
    ):
        if np.isfinite(values).any():
            cosine.plot(epochs, values, line, marker="o", color=colour, markersize=3, label=name)
    cosine.legend(*cosine.get_legend_handles_labels(), fontsize=SMALL - 1, frameon=False)
    for auc in ranking:
        auc.plot(epochs, aucs, "o-", color=GREEN, markersize=3)
        auc.axhline(0.5, color=GREY, linestyle=":", linewidth=1)
        at = epochs[-1], 0.5
        auc.annotate("chance", at, (0, 3), textcoords="offset points", ha="right", fontsize=SMALL - 1, color=GREY)
        label_axes(auc, "Synonym ranking", "epoch", "synonym AUC")
    for axes in (loss, cosine, *ranking):
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    label_axes(loss, "Loss: lower is better", "epoch", "mean loss per pair")
    label_axes(cosine, "Similarity of words", "epoch", "mean cosine of pairs")
    return loss


def _draw_neighbours(ax: Axes, progress: TrainingProgress) -> None:
    """Draw the neighbours of a word as columns, one for each epoch; those of the last epoch are bold wherever they stand."""
    ax.set_axis_off()
    columns, rows = len(progress.neighbours), max(len(near) for _, near in progress.neighbours)
    ax.set_xlim(-1.0, columns)
    ax.set_ylim(rows + 0.1, -1.1)
    style: dict[str, Any] = {"fontsize": SMALL, "va": "center"}
    ax.text(-1.0, -0.5, "nearest to", color=GREY, **style)
    ax.text(-1.0, 0.55, token_label(progress.word), **(style | {"fontsize": FONT_SIZE}), fontweight="bold")
    lasting = set(progress.neighbours[-1][1])
    for column, (epoch, near) in enumerate(progress.neighbours):
        ax.text(column, -0.5, f"after {epoch} epoch{'s' * (epoch > 1)}", color=GREY, **style)
        ax.plot([column, column + 0.9], [0, 0], color=LIGHT_GREY, linewidth=0.8)
        for row, word in enumerate(near):
            kept: dict[str, Any] = {"fontweight": "bold", "color": BLUE} if word in lasting else {"color": GREY}
            ax.text(column, row + 0.55, token_label(word), **style, **kept)


def plot_objectives(runs: Sequence[ObjectiveRun]) -> Axes:
    """Draw each objective's relative loss, time and quality in three panels."""
    loss, seconds, quality = panels(3, height=3.9)
    styles = group_styles([run.name for run in runs])
    for run in runs:
        colour, marker = styles[run.name]
        relative = np.array(run.losses) / run.losses[0]
        loss.plot(range(1, len(relative) + 1), relative, marker=marker, color=colour, markersize=4, label=run.name)
    loss.legend(fontsize=SMALL - 1, frameon=False)
    names = [run.name.removesuffix(" negatives").removeprefix("full ") for run in runs]
    for axes, values in ((seconds, [run.seconds_per_epoch for run in runs]), (quality, [run.auc for run in runs])):
        bars = axes.bar(names, values, color=[styles[run.name][0] for run in runs], width=0.7)
        axes.bar_label(bars, labels=[f"{value:.2f}" for value in values], fontsize=SMALL, padding=2)
    seconds.set_yscale("log")
    seconds.yaxis.set_major_formatter("{x:g}")
    seconds.minorticks_off()
    seconds.margins(y=0.2)
    quality.set_ylim(0, 1.08)
    quality.axhline(0.5, color=GREY, linestyle=":", linewidth=1)
    loss.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    label_axes(loss, "Training loss", "epoch", "loss relative to epoch 1")
    label_axes(seconds, "Training time", "negatives", "seconds per epoch (log scale)")
    label_axes(quality, "Quality", "negatives", "synonym AUC (dotted: chance)")
    return loss


def plot_rare_words(scores: Sequence[RareWordScore]) -> Axes:
    """Draw the AUC of inflected words' lemmas against how often training saw the word: whole words, parts, both."""
    (axes,) = panels(1, height=4.0)
    for name, colour, marker in zip(KINDS, (BLUE, ORANGE, GREEN), "os^", strict=True):
        values = [score.auc[name] for score in scores]
        axes.plot(range(len(scores)), values, marker=marker, color=colour, markersize=5, linewidth=2, label=name)
    axes.legend(fontsize=SMALL, frameon=False, loc="lower right")
    axes.set_xticks(range(len(scores)), [f"{score.num_kept}" for score in scores])
    axes.margins(y=0.1)
    label_axes(axes, "Words made rare", "occurrences in training", "AUC of the lemma (chance: 0.5)")
    return axes
