"""Do random things for a long time, check each, and see that memory does not grow.

uv run python tests/soak.py --minutes 60

Texts are learned from, encoded, decoded, saved, loaded, trained on, gone on from, and asked for neighbours, in random order and
of random sizes. After a warm-up the resident memory is read again and again; its slope by least squares must stay under 1 MB in
ten minutes, give or take what the scatter of its values allows (two standard errors).

In the first minutes the C library's allocator is still growing. A run shorter than ten minutes therefore hands free memory back
before each reading (where the C library can), and passes with 100 MB in ten minutes: under a kilobyte per operation. A run
shorter than a minute says nothing of memory: its operations are checked, and that is all.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import psutil

from tokembed import (
    BPEModel,
    BPETokenizerLoader,
    Embeddings,
    TrainingConfig,
    TrainingResult,
    load_corpus,
    train_bpe,
    train_skipgram,
)
from tokembed.bpe.splitting import pieces
from tokembed.vectors.storage import Checkpointer, load_checkpoint

MAX_SLOPE, MAX_SLOPE_OF_SHORT_RUN = 1.0, 100.0  # MB in ten minutes
SHORT_RUN, SHORTEST_RUN_THAT_SHOWS_GROWTH = 10.0, 1.0  # minutes
WARM_UP_SHARE, OPERATIONS_A_READING = 0.25, 50
CODE_POINTS = [*range(32, 0xD800), *range(0xE000, 0x110000)]


@dataclass
class World:
    """What there is at the moment: the operations change it."""

    chance: random.Random
    folder: Path
    source: str
    text: str = ""
    tokenizer: BPETokenizerLoader | None = None
    ids: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    result: TrainingResult | None = None
    embeddings: Embeddings | None = None


def take_text(world: World) -> None:
    """Take another stretch of the corpus, at times with characters from anywhere in Unicode, and learn a tokenizer from it."""
    length = world.chance.choice([2_000, 20_000, 100_000])
    start = world.chance.randrange(len(world.source) - length)
    world.text = world.source[start : start + length]
    if world.chance.random() < 0.3:
        world.text += "".join(map(chr, world.chance.choices(CODE_POINTS, k=200)))
    model = train_bpe(world.text, world.chance.choice([0, 10, 100, 1000]), lowercase=world.chance.random() < 0.8)
    world.tokenizer = BPETokenizerLoader(model, cache_size=world.chance.choice([0, 100, 100_000]))
    world.ids, world.result, world.embeddings = world.tokenizer.encode_array(world.text), None, None


def encode_and_decode(world: World) -> None:
    """Every way to encode agrees, and decoding gives the pieces back."""
    assert world.tokenizer is not None
    start = world.chance.randrange(len(world.text))
    text = world.text[start : start + world.chance.choice([0, 1, 100, 3000])]
    ids = world.tokenizer.encode(text)
    assert ids == world.tokenizer.encode_array(text).tolist() == world.tokenizer.encode_with_offsets(text)[0]
    assert world.tokenizer.decode(ids) == " ".join(pieces(text, world.tokenizer.model.lowercase))


def save_and_load_tokenizer(world: World) -> None:
    """A tokenizer loads equal."""
    assert world.tokenizer is not None
    world.tokenizer.save(world.folder / "tokenizer.json")
    loaded = BPETokenizerLoader(world.folder / "tokenizer.json")
    assert loaded.fingerprint == world.tokenizer.fingerprint
    world.tokenizer = loaded


def train(world: World) -> None:
    """Train an epoch or two, with a checkpoint."""
    assert world.tokenizer is not None
    config = TrainingConfig(
        epochs=world.chance.choice([1, 2]), embedding_dim=world.chance.choice([3, 16, 50]), min_count=1, engine="hogwild",
        workers=world.chance.choice([1, 2]), seed=world.chance.randrange(2**40),
    )  # fmt: skip
    keep = Checkpointer(world.folder / "checkpoint.safetensors", world.tokenizer, world.ids)
    world.result = train_skipgram(world.ids, world.tokenizer.vocab_size, config, on_checkpoint=keep)
    world.embeddings = Embeddings.from_training(world.result, world.tokenizer, world.ids)


def go_on(world: World) -> None:
    """Go on from the checkpoint for what it lacks of its epochs: nothing, so that the vectors stay."""
    if world.result is None or world.tokenizer is None:
        return
    earlier = load_checkpoint(world.folder / "checkpoint.safetensors", world.tokenizer, world.ids)
    result = train_skipgram(world.ids, world.tokenizer.vocab_size, earlier.config, resume=earlier)
    assert np.array_equal(result.target_vectors, world.result.target_vectors)
    shorter = replace(
        earlier, epoch_losses=earlier.epoch_losses[:-1], num_pairs=earlier.num_pairs[:-1], seconds=earlier.seconds[:-1]
    )
    train_skipgram(world.ids, world.tokenizer.vocab_size, earlier.config, resume=shorter)


def save_and_load_vectors(world: World) -> None:
    """Vectors load equal."""
    if world.embeddings is None:
        return
    world.embeddings.save(world.folder / "vectors.safetensors")
    loaded = Embeddings.load(world.folder / "vectors.safetensors")
    assert np.array_equal(loaded.vectors, world.embeddings.vectors)
    world.embeddings = loaded


def ask_for_neighbours(world: World) -> None:
    """Neighbours are finite, different, and in order."""
    if world.embeddings is None:
        return
    token = world.chance.choice(world.embeddings.tokens)
    found = world.embeddings.most_similar(token.removesuffix("</w>") or token, topn=world.chance.choice([1, 5, 50]))
    cosines = [cosine for _, cosine in found]
    assert cosines == sorted(cosines, reverse=True)
    assert len({name for name, _ in found}) == len(found)


def load_model_twice(world: World) -> None:
    """A model's JSON makes itself again."""
    assert world.tokenizer is not None
    text = world.tokenizer.model.to_json()
    assert BPEModel.from_json(text).to_json() == text


OPERATIONS: dict[Callable[[World], None], int] = {
    take_text: 2, encode_and_decode: 8, save_and_load_tokenizer: 1, train: 2, go_on: 1, save_and_load_vectors: 2,
    ask_for_neighbours: 8, load_model_twice: 1,
}  # fmt: skip


def hand_back_free_memory() -> None:
    """Have the C library return what it keeps of freed memory, where it is glibc; collect cycles first."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def slope(seconds: list[float], megabytes: list[float]) -> tuple[float, float]:
    """Return the growth by least squares in MB in ten minutes, and its standard error.

    Values of neighbouring steps are alike, not independent: the series is averaged to 40 values first.
    """
    chunks = np.array_split(np.array([seconds, megabytes]), min(40, len(seconds)), axis=1)
    x, y = np.array([chunk.mean(axis=1) for chunk in chunks]).T
    centred = x - x.mean()
    growth = float(centred @ y / (centred @ centred))
    residuals = y - y.mean() - growth * centred
    error = float(np.sqrt(residuals @ residuals / max(len(x) - 2, 1) / (centred @ centred)))
    return 600 * growth, 600 * error


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of all choices (default: 0)")
    args = parser.parse_args(argv)
    process = psutil.Process()
    tally: Counter[str] = Counter()
    seconds: list[float] = []
    megabytes: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        world = World(random.Random(args.seed), Path(name), load_corpus("pydocs").text)
        take_text(world)
        start = time.monotonic()
        while (passed := time.monotonic() - start) < 60 * args.minutes:
            (operation,) = world.chance.choices(list(OPERATIONS), weights=list(OPERATIONS.values()))
            operation(world)
            tally[operation.__name__] += 1
            if passed > 60 * args.minutes * WARM_UP_SHARE and tally.total() % OPERATIONS_A_READING == 0:
                if args.minutes < SHORT_RUN:
                    hand_back_free_memory()
                seconds.append(passed)
                megabytes.append(process.memory_info().rss / 1e6)
    for operation_name, count in tally.most_common():
        print(f"{operation_name:<26}{count:>9,}")
    done = f"{tally.total():,} operations in {args.minutes:g} min, each checked"
    if args.minutes < SHORTEST_RUN_THAT_SHOWS_GROWTH:
        print(f"{done}; too short to tell whether memory grows")
        return 0
    growth, error = slope(seconds, megabytes)
    print(f"{done}; resident memory {np.mean(megabytes):.0f} MB, growing by {growth:+.2f} ± {2 * error:.2f} MB in ten minutes")
    return 1 if growth - 2 * error > (MAX_SLOPE if args.minutes >= SHORT_RUN else MAX_SLOPE_OF_SHORT_RUN) else 0


if __name__ == "__main__":
    sys.exit(main())
