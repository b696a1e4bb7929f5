"""How time grows with the text: learning merges, encoding, training, each at 1, 2, 4 and 8 parts of a corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from tokembed.benchmarks.encoding import first_words
from tokembed.benchmarks.ladder import empty_tokenizer
from tokembed.benchmarks.timing import seconds_of
from tokembed.bpe.learning import train_bpe
from tokembed.bpe.model import BPEModel
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


def measure_scaling(
    text: str, num_merges: int, config: TrainingConfig, rounds: int = 3, **learning: Any
) -> Iterator[ScalingRun]:
    """Time each task on 1/8, 1/4, 1/2 and all of a text; yield the best of `rounds` for each size and task.

    The vocabulary is the whole text's everywhere but in learning, so that encoding and training differ in the text alone.
    `learning` are settings of `train_bpe`.
    """

    def learn(given: str) -> BPEModel:
        return train_bpe(given, num_merges, **learning)

    tokenizer = BPETokenizerLoader(learn(text))
    num_words = len(text.split())
    config = replace(config, epochs=1)
    for part in PARTS:
        words = num_words * part // PARTS[-1]
        for task, prepare in _tasks(first_words(text, words), tokenizer, learn, config).items():
            yield ScalingRun(task, words, min(seconds_of(lambda run: run(), prepare()) for _ in range(rounds)))


def _tasks(
    text: str, tokenizer: BPETokenizerLoader, learn: Callable[[str], object], config: TrainingConfig
) -> dict[str, Callable[[], Callable[[], object]]]:
    """Return each task's maker of what is timed; what the maker does itself, such as emptying the cache, is not."""
    ids = tokenizer.encode_array(text)
    return {
        "learning merges": lambda: partial(learn, text),
        "encoding": lambda: partial(empty_tokenizer(tokenizer.model).encode_array, text),
        "training, an epoch": lambda: partial(train_skipgram, ids, tokenizer.vocab_size, config),
    }


def exponent(runs: Sequence[ScalingRun]) -> float:
    """Return b of the fit seconds = a words^b, by least squares of the logarithms: 1 is linear.

    >>> round(exponent([ScalingRun("", n, 3e-6 * n**1.5) for n in (100, 200, 400)]), 6)
    1.5
    """
    slope, _ = np.polyfit(np.log([run.words for run in runs]), np.log([run.seconds for run in runs]), 1)
    return float(slope)
