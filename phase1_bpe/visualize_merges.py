"""Picture what byte-pair encoding learned: merge progression, token lengths, top subwords.

uv run python phase1_bpe/visualize_merges.py
uv run python phase1_bpe/visualize_merges.py --dataset wikitext2 --num-merges 10000
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tokembed import cli

NUM_SUBWORDS = 30


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
    from tokembed.figures import canvas

    folder = args.output_dir or files.plots_dir()
    files.check_writable(folder)
    corpus = workspace.choose_corpus(args.dataset)
    tokenizer, path, _ = workspace.tokenizer_for(corpus, args.num_merges or workspace.default_num_merges(corpus), progress=True)
    ids, _, _ = workspace.token_ids_for(corpus, tokenizer, path)
    model = tokenizer.model
    caption = f"{workspace.artifact_name(corpus)}: {model.num_words:,} words, {len(model.merges):,} merges, lower-cased."

    progression = tokenization.merge_progression(model)
    marks = [count for count in (0, 100, 500, 1000, 2000, 5000, 10_000) if count < len(model.merges)] + [len(model.merges)]
    print("mean tokens per word after so many merges")
    for count in marks:
        print(f"  {count:>7,}  {progression[count]:.3f}")
    figure = canvas.plot_merge_progression(progression)
    canvas.save_figure(
        figure, folder / "merge_progression.png", caption + " Words of the training text, computed at every merge."
    )
    workspace.write_table(folder / "merge_progression.csv", ("merges", "tokens_per_word"), enumerate(progression.tolist()))

    lengths = tokenization.token_length_counts(model)
    print("\ntokens by length in characters\n  " + "   ".join(f"{length}: {count:,}" for length, count in lengths.items()))
    figure = canvas.plot_token_lengths(lengths)
    canvas.save_figure(figure, folder / "token_lengths.png", caption + " </w> is not counted; byte tokens are left out.")
    workspace.write_table(folder / "token_lengths.csv", ("characters", "tokens"), lengths.items())

    subwords = tokenization.top_subwords(tokenizer, ids, NUM_SUBWORDS)
    print(f"\nthe {len(subwords)} most frequent subwords of two characters or more (- goes on)")
    shown = [f"{subword.text}{'' if subword.is_final else '-'} {subword.count:,}" for subword in subwords]
    for start in range(0, len(shown), 6):
        print("  " + "".join(f"{item:<16}" for item in shown[start : start + 6]).rstrip())
    rows = [(subword.text, subword.count, subword.is_final) for subword in subwords]
    if rows:
        canvas.save_figure(
            canvas.plot_top_subwords(rows), folder / "top_subwords.png", caption + " Single characters are left out."
        )
    workspace.write_table(folder / "top_subwords.csv", ("subword", "count", "ends_a_word"), rows)
    names = "merge_progression, token_lengths" + (", top_subwords" if rows else "")
    cli.describe_row("\nsaved", f"{names} (.png, .csv) in {files.display_path(folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
