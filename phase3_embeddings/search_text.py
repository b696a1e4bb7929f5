"""Find the passages of a text that are nearest to a query: by trained vectors, by TF-IDF, and by both.

uv run python phase3_embeddings/search_text.py "a storm in the mountains"
uv run python phase3_embeddings/search_text.py "grief and despair" --by vectors --top 3 --json
uv run python phase3_embeddings/search_text.py --measure --dataset wikitext2     # which way finds more
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from tokembed import cli

if TYPE_CHECKING:
    from tokembed.vectors.embeddings import Embeddings


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.Parser(__doc__)
    parser.add_argument("query", nargs="?", help="words, or a whole passage")
    cli.add_checkpoint_flags(parser)
    parser.add_argument("--by", choices=("vectors", "tfidf", "both"), default="both", help="default: both, their cosines added")
    parser.add_argument("--top", type=cli.positive_int, default=5, help="how many passages (default: 5)")
    parser.add_argument("--json", action="store_true", help="print JSON, one object per passage")
    parser.add_argument("--measure", action="store_true", help="compare the ways on WikiText-2's test articles instead")
    args = parser.parse_args(argv)
    if args.measure and args.query is not None:
        parser.error("--measure takes no query")
    if not args.measure and not (args.query or "").strip():
        parser.error("give a query: words, or a whole passage")
    if args.checkpoint and not args.dataset and not args.measure:
        parser.error("--checkpoint says which vectors, and --dataset which text is searched: give both")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Search, or measure."""
    args = parse_args(argv)
    from tokembed import files, workspace
    from tokembed.analysis import search
    from tokembed.analysis.neighbours import noise_in
    from tokembed.analysis.tokenization import printable
    from tokembed.corpora import load_corpus

    path, embeddings = workspace.trained_embeddings(args.dataset, args.checkpoint, args.splitting, args.text_field)
    if args.measure:
        return measure(embeddings)
    corpus = load_corpus(args.dataset or workspace.corpus_name_of(path, args.splitting), text_field=args.text_field)
    passages = search.passages_of(corpus.text)
    index = search.PassageIndex(embeddings, [passage.text for passage in passages])
    hits = index.nearest(args.query, args.top, args.by)
    if args.json:
        for hit in hits:
            found = {"vectors": hit.vectors, "tfidf": hit.tfidf, "both": hit.both}
            passage = passages[hit.place]
            print(json.dumps({**found, "line": passage.line, "text": passage.text}, ensure_ascii=False))
        return 0
    cli.describe_row("text", corpus.name, f"{len(passages):,} passages", files.display_path(corpus.path or "built in"))
    cli.describe_row("vectors", f"{len(embeddings):,} of {embeddings.embedding_dim} numbers", files.display_path(path))
    if unknown := index.unknown_words(args.query):
        cli.describe_row("left out", f"{', '.join(map(printable, unknown))}: neither in the text nor among the tokens")
    if noise := noise_in(embeddings):
        cli.describe_row("noise", f"{noise}; what such vectors find means nothing")
    columns = shutil.get_terminal_size((100, 24)).columns
    print(f"\n{'vectors':>9}{'TF-IDF':>8}{'both':>7}{'line':>8}  passage")
    for hit in hits:
        passage = passages[hit.place]
        lines = textwrap.wrap(printable(" ".join(passage.text.split())), max(columns - 34, 20), max_lines=3, placeholder=" …")
        print(f"{hit.vectors:>9.2f}{hit.tfidf:>8.2f}{hit.both:>7.2f}{passage.line:>8}  {lines[0]}")
        print(*(f"{'':<34}{line}" for line in lines[1:]), sep="\n", end="\n" if lines[1:] else "")
    print("\ncosines with the query; TF-IDF sees words that both have, vectors also what words mean")
    return 0


def measure(embeddings: Embeddings) -> int:
    """Compare the ways to search; print a table, write JSON."""
    from tokembed import files
    from tokembed.benchmarks import retrieval
    from tokembed.corpora import load_corpus

    report = retrieval.measure_retrieval(embeddings, load_corpus("wikitext2", "test").text)
    cli.describe_row("text", "wikitext2, test", f"{report.num_whole:,} paragraphs of {report.num_articles} articles")
    cli.describe_row("queries", f"each paragraph; of {report.num_own_words:,}, the words that no other of the article has")
    print(f"\n  {'right at first, by':<42}{'whole':>7}{'own words':>11}")
    for row in report.rows:
        print(f"  {row.name:<42}{row.whole:>7.3f}{row.own_words:>11.3f}")
    print(f"  {'chance':<42}{report.chance:>7.3f}{report.chance:>11.3f}")
    path = files.plots_dir() / "retrieval_wikitext2.json"
    files.write_atomic(path, json.dumps(asdict(report), indent=1) + "\n")
    cli.describe_row("saved", files.display_path(path))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
