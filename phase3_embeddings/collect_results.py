"""Put what the benchmarks measured into the file of results, and from there into the pages; or check that they agree.

uv run python phase3_embeddings/collect_results.py --check
uv run python phase3_embeddings/collect_results.py           # after the five benchmarks, --softmax and --measure
uv run python phase3_embeddings/collect_results.py --only tokenizer
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokembed import cli

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results.json"
PAGES = [ROOT / "README.md", *(ROOT / "docs" / name for name in ("benchmarks.md", "claims.md", "scale.md", "training.md"))]
SOURCES = {
    "tokenizer": "benchmark_tokenizer.json",
    "large_texts": "benchmark_large_texts.json",
    "training_wikitext2": "benchmark_training_wikitext2.json",
    "training_frankenstein": "benchmark_training_frankenstein.json",
    "batches": "benchmark_batches_wikitext2.json",
    "presets": "benchmark_presets_wikitext2.json",
    "unseen": "benchmark_unseen_wikitext2.json",
    "scaling": "benchmark_scaling.json",
    "processes": "benchmark_processes_wikitext2.json",
    "softmax": "softmax_comparison.json",
    "retrieval": "retrieval_wikitext2.json",
}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.Parser(__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; status 1 if a page differs from the results")
    parser.add_argument(
        "--page", type=cli.file_path, help="a file with such tables (default: the README and the pages in docs)"
    )
    parser.add_argument("--only", nargs="+", choices=[*SOURCES, "facts"], help="collect these, and keep the others")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Check, or collect and fill in."""
    args = parse_args(argv)
    from tokembed import files
    from tokembed.benchmarks import results

    if not args.check:
        kept = json.loads(RESULTS.read_text(encoding="utf-8")) if args.only else {}
        files.write_atomic(RESULTS, json.dumps({**kept, **collect(args.only or [*SOURCES, "facts"])}, indent=1) + "\n")
        cli.describe_row("saved", files.display_path(RESULTS))
    measured = json.loads(RESULTS.read_text(encoding="utf-8"))
    for page in [args.page] if args.page else PAGES:
        text = page.read_text(encoding="utf-8")
        wanted = results.filled(text, measured)
        if not args.check:
            files.write_atomic(page, wanted)
            cli.describe_row("saved", files.display_path(page))
        elif text != wanted:
            pairs = zip(text.splitlines(), wanted.splitlines(), strict=False)
            first = next(((line, right) for line, right in pairs if line != right), ("", ""))
            print(f"error: {page.name} says {first[0]!r}, the results {first[1]!r}: run collect_results.py", file=sys.stderr)
            return cli.WORLD_ERROR
        else:
            print(f"{page.name} agrees with {files.display_path(RESULTS)}")
    return 0


def collect(names: Sequence[str]) -> dict[str, Any]:
    """Read the benchmarks' files, and measure the few facts that none of them has."""
    from tokembed import files
    from tokembed.benchmarks.facts import measure_facts

    found: dict[str, Any] = {}
    for name in names:
        if name == "facts":
            found[name] = measure_facts(ROOT / "phase3_embeddings" / "train_embeddings.py")
            continue
        path = files.plots_dir() / SOURCES[name]
        if not path.is_file():
            raise ValueError(f"there is no {files.display_path(path)}: run the benchmark that makes it")
        found[name] = json.loads(path.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    sys.exit(cli.run(main))
