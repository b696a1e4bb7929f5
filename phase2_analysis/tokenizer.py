"""See where a text is cut: its tokens between bars, their ids below, and its numbers.

uv run python phase2_analysis/tokenizer.py
uv run python phase2_analysis/tokenizer.py "The monster approached." "未来世界"
uv run python phase2_analysis/tokenizer.py --file my_text.txt --html tokens.html
uv run python phase2_analysis/tokenizer.py "It's 12345 未来" --compare r50k_base cl100k_base o200k_base
echo "one line a text" | uv run python phase2_analysis/tokenizer.py -
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tokembed import cli

TEST_SENTENCES = (
    "The monster approached with terrifying deliberation.",
    "Victor felt overwhelming remorse for his creation.",
    "The desolate landscape stretched endlessly before them.",
)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.Parser(__doc__)
    parser.add_argument("text", nargs="*", help="texts; - reads lines from standard input (default: three test sentences)")
    parser.add_argument("--file", type=cli.file_path, help="a UTF-8 text file, one text per line")
    cli.add_corpus_flags(parser)
    cli.add_learning_flags(parser)
    parser.add_argument("--tokenizer", type=cli.file_path, metavar="FILE", help="use this saved one instead of learning one")
    cli.add_compare_flag(parser)
    parser.add_argument(
        "--color", choices=("auto", "always", "never"), default="auto", help="default: auto; NO_COLOR is heeded"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, one object per text")
    parser.add_argument("--html", type=cli.file_path, metavar="FILE", help="write a coloured page, too")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Tokenize and show."""
    args = parse_args(argv)
    from tokembed import files, workspace
    from tokembed.analysis.tokenization import printable, text_statistics
    from tokembed.analysis.vocabularies import load_vocabularies, title_of
    from tokembed.bpe.tokenizer import BPETokenizerLoader
    from tokembed.pages import token_view

    texts = texts_to_show(args)
    compared = load_vocabularies(args.compare)
    if args.tokenizer:
        tokenizer, name = BPETokenizerLoader(args.tokenizer), args.tokenizer.stem
    else:
        corpus = workspace.choose_corpus(args.dataset, args.text_field)
        num_merges = args.num_merges or workspace.default_num_merges(corpus)
        tokenizer, _, _ = workspace.tokenizer_for(corpus, num_merges, **cli.learning_settings(args))
        name = workspace.artifact_name(corpus)
    rule = "" if tokenizer.rule.name == "words" else f"{tokenizer.rule.name}, "
    name, merges = printable(name), f"{rule}{len(tokenizer.merges):,} merges"
    titled = {title_of(each): other for each, other in compared.items()}
    if args.html:
        title = f"Tokens of a {name} tokenizer, {merges}"
        files.write_atomic(args.html, token_view.page(tokenizer, texts, title, titled))
    use_colour = args.color == "always" or (args.color == "auto" and sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
    columns = shutil.get_terminal_size((100, 24)).columns
    for text in texts:
        if args.json:
            print(json.dumps(token_view.as_json(tokenizer, text, compared), ensure_ascii=False))
            continue
        views = token_view.token_views(tokenizer, text)
        rows = token_view.terminal_rows(views, columns, colour=use_colour)
        if compared:
            cuts = {each: token_view.token_views(other, text) for each, other in titled.items()}
            rows = token_view.comparison_rows({f"{name}, {merges}": views} | cuts, columns, colour=use_colour)
        print(printable(text), *rows, token_view.statistics_line(text_statistics(tokenizer, text)), "", sep="\n")
    if args.html:
        print(f"saved      {files.display_path(args.html)}", file=sys.stderr if args.json else sys.stdout)
    return 0


def texts_to_show(args: argparse.Namespace) -> list[str]:
    """Return the texts asked for: arguments, standard input, a file, or the test sentences."""
    from tokembed import files
    from tokembed.corpora import load_corpus
    from tokembed.corpora.corpus import decode_text

    if args.text and args.file:
        raise ValueError("give texts or --file, not both")
    if args.file:
        source = load_corpus(args.file).text
    elif args.text == ["-"]:
        if sys.stdin is None:
            raise ValueError("standard input is closed: give texts, or --file")
        source = decode_text(sys.stdin.buffer.read(), "standard input")
    elif args.text:
        for text in args.text:
            if len(text) < 256 and Path(text).suffix in (".txt", ".gz") and Path(text).is_file():
                raise ValueError(f"{text} is a file: --file {text} shows its lines, --dataset {text} learns from it")
        return list(args.text)
    else:
        kept = files.raw_dir() / "test_sentences.txt"
        if not kept.is_file():
            files.write_atomic(kept, "\n".join(TEST_SENTENCES) + "\n")
        source = load_corpus(kept).text
    lines = [line for line in source.splitlines() if line.strip()]
    if not lines:
        raise ValueError("there is no text to tokenize: the input is empty")
    return lines


if __name__ == "__main__":
    sys.exit(cli.run(main))
