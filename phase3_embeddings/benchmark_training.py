"""Time skip-gram training beside gensim's, on the same token ids with the same settings, in one run.

uv run --group bench python phase3_embeddings/benchmark_training.py
uv run --group bench python phase3_embeddings/benchmark_training.py --dataset frankenstein --rounds 3
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence

from tokembed import cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    from tokembed.settings import add_training_flags

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_corpus_flags(parser)
    parser.set_defaults(dataset="wikitext2")
    parser.add_argument(
        "--rounds", type=cli.positive_int, default=5, help="runs of each trainer, with as many seeds (default: 5)"
    )
    add_training_flags(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; print a table, write JSON."""
    args = parse_args(argv)
    from tokembed import artifacts, benchmarking, paths, settings

    if "gensim" in benchmarking.missing_peers():
        raise ValueError("gensim is not installed: uv run --group bench python phase3_embeddings/benchmark_training.py")
    from tokembed.training_benchmark import SCORES, compare_trainers, mean_and_margin

    config = settings.config_from_flags(args)
    corpus = artifacts.choose_corpus(args.dataset)
    tokenizer, path, _ = artifacts.tokenizer_for(corpus, args.num_merges or artifacts.default_num_merges(corpus))
    ids, _, _ = artifacts.token_ids_for(corpus, tokenizer, path)
    info = benchmarking.machine()
    cli.describe_row("tokens", corpus.name, f"{ids.size:,}", f"{len(tokenizer.merges):,} merges", f"{config.epochs} epochs")
    cli.describe_row("machine", info["processor"], f"{info['cores']} cores", f"Python {info['python']}")

    print(f"\n  {'':<10}{'seed':>5}{'tokens/s':>12}{'pairs/token':>13}" + "".join(f"{name:>13}" for name in SCORES.values()))
    runs = []
    for run in compare_trainers(tokenizer, ids, config, args.rounds):
        runs.append(run)
        scores = "".join(f"{getattr(run, key):>13.3f}" for key in SCORES)
        print(f"  {run.name:<10}{run.seed:>5}{run.tokens_per_second:>12,.0f}{run.pairs_per_token:>13.3f}{scores}", flush=True)

    print("\n  medians of speed and pairs; means of scores with their 95 % confidence intervals")
    for name in ("tokembed", "gensim"):
        own = [run for run in runs if run.name == name]
        speed, pairs = (statistics.median(getattr(run, key) for run in own) for key in ("tokens_per_second", "pairs_per_token"))
        intervals = [mean_and_margin([getattr(run, key) for run in own]) for key in SCORES]
        scores = "".join(f"{f'{mean:.3f} ±{margin:.3f}':>14}" for mean, margin in intervals)
        print(f"  {name:<10}{speed:>12,.0f} tokens/s{speed * pairs:>14,.0f} pairs/s{scores}")
    ratios = [ours.tokens_per_second / theirs.tokens_per_second for ours, theirs in zip(runs[::2], runs[1::2], strict=True)]
    print(
        f"\n  tokembed is {statistics.median(ratios):.1f} times as fast, the median of {len(ratios)} alternating runs "
        f"({min(ratios):.1f} to {max(ratios):.1f})"
    )
    path = paths.plots_dir() / f"benchmark_training_{artifacts.artifact_name(corpus)}.json"
    paths.write_atomic(path, json.dumps({"machine": info, "runs": [run.as_dict() for run in runs]}, indent=1) + "\n")
    cli.describe_row("saved", paths.display_path(path))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
