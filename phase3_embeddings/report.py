"""Rebuild all figures and tables of the three phases, and write one page of them; vectors are trained if there are none.

uv run python phase3_embeddings/report.py
uv run python phase3_embeddings/report.py --dataset wikitext2 --full
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tokembed import cli

ROOT = Path(__file__).resolve().parent.parent


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.Parser(__doc__)
    parser.add_argument("--dataset", help=f"{cli.DATASETS} (default: frankenstein)")
    cli.add_text_field_flag(parser)
    cli.add_splitting_flag(parser)
    cli.add_learning_flags(parser)
    parser.add_argument(
        "--full", action="store_true", help="with the comparisons of dimensions and of objectives: minutes more"
    )
    cli.add_plots_flag(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the scripts of all phases, then write the page."""
    args = parse_args(argv)
    from tokembed import files, workspace
    from tokembed.pages import report
    from tokembed.vectors import VectorsFileError

    folder = args.output_dir or files.plots_dir()
    files.check_writable(folder)
    corpus = workspace.choose_corpus(args.dataset, args.text_field)
    dataset = [
        "--dataset",
        str(corpus.path) if corpus.path and args.dataset == str(corpus.path) else args.dataset or corpus.name,
        "--text-field",
        args.text_field,
    ]
    if args.splitting != "words":
        dataset += ["--splitting", args.splitting]
    learning = [str(part) for flag, value in cli.learning_flags(args).items() for part in (flag, value) if part is not True]
    figures = [*dataset, "--output-dir", str(folder)]
    try:
        _, kept = workspace.trained_embeddings(args.dataset or corpus.name, None, args.splitting, args.text_field)
        is_trained = workspace.is_learned_so(kept, lowercase=not args.no_lowercase, min_frequency=args.min_frequency)
    except VectorsFileError:  # none yet, or of another text of this name
        is_trained = False
    jobs = [
        ["phase1_bpe/visualize_merges.py", *figures, *learning],
        ["phase2_analysis/cross_domain_test.py", *figures, *learning],
        *([] if is_trained else [["phase3_embeddings/train_embeddings.py", *dataset, *learning]]),
        ["phase3_embeddings/visualize_embeddings.py", *figures],
        ["phase3_embeddings/visualize_embeddings.py", *figures, "--projection", "pca"],
    ]
    if args.full:
        jobs.append(["phase3_embeddings/visualize_embeddings.py", *figures, *learning, "--dimensions", "--softmax"])
    began = math.floor(time.time())  # some file systems keep whole seconds
    for script, *flags in jobs:
        cli.describe_row("running", " ".join([script, *flags]))
        command = [sys.executable, str(ROOT / script), *flags]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
            try:
                _, errors = job.communicate()
            except KeyboardInterrupt:
                job.terminate()  # not a kill, which would leave half a picture
                job.communicate()
                raise
        if job.returncode:
            raise OSError(f"{script} failed: {errors.strip()[-300:]}")
    path, embeddings = workspace.trained_embeddings(args.dataset, splitting=args.splitting, text_field=args.text_field)
    facts = [
        f"corpus: {corpus.name}, {corpus.num_characters:,} characters",
        f"vectors: {len(embeddings):,} of {embeddings.embedding_dim} numbers, from {files.display_path(path)}",
        "made by: " + "; ".join(dict.fromkeys(script for script, *_ in jobs)),
    ]
    name = workspace.artifact_name(corpus)
    source = workspace.source_of(name, corpus.fingerprint, args.splitting)
    page, missing = report.report_page(folder, f"tokembed: {name}", facts, source, began)
    output = folder / "report.html"
    files.write_atomic(output, page)
    if missing:
        cli.describe_row(
            "left out", f"{', '.join(missing)}: not made in this run", "" if args.full else "--full makes the comparisons"
        )
    cli.describe_row("saved", files.display_path(output))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
