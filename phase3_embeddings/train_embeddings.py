"""Train skip-gram embeddings: corpus -> byte-pair tokenizer -> token ids -> vectors -> nearest neighbours.

uv run python phase3_embeddings/train_embeddings.py
uv run python phase3_embeddings/train_embeddings.py --dataset wikitext2
uv run python phase3_embeddings/train_embeddings.py --dataset my_text.txt --epochs 5
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tokembed import cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line; every setting of training is a flag, its default in `TrainingConfig`."""
    from tokembed.settings import add_training_flags

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = parser.add_argument_group("data")
    data.add_argument("--dataset", help="frankenstein, wikitext2, pydocs, or a .txt or .txt.gz file (default: frankenstein)")
    data.add_argument("--num-merges", type=cli.positive_int, help="default: 2000; 10000 for a text over 2 M characters")
    data.add_argument(
        "--vocabulary-threshold",
        type=int,
        default=0,
        help="split tokens that occur less often into their parts (default: 0, none)",
    )
    data.add_argument("--max-tokens", type=cli.positive_int, help="train on the first so many tokens only")
    data.add_argument("--output-dir", type=Path, help="default: models/checkpoints/01_tokenization")
    data.add_argument("--resume", action="store_true", help="go on from the checkpoint of an earlier run that was stopped")
    add_training_flags(parser.add_argument_group("training"))
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the main job."""
    args = parse_args(argv)
    from tokembed import artifacts, paths, settings
    from tokembed.embeddings import Embeddings
    from tokembed.reporting import neighbour_table
    from tokembed.training import choose_engine, train_skipgram

    config = settings.config_from_flags(args)
    engine, device = choose_engine(config)
    corpus = artifacts.choose_corpus(args.dataset)
    output = (args.output_dir or paths.checkpoints_dir()) / f"{artifacts.artifact_name(corpus)}.safetensors"
    paths.check_writable(output.parent)
    cli.describe_row(
        "corpus", corpus.name, f"{corpus.num_characters:,} characters", paths.display_path(corpus.path or "built in")
    )

    num_merges = args.num_merges or artifacts.default_num_merges(corpus)
    tokenizer, path, was_kept = artifacts.tokenizer_for(corpus, num_merges, progress=True)
    model = tokenizer.model
    cli.describe_row(
        "tokenizer",
        f"{len(model.merges):,} merges"
        + (f" (of {num_merges:,}: no other pair occurs twice)" if len(model.merges) < num_merges else ""),
        f"vocabulary {tokenizer.vocab_size:,}",
        ("cached in " if was_kept else "saved as ") + paths.display_path(path),
    )
    ids, path, was_kept = artifacts.token_ids_for(corpus, tokenizer, path, args.vocabulary_threshold)
    cli.describe_row(
        "tokens",
        f"{ids.size:,}",
        f"{ids.size / max(model.num_words, 1):.2f} a word",
        ("cached in " if was_kept else "saved as ") + paths.display_path(path),
    )
    if args.max_tokens:
        ids = ids[: args.max_tokens]
        cli.describe_row("", f"training on the first {ids.size:,}")

    cli.describe_row(
        "training",
        f"{engine} engine on {device}"
        + (", which ignores --batch-size" if engine == "hogwild" else f", batches of {config.batch_size}"),
        f"{config.embedding_dim} dimensions, window {config.window_size}, {config.num_negative_samples} negatives",
    )
    earlier = None
    if args.resume and output.is_file():
        earlier = artifacts.load_checkpoint(output, tokenizer, ids)
        cli.describe_row("resuming", f"after epoch {len(earlier.epoch_losses)} of {paths.display_path(output)}")
    keep = artifacts.Checkpointer(output, tokenizer, ids)
    try:
        result = train_skipgram(
            ids,
            tokenizer.vocab_size,
            config,
            progress=True,
            on_epoch=lambda epoch, loss, speed: cli.describe_row(
                f"  {epoch}/{config.epochs}", f"loss {loss:.4f}", f"{speed:,.0f} tokens/s"
            ),
            on_checkpoint=keep,
            resume=earlier,
        )
    except KeyboardInterrupt:
        if keep.has_saved:
            print(f"\nthe epochs that ended are kept in {paths.display_path(output)}: --resume goes on", file=sys.stderr)
        raise
    if len(result.epoch_losses) < config.epochs:
        cli.describe_row("stopped", f"the loss has not fallen for {config.early_stopping} epochs")
    embeddings = Embeddings.from_training(result, tokenizer, ids)
    print(neighbour_table(embeddings))
    cli.describe_row(
        "saved", f"{len(embeddings):,} vectors of {embeddings.embedding_dim} numbers in {paths.display_path(output)}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
