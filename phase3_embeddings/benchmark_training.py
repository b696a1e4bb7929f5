"""Time skip-gram training beside gensim's, on the same token ids with the same settings, in one run.

uv run --group bench python phase3_embeddings/benchmark_training.py
uv run --group bench python phase3_embeddings/benchmark_training.py --dataset frankenstein --rounds 3
uv run --group bench python phase3_embeddings/benchmark_training.py --presets
uv run --group bench python phase3_embeddings/benchmark_training.py --unseen --rounds 2
uv run --group bench python phase3_embeddings/benchmark_training.py --sweep --dataset frankenstein --rounds 3
uv run --group bench python phase3_embeddings/benchmark_training.py --batches --epochs 3 --rounds 3
uv run --group bench python phase3_embeddings/benchmark_training.py --large --embedding-dim 300 --epochs 1 --rounds 3
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from tokembed import cli

if TYPE_CHECKING:
    from tokembed.corpora.corpus import Corpus
    from tokembed.skipgram.settings import TrainingConfig


KINDS = {  # of comparison, instead of that with gensim
    "presets": "compare the presets, and numbers of threads",
    "sweep": "compare negatives and windows",
    "batches": "compare the torch engine's batch sizes, on the CPU, with the threads",
    "large": "compare speeds with gensim's on a vocabulary of 200,000 random tokens",
    "unseen": "compare words that training never saw with FastText's; --rounds draws",
}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.Parser(__doc__)
    cli.add_corpus_flags(parser)
    cli.add_learning_flags(parser)
    parser.set_defaults(dataset="wikitext2")
    parser.add_argument(
        "--rounds", type=cli.positive_int, default=5, help="runs of each trainer, with as many seeds (default: 5)"
    )
    instead = parser.add_mutually_exclusive_group()
    for kind, help_text in KINDS.items():
        instead.add_argument(f"--{kind}", dest="kind", action="store_const", const=kind, default="training", help=help_text)
    cli.add_training_flags(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; print a table, write JSON."""
    args = parse_args(argv)
    from tokembed import files, workspace
    from tokembed.benchmarks import peers, timing, training

    if "gensim" in peers.missing_peers():
        raise ValueError("gensim is not installed: uv run --group bench python phase3_embeddings/benchmark_training.py")
    config = cli.config_from_flags(args)
    if args.kind == "large":
        return compare_on_large_tables(config, args.rounds)
    corpus = workspace.choose_corpus(args.dataset, args.text_field)
    if args.kind == "unseen":
        return compare_unseen_words(args, corpus)
    tokenizer, ids = workspace.prepare_tokens(corpus, args.num_merges, **cli.learning_settings(args))
    info = timing.machine()
    cli.describe_row("machine", info["processor"], f"{info['cores']} cores", f"Python {info['python']}")
    if args.kind == "training":
        compared = training.compare_trainers(tokenizer, ids, config, args.rounds)
    else:
        jobs = training.JOBS[args.kind]()
        learning, holds_out = cli.learning_settings(args), args.kind == "batches"
        compared = training.compare_settings(corpus, config, jobs, args.rounds, holds_out=holds_out, **learning)

    scores = training.SCORES
    heading = f"\n  {'':<22}{'seed':>5}{'seconds':>9}{'tokens/s':>12}{'pairs/token':>13}{'loss':>9}{'held out':>10}"
    print(heading + "".join(f"{name:>13}" for name in scores.values()))
    runs = []
    for run in compared:
        runs.append(run)
        values = "".join(f"{getattr(run, key):>13.3f}" for key in scores)
        speed = f"{run.seconds:>9.1f}{run.tokens_per_second:>12,.0f}{run.pairs_per_token:>13.3f}"
        losses = "".join(
            f"{loss:>{width}.4f}" if loss else " " * width for loss, width in ((run.loss, 9), (run.held_out_loss, 10))
        )
        print(f"  {run.name:<22}{run.seed:>5}{speed}{losses}{values}", flush=True)
    print("\n  medians of times and speeds; means of scores with their 95 % confidence intervals")
    for line in training.summary(runs):
        print(f"  {line}")
    path = files.plots_dir() / f"benchmark_{args.kind}_{workspace.artifact_name(corpus)}.json"
    files.write_atomic(path, json.dumps({"machine": info, "runs": runs}, indent=1, default=asdict) + "\n")
    cli.describe_row("saved", files.display_path(path))
    return 0


def compare_on_large_tables(config: TrainingConfig, rounds: int) -> int:
    """Compare speeds with gensim's where tables are larger than caches; print a table, write JSON."""
    from tokembed import files
    from tokembed.benchmarks import timing, training

    print(f"\n  {'':<12}{'seed':>5}{'seconds':>9}{'tokens/s':>12}")
    runs = []
    for run in training.compare_on_large_tables(config, rounds):
        runs.append(run)
        print(f"  {run.name:<12}{run.seed:>5}{run.seconds:>9.1f}{run.tokens_per_second:>12,.0f}", flush=True)
    middle, low, high = training.speed_ratios(runs[::2], runs[1::2])
    print(f"\n  tokembed is {middle:.1f} times as fast, the median of {rounds} turns ({low:.1f} to {high:.1f})")
    path = files.plots_dir() / "benchmark_large.json"
    files.write_atomic(path, json.dumps({"machine": timing.machine(), "runs": runs}, indent=1, default=asdict) + "\n")
    cli.describe_row("saved", files.display_path(path))
    return 0


def compare_unseen_words(args: argparse.Namespace, corpus: Corpus) -> int:
    """Compare unseen words, by the preset "best", with FastText's; print a table, write JSON."""
    from tokembed import files, workspace
    from tokembed.benchmarks import timing, unseen
    from tokembed.skipgram.settings import TrainingConfig

    best = cli.PRESETS["best"]
    tokenizer, _ = workspace.prepare_tokens(corpus, args.num_merges or best.tokens["num_merges"], **cli.learning_settings(args))
    config = TrainingConfig(**{**best.training, "workers": args.workers})
    heading = f"\n  {'':<12}{'draw':>5}{'seed':>5}{'seconds':>9}"
    print(heading + "".join(f"{name:>14}{'pairs':>7}" for name in unseen.LISTS))
    runs = []
    for run in unseen.compare_unseen(corpus, tokenizer, config, best.tokens["vocabulary_threshold"], args.rounds):
        runs.append(run)
        values = "".join(f"{run.spearman[name]:>14.3f}{run.num_pairs[name]:>7}" for name in unseen.LISTS)
        print(f"  {run.name:<12}{run.draw:>5}{run.seed:>5}{run.seconds:>9.1f}{values}", flush=True)
    path = files.plots_dir() / f"benchmark_unseen_{workspace.artifact_name(corpus)}.json"
    files.write_atomic(path, json.dumps({"machine": timing.machine(), "runs": runs}, indent=1, default=asdict) + "\n")
    cli.describe_row("\nsaved", files.display_path(path))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
