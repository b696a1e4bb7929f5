"""The figures of trained vectors: compute, print in a few lines, draw, and write the numbers in a table of the same name."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from tokembed import files
from tokembed.analysis import experiments, geometry, senses
from tokembed.analysis.neighbours import display_token, query_words
from tokembed.bpe.splitting import END_OF_WORD
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.figures import canvas, training
from tokembed.figures import geometry as drawing
from tokembed.skipgram import sampling
from tokembed.skipgram.settings import TrainingConfig
from tokembed.skipgram.training import TrainingResult
from tokembed.vectors.embeddings import Embeddings, unit_rows
from tokembed.vectors.evaluation import frequent_words, read_synonyms
from tokembed.workspace import write_table

NUM_PAIRS = 50_000  # random pairs whose cosines make a histogram
NUM_QUERIES, TOPN = 10, 5
NUM_FREQUENT = 60  # words beside the groups' in the projection
SIGNIFICANT = 0.05  # p-values below are taken for more than chance
SYNONYM_AUC = "Synonym AUC: how often a pair of synonyms has a higher cosine than a pair of frequent words; 0.5 is chance."


@dataclass(frozen=True)
class Subject:
    """What all figures are about: vectors, the training they come from, the corpus' name, and where figures go."""

    embeddings: Embeddings
    result: TrainingResult
    corpus_name: str
    folder: Path

    @property
    def caption(self) -> str:
        """Corpus and settings, for below a figure."""
        config, tokenizer = self.result.config, self.embeddings.tokenizer
        merges = f"{len(tokenizer.merges):,} merges, " if tokenizer else ""
        return (
            f"{self.corpus_name}: {merges}vectors of {len(self.embeddings):,} tokens, {config.embedding_dim} dimensions, "
            f"window {config.window_size}, {config.num_negative_samples} negatives, {len(self.result.epoch_losses)} epochs, "
            f"seed {config.seed}."
        )

    def save(self, axes: Axes, name: str, more: str = "") -> None:
        """Write a figure."""
        canvas.save_figure(axes, self.folder / f"{name}.png", f"{self.caption} {more}".strip())


def similarity_distribution(subject: Subject) -> None:
    """Cosines of random token pairs: one-hot, as initialised, and trained."""
    trained = np.flatnonzero(subject.result.counts)
    config, vocab_size = subject.result.config, len(subject.result.counts)
    initial = sampling.initial_vectors(vocab_size, config.embedding_dim, config.seed)[trained]
    pairs = geometry.random_pairs(len(trained), NUM_PAIRS)
    cosines = {
        "one-hot": geometry.one_hot_cosines(pairs),
        "random, before training": geometry.pair_cosines(initial, pairs),
        "after training": geometry.pair_cosines(subject.embeddings.vectors, pairs),
    }
    print(f"\ncosines of {NUM_PAIRS:,} random token pairs: mean ± standard deviation")
    for name, values in cosines.items():
        print(f"  {name:<26}{values.mean():>6.3f} ± {values.std():.3f}")
    print(f"  ({len(trained):,} one-hot vectors are all at right angles: no pair is more similar than any other)")
    subject.save(
        drawing.plot_similarity_distribution(cosines),
        "similarity_distribution",
        f"{NUM_PAIRS:,} pairs. A mean above 0 comes from a direction that all vectors share, not from a relation between the "
        "tokens of a pair; only the spread around it tells pairs apart.",
    )
    edges = np.linspace(-1, 1, 81)
    columns = [np.histogram(values, edges)[0].tolist() for values in cosines.values()]
    rows = zip(edges[:-1].round(3).tolist(), *columns, strict=True)
    write_table(subject.folder / "similarity_distribution.csv", ("cosine_from", *cosines), rows)


def heatmap(subject: Subject) -> None:
    """Cosines of 30 to 40 words of a few kinds, and a test of whether words of a kind are more similar."""
    groups = geometry.word_groups(subject.embeddings, subject.corpus_name)
    cosines = geometry.cosine_matrix(subject.embeddings, groups.words)
    print(f"\n{len(groups.words)} words of {len(groups.names)} kinds ({', '.join(groups.names)})")
    more = "Ordered by average linkage. Colours span the middle 98 % of cosines (arrows: beyond); the diagonal, 1, is grey."
    if groups.chosen_before:
        found = geometry.separation(cosines, groups.groups)
        line = f"mean cosine within kinds {found.within:.3f}, between them {found.between:.3f}, p = {found.p_value:.4f}"
        print(f"  {line} (permutation test)")
        more += f" {line.capitalize()} (permutation test)."
    else:
        print("  chosen by the vectors themselves, as there is no list for this corpus: an illustration, not evidence")
        more += " Words and kinds were chosen by the vectors themselves."
    order = geometry.cluster_order(cosines)
    words, kinds = [groups.words[place] for place in order], [groups.groups[place] for place in order]
    ordered = cosines[np.ix_(order, order)]
    subject.save(drawing.plot_heatmap(ordered, words, kinds), "similarity_heatmap", more)
    rows = [(kind, word, *row) for kind, word, row in zip(kinds, words, ordered.round(4).tolist(), strict=True)]
    write_table(subject.folder / "similarity_heatmap.csv", ("kind", "word", *words), rows)


def neighbours(subject: Subject, queries: Sequence[str] = (), *, words_only: bool = True) -> None:
    """The tokens nearest to some words."""
    chosen = list(queries) or query_words(subject.embeddings, NUM_QUERIES)
    rows = []
    for query in chosen:
        found = subject.embeddings.most_similar(query, TOPN, words_only=words_only)
        rows.append((query, [(display_token(token), score) for token, score in found]))
    labels = [with_fragments(subject.embeddings, query) for query in chosen]
    width = max(14, *(min(len(label), 30) for label in labels))
    print("\nnearest neighbours (cosine)" + (", fragments left out" if words_only else ", fragments (-) among them"))
    for label, (_, near) in zip(labels, rows, strict=True):
        print(f"  {label:<{width}}" + "  ".join(f"{word:>13} {score:.2f}" for word, score in near))
    composed = [label for label, query in zip(labels, chosen, strict=True) if label != query]
    more = f"Not tokens, but means of the tokens that they are cut into: {', '.join(composed)}." if composed else ""
    subject.save(drawing.plot_neighbours(rows), "nearest_neighbours", more)
    flat = [(query, rank, word, round(score, 4)) for query, near in rows for rank, (word, score) in enumerate(near, 1)]
    write_table(subject.folder / "nearest_neighbours.csv", ("query", "rank", "neighbour", "cosine"), flat)


def with_fragments(embeddings: Embeddings, word: str) -> str:
    """Return a word, and the tokens whose mean its vector is where it is no token of its own: "xyzzy (from x·y·zz·y)"."""
    tokens = embeddings.tokens_of(word)
    if tokens in ([word], [word.removesuffix(END_OF_WORD) + END_OF_WORD]):
        return word
    return f"{word} (from {'·'.join(token.removesuffix(END_OF_WORD) or token for token in tokens)})"


def projection(subject: Subject, method: str = "tsne", *, by_frequency: bool = False, perplexity: float = 12.0) -> None:
    """The kinds' words and the most frequent others of four letters or more, in two dimensions."""
    embeddings = subject.embeddings
    groups = geometry.word_groups(embeddings, subject.corpus_name)
    frequent = [embeddings.tokens[row].removesuffix("</w>") for row in frequent_words(embeddings, 400)]
    others = [word for word in frequent if len(word) > 3 and word not in groups.words][:NUM_FREQUENT]
    words, kinds = groups.words + others, [*groups.groups, *[None] * len(others)]
    vectors = np.stack([embeddings.vector(word) for word in words])
    points = geometry.project(vectors, method, perplexity)
    counts = [word_count(embeddings, word) for word in words] if by_frequency else None
    if method == "pca" or len(words) < 5:  # too few for t-SNE: `project` takes PCA
        name, title, note = (
            "PCA",
            "Words along the two directions of largest variance (PCA)",
            "The vectors are scaled to length 1.",
        )
        shares = points.var(axis=0) / max(unit_rows(vectors).var(axis=0).sum(), 1e-9)
        axis_names = (f"1st component: {shares[0]:.0%} of the variance", f"2nd component: {shares[1]:.0%}")
    else:
        name = f"t-SNE, perplexity {min(perplexity, (len(words) - 1) / 3):.0f}, seed 0"
        title, axis_names = "Words placed so that similar ones are close (t-SNE)", ("", "")
        note = f"{name}. The axes have no units, and large distances no meaning."
    axes = drawing.plot_projection(points, words, kinds, counts=counts, title=title, axis_names=axis_names)
    print(f"\n{len(words)} words in two dimensions by {name}")
    subject.save(axes, f"projection_{method}", note)
    rows = [(word, kind or "", *point) for word, kind, point in zip(words, kinds, points.round(4).tolist(), strict=True)]
    write_table(subject.folder / f"projection_{method}.csv", ("word", "kind", "x", "y"), rows)


def word_count(embeddings: Embeddings, word: str) -> int:
    """Return how often a word's token occurred, 1 for a word of several tokens."""
    row = embeddings.token_to_index.get(word + "</w>")
    return int(embeddings.counts[row]) if row is not None and embeddings.counts is not None else 1


def training_progress(subject: Subject, history: Sequence[dict[str, float]]) -> None:
    """Loss, cosines and synonym AUC by epoch, as the checkpoint kept them."""
    names = ("random_cosine", "synonym_cosine", "auc")
    rows = [
        (epoch, loss, *(entry.get(name, math.nan) for name in names))
        for epoch, (loss, entry) in enumerate(zip([math.nan, *subject.result.epoch_losses], history, strict=True))
    ]
    print("\nby epoch: loss, mean cosine of frequent words and of synonyms, synonym AUC (0 is before training)")
    for row in rows:
        print("  {:>3}{:>9.4f}{:>8.3f}{:>8.3f}{:>8.3f}".format(*row))
    axes = training.plot_training_progress(subject.result.epoch_losses, history)
    subject.save(axes, "training_progress", f"{SYNONYM_AUC} Synonyms: the test list. Epoch 0: before training.")
    write_table(subject.folder / "training_progress.csv", ("epoch", "loss", *names), rows)


def one_vector_two_senses(subject: Subject, text: str) -> bool:
    """Words of two senses with one vector: whether their contexts tell the senses apart. Return whether there is a figure."""
    lessons = [lesson for word in senses.SENSES if (lesson := senses.polysemy(subject.embeddings, text, word))]
    for lesson in lessons:
        _describe_senses(lesson)
    rows = [
        (lesson.word, sense.name, use)
        for lesson in lessons
        for sense, uses in zip(lesson.senses, lesson.uses, strict=True)
        for use in uses.texts
    ]
    write_table(subject.folder / "polysemy.csv", ("word", "sense", "use"), rows)
    drawn = [_sense_panel(lesson) for lesson in lessons if lesson.can_be_compared]
    if drawn:
        subject.save(
            drawing.plot_senses(drawn),
            "polysemy",
            "A dot is one use of the word: the mean vector of the words around it, compared with the mean of each sense's "
            "other uses. p: the share of random splits of the uses in two whose means differ as much. From "
            f"{SIGNIFICANT} on, the senses' contexts differ no more than by chance: not told apart.",
        )
    return bool(drawn)


def _sense_panel(lesson: senses.Polysemy) -> drawing.SensePanel:
    """Return what is drawn of a word: each use compared with the mean of the others, or it would be drawn to its own sense."""
    sums = [uses.vectors.sum(axis=0) for uses in lesson.uses]

    def cosines(vectors: npt.NDArray[np.float64], own_sense: int | None) -> npt.NDArray[np.float64]:
        means = [unit_rows(total - vectors * (side == own_sense)) for side, total in enumerate(sums)]
        return np.stack([np.einsum("nd,nd->n", vectors, mean) for mean in means], axis=1)

    first, second = (cosines(uses.vectors, side) for side, uses in enumerate(lesson.uses))
    (own,) = cosines(lesson.own[None], None).tolist()
    return drawing.SensePanel(
        lesson.word, (lesson.senses[0].name, lesson.senses[1].name), (first, second), (own[0], own[1]),
        lesson.context_cosine, lesson.random_cosine, lesson.p_value, lesson.p_value < SIGNIFICANT,
    )  # fmt: skip


def _describe_senses(lesson: senses.Polysemy) -> None:
    first, second = lesson.senses
    print(f"\none vector, two senses: {lesson.word}")
    print(f"  in “{first.example}” and “{second.example}” it has one and the same vector: cosine 1.00;")
    print(f"  the words around it differ: cosine {lesson.example_cosine:.2f}")
    for sense, uses in zip(lesson.senses, lesson.uses, strict=True):
        number = f"{len(uses.texts)} use{'s' if len(uses.texts) > 1 else ''} in this text, such as"
        print(f"  {sense.name}: " + (number if uses.texts else "no use in this text was found"))
        for use in uses.texts[:2]:
            print(f"    … {use} …")
    near = ", ".join(f"{word} ({lesson.senses[side].name})" for word, _, side in lesson.neighbours[:6])
    print(f"  its neighbours, each with the sense it is closer to: {near}")
    if lesson.can_be_compared:
        tells = "told apart by the words around it"
        if lesson.p_value >= SIGNIFICANT:
            tells = "not told apart: random splits of the uses often differ as much"
        print(
            f"  cosine of both senses' mean uses {lesson.context_cosine:.2f}, of random splits {lesson.random_cosine:.2f}, "
            f"p = {lesson.p_value:.3f}: {tells}"
        )


def dimensions(
    folder: Path, corpus_name: str, tokenizer: BPETokenizerLoader, token_ids: npt.NDArray[np.int32], config: TrainingConfig
) -> None:
    """Quality against the dimension, three seeds each."""
    print("\nquality by dimension: synonym AUC, and the synonyms' mean cosine minus that of all pairs of frequent words")
    rows = []
    for run in experiments.compare_dimensions(tokenizer, token_ids, config):
        rows.append((run.embedding_dim, run.score.auc, run.score.synonym_cosine - run.score.random_cosine))
        print(f"  {run.embedding_dim:>4}  seed {run.seed}  {rows[-1][1]:.3f}  {rows[-1][2]:.3f}", flush=True)
    caption = (
        f"{corpus_name}: {len(tokenizer.merges):,} merges, {config.epochs} epochs, window {config.window_size}, "
        f"{config.num_negative_samples} negatives. A dot is one training (seeds 1 to 3), the line their mean. {SYNONYM_AUC} "
        "The vertical axes show only the range of the data."
    )
    canvas.save_figure(training.plot_dimensions(rows), folder / "dimension_comparison.png", caption)
    write_table(folder / "dimension_comparison.csv", ("dimension", "synonym_auc", "cosine_gap"), rows)


def objectives(
    folder: Path, corpus_name: str, tokenizer: BPETokenizerLoader, token_ids: npt.NDArray[np.int32], config: TrainingConfig
) -> None:
    """The full softmax against negative sampling: operations, time and quality beside the figures often quoted."""
    quoted = {
        "full softmax": ("100%", "100%"),
        "5 negatives": ("92%", "1.25%"),
        "10 negatives": ("95%", "2.5%"),
        "20 negatives": ("98%", "5%"),
    }
    print(f"\nfull softmax against negative sampling, {config.epochs} epochs; in brackets what is often quoted")
    print(f"  {'':<14}{'scores a pair':>14}{'s an epoch':>12}{'time':>17}{'synonym AUC':>13}{'quality':>17}{'last loss':>11}")
    runs = []
    for run in experiments.compare_objectives(tokenizer, token_ids, config):
        runs.append(run)
        time, quality = run.seconds_per_epoch / runs[0].seconds_per_epoch, (run.auc - 0.5) / (runs[0].auc - 0.5)
        of = quoted[run.name]
        print(
            f"  {run.name:<14}{run.num_outputs:>14,}{run.seconds_per_epoch:>12.2f}{f'{time:.1%} ({of[1]})':>17}"
            f"{run.auc:>13.3f}{f'{quality:.0%} ({of[0]})':>17}{run.losses[-1]:>11.3f}",
            flush=True,
        )
    ratio = runs[0].num_outputs / runs[2].num_outputs
    print(f"  10 negatives score {ratio:.0f} times fewer rows a pair (often quoted: 250)")
    print("  quality: AUC - 0.5 as a share of the softmax's")
    caption = (
        f"{corpus_name}: {len(tokenizer.merges):,} merges, {config.embedding_dim} dimensions, window {config.window_size}, "
        f"seed {config.seed}. Each objective has a loss of its own; their values can't be compared. Quality is that of one "
        f"training each, on at most {len(read_synonyms('test'))} pairs of synonyms: differences below about 0.02 are noise."
    )
    rows = [(run.name, run.losses, run.seconds_per_epoch, run.auc) for run in runs]
    canvas.save_figure(training.plot_objectives(rows), folder / "softmax_comparison.png", caption)
    files.write_atomic(folder / "softmax_comparison.json", json.dumps([asdict(run) for run in runs], indent=1) + "\n")
    table = [(r.name, r.num_outputs, r.seconds_per_epoch, r.auc, *r.losses) for r in runs]
    heading = (
        "objective",
        "scores_a_pair",
        "seconds_an_epoch",
        "synonym_auc",
        *(f"loss_{e}" for e in range(1, config.epochs + 1)),
    )
    write_table(folder / "softmax_comparison.csv", heading, table)
