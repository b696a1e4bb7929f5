"""Time the tokenizer beside its peers, on one text, in one run.

    uv run --group bench python phase3_embeddings/benchmark_tokenizer.py
    uv run --group bench python phase3_embeddings/benchmark_tokenizer.py --dataset frankenstein --num-merges 2000

Encoding is timed three times: cold (a new encoder's first text), with a fresh str object each call, and with the same two
objects in turn. A corpus in the raw folder is read as it is, not cleaned.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tokembed import cli

if TYPE_CHECKING:
    from tokembed.benchmarks.timing import Timing
    from tokembed.bpe.model import BPEModel

LADDER_WORDS = 10_000  # what the naive encoder does in half a minute


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.Parser(__doc__)
    parser.add_argument("--dataset", help="frankenstein, wikitext2, pydocs, or a text file (default: wikitext2, else pydocs)")
    parser.add_argument("--num-merges", type=cli.positive_int, default=10_000, help="default: 10000")
    parser.add_argument("--rounds", type=cli.positive_int, default=5, help="runs of each contender (default: 5)")
    parser.add_argument("--naive-all", action="store_true", help="run the naive encoder on the whole novel too: minutes")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; print tables, write JSON."""
    args = parse_args(argv)
    from tokembed import files
    from tokembed.benchmarks import timing
    from tokembed.bpe.learning import train_bpe
    from tokembed.corpora.corpus import CorpusError
    from tokembed.corpora.sources import load_corpus

    try:
        corpus = load_corpus(args.dataset or "wikitext2")
    except CorpusError as error:
        if args.dataset:
            raise
        print(f"WARNING: NO WIKITEXT-2, SO TIMING ON PYDOCS, A FAR SMALLER TEXT: {error}", file=sys.stderr)
        corpus = load_corpus("pydocs")
    text = corpus.path.read_text(encoding="utf-8") if corpus.path and corpus.path.suffix == ".txt" else corpus.text
    num_words, num_bytes = len(text.split()), len(text.encode())
    info = timing.machine()
    cli.describe_row("text", corpus.name, f"{num_bytes / 1e6:.1f} MB", f"{num_words:,} words", f"{args.num_merges:,} merges")
    cli.describe_row("machine", info["processor"], f"{info['cores']} cores", f"Python {info['python']}")
    if missing := timing.missing_peers():
        cli.describe_row("left out", ", ".join(missing), "not installed: uv run --group bench")

    results: dict[str, Any] = {"machine": info, "text": {"name": corpus.name, "bytes": num_bytes, "words": num_words}}
    timings = timing.compare_learners(text, args.num_merges, args.rounds)
    results["learning"] = [{**asdict(timing), **timing.summary} for timing in timings]
    _print_table(f"learning {args.num_merges:,} merges", timings, num_bytes, num_words)
    model = train_bpe(text, args.num_merges)
    plain = results["plain"] = timing.measure_plain_encoder(model, text)
    print(
        f"encode, the plain form: {plain['microseconds_a_sentence']:.1f} µs a sentence of 60 characters; cache hits "
        f"{plain['hit_rate_first_pass']:.1%} on a first pass, {plain['hit_rate_second_pass']:.1%} on a second\n"
        f"from python to the first ids: {plain['seconds_to_first_ids_encode']:.2f} s by encode, "
        f"{plain['seconds_to_first_ids_encode_array']:.2f} s by encode_array\n"
    )
    for case, timings in timing.compare_encoders(model, text, args.rounds):
        results[case] = [{**asdict(timing), **timing.summary} for timing in timings]
        _print_table(f"encoding, {case}", timings, num_bytes, num_words)

    results |= _measure_ourselves(text, model, args.naive_all)
    path = files.plots_dir() / "benchmark_tokenizer.json"
    files.write_atomic(path, json.dumps(results, indent=1) + "\n")
    cli.describe_row("saved", files.display_path(path))
    return 0


def _measure_ourselves(large_text: str, large_model: BPEModel, naive_all: bool) -> dict[str, Any]:
    """Print and return the ladder, and speed and cache by size: Frankenstein's with 2,000 merges, then the large text."""
    from tokembed.benchmarks import encoding as own
    from tokembed.bpe.learning import train_bpe
    from tokembed.workspace import choose_corpus

    corpus = choose_corpus(None)
    model = train_bpe(corpus.text, 2000)
    steps = own.climb(model, own.first_words(corpus.text, LADDER_WORDS))
    title = f"the ladder: {corpus.name}, its first {LADDER_WORDS:,} words, 2,000 merges, every step from an empty cache"
    print("\n".join([title, *own.ladder_lines(steps), ""]), flush=True)
    texts = [own.first_words(corpus.text, number) for number in (1_000, 10_000)] + [corpus.text]
    runs = list(own.measure_sizes(model, texts, naive_up_to=10**9 if naive_all else LADDER_WORDS))
    runs += own.measure_sizes(large_model, [large_text], naive_up_to=0)
    print(
        "\n".join([f"by size: {corpus.name}, then the text above; from an empty cache", *own.size_lines(runs), ""]), flush=True
    )
    return {"ladder": [asdict(step) for step in steps], "sizes": [asdict(run) for run in runs]}


def _print_table(title: str, timings: Sequence[Timing], num_bytes: int, num_words: int) -> None:
    print(f"\n{title}\n  {'':<12}{'median':>10}{'spread':>9}{'MB/s':>8}{'M words/s':>11}{'to ours':>9}")
    for timing in timings:
        rate = num_bytes / timing.median / 1e6, num_words / timing.median / 1e6
        print(
            f"  {timing.name:<12}{timing.median * 1e3:>7.1f} ms{timing.spread:>8.0%} {rate[0]:>8.0f}{rate[1]:>11.2f}"
            f"{timing.median / timings[0].median:>8.2f}x"
        )
    print(flush=True)


if __name__ == "__main__":
    sys.exit(cli.run(main))
