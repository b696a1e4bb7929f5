"""How time grows with the text: learning merges, encoding, training, each at 1, 2, 4 and 8 parts of a corpus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tokembed.benchmarks.encoding import first_words
from tokembed.bpe.learning import train_bpe
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.skipgram.settings import TrainingConfig
from tokembed.skipgram.training import train_skipgram

PARTS = (1, 2, 4, 8)


@dataclass(frozen=True)
class ScalingRun:
    """One task on one size of text: the best time of the rounds."""

    task: str
    words: int
    seconds: float


def measure_scaling(text: str, num_merges: int, config: TrainingConfig, rounds: int = 3) -> Iterator[ScalingRun]:
    """Time each task on 1/8, 1/4, 1/2 and all of a text; yield the best of `rounds` for each size and task.

    The vocabulary is the whole text's everywhere but in learning, so that encoding and training differ in the text alone.
    """
    tokenizer = BPETokenizerLoader(train_bpe(text, num_merges))
    num_words = len(text.split())
    config = replace(config, epochs=1)
    train_skipgram(tokenizer.encode_array(text)[:20_000], tokenizer.vocab_size, config)  # compiles the kernels
    for part in PARTS:
        words = num_words * part // PARTS[-1]
        some = first_words(text, words)
        ids = tokenizer.encode_array(some)
        # Each run of a task gets what its `prepare` makes before the clock starts: for encoding, an empty cache.
        tasks: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
            "learning merges": (lambda some=some: some, lambda given: train_bpe(given, num_merges)),  # type: ignore[misc]
            "encoding": (lambda: _new(tokenizer), lambda given, some=some: given.encode_array(some)),  # type: ignore[misc]
            "training, an epoch": (
                lambda ids=ids: ids,  # type: ignore[misc]
                lambda given: train_skipgram(given, tokenizer.vocab_size, config),
            ),
        }
        for task, (prepare, run) in tasks.items():
            yield ScalingRun(task, words, min(_seconds(run, prepare()) for _ in range(rounds)))


def _new(tokenizer: BPETokenizerLoader) -> BPETokenizerLoader:
    """Return the same tokenizer with its tables made and no word in them."""
    new = BPETokenizerLoader(tokenizer.model)
    new.encode_array("")
    return new


def exponent(runs: Sequence[ScalingRun]) -> float:
    """Return b of the fit seconds = a words^b, by least squares of the logarithms: 1 is linear.

    >>> round(exponent([ScalingRun("", n, 3e-6 * n**1.5) for n in (100, 200, 400)]), 6)
    1.5
    """
    slope, _ = np.polyfit(np.log([run.words for run in runs]), np.log([run.seconds for run in runs]), 1)
    return float(slope)


def _seconds(run: Callable[[Any], object], given: Any) -> float:
    start = time.perf_counter()
    run(given)
    return time.perf_counter() - start
