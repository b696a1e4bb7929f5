"""Figures of how training went: its progress by epoch, dimensions and objectives compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tokembed.analysis.experiments import ObjectiveRun
from tokembed.analysis.rare_words import KINDS, RareWordScore
from tokembed.figures.canvas import BLUE, GREEN, GREY, ORANGE, SMALL, group_styles, label_axes, panels


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


def plot_training_progress(rows: Sequence[tuple[float, ...]]) -> Axes:
    """Draw (epoch, loss, mean cosine of random pairs, of synonyms, synonym AUC) in three panels; epoch 0 is before training."""
    epochs, losses, random_cosine, synonym_cosine, aucs = (np.array(column) for column in zip(*rows, strict=True))
    loss, cosine, auc = panels(3, height=3.6)
    loss.plot(epochs[1:], losses[1:], "o-", color=BLUE, markersize=3)
    for values, colour, line, name in (
        (random_cosine, BLUE, "-", "all pairs of\nfrequent words"),
        (synonym_cosine, ORANGE, "--", "synonyms"),
    ):
        cosine.plot(epochs, values, line, marker="o", color=colour, markersize=3, label=name)
    cosine.legend(fontsize=SMALL - 1, frameon=False)
    auc.plot(epochs, aucs, "o-", color=GREEN, markersize=3)
    auc.axhline(0.5, color=GREY, linestyle=":", linewidth=1)
    auc.annotate("chance", (epochs[-1], 0.5), (0, 3), textcoords="offset points", ha="right", fontsize=SMALL - 1, color=GREY)
    for axes in (loss, cosine, auc):
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    label_axes(loss, "Training loss", "epoch", "mean loss per pair, nats")
    label_axes(cosine, "Similarity of words", "epoch", "mean cosine of pairs")
    label_axes(auc, "Synonym ranking", "epoch", "synonym AUC")
    return loss


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
