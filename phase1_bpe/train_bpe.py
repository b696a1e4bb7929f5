"""Learn byte-pair merges from a corpus, and watch it happen.

uv run python phase1_bpe/train_bpe.py
uv run python phase1_bpe/train_bpe.py --dataset my_text.txt --num-merges 5000
uv run --group scale python phase1_bpe/train_bpe.py --dataset 'shards/*.parquet' --engine ray --parts parts
uv run python phase1_bpe/train_bpe.py --show-steps 5 --text "low low low lower lowest newest newest widest"
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tokembed import cli

EXAMPLE = "low low low low low lower lower newest newest newest newest newest newest widest widest widest"
FIRST_MERGES = 12


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.Parser(__doc__)
    cli.add_corpus_flags(parser)
    cli.add_learning_flags(parser)
    parser.add_argument(
        "--engine", choices=("threads", "ray"), default="threads", help="threads, or Ray's workers, on RAY_ADDRESS or here"
    )
    parser.add_argument("--parts", type=cli.file_path, metavar="DIR", help="where --engine ray puts the ids of each shard")
    parser.add_argument(
        "--output", type=cli.file_path, help="the tokenizer's file (default: in data/processed/01_tokenization)"
    )
    parser.add_argument(
        "--show-steps", type=cli.positive_int, metavar="N", help="print N merges of a small text, as a textbook does"
    )
    parser.add_argument("--text", help="the small text for --show-steps")
    args = parser.parse_args(argv)
    if args.text is not None and not args.show_steps:
        parser.error("--text goes with --show-steps")
    if args.parts and args.engine != "ray":
        parser.error("--parts goes with --engine ray")
    if args.show_steps and args.dataset:
        parser.error("--show-steps merges a small text, given with --text, not a dataset")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Learn, and show what was learned."""
    args = parse_args(argv)
    if args.show_steps:
        return show_steps(args)
    from tokembed import files, workspace
    from tokembed.analysis.tokenization import merge_progression, printable

    corpus = workspace.choose_corpus(args.dataset, args.text_field)
    if args.output:
        files.check_writable(args.output.absolute().parent)
    rule = cli.learning_settings(args)
    if args.engine == "ray":
        from tokembed.scale.ray_engine import learn_and_encode

        tokenizer, path, was_kept = learn_and_encode(corpus, args.num_merges, args.parts, **rule)
    else:
        where = files.display_path(corpus.path or "built in")
        cli.describe_row("corpus", corpus.name, f"{corpus.num_characters:,} characters", where)
        num_merges = args.num_merges or workspace.default_num_merges(corpus)
        tokenizer, path, was_kept = workspace.tokenizer_for(corpus, num_merges, **rule, progress=True)
    num_merges = args.num_merges or workspace.default_num_merges(corpus)
    model = tokenizer.model
    if args.output:
        path, was_kept = args.output, False
        model.save(path)

    print("\nthe first merges (how often each replaced its pair)")
    for rank, ((left, right), count) in enumerate(zip(model.merges[:FIRST_MERGES], model.applications, strict=False), start=1):
        print(f"  {rank:>3}  {printable(left):>6} + {printable(right):<6} -> {printable(left + right):<10} {count:>10,}")
    progression = merge_progression(model)
    print()
    if len(model.merges) < num_merges:
        cli.describe_row(
            "stopped", f"no other pair occurs {args.min_frequency} times: {len(model.merges):,} merges of {num_merges:,}"
        )
    num_learned = len(model.alphabet) + len(model.merges)
    if model.rule.is_lossless:
        cli.describe_row("alphabet", f"{len(model.alphabet):,} bytes")
        cli.describe_row("vocabulary", f"{num_learned:,} tokens")
    else:
        cli.describe_row("alphabet", f"{len(model.alphabet):,} symbols: characters and </w>")
        cli.describe_row(
            "vocabulary", f"{num_learned:,} learned tokens", f"{tokenizer.vocab_size:,} with those for unknown bytes"
        )
    cli.describe_row(
        "pieces" if model.rule.is_lossless else "words",
        f"{model.num_words:,}",
        f"{progression[0]:.2f} tokens each before, {progression[-1]:.2f} after",
    )
    cli.describe_row("kept in" if was_kept else "saved as", files.display_path(path))
    return 0


def show_steps(args: argparse.Namespace) -> int:
    """Print merges of a small text one by one, by the readable reference."""
    from tokembed.analysis.tokenization import merge_steps, printable

    text = EXAMPLE if args.text is None else args.text
    print(f"text: {text}")
    steps = merge_steps(text, args.show_steps, lowercase=not args.no_lowercase, min_frequency=args.min_frequency)
    number = 0
    for number, step in enumerate(steps, start=1):
        left, right = map(printable, step.pair)
        print(f"\nmerge {number}: {left} + {right} -> {left}{right}, the most frequent pair: {step.count} times")
        for before, after, count in step.changes:
            print(f"  {count:>4} x  {' '.join(map(printable, before))}  ->  {' '.join(map(printable, after))}")
    if number < args.show_steps:
        print(f"\nno {'other ' if number else ''}pair occurs {args.min_frequency} times: {number} merges of {args.show_steps}")
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
