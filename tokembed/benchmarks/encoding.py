"""Our own encoder measured: the ladder of its improvements, speed and cache by the size of the text, and short texts."""

from __future__ import annotations

import itertools
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tokembed.benchmarks.ladder import steps
from tokembed.benchmarks.timing import Timing, seconds_of, time_alternating
from tokembed.bpe import reference
from tokembed.bpe.model import BPEModel
from tokembed.bpe.splitting import pieces
from tokembed.bpe.tokenizer import BPETokenizerLoader

SLOW = "naive"  # timed once


@dataclass(frozen=True)
class Step:
    """A step of the ladder: its name, its time, and how many times as fast it is as the naive one and as the step before."""

    name: str
    seconds: float
    over_naive: float
    over_previous: float


def climb(model: BPEModel, text: str, rounds: int = 5) -> list[Step]:
    """Time every step of the ladder on one text, each from an empty cache, the steps in turn.

    Raises
    ------
    ValueError
        A step gave other ids than the naive one.
    """
    makers = steps(model)
    expected: list[int] = []
    naive = Timing.of(SLOW, [seconds_of(lambda encode: expected.extend(encode(text)), makers[SLOW]())])
    fast = {name: make for name, make in makers.items() if name != SLOW}
    for name, make in fast.items():
        if list(make()(text)) != expected:
            raise ValueError(f"the step {name!r} gives other ids than the naive encoder")
    prepare = {name: partial(lambda make, _: make(), make) for name, make in fast.items()}
    timings = [naive, *time_alternating(dict.fromkeys(fast, lambda encode: encode(text)), prepare, rounds)]
    return [
        Step(timing.name, timing.median, naive.median / timing.median, before.median / timing.median)
        for before, timing in zip([naive, *timings], timings, strict=False)
    ]


@dataclass(frozen=True)
class SizeRun:
    """One size of text, with the best times of the rounds, each from an empty cache."""

    words: int  # as split by whitespace
    pieces: int  # as split by the rule
    tokens: int
    bytes: int  # in UTF-8
    encode_seconds: float
    array_seconds: float
    naive_seconds: float | None  # None where the naive encoder was not asked to finish
    hits: int  # pieces found in the cache, in one pass
    misses: int
    first_pass_rate: float  # share of pieces found, in one pass
    four_passes_rate: float  # and over four passes of the same text
    distinct_words: int
    cache_bytes: int  # memory of the filled cache


def measure_sizes(model: BPEModel, texts: list[str], naive_up_to: int, rounds: int = 3) -> Iterator[SizeRun]:
    """Measure the encoder on each text; the naive one too where the text has at most `naive_up_to` words."""
    for text in texts:
        encode_seconds = array_seconds = float("inf")
        for _ in range(rounds):
            tokenizer = BPETokenizerLoader(model)
            encode_seconds = min(encode_seconds, seconds_of(tokenizer.encode, text))
            tokenizer.encode_array("")
            array_seconds = min(array_seconds, seconds_of(tokenizer.encode_array, text))
        first = tokenizer.tokenize_word.cache_info()
        num_tokens = len(tokenizer.encode(text))
        for _ in range(2):
            tokenizer.encode(text)
        fourth = tokenizer.tokenize_word.cache_info()
        words, by_naive = len(text.split()), partial(reference.tokenize, merges=model.merges, alphabet=model.alphabet)
        yield SizeRun(
            words=words,
            pieces=first.hits + first.misses,
            tokens=num_tokens,
            bytes=len(text.encode("utf-8")),
            encode_seconds=encode_seconds,
            array_seconds=array_seconds,
            naive_seconds=seconds_of(by_naive, text) if words <= naive_up_to else None,
            hits=first.hits,
            misses=first.misses,
            first_pass_rate=hit_rate(first.hits, first.misses),
            four_passes_rate=hit_rate(fourth.hits, fourth.misses),
            distinct_words=first.currsize,
            cache_bytes=cache_memory(tokenizer, text),
        )


def hit_rate(hits: int, misses: int) -> float:
    """Return the share of look-ups that a cache answered."""
    return hits / max(hits + misses, 1)


def cache_memory(tokenizer: BPETokenizerLoader, text: str) -> int:
    """Return the bytes that the word cache's entries hold, when the text's words are in it.

    An entry is a key and a tuple; the tokens' strings are counted once each, since the cache is what keeps them.
    """
    entries = {word: tokenizer.tokenize_word(word) for word in pieces(text, tokenizer.model.lowercase)}
    tokens = {id(token): token for entry in entries.values() for token in entry}
    return sum(map(sys.getsizeof, itertools.chain(entries, entries.values(), tokens.values())))


def first_words(text: str, number: int) -> str:
    """Return a text up to the end of its first `number` words, as whitespace splits them.

    >>> first_words("one  two three", 2)
    'one  two'
    """
    ends = (match.end() for match in re.finditer(r"\S+", text))
    return text[: next(itertools.islice(ends, number - 1, None), len(text))]


def ladder_lines(steps: list[Step]) -> list[str]:
    """Return the ladder as a table."""
    heading = f"  {'':<28}{'time':>11}{'to naive':>11}{'to the step before':>20}"
    return [heading] + [
        f"  {step.name:<28}{step.seconds * 1e3:>8.1f} ms{step.over_naive:>10,.0f}x{step.over_previous:>19.2f}x"
        for step in steps
    ]


def size_lines(runs: list[SizeRun]) -> list[str]:
    """Return two tables by size, of speed and of the cache; `-` stands where the naive encoder was not run."""
    speed = [f"  {'words':>10}{'tokens':>11}{'naive':>10}{'':>4}{'time':>10}{'M words/s':>11}{'MB/s':>8}{'to naive':>10}"]
    for run in runs:
        naive = f"{run.naive_seconds:.2f} s" if run.naive_seconds else "-"
        for name, seconds in (("encode", run.encode_seconds), ("encode_array", run.array_seconds)):
            over = f"{run.naive_seconds / seconds:,.0f}x" if run.naive_seconds else "-"
            rates = f"{run.words / seconds / 1e6:>11.2f}{run.bytes / seconds / 1e6:>8.1f}"
            speed.append(f"  {run.words:>10,}{run.tokens:>11,}{naive:>10}{seconds * 1e3:>11.1f} ms{rates}{over:>10}  {name}")
    cache = [f"  {'words':>10}{'hits':>12}{'misses':>9}{'one pass':>10}{'four passes':>13}{'words kept':>12}{'memory':>11}"]
    for run in runs:
        counts = f"{run.hits:>12,}{run.misses:>9,}{run.first_pass_rate:>10.1%}{run.four_passes_rate:>13.1%}"
        cache.append(f"  {run.words:>10,}{counts}{run.distinct_words:>12,}{run.cache_bytes / 1e6:>8.2f} MB")
    return [*speed, "", *cache]


def measure_short_texts(model: BPEModel, text: str, num_sentences: int = 10_000, length: int = 60) -> dict[str, float]:
    """Return what `encode` costs on short texts whose words are cached, how often its cache hits, and what starting costs.

    Sentences are `length` characters from places spread over the text; hit rates are those of a first and a second pass over
    all of it.
    """
    tokenizer = BPETokenizerLoader(model)
    tokenizer.encode(text)
    first = tokenizer.tokenize_word.cache_info()
    tokenizer.encode(text)
    both = tokenizer.tokenize_word.cache_info()
    step = max((len(text) - length) // num_sentences, 1)
    starts = range(0, max(len(text) - length, 1), step)[:num_sentences]
    sentences = [text[start : start + length] for start in starts]

    def encode_all(tokenizer: BPETokenizerLoader) -> None:
        for sentence in sentences:
            tokenizer.encode(sentence)

    encode_all(tokenizer)  # a cut through a word makes a new one
    seconds = seconds_of(encode_all, tokenizer) / len(sentences)
    return {
        "microseconds_a_sentence": seconds * 1e6,
        "hit_rate_first_pass": hit_rate(first.hits, first.misses),
        "hit_rate_second_pass": hit_rate(both.hits - first.hits, both.misses - first.misses),
        **{f"seconds_to_first_ids_{method}": _seconds_to_first_ids(model, method) for method in ("encode", "encode_array")},
    }


def _seconds_to_first_ids(model: BPEModel, method: str) -> float:
    """Time a new Python that loads the tokenizer and encodes a few words: the median of five."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        model.save(path)
        code = f"from tokembed import BPETokenizerLoader; BPETokenizerLoader({str(path)!r}).{method}('the first ids')"
        start = partial(subprocess.run, check=True)
        return statistics.median(seconds_of(start, [sys.executable, "-c", code]) for _ in range(5))


def short_text_lines(measured: dict[str, float]) -> list[str]:
    """Return two lines on what `measure_short_texts` gave."""
    return [
        f"encode on sentences of 60 characters: {measured['microseconds_a_sentence']:.1f} µs each; cache hits "
        f"{measured['hit_rate_first_pass']:.1%} on a first pass, {measured['hit_rate_second_pass']:.1%} on a second",
        f"from python to the first ids: {measured['seconds_to_first_ids_encode']:.2f} s by encode, "
        f"{measured['seconds_to_first_ids_encode_array']:.2f} s by encode_array",
    ]
