"""The encoder beside gigatoken, the fastest peer, cell by cell: kinds of text, sizes, vocabularies, new text and known text.

A figure on one text is a claim on that text. In every round both sides get new encoders, read the same first text, then texts
that neither has seen, then those again as new `str` objects.
"""

from __future__ import annotations

import gc
import importlib
import random
import string
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tokembed import files
from tokembed.benchmarks.ladder import empty_tokenizer
from tokembed.benchmarks.timing import fresh, seconds_of
from tokembed.bpe.learning import train_bpe
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.corpora import CorpusError, load_corpus, vocabularies as published
from tokembed.corpora.vocabularies import find_vocabulary

LANGUAGES = {"German": "de", "Russian": "ru", "Chinese": "zh", "Japanese": "ja"}
LONG_WORD = "one long word"
KINDS = ("English", "code", *LANGUAGES, "random words", "numbers", LONG_WORD)
SIZES = (60, 1_000, 64_000, 1_000_000)  # characters of a text
BATCH = 400  # characters of a text in a batch
OWN_MERGES = 10_000
OWN = f"{OWN_MERGES:,} own merges"  # learned from the first half of the same text, by GPT-2's rule
WARM_UP = 1_000_000  # characters that an encoder has read when new texts come
PER_ROUND, MAX_CALLS = 300_000, 1_000  # characters of short texts that are timed together, and texts, at most
FIRST, NEW, KNOWN, IN_BATCH = "first text", "new text", "known text", "new texts, in a batch"

Call = Callable[[Any], Any]


@dataclass(frozen=True)
class Cell:
    """One cell: seconds of a call of ours and of the peer's, and how many times as fast as the peer ours is; medians of rounds.

    Both sides of a round follow one another, so that a machine that is slower for some seconds is so for both.
    """

    kind: str
    vocabulary: str
    case: str
    size: int  # characters of a text
    seconds: float
    peer_seconds: float
    ratio: float


def vocabularies() -> list[str]:
    """Return the vocabularies of the matrix: the published ones whose files are there, and one learned here."""
    found = []
    for name in published.PUBLISHED:
        try:
            find_vocabulary(name)
        except CorpusError:
            continue
        found.append(name)
    return [*found, OWN]


def kinds() -> list[str]:
    """Return the kinds of text of the matrix; a language's is `languages/XX.txt` where corpora are, and left out without."""
    return [kind for kind in KINDS if kind not in LANGUAGES or _language_file(kind).exists()]


def _language_file(kind: str) -> Path:
    places = [folder / "languages" / f"{LANGUAGES[kind]}.txt" for folder in files.raw_dirs()]
    return next((path for path in places if path.exists()), places[-1])


@cache
def text_of(kind: str) -> str:
    """Return some millions of characters of one kind of text, always the same ones."""
    if kind == "English":
        try:
            corpus = load_corpus("wikitext2")
        except CorpusError:
            corpus = load_corpus("pydocs")
        return corpus.path.read_text(encoding="utf-8") if corpus.path and corpus.path.suffix == ".txt" else corpus.text
    if kind == "code":
        folder = Path(sysconfig.get_path("stdlib"))
        modules = [path for path in sorted(folder.rglob("*.py")) if "site-packages" not in path.parts]
        return "".join(path.read_text(encoding="utf-8", errors="replace") for path in modules[:400])
    if kind in LANGUAGES:
        return _language_file(kind).read_text(encoding="utf-8")
    if kind == LONG_WORD:
        return "".join(filter(str.isalpha, text_of("English")[:4_000_000])).lower()
    choose, symbols = random.Random(kind), string.digits if kind == "numbers" else string.ascii_lowercase
    return " ".join("".join(choose.choices(symbols, k=choose.randint(1, 12))) for _ in range(500_000))


def measure(kind: str, vocabulary: str, sizes: Sequence[int] = SIZES, rounds: int = 5) -> list[Cell]:
    """Measure the cells of one kind of text and one vocabulary.

    Raises
    ------
    ValueError
        The two sides gave different ids.
    """
    with encoder_makers(kind, vocabulary) as makers:
        first, texts = _cut(text_of(kind), sizes)
        _check_alike(kind, makers, [first, *(group[0] for group in texts.values())])
        seconds: dict[tuple[str, int, str], list[float]] = {}
        for name, encode, encode_batch in _turns(makers, rounds):
            times = seconds.setdefault
            times((FIRST, len(first), name), []).append(_mean_seconds(encode, [fresh(first)]))
            encode_batch([first[start : start + BATCH] for start in range(0, len(first), BATCH)])
            for size, group in texts.items():
                if size == BATCH:
                    times((IN_BATCH, size, name), []).append(_mean_seconds(encode_batch, [[*map(fresh, group)]]) / len(group))
                    continue
                times((NEW, size, name), []).append(_mean_seconds(encode, [*map(fresh, group)]))
                if kind != LONG_WORD:  # which a cache would hold whole
                    times((KNOWN, size, name), []).append(_mean_seconds(encode, [*map(fresh, group)]))
    ours, theirs = makers
    cells = []
    for (case, size, name), values in seconds.items():
        if name == ours:
            pairs = np.array([values, seconds[case, size, theirs]])
            medians = np.median([*pairs, pairs[1] / pairs[0]], axis=1)
            cells.append(Cell(kind, vocabulary, case, size, *medians.tolist()))
    return cells


@contextmanager
def encoder_makers(kind: str, vocabulary: str) -> Iterator[dict[str, Callable[[], tuple[Call, Call]]]]:
    """Give what makes ours and the peer's calls, for a text and for a batch, of an encoder that has seen nothing."""
    load = importlib.import_module("gigatoken").Tokenizer
    if vocabulary == OWN:
        text = text_of(kind)
        tokenizer = BPETokenizerLoader(train_bpe(text[: min(2 * WARM_UP, len(text) // 2)], OWN_MERGES, splitting="gpt2"))
    else:
        tokenizer = BPETokenizerLoader.from_tiktoken(vocabulary)
        load = load.from_tiktoken

    def make() -> tuple[Call, Call]:
        own = empty_tokenizer(tokenizer.model)
        return own.encode_array, own.encode_batch_array

    def make_peer() -> tuple[Call, Call]:
        peer = load(str(path))
        return peer.encode, peer.encode_batch

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tokenizer.json") if vocabulary == OWN else find_vocabulary(vocabulary)
        if vocabulary == OWN:
            tokenizer.export_huggingface(path)
        yield {"tokembed": make, "gigatoken": make_peer}


def _cut(text: str, sizes: Sequence[int]) -> tuple[str, dict[int, list[str]]]:
    """Return a first text and, by their size, texts behind it, as many as are timed together."""
    place = min(WARM_UP, len(text) // 2)
    first, rest = text[:place], text[place:]
    groups, place = {}, 0
    for size in (*sizes, BATCH):
        size = min(size, len(rest))
        number = min(max(PER_ROUND // size, 1), MAX_CALLS, len(rest) // size)
        if place + number * size > len(rest):  # a small text: the largest ones overlap the others
            place = 0
        groups[size] = [rest[place + i * size : place + (i + 1) * size] for i in range(number)]
        place += number * size
    return first, groups


def _check_alike(kind: str, makers: Mapping[str, Callable[[], tuple[Call, Call]]], texts: Sequence[str]) -> None:
    ours, theirs = (make()[0] for make in makers.values())
    for text in texts:
        if list(ours(text)) != list(theirs(text)):
            raise ValueError(f"gigatoken gives other ids than tokembed for {kind}, {len(text):,} characters")


def _turns(makers: Mapping[str, Callable[[], tuple[Call, Call]]], rounds: int) -> Iterator[tuple[str, Call, Call]]:
    """Yield each side with new encoders once a round; who goes first changes."""
    names = list(makers)
    for number in range(rounds):
        for name in names[:: 1 if number % 2 else -1]:
            encode, encode_batch = makers[name]()
            encode("")
            yield name, encode, encode_batch


def _mean_seconds(call: Call, texts: Sequence[Any]) -> float:
    gc.collect()
    return seconds_of(lambda given: [call(text) for text in given], texts) / len(texts)
