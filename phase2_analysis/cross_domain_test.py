"""How a tokenizer does on other kinds of text, with other vocabulary sizes, and on unusual texts.

    uv run python phase2_analysis/cross_domain_test.py
    uv run python phase2_analysis/cross_domain_test.py --dataset pydocs
    uv run python phase2_analysis/cross_domain_test.py --compare r50k_base cl100k_base o200k_base

The tokenizer learns from the corpus without its end (Frankenstein's final chapter; of another corpus the last 5 %), and is
tried on that end. A file corpus_code.txt in data/raw/01_tokenization stands in for the standard library's code.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tokembed import cli

MERGE_COUNTS = (500, 1_000, 2_000, 5_000, 10_000)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.Parser(__doc__)
    cli.add_corpus_flags(parser)
    cli.add_learning_flags(parser)
    cli.add_plots_flag(parser)
    cli.add_compare_flag(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Compute, print and draw."""
    args = parse_args(argv)
    from tokembed import files, workspace
    from tokembed.analysis import domains, vocabularies
    from tokembed.bpe.learning import train_bpe
    from tokembed.bpe.tokenizer import BPETokenizerLoader
    from tokembed.figures import canvas, tokenization as figures

    folder = args.output_dir or files.plots_dir()
    files.check_writable(folder)
    published = vocabularies.load_vocabularies(args.compare)
    corpus = workspace.choose_corpus(args.dataset, args.text_field)
    held_out = domains.hold_out(corpus)
    num_merges = args.num_merges or workspace.default_num_merges(corpus)
    tokenizer = BPETokenizerLoader(train_bpe(held_out.training, num_merges, **cli.learning_settings(args)))
    code_file = next((path for path in (d / "corpus_code.txt" for d in files.raw_dirs()) if path.is_file()), None)
    rule = "" if args.splitting == "words" else f", split as {args.splitting}"
    caption = f"{workspace.artifact_name(corpus)} without {held_out.rule}{rule}."
    cli.describe_row("learned", f"from {caption}")

    source = workspace.source_of(workspace.artifact_name(corpus), corpus.fingerprint, args.splitting)
    cli.describe_replaced(canvas.other_sources(folder, source), files.display_path(folder))
    names: list[str] = []
    for found, plot in (
        (domains.describe_domains(tokenizer, held_out, code_file), figures.plot_domains),
        (
            domains.describe_vocabularies(held_out, MERGE_COUNTS, args.splitting, lowercase=not args.no_lowercase),
            figures.plot_vocabulary_efficiency,
        ),
        (domains.describe_pathological_texts(tokenizer), figures.plot_token_table),
    ):
        print("", *found.lines, sep="\n")
        names += canvas.save_finding(found, plot, folder, caption, source)
    if published:
        found = vocabularies.describe_vocabulary_costs(held_out, published, code_file)
        print("", *found.lines, sep="\n")
        names += canvas.save_finding(found, figures.plot_vocabulary_costs, folder, caption, source)
    cli.describe_row("\nsaved", f"{', '.join(names)} (.png, .csv) in {files.display_path(folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
