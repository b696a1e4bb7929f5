"""Time the tokenizer beside its peers, on one text, in one run.

    uv run --group bench python phase3_embeddings/benchmark_tokenizer.py
    uv run --group bench python phase3_embeddings/benchmark_tokenizer.py --dataset frankenstein --num-merges 2000
    uv run --group bench python phase3_embeddings/benchmark_tokenizer.py --large 100 1000

Encoding is timed three times: cold (a new encoder's first text), with a fresh str object each call, and with the same two
objects in turn; with the same vocabulary and the same ids everywhere. A corpus in the raw folder is read as it is, not cleaned.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokembed import cli

if TYPE_CHECKING:
    from tokembed.bpe.model import BPEModel

LADDER_WORDS = 10_000  # what the naive encoder does in half a minute


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.Parser(__doc__)
    parser.add_argument("--dataset", help="frankenstein, wikitext2, pydocs, or a text file (default: wikitext2, else pydocs)")
    parser.add_argument("--num-merges", type=cli.positive_int, default=10_000, help="default: 10000")
    cli.add_learning_flags(parser)
    parser.add_argument("--rounds", type=cli.positive_int, default=5, help="runs of each contender (default: 5)")
    parser.add_argument("--naive-all", action="store_true", help="run the naive encoder on the whole novel too: minutes")
    parser.add_argument(
        "--large", type=cli.positive_int, nargs="+", metavar="MB", help="only learning from and encoding texts of so many MB"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; print tables, write JSON."""
    args = parse_args(argv)
    if args.large:
        return run_large(args.large, args.rounds)
    from tokembed import files
    from tokembed.benchmarks import encoding, matrix, peers, timing
    from tokembed.bpe.learning import train_bpe
    from tokembed.corpora import CorpusError, load_corpus
    from tokembed.workspace import choose_corpus

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
    if missing := peers.missing_peers():
        cli.describe_row("left out", ", ".join(missing), "not installed: uv run --group bench")

    results: dict[str, Any] = {"machine": info, "text": {"name": corpus.name, "bytes": num_bytes, "words": num_words}}
    learning = {"lowercase": not args.no_lowercase, "min_frequency": args.min_frequency}
    model = train_bpe(text, args.num_merges, **learning)
    results["learning"] = peers.compare_learners(text, args.num_merges, args.rounds, **learning)
    _print_table(f"learning {args.num_merges:,} merges", timing.timing_lines(results["learning"], num_bytes, num_words))
    results["plain"] = encoding.measure_short_texts(model, text)
    _print_table("the plain encoder", encoding.short_text_lines(results["plain"]))
    results["encoders"] = []
    for vocabulary, makers, inexact in _vocabularies(text, model, args.num_merges, args.min_frequency):
        for case, timings in peers.compare_encoders(makers(), text, args.rounds, inexact):
            results["encoders"].append({"vocabulary": vocabulary, "case": case, "timings": timings})
            _print_table(f"encoding, {vocabulary}, {case}", timing.timing_lines(timings, num_bytes, num_words))

    results["matrix"] = []
    if "gigatoken" not in missing:
        for kind, vocabulary in itertools.product(matrix.kinds(), matrix.vocabularies()):
            cells = matrix.measure(kind, vocabulary, rounds=args.rounds)
            results["matrix"] += map(asdict, cells)
            ratios = " · ".join(f"{cell.size:,}: {cell.ratio:.2f}" for cell in cells if cell.case == matrix.NEW)
            cli.describe_row("matrix", f"{kind}, {vocabulary}", f"new texts of characters: {ratios} times gigatoken's speed")

    novel = choose_corpus(None)
    small_model = train_bpe(novel.text, 2000)
    small_texts = [encoding.first_words(novel.text, number) for number in (1_000, LADDER_WORDS)]
    results["ladder"] = encoding.climb(small_model, small_texts[-1])
    title = f"the ladder: {novel.name}, its first {LADDER_WORDS:,} words, 2,000 merges, every step from an empty cache"
    _print_table(title, encoding.ladder_lines(results["ladder"]))
    naive_up_to = 10**9 if args.naive_all else LADDER_WORDS
    results["sizes"] = [
        *encoding.measure_sizes(small_model, [*small_texts, novel.text], naive_up_to),
        *encoding.measure_sizes(model, [text], naive_up_to=0),
    ]
    _print_table(f"by size: {novel.name}, then the text above; from an empty cache", encoding.size_lines(results["sizes"]))

    path = files.plots_dir() / "benchmark_tokenizer.json"
    files.write_atomic(path, json.dumps(results, indent=1, default=asdict) + "\n")
    cli.describe_row("saved", files.display_path(path))
    return 0


def run_large(megabytes: Sequence[int], rounds: int) -> int:
    """Benchmark large texts; print a line each, write JSON."""
    from tokembed import files
    from tokembed.benchmarks import large_texts, matrix, timing

    runs = []
    for size, kind in itertools.product(megabytes, large_texts.KINDS):
        for run in large_texts.measure_large(kind, size * 1_000_000, matrix.vocabularies(), rounds):
            runs.append({**asdict(run), "ratio": run.ratio})
            distinct = f"{run.num_distinct:,} distinct pieces"
            seconds = f"{run.seconds:.2f} s, gigatoken {run.peer_seconds:.2f} s: {run.ratio:.2f} times its speed"
            cli.describe_row("large", f"{kind}, {size:,} MB", distinct, run.task, seconds)
    path = files.plots_dir() / "benchmark_large_texts.json"
    files.write_atomic(path, json.dumps({"machine": timing.machine(), "runs": runs}, indent=1) + "\n")
    cli.describe_row("saved", files.display_path(path))
    return 0


def _vocabularies(
    text: str, model: BPEModel, num_merges: int, min_frequency: int
) -> Iterator[tuple[str, Callable[[], Any], Sequence[str]]]:
    """Yield vocabularies that peers have too: a name, what makes the encoders, and which may give a few other ids."""
    from tokembed.benchmarks import peers
    from tokembed.bpe.learning import train_bpe
    from tokembed.bpe.tokenizer import BPETokenizerLoader
    from tokembed.corpora import CorpusError
    from tokembed.corpora.vocabularies import PUBLISHED, find_vocabulary

    for name in PUBLISHED:
        try:
            find_vocabulary(name)
        except CorpusError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        yield name, partial(peers.published_encoders, name), ()
    with tempfile.TemporaryDirectory() as folder:
        byte_level = BPETokenizerLoader(train_bpe(text, num_merges, splitting="gpt2", min_frequency=min_frequency))
        yield f"GPT-2's rule, {num_merges:,} merges", partial(peers.encoders, byte_level, Path(folder)), peers.INEXACT
        yield f"words, {num_merges:,} merges", partial(peers.encoders, BPETokenizerLoader(model), Path(folder)), ()


def _print_table(title: str, lines: Sequence[str]) -> None:
    print("\n".join(["", title, *lines]), flush=True)


if __name__ == "__main__":
    sys.exit(cli.run(main))
