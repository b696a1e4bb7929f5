"""Train skip-gram embeddings: corpus -> byte-pair tokenizer -> token ids -> vectors -> nearest neighbours.

uv run python phase3_embeddings/train_embeddings.py
uv run python phase3_embeddings/train_embeddings.py --dataset wikitext2 --preset best
uv run python phase3_embeddings/train_embeddings.py --dataset my_text.txt --epochs 5
uv run torchrun --nproc-per-node 2 phase3_embeddings/train_embeddings.py --dataset wikitext2
uv run torchrun --nproc-per-node 2 phase3_embeddings/train_embeddings.py --parts parts
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tokembed import cli

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tokembed.skipgram.distributed import ProcessGroup
    from tokembed.skipgram.settings import TrainingConfig
    from tokembed.skipgram.stream import TokenStream
    from tokembed.skipgram.training import Choice


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line; every setting of training is a flag, its default in `TrainingConfig`."""
    parser = cli.Parser(__doc__)
    data = parser.add_argument_group("data")
    cli.add_corpus_flags(data, cli.SMALL_TEXT.tokens["num_merges"])
    cli.add_learning_flags(data)
    data.add_argument(
        "--vocabulary-threshold", type=int, default=0, help="split rarer tokens into their parts (default: 0, none)"
    )
    data.add_argument("--max-tokens", type=cli.positive_int, help="train on the first so many tokens only")
    data.add_argument(
        "--parts", type=cli.file_path, metavar="DIR", help="train on what train_bpe.py --engine ray has put there"
    )
    data.add_argument("--output-dir", type=cli.file_path, help="default: models/checkpoints/01_tokenization")
    data.add_argument("--name", type=cli.file_label, help="part of the file's name (default: none)")
    data.add_argument("--resume", action="store_true", help="continue an earlier run that was stopped, or for more --epochs")
    cli.add_training_flags(parser.add_argument_group("training"), cli.SMALL_TEXT)
    args = cli.parse_with_preset(parser, argv)
    if args.parts and (args.dataset or args.num_merges or args.vocabulary_threshold or args.max_tokens):
        parser.error(
            "--parts has its text and tokenizer: without --dataset, --num-merges, --vocabulary-threshold, --max-tokens"
        )
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run the main job, alone or as one of the processes that `torchrun` started."""
    args = parse_args(argv)
    config = cli.config_from_flags(args)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return train(args, config, None)
    from tokembed.skipgram.distributed import ProcessGroup

    with ProcessGroup(config) as group, group.only_first_speaks():
        return train(args, group.config, group)


def train(args: argparse.Namespace, config: TrainingConfig, group: ProcessGroup | None) -> int:
    """Train, print, save."""
    from tokembed import files, workspace
    from tokembed.analysis.neighbours import neighbour_measure, neighbour_table
    from tokembed.skipgram.training import choose_engine, train_skipgram
    from tokembed.vectors import storage
    from tokembed.vectors.embeddings import Embeddings
    from tokembed.vectors.evaluation import synonym_measure

    device = choose_engine(config)[1]  # one that is not here is said at once
    ids: npt.NDArray[np.int32] | TokenStream
    counts = None
    chosen: dict[str, Any] = {}
    if args.parts:
        from tokembed.scale.parts import training_share

        share = training_share(args.parts, group)
        tokenizer, ids, facts = share.tokenizer, share.stream, share.facts
        name, splitting, counts = args.parts.resolve().name, tokenizer.rule.name, share.counts
        sizes = f"{len(share.manifest.parts):,} parts", f"{share.manifest.num_tokens:,} tokens", f"{ids.size:,} in a process"
        cli.describe_row("parts", files.display_path(args.parts), *sizes)
    else:
        with group.first_of_machine_first() if group else contextlib.nullcontext():
            corpus = workspace.choose_corpus(args.dataset, args.text_field)
            chosen = cli.settings_for_text(args, workspace.is_small(corpus))
            num_merges = chosen.pop("num_merges", args.num_merges)
            config = replace(config, **chosen)
            name, splitting = workspace.artifact_name(corpus), args.splitting
            files.check_writable(args.output_dir or files.checkpoints_dir())
            tokenizer, whole = workspace.prepare_tokens(
                corpus, num_merges, args.vocabulary_threshold, **cli.learning_settings(args)
            )
        ids = whole[: args.max_tokens]
        if args.max_tokens:
            cli.describe_row("", f"training on the first {ids.size:,}")
        facts = storage.StreamFacts.of(ids, tokenizer)
    config = replace(config, **cli.settings_for_device(args, device, ids.size))
    output = workspace.checkpoint_path(name, splitting, args.name or "")
    output = args.output_dir / output.name if args.output_dir else output
    files.check_writable(output.parent)
    is_writer = group is None or group.rank == 0
    with files.alone_in(output.parent) if is_writer else contextlib.nullcontext():
        if is_writer:
            label = storage.training_label(config, tokenizer.fingerprint, facts.sha256)
            workspace.make_way(output, label, resume=args.resume)
        earlier = storage.load_checkpoint(output, tokenizer, facts) if args.resume and output.is_file() else None
        measures = synonym_measure(tokenizer, facts), neighbour_measure(tokenizer, facts)
        keep = storage.Checkpointer(output, tokenizer, facts, *measures, resumed=earlier is not None)

    def describe(choice: Choice) -> None:
        cli.describe_training(config, choice, group.size if group else 1, list(chosen))
        if earlier:
            cli.describe_resuming(config, len(earlier.epoch_losses), earlier.config.epochs, files.display_path(output))
        elif args.resume:
            cli.describe_row("resuming", f"nothing, as there is no {files.display_path(output)}: training from the beginning")

    if group:
        earlier = group.share(earlier)  # machines need not share their disks
    try:
        result = train_skipgram(
            ids,
            tokenizer.vocab_size,
            config,
            counts=counts,
            progress=is_writer,
            on_choice=describe,
            on_epoch=cli.describe_epoch(config),
            on_checkpoint=keep if is_writer else None,
            resume=earlier,
            group=group,
        )
    except KeyboardInterrupt:
        if keep.has_saved:
            print(f"\nthe epochs that ended are kept in {files.display_path(output)}: --resume continues", file=sys.stderr)
        raise
    if len(result.epoch_losses) < config.epochs:
        cli.describe_row("stopped", f"the loss has not fallen for {config.early_stopping} epochs")
    rows = tokenizer.id_to_token, result.vectors, result.counts
    embeddings = Embeddings.of_trained_rows(*rows, tokenizer, facts.word_counts, config.composition)
    if is_writer:
        keep.add_composition(embeddings.composition)
    print(neighbour_table(embeddings))
    for moved in dict.fromkeys(keep.kept_aside):
        cli.describe_row("kept", f"the training of other settings that ran at the same time, as {files.display_path(moved)}")
    cli.describe_row(
        "saved", f"{len(embeddings):,} vectors of {embeddings.embedding_dim} numbers in {files.display_path(output)}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
