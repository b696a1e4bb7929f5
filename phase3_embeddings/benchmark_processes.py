"""Time training by processes and machines beside threads, by the training script itself, with the loss on text held out.

uv run python phase3_embeddings/benchmark_processes.py
uv run python phase3_embeddings/benchmark_processes.py --numbers 1 2 4 --rounds 1
uv run python phase3_embeddings/benchmark_processes.py --parts parts --rounds 1
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tokembed import cli

SCRIPT = Path(__file__).with_name("train_embeddings.py")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.Parser(__doc__)
    cli.add_corpus_flags(parser)
    cli.add_learning_flags(parser)
    parser.set_defaults(dataset="wikitext2")
    parser.add_argument(
        "--parts", type=cli.file_path, metavar="DIR", help="train on these parts, an epoch, instead of a corpus"
    )
    parser.add_argument(
        "--numbers",
        nargs="+",
        type=cli.positive_int,
        default=[2],
        help="of threads, processes and machines (default: 2)",
    )
    parser.add_argument("--rounds", type=cli.positive_int, default=3, help="runs of each, with as many seeds (default: 3)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; print a table, write JSON."""
    args = parse_args(argv)
    from tokembed import files, workspace
    from tokembed.benchmarks import processes, timing

    files.check_writable(files.plots_dir())
    info = timing.machine()
    cli.describe_row("machine", info["processor"], f"{info['cores']} cores", f"Python {info['python']}")
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        if args.parts:
            name, texts = args.parts.resolve().name, [processes.Text(args.parts.name, args.parts, epochs=1)]
        else:
            corpus = workspace.choose_corpus(args.dataset, args.text_field)
            name = workspace.artifact_name(corpus)
            tokenizer, ids = workspace.prepare_tokens(corpus, args.num_merges, **cli.learning_settings(args))
            texts = processes.write_texts(Path(folder), name, ids, tokenizer)
        print(f"\n  {'':<22}{'':<14}{'seed':>5}{'tokens':>13}{'tokens/s':>12}{'loss':>9}{'held out':>10}")
        for run in processes.compare(SCRIPT, texts, processes.contenders(args.numbers), args.rounds):
            runs.append(run)
            held_out = f"{run.held_out_loss:>10.4f}" if run.held_out_loss else ""
            speed = f"{run.num_tokens:>13,}{run.tokens_per_second:>12,.0f}"
            print(f"  {run.text:<22}{run.name:<14}{run.seed:>5}{speed}{run.loss:>9.4f}{held_out}", flush=True)
    print("\n  medians; in brackets, and the ratio, to as many threads")
    for text, way, *cells in processes.rows(runs):
        print(f"  {text:<22}{way:<14}" + "".join(f"{cell:>16}" for cell in cells))
    path = files.plots_dir() / f"benchmark_processes_{name}.json"
    files.write_atomic(path, json.dumps({"machine": info, "runs": runs}, indent=1, default=asdict) + "\n")
    cli.describe_row("saved", files.display_path(path))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
