"""Measure how the time of learning merges, encoding and training grows with the text, and draw it.

uv run python phase3_embeddings/benchmark_scaling.py
uv run python phase3_embeddings/benchmark_scaling.py --dataset frankenstein
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from tokembed import cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.Parser(__doc__)
    cli.add_corpus_flags(parser)
    cli.add_learning_flags(parser)
    parser.set_defaults(dataset="wikitext2")
    cli.add_plots_flag(parser)
    parser.add_argument("--rounds", type=cli.positive_int, default=3, help="the best of so many runs counts (default: 3)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, draw, write JSON."""
    args = parse_args(argv)
    from tokembed import files, workspace
    from tokembed.benchmarks import scaling, timing
    from tokembed.figures import benchmarks, canvas
    from tokembed.skipgram.settings import TrainingConfig

    folder = args.output_dir or files.plots_dir()
    files.check_writable(folder)
    corpus = workspace.choose_corpus(args.dataset, args.text_field)
    info = timing.machine()
    cli.describe_row("machine", info["processor"], f"{info['cores']} cores", f"Python {info['python']}")
    runs = []
    num_merges = args.num_merges or workspace.default_num_merges(corpus)
    for run in scaling.measure_scaling(corpus.text, num_merges, TrainingConfig(), args.rounds, **cli.learning_settings(args)):
        runs.append(run)
        print(f"  {run.task:<20}{run.words:>10,} words{run.seconds * 1e3:>10.1f} ms", flush=True)
    tasks = list(dict.fromkeys(run.task for run in runs))
    exponents = {task: scaling.exponent([run for run in runs if run.task == task]) for task in tasks}
    for task, exponent in exponents.items():
        print(f"  {task}: time grows as words to the power {exponent:.2f}")
    rows = [asdict(run) for run in runs]
    caption = f"{corpus.name}, {num_merges:,} merges. {info['processor']}, {info['cores']} cores; best of {args.rounds}."
    canvas.save(benchmarks.plot_scaling(rows, exponents), folder, "scaling", caption)
    results = {"machine": info, "runs": rows, "exponents": exponents}
    files.write_atomic(folder / "benchmark_scaling.json", json.dumps(results, indent=1) + "\n")
    cli.describe_row("saved", f"scaling.png, benchmark_scaling.json in {files.display_path(folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
