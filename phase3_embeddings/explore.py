"""Write one page to try a tokenizer and its vectors in a browser: a slider of merges, a map, neighbours, a film of training.

uv run python phase3_embeddings/explore.py
uv run python phase3_embeddings/explore.py --compare r50k_base o200k_base
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
    parser.add_argument(
        "--film",
        action=argparse.BooleanOptionalAction,
        help="show a training of 20 epochs, made for it (default: of texts up to 2 M characters)",
    )
    cli.add_compare_flag(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Read the vectors, collect what stands beside them, write the page."""
    args = parse_args(argv)
    from tokembed import files, workspace
    from tokembed.analysis.neighbours import noise_in
    from tokembed.analysis.vocabularies import load_vocabularies, title_of
    from tokembed.pages import educations, explorer

    folder = args.output_dir or files.plots_dir()
    files.check_writable(folder)
    path, embeddings = workspace.trained_embeddings(args.dataset, args.checkpoint, args.splitting, args.text_field)
    explorer.check_showable(embeddings, args.max_tokens)
    published = {title_of(name): vocabulary for name, vocabulary in load_vocabularies(args.compare).items()}
    num_shown = min(len(embeddings), args.max_tokens)
    cli.describe_row("vectors", f"{len(embeddings):,} of {embeddings.embedding_dim} numbers", files.display_path(path))

    notes = []
    if noise := noise_in(embeddings):
        cli.describe_row("noise", noise)
        notes.append(f"Map, neighbours and clusters are noise here, since {noise}.")
    corpora, missing = educations.known_corpora()
    own = educations.corpus_of(embeddings, corpora, args.dataset)
    others = educations.other_educations(embeddings, corpora)
    cli.describe_row("educations", *others, *published)
    for name, reason in missing.items():
        cli.describe_row("", f"without {educations.TITLES[name]}: {reason}")
    film = None
    if args.film or (args.film is None and own and own.num_characters <= cli.LARGE_CORPUS_CHARACTERS):
        try:
            film = educations.film_of(path, embeddings, own)
            cli.describe_row("film", f"{len(film.tokens)} words in {film.epochs[-1]} epochs")
        except educations.NoFilmError as error:
            cli.describe_row("film", f"none: {error}")
    seconds = num_shown // 100 if args.projection == "tsne" else 0  # scikit-learn tells no progress
    cli.describe_row("map", f"{num_shown:,} tokens by {args.projection}", f"some {seconds} seconds" if seconds > 4 else "")
    page = explorer.explorer_page(
        embeddings,
        workspace.corpus_name_of(path, args.splitting),
        projection=args.projection,
        max_tokens=args.max_tokens,
        title=educations.TITLES.get(own.name) if own else None,
        educations=others,
        published=published,
        film=film,
        sample=educations.sentence_of(own) if own and own.name not in educations.TITLES else None,
        notes=[*notes, *(f"{educations.TITLES[name]} is left out: that text could not be had here." for name in missing)],
    )
    output = folder / "explorer.html"
    files.write_atomic(output, page)
    cli.describe_row("saved", f"{files.display_path(output)}, {output.stat().st_size / 1e6:.1f} MB: open it in a browser")
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
