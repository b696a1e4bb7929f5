"""Picture what byte-pair encoding learned: merge progression, token lengths, top subwords.

uv run python phase1_bpe/visualize_merges.py
uv run python phase1_bpe/visualize_merges.py --dataset wikitext2 --num-merges 10000
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tokembed import cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.Parser(__doc__)
    cli.add_corpus_flags(parser)
    cli.add_learning_flags(parser)
    cli.add_plots_flag(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Compute, print and draw."""
    args = parse_args(argv)
    from tokembed import files, workspace
    from tokembed.analysis import tokenization
    from tokembed.figures import canvas, tokenization as figures

    folder = args.output_dir or files.plots_dir()
    files.check_writable(folder)
    corpus = workspace.choose_corpus(args.dataset, args.text_field)
    num_merges = args.num_merges or workspace.default_num_merges(corpus)
    tokenizer, path, _ = workspace.tokenizer_for(corpus, num_merges, **cli.learning_settings(args), progress=True)
    ids, _, _ = workspace.token_ids_for(corpus, tokenizer, path)
    model = tokenizer.model
    case = "lower-cased" if model.lowercase else "capitals kept"
    what = f"{model.num_words:,} {'pieces' if model.rule.is_lossless else 'words'}"
    caption = f"{workspace.artifact_name(corpus)}: {what}, {len(model.merges):,} merges, {case}."
    cli.describe_row("tokenizer", caption.rstrip("."), files.display_path(path))

    source = workspace.source_of(workspace.artifact_name(corpus), corpus.fingerprint, args.splitting)
    cli.describe_replaced(canvas.other_sources(folder, source), files.display_path(folder))
    names: list[str] = []
    text = next(iter(corpus.chunks(workspace.PART_CHARACTERS)), "")
    for found, plot in (
        (tokenization.describe_merge_progression(model, text), figures.plot_merge_progression),
        (tokenization.describe_token_lengths(model), figures.plot_token_lengths),
        (tokenization.describe_top_subwords(tokenizer, ids), figures.plot_top_subwords),
    ):
        print("", *found.lines, sep="\n")
        names += canvas.save_finding(found, plot, folder, caption, source)
    cli.describe_row("\nsaved", f"{', '.join(names)} (.png, .csv) in {files.display_path(folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
