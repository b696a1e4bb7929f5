"""Score trained vectors: synonyms, and any files of judged word pairs or analogy questions.

uv run python phase3_embeddings/evaluate_embeddings.py
uv run python phase3_embeddings/evaluate_embeddings.py --dataset wikitext2 --word-pairs wordsim353.tsv
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence

from tokembed import cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.Parser(__doc__)
    cli.add_checkpoint_flags(parser)
    parser.add_argument("--word-pairs", metavar="FILE", nargs="+", default=[], help='lines "word, word, score"')
    parser.add_argument("--analogies", metavar="FILE", nargs="+", default=[], help='lines of four words, headings ": name"')
    parser.add_argument("--synonyms", default="test", help='"development", "test", or a file of two columns (default: test)')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the scores."""
    args = parse_args(argv)
    from tokembed import files, workspace
    from tokembed.analysis.neighbours import noise_in
    from tokembed.vectors import evaluation

    path, embeddings = workspace.trained_embeddings(args.dataset, args.checkpoint, args.splitting, args.text_field)
    cli.describe_row("vectors", f"{len(embeddings):,} of {embeddings.embedding_dim} numbers", files.display_path(path))
    synonyms = evaluation.evaluate_synonyms(embeddings, evaluation.read_synonyms(args.synonyms))
    noise = noise_in(embeddings)
    if noise:
        cli.describe_row("noise", f"{noise}; scores of such vectors mean nothing")
    known = f"{synonyms.num_known} of {synonyms.num_pairs} pairs of words with a token each"
    if math.isnan(synonyms.auc):
        cli.describe_row("synonyms", f"no AUC: {known}, too few to tell", "this text has other words")
    else:
        cosines = f"mean cosine {synonyms.synonym_cosine:.2f}, of random pairs {synonyms.random_cosine:.2f}"
        cli.describe_row("synonyms", "no AUC" if noise else f"AUC {synonyms.auc:.3f}", cosines, known)
    for file in args.word_pairs:
        pairs = evaluation.evaluate_word_pairs(embeddings, file)
        coverage = f"{pairs.num_covered} of {pairs.num_pairs} pairs, {pairs.num_known} of words with a token each"
        cli.describe_row("word pairs", f"Spearman {pairs.spearman:.3f}", coverage, file)
    for file in args.analogies:
        analogies = evaluation.evaluate_analogies(embeddings, file)
        coverage = f"{analogies.num_covered:,} of {analogies.num_questions:,} questions"
        cli.describe_row("analogies", f"accuracy {analogies.accuracy:.1%}", coverage, file)
        for heading, (right, covered) in analogies.sections.items():
            cli.describe_row("", f"{heading:<28}{right:>6,} of {covered:,}")
    made = "composed of its n-grams" if embeddings.composition is not None else "the mean of its tokens' vectors"
    print(f"\na word of several tokens is {made}; a question is covered if all of its words have a vector")
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
