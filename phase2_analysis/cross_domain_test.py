"""How a tokenizer does on other kinds of text, with other vocabulary sizes, and on unusual texts.

    uv run python phase2_analysis/cross_domain_test.py
    uv run python phase2_analysis/cross_domain_test.py --dataset pydocs

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
    cli.add_plots_flag(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Compute, print and draw."""
    args = parse_args(argv)
    from tokembed import files, workspace
    from tokembed.analysis import tokenization
    from tokembed.bpe.learning import train_bpe
    from tokembed.bpe.tokenizer import BPETokenizerLoader
    from tokembed.figures import canvas
    from tokembed.pages.token_view import printable

    folder = args.output_dir or files.plots_dir()
    files.check_writable(folder)
    corpus = workspace.choose_corpus(args.dataset)
    held_out = tokenization.hold_out(corpus)
    tokenizer = BPETokenizerLoader(train_bpe(held_out.training, args.num_merges or workspace.default_num_merges(corpus)))
    name = workspace.artifact_name(corpus)
    caption = f"{name} without {held_out.rule}, {len(tokenizer.merges):,} merges."

    code_file = next((path for path in (d / "corpus_code.txt" for d in files.raw_dirs()) if path.is_file()), None)
    samples = tokenization.domain_samples(held_out, code_file)
    efficiency = tokenization.domain_efficiency(tokenizer, samples)
    print(f"tokens per 100 characters ({caption})")
    print(f"  {'':<14}{'mean':>7}{'least':>8}{'most':>8}{'samples':>9}")
    for kind, values in efficiency.items():
        print(f"  {kind:<14}{sum(values) / len(values):>7.1f}{min(values):>8.1f}{max(values):>8.1f}{len(values):>9}")
    code = "corpus_code.txt" if code_file else "the standard library's source"
    canvas.save_figure(
        canvas.plot_domains(efficiency),
        folder / "cross_domain.png",
        f"{caption} Bars: means; dots: samples of some 400 characters. Prose: {held_out.rule}. Code: {code}. "
        "URLs: those in the standard library's source. Numbers: random telephone numbers, dates, prices and decimals.",
    )
    workspace.write_table(
        folder / "cross_domain.csv",
        ("kind", "sample", "tokens_per_100_characters"),
        ((kind, place, f"{value:.3f}") for kind, values in efficiency.items() for place, value in enumerate(values)),
    )

    rows = tokenization.vocabulary_sweep(held_out, MERGE_COUNTS)
    num_sentences = len(tokenization.sentences(held_out.test))
    print(f"\nmean tokens per sentence of {held_out.rule} ({num_sentences:,} sentences), by number of merges")
    for (merges, tokens), (_, before) in zip(rows, [rows[0], *rows[:-1]], strict=True):
        print(f"  {merges:>7,}  {tokens:6.2f}" + (f"  {tokens / before - 1:+.1%}" if tokens != before else ""))
    canvas.save_figure(
        canvas.plot_vocabulary_efficiency(rows),
        folder / "vocabulary_efficiency.png",
        f"{name} without {held_out.rule}, all pairs merged (min_frequency 1), tried on {held_out.rule}: "
        f"{num_sentences:,} sentences, which end at . ! ? or a blank line.",
    )
    workspace.write_table(folder / "vocabulary_efficiency.csv", ("merges", "tokens_per_sentence"), rows)

    table = tokenization.pathological_rows(tokenizer)
    print("\nunusual texts")
    for kind, text, parts in table:
        print(f"  {kind}: {text}\n    {len(parts)} tokens: {'|'.join(map(printable, parts))}")
    canvas.save_figure(
        canvas.plot_token_table(table),
        folder / "pathological.png",
        f"{caption} </w> ends a word; <0xE6> is one byte of a character without a token.",
    )
    workspace.write_table(
        folder / "pathological.csv", ("kind", "text", "tokens", "count"), ((k, t, "|".join(ts), len(ts)) for k, t, ts in table)
    )
    cli.describe_row(
        "\nsaved", f"cross_domain, vocabulary_efficiency, pathological (.png, .csv) in {files.display_path(folder)}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
