"""Write one page to try a tokenizer and its vectors in a browser: encode as you type, a map, neighbours, sums of words.

uv run python phase3_embeddings/explore.py
uv run python phase3_embeddings/explore.py --dataset wikitext2 --projection pca
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tokembed import cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.Parser(__doc__)
    cli.add_checkpoint_flags(parser)
    cli.add_plots_flag(parser)
    parser.add_argument("--projection", choices=("tsne", "pca"), default="tsne", help="of the map (default: tsne)")
    parser.add_argument(
        "--max-tokens", type=cli.positive_int, default=10_000, help="keep the most frequent so many (default: 10000)"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Read the vectors, write the page."""
    args = parse_args(argv)
    from tokembed import files, workspace
    from tokembed.pages import explorer

    folder = args.output_dir or files.plots_dir()
    files.check_writable(folder)
    path, embeddings = workspace.trained_embeddings(args.dataset, args.checkpoint, args.splitting, args.text_field)
    num_shown = min(len(embeddings), args.max_tokens)
    cli.describe_row("vectors", f"{len(embeddings):,} of {embeddings.embedding_dim} numbers", files.display_path(path))
    is_slow = args.projection == "tsne" and num_shown > 5000
    cli.describe_row("map", f"{num_shown:,} tokens by {args.projection}", "a minute or two" if is_slow else "")
    page = explorer.explorer_page(
        embeddings, workspace.corpus_name_of(path, args.splitting), projection=args.projection, max_tokens=args.max_tokens
    )
    output = folder / "explorer.html"
    files.write_atomic(output, page)
    cli.describe_row("saved", f"{files.display_path(output)}, {output.stat().st_size / 1e6:.1f} MB: open it in a browser")
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
