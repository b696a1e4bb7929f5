"""Time skip-gram training beside gensim's, on the same token ids with the same settings, in one run.

uv run --group bench python phase3_embeddings/benchmark_training.py
uv run --group bench python phase3_embeddings/benchmark_training.py --dataset frankenstein --rounds 3
uv run --group bench python phase3_embeddings/benchmark_training.py --presets
uv run --group bench python phase3_embeddings/benchmark_training.py --unseen --rounds 2
uv run --group bench python phase3_embeddings/benchmark_training.py --sweep --dataset frankenstein --rounds 3
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


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.Parser(__doc__)
    cli.add_corpus_flags(parser)
    cli.add_learning_flags(parser)
    parser.set_defaults(dataset="wikitext2")
    parser.add_argument(
        "--rounds", type=cli.positive_int, default=5, help="runs of each trainer, with as many seeds (default: 5)"
    )
    parser.add_argument("--presets", action="store_true", help="compare the presets, and numbers of threads, instead of gensim")
    parser.add_argument("--sweep", action="store_true", help="compare negatives, windows, and the torch engine's batch sizes")
    parser.add_argument(
        "--unseen", action="store_true", help="compare words that training never saw with FastText's; --rounds draws"
    )
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
    corpus = workspace.choose_corpus(args.dataset, args.text_field)
    if args.unseen:
        return compare_unseen_words(args, corpus)
    tokenizer, ids = workspace.prepare_tokens(corpus, args.num_merges, **cli.learning_settings(args))
    info = timing.machine()
    cli.describe_row("machine", info["processor"], f"{info['cores']} cores", f"Python {info['python']}")
    kind = "presets" if args.presets else "sweep" if args.sweep else "training"
    if kind == "training":
        compared = training.compare_trainers(tokenizer, ids, config, args.rounds)
    else:
        jobs = training.preset_jobs() if args.presets else training.sweep_jobs()
        compared = training.compare_settings(corpus, config, jobs, args.rounds, **cli.learning_settings(args))

    scores = training.SCORES
    heading = f"\n  {'':<22}{'seed':>5}{'seconds':>9}{'tokens/s':>12}{'pairs/token':>13}{'loss':>9}"
    print(heading + "".join(f"{name:>13}" for name in scores.values()))
    runs = []
    for run in compared:
        runs.append(run)
        values = "".join(f"{getattr(run, key):>13.3f}" for key in scores)
        speed = f"{run.seconds:>9.1f}{run.tokens_per_second:>12,.0f}{run.pairs_per_token:>13.3f}"
        loss = f"{run.loss:>9.4f}" if run.loss else f"{'':>9}"
        print(f"  {run.name:<22}{run.seed:>5}{speed}{loss}{values}", flush=True)
    print("\n  medians of times and speeds; means of scores with their 95 % confidence intervals")
    for line in training.summary(runs):
        print(f"  {line}")
    path = files.plots_dir() / f"benchmark_{kind}_{workspace.artifact_name(corpus)}.json"
    files.write_atomic(path, json.dumps({"machine": info, "runs": runs}, indent=1, default=asdict) + "\n")
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
