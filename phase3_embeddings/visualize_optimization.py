"""Draw what `benchmark_tokenizer.py` measured: results in four panels, and the ladder of improvements.

uv run python phase3_embeddings/visualize_optimization.py
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from tokembed import cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.Parser(__doc__)
    parser.add_argument("--results", type=cli.file_path, help="default: benchmark_tokenizer.json where the benchmark writes it")
    cli.add_plots_flag(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Read the results, draw."""
    args = parse_args(argv)
    from tokembed import files

    source = args.results or files.plots_dir() / "benchmark_tokenizer.json"
    name = files.display_path(source)
    if not source.is_file():
        command = "uv run --group bench python phase3_embeddings/benchmark_tokenizer.py"
        raise ValueError(f"there are no results in {name}: {command} makes them")
    try:
        results = json.loads(source.read_text(encoding="utf-8"))
        machine, text, ladder, sizes, encoders = (results[key] for key in ("machine", "text", "ladder", "sizes", "encoders"))
        compared = max((each for each in encoders if each["case"] == "cold"), key=lambda each: len(each["timings"]))
        caption = f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, commit {machine['commit']}."
        num_bytes = int(text["bytes"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name} holds no results of the benchmark: {error!r}") from None
    from tokembed.figures import benchmarks, canvas

    folder = args.output_dir or files.plots_dir()
    axes = benchmarks.plot_tokenizer_results(sizes, compared["timings"], num_bytes)
    canvas.save(axes, folder, "tokenizer_optimization_results", f"{caption} Peers: {text['name']}, {compared['vocabulary']}.")
    canvas.save(benchmarks.plot_ladder(ladder), folder, "optimization_breakdown", caption)
    names = ["tokenizer_optimization_results.png", "optimization_breakdown.png"]
    if cells := results.get("matrix"):
        canvas.save(
            benchmarks.plot_matrix(cells), folder, "tokenizer_matrix", f"{caption} Times gigatoken's speed; medians of rounds."
        )
        names.append("tokenizer_matrix.png")
    cli.describe_row("saved", f"{', '.join(names)} in {files.display_path(folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
