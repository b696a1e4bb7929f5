"""See what trained vectors have learned: similarities, heatmap, neighbours, projection, progress, and words of two senses.

uv run python phase3_embeddings/visualize_embeddings.py
uv run python phase3_embeddings/visualize_embeddings.py --dataset wikitext2 --projection pca --queries king war
uv run python phase3_embeddings/visualize_embeddings.py --dimensions
uv run python phase3_embeddings/visualize_embeddings.py --softmax
uv run python phase3_embeddings/visualize_embeddings.py --rare-words --dataset wikitext2
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokembed import cli

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tokembed.analysis.finding import Finding


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.Parser(__doc__)
    cli.add_checkpoint_flags(parser)
    cli.add_plots_flag(parser)
    parser.add_argument("--queries", nargs="+", default=[], metavar="WORD", help="ask these words for their neighbours")
    parser.add_argument("--with-fragments", action="store_true", help="let fragments of words be neighbours, too")
    parser.add_argument("--projection", choices=("tsne", "pca"), default="tsne", help="default: tsne")
    parser.add_argument("--perplexity", type=float, default=12.0, help="of t-SNE (default: 12)")
    parser.add_argument("--colour", choices=("kind", "frequency"), default="kind", help="of the projection (default: kind)")
    parser.add_argument("--dimensions", action="store_true", help="train at 10 to 200 dimensions and compare, instead")
    parser.add_argument("--softmax", action="store_true", help="train with the full softmax and with negatives, instead")
    parser.add_argument("--rare-words", action="store_true", help="make words rare, train, and compare their vectors, instead")
    merges = (
        f"{cli.SMALL_CORPUS_MERGES}; {cli.LARGE_CORPUS_MERGES} for a text over {cli.LARGE_TEXT}, the preset's for rare words"
    )
    parser.add_argument("--num-merges", type=cli.positive_int, help=f"of those trainings (default: {merges})")
    parser.add_argument("--epochs", type=cli.positive_int, help="of those trainings (default: 20, but 10 for softmax)")
    cli.add_learning_flags(parser)
    args = parser.parse_args(argv)
    unused = {"--num-merges": args.num_merges, "--epochs": args.epochs, **cli.learning_flags(args)}
    is_training = args.dimensions or args.softmax or args.rare_words
    if given := [flag for flag, value in unused.items() if value and not is_training]:
        parser.error(
            f"{given[0]} is of what --dimensions, --softmax and --rare-words train: vectors that are there stay as they are"
        )
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Compute, print, draw."""
    args = parse_args(argv)
    if not 0 < args.perplexity < math.inf:
        raise ValueError(f"--perplexity must be a number above 0, not {args.perplexity:g}")
    from tokembed import files

    folder = args.output_dir or files.plots_dir()
    files.check_writable(folder)
    is_training = args.dimensions or args.softmax or args.rare_words
    names = train_and_compare(args, folder) if is_training else look(args, folder)
    cli.describe_row("\nsaved", f"{', '.join(names)} (.png, .csv) in {files.display_path(folder)}")
    return 0


def look(args: argparse.Namespace, folder: Path) -> list[str]:
    """Show what one checkpoint has learned; return the figures' names."""
    from tokembed import files, workspace
    from tokembed.analysis import experiments, geometry, neighbours, projection, senses
    from tokembed.figures import canvas, geometry as figures, training
    from tokembed.vectors import storage
    from tokembed.vectors.embeddings import Embeddings

    path, embeddings = workspace.trained_embeddings(args.dataset, args.checkpoint, args.splitting, args.text_field)
    assert embeddings.tokenizer is not None
    if embeddings.embedding_dim < 2:
        raise ValueError(f"{files.display_path(path)} holds vectors of 1 dimension: figures need 2 or more (--embedding-dim)")
    for query in args.queries:
        embeddings.vector(query)  # refuses what has none, before anything is drawn
    result = storage.load_checkpoint(path, embeddings.tokenizer)
    history = storage.read_history(path)
    caption = geometry.vectors_caption(embeddings, result, path.stem)
    noise = neighbours.noise_in(embeddings)
    cli.describe_row("vectors", caption.rstrip("."), files.display_path(path))
    name = workspace.corpus_name_of(path, args.splitting)
    source = workspace.source_of(name, str(embeddings.tokenizer.model.source.get("corpus")), args.splitting)
    cli.describe_replaced(canvas.other_sources(folder, source), files.display_path(folder))
    names: list[str] = []
    caption += f" Noise: {noise}." if noise else ""

    def show(found: Finding, plot: Callable[[Any], Axes]) -> None:
        print("", *found.lines, sep="\n")
        names.extend(canvas.save_finding(found, plot, folder, caption, source))

    show(geometry.describe_similarities(embeddings, result), figures.plot_similarity_distribution)
    by_epoch = history, storage.read_neighbours(path)
    show(experiments.describe_training(result.epoch_losses, *by_epoch, embeddings), training.plot_training_progress)
    if noise:
        print(f"\nno neighbours, heatmap or projection to show, since {noise}")
        return names
    show(geometry.describe_kinds(embeddings, name), figures.plot_heatmap)
    show(neighbours.describe_neighbours(embeddings, args.queries, words_only=not args.with_fragments), figures.plot_neighbours)
    by_frequency = args.colour == "frequency"
    rows = embeddings.tokenizer.id_to_token, result.before_training().vectors, result.counts
    untrained = Embeddings.of_trained_rows(*rows, embeddings.tokenizer)
    placed = projection.describe_projection(
        embeddings, name, args.projection, args.perplexity, by_frequency=by_frequency, untrained=untrained
    )
    show(placed, figures.plot_projection)
    corpus = workspace.choose_corpus(args.dataset or name, args.text_field)
    text = next(iter(corpus.chunks(workspace.PART_CHARACTERS)), "")
    show(senses.describe_senses(embeddings, text), figures.plot_senses)
    return names


def train_and_compare(args: argparse.Namespace, folder: Path) -> list[str]:
    """Train with different dimensions or objectives; return the figures' names."""
    from tokembed import files, workspace
    from tokembed.analysis import experiments, rare_words
    from tokembed.figures import canvas, training
    from tokembed.skipgram.settings import TrainingConfig

    corpus = workspace.choose_corpus(args.dataset, args.text_field)
    best = cli.PRESETS["best"]
    num_merges = args.num_merges or (best.tokens["num_merges"] if args.rare_words else None)
    tokenizer, ids = workspace.prepare_tokens(corpus, num_merges, **cli.learning_settings(args))
    caption = f"{corpus.name}: {len(tokenizer.merges):,} merges."
    source = workspace.source_of(workspace.artifact_name(corpus), corpus.fingerprint, args.splitting)
    cli.describe_replaced(canvas.other_sources(folder, source), files.display_path(folder))
    names: list[str] = []
    for is_asked_for, describe, plot, num_epochs in (
        (args.dimensions, experiments.describe_dimensions, training.plot_dimensions, 20),
        (args.softmax, experiments.describe_objectives, training.plot_objectives, 10),
    ):
        if is_asked_for:
            print()
            found = describe(tokenizer, ids, TrainingConfig(epochs=args.epochs or num_epochs), partial(print, flush=True))
            names += canvas.save_finding(found, plot, folder, caption, source)
    if args.rare_words:
        print()
        config = TrainingConfig(**{**best.training, "epochs": args.epochs or best.training["epochs"]})
        told = rare_words.describe_rare_words(rare_words.score_rare_words(tokenizer, ids, config))
        print(*told.lines, sep="\n")
        names += canvas.save_finding(told, training.plot_rare_words, folder, caption, source)
    if args.softmax:
        results = json.dumps([asdict(run) for run in found.data], indent=1)
        files.write_atomic(folder / "softmax_comparison.json", results + "\n")
    return names


if __name__ == "__main__":
    sys.exit(cli.run(main))
