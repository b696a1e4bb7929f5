"""Large texts: learning merges and encoding beside gigatoken, the fastest peer, by kind of text, size and number of merges."""

from __future__ import annotations

import importlib
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tokembed.benchmarks.matrix import encoder_makers, text_of
from tokembed.benchmarks.timing import fresh, time_alternating
from tokembed.bpe.learning import count_words, train_bpe

KINDS = ("English", "code", "Chinese")
NUM_MERGES = (10_000, 32_000, 100_000)
COMMON_LETTERS = 40  # of which copies exchange two


@dataclass(frozen=True)
class LargeRun:
    """One task on one text: median seconds, ours and the peer's."""

    kind: str
    num_bytes: int
    num_distinct: int  # pieces, by GPT-2's rule
    task: str
    seconds: float
    peer_seconds: float

    @property
    def ratio(self) -> float:
        """How many times as fast as the peer ours is."""
        return self.peer_seconds / self.seconds


def enlarged(text: str, num_bytes: int) -> str:
    """Return a text of at least so many bytes: copies, in each of which two of the common letters have changed places.

    So new words come as a text goes on, as they do in a real one.

    >>> enlarged("a cat", 12)
    'a cata tacc act'
    """
    letters = [letter for letter, _ in Counter(filter(str.isalpha, text[:1_000_000])).most_common(COMMON_LETTERS)]
    choose, copies, size = random.Random(0), [text], len(text.encode())
    while size < num_bytes:
        one, other = choose.sample(letters, 2)
        copies.append(text.translate({ord(one): other, ord(other): one}))
        size += len(copies[-1].encode())
    return "".join(copies)


def measure_large(kind: str, num_bytes: int, vocabularies: Sequence[str], rounds: int) -> Iterator[LargeRun]:
    """Time learning by GPT-2's rule, then each vocabulary's new encoder, on one large text.

    Raises
    ------
    ValueError
        The two sides gave different ids.
    """
    text = enlarged(text_of(kind), num_bytes)
    size, num_distinct = len(text.encode()), len(count_words([text], splitting="gpt2"))

    def compare(task: str, contenders: Mapping[str, Any], prepare: Mapping[str, Any]) -> LargeRun:
        ours, theirs = (timing.median for timing in time_alternating(contenders, prepare, rounds))
        return LargeRun(kind, size, num_distinct, task, ours, theirs)

    def given(_: int) -> str:
        return fresh(text)

    train_bpe(text[:1000], 10, splitting="gpt2")  # loads what is compiled
    learn_peers = importlib.import_module("gigatoken").train_bpe
    for num_merges in NUM_MERGES:
        learners = {
            "tokembed": lambda text, num=num_merges: train_bpe(text, num, splitting="gpt2", min_frequency=1),
            "gigatoken": lambda text, num=num_merges: learn_peers(text.encode(), 256 + num, ["<|endoftext|>"]),
        }
        yield compare(f"learn {num_merges:,}", learners, dict.fromkeys(learners, given))
    for vocabulary in vocabularies:
        with encoder_makers(kind, vocabulary) as makers:
            first, second = (list(islice(make()[0](text), 10**6)) for make in makers.values())
            if first != second:
                raise ValueError(f"gigatoken gives other ids than tokembed for {kind}, {vocabulary}")
            encode = dict.fromkeys(makers, lambda pair: pair[0](pair[1]))
            prepare = {name: lambda turn, make=make: (make()[0], given(turn)) for name, make in makers.items()}
            yield compare(vocabulary, encode, prepare)
