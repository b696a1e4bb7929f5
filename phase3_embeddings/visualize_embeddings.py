"""See what trained vectors have learned: similarities, heatmap, neighbours, projection, progress, and words of two senses.

uv run python phase3_embeddings/visualize_embeddings.py
uv run python phase3_embeddings/visualize_embeddings.py --dataset wikitext2 --projection pca --queries king war
uv run python phase3_embeddings/visualize_embeddings.py --dimensions
uv run python phase3_embeddings/visualize_embeddings.py --softmax
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from tokembed import cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.Parser(__doc__)
    cli.add_checkpoint_flags(parser)
    cli.add_plots_flag(parser)
    parser.add_argument("--queries", nargs="+", default=[], metavar="WORD", help="ask these words for their neighbours")
    parser.add_argument("--with-fragments", action="store_true", help="let tokens that are not whole words be neighbours")
    parser.add_argument("--projection", choices=("tsne", "pca"), default="tsne", help="default: tsne")
    parser.add_argument("--perplexity", type=float, default=12.0, help="of t-SNE (default: 12)")
    parser.add_argument("--colour", choices=("kind", "frequency"), default="kind", help="of the projection (default: kind)")
    parser.add_argument("--dimensions", action="store_true", help="train at 10 to 200 dimensions and compare, instead")
    parser.add_argument("--softmax", action="store_true", help="train with the full softmax and with negatives, instead")
    parser.add_argument("--num-merges", type=cli.positive_int, help="of --dimensions and --softmax (default: as in training)")
    parser.add_argument(
        "--epochs", type=cli.positive_int, help="of those trainings (default: 20 for dimensions, 10 for softmax)"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Compute, print, draw."""
    args = parse_args(argv)
    if not 0 < args.perplexity < math.inf:
        raise ValueError(f"--perplexity must be a number above 0, not {args.perplexity:g}")
    from tokembed import files

    folder = args.output_dir or files.plots_dir()
    files.check_writable(folder)
    names = train_and_compare(args, folder) if args.dimensions or args.softmax else look(args, folder)
    cli.describe_row("\nsaved", f"{', '.join(names)} (.png, .csv) in {files.display_path(folder)}")
    return 0


def look(args: argparse.Namespace, folder: Path) -> list[str]:
    """Draw what one checkpoint shows; return the figures' names."""
    from tokembed import files, workspace
    from tokembed.figures import embeddings as vector_figures
    from tokembed.vectors import storage

    path, embeddings = workspace.trained_embeddings(args.dataset, args.checkpoint)
    assert embeddings.tokenizer is not None
    if embeddings.embedding_dim < 2:
        raise ValueError(f"{files.display_path(path)} holds vectors of 1 dimension: figures need 2 or more (--embedding-dim)")
    for query in args.queries:
        embeddings.vector(query)  # refuses what has none, before anything is drawn
    result = storage.load_checkpoint(path, embeddings.tokenizer)
    subject = vector_figures.Subject(embeddings, result, path.stem, folder)
    cli.describe_row("vectors", subject.caption, files.display_path(path))
    vector_figures.similarity_distribution(subject)
    vector_figures.heatmap(subject)
    vector_figures.neighbours(subject, args.queries, words_only=not args.with_fragments)
    vector_figures.projection(subject, args.projection, by_frequency=args.colour == "frequency", perplexity=args.perplexity)
    vector_figures.training_progress(subject, storage.read_history(path))
    names = ["similarity_distribution", "similarity_heatmap", "nearest_neighbours", f"projection_{args.projection}"]
    names.append("training_progress")
    corpus = workspace.choose_corpus(args.dataset or path.stem)
    if vector_figures.one_vector_two_senses(subject, next(iter(corpus.chunks(workspace.PART_CHARACTERS)), "")):
        names.append("polysemy")
    return names


def train_and_compare(args: argparse.Namespace, folder: Path) -> list[str]:
    """Train with different dimensions or objectives; return the figures' names."""
    from tokembed import workspace
    from tokembed.figures import embeddings as vector_figures
    from tokembed.skipgram.settings import TrainingConfig

    corpus = workspace.choose_corpus(args.dataset)
    tokenizer, ids = workspace.prepare_tokens(corpus, args.num_merges)
    names = []
    if args.dimensions:
        vector_figures.dimensions(folder, corpus.name, tokenizer, ids, TrainingConfig(epochs=args.epochs or 20))
        names.append("dimension_comparison")
    if args.softmax:
        vector_figures.objectives(folder, corpus.name, tokenizer, ids, TrainingConfig(epochs=args.epochs or 10))
        names.append("softmax_comparison")
    return names


if __name__ == "__main__":
    sys.exit(cli.run(main))
