"""Learn byte-pair merges from text.

`reference.train_bpe` recounts every pair before each merge. `PairLearner` here gives the same merges and touches only the words
that hold the merged pair; the C library (`native/learn.c`) does the same by positions instead of words.
"""

from __future__ import annotations

import heapq
import itertools
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from numbers import Integral
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tokembed import native
from tokembed.bpe.model import BPEModel
from tokembed.bpe.splitting import BYTE_CHARACTERS, END_OF_WORD, byte_characters, check_is_text, lower, rule_of
from tokembed.corpora.corpus import Corpus
from tokembed.corpora.sources import load_corpus

JOINED_CHARACTERS = 1 << 20  # of short texts that are counted in one call, which costs 40 µs
MAX_COUNT = 2**63 - 1
MERGES_PER_CALL = 256  # between two looks at `Ctrl-C` and the progress bar

PATH_OF_TEXT = re.compile(r"\S*\w\.(txt|txt\.gz)")  # nobody learns from a text of one such word


def train_bpe(
    text_or_iterable: str | os.PathLike[str] | Corpus | Iterable[str],
    num_merges: int = 2000,
    *,
    splitting: str = "words",
    lowercase: bool = True,
    min_frequency: int = 2,
    byte_fallback: bool = True,
    progress: bool = False,
) -> BPEModel:
    """Learn byte-pair merges from text, the most frequent pair first.

    Parameters
    ----------
    text_or_iterable : str, path, Corpus or iterable of str
        The text itself, the `Path` of its file, what `load_corpus` gave, or several texts. The texts of an iterable
        are independent, and together may be longer than memory: only the words' counts are kept.
    num_merges : int
        Merges to learn; fewer come back when no pair is left that occurs `min_frequency` times.
    splitting : str
        The splitting rule: "words" or a byte-level one ("gpt2", "cl100k", "o200k"; see `splitting.SPLITTINGS`), or a pattern
        for the `regex` package, whose pieces are taken as bytes, and so is what it leaves out between them.
    lowercase : bool
        Lower each character before counting, and in every text encoded later. Only "words" does.
    min_frequency : int
        The least count of a pair worth merging.
    byte_fallback : bool
        Encode characters outside the alphabet as UTF-8 bytes (256 more tokens) instead of one `<unk>`; byte-level rules have
        none.
    progress : bool
        Show a bar when stderr is a terminal.

    Raises
    ------
    ValueError
        A `num_merges` or `min_frequency` that is not an integer or too small, a lone surrogate in the text, or a str that is
        the name of a `.txt` file. A file that cannot be read is a `CorpusError`.
    TypeError
        A text that is not a str.

    Notes
    -----
    Ties go to the smallest (left id, right id), so the result depends on the text alone: not on its order, the hash
    seed, or how an iterable groups it. An empty corpus gives an alphabet of `</w>` alone.

    O(N + P log P) for N characters of distinct words and P distinct pairs.

    References
    ----------
    Sennrich, Haddow, Birch (2016), Neural Machine Translation of Rare Words with Subword Units, Algorithm 1.

    Examples
    --------
    >>> train_bpe("low low low lower lowest", num_merges=3).merges
    [('l', 'o'), ('lo', 'w'), ('low', '</w>')]
    """
    for name, number, least in (("num_merges", num_merges, 0), ("min_frequency", min_frequency, 1)):
        if isinstance(number, bool) or not isinstance(number, Integral) or number < least:
            raise ValueError(f"{name} must be an integer, {least} or more, not {number!r}")
    if isinstance(text_or_iterable, (bytes, bytearray)):
        check_is_text(text_or_iterable)
    if isinstance(text_or_iterable, str):
        if PATH_OF_TEXT.fullmatch(text_or_iterable):
            raise ValueError(f"{text_or_iterable!r} is the name of a file, not a text: give Path({text_or_iterable!r})")
        text_or_iterable = [text_or_iterable]
    corpus = load_corpus(text_or_iterable) if isinstance(text_or_iterable, os.PathLike) else text_or_iterable
    texts = corpus.chunks() if isinstance(corpus, Corpus) else corpus
    words = count_words(texts, lowercase, progress, splitting)
    return train_bpe_from_counts(
        words, num_merges, splitting=splitting, lowercase=lowercase, min_frequency=min_frequency, byte_fallback=byte_fallback,
        progress=progress,
    )  # fmt: skip


def count_words(
    texts: Iterable[str],
    lowercase: bool = True,
    progress: bool = False,
    splitting: str = "words",
    num_threads: int | None = None,
) -> dict[str, int]:
    """Count the distinct pieces of all texts, one text in memory at a time.

    >>> count_words(["Low, low", "lower"])
    {'low': 2, ',': 1, 'lower': 1}
    """
    from tqdm import tqdm

    from tokembed.bpe.counting import count_pieces

    rule = rule_of(splitting)
    lowercase = lowercase and not rule.is_lossless
    total: dict[str, int] = {}
    with tqdm(unit="char", unit_scale=True, desc="counting", disable=None if progress else True, leave=False) as bar:
        for text in texts if rule.is_lossless else _joined(texts):
            for piece, count in count_pieces(text, rule, num_threads).items():
                word = lower(piece) if lowercase else piece
                total[word] = total.get(word, 0) + count
            bar.set_postfix(words=len(total), refresh=False)
            bar.update(len(text))
    return total


def _joined(texts: Iterable[str]) -> Iterator[str]:
    """Yield short texts many at a time, a line end between them: to a rule that drops white space it is the same."""
    held: list[str] = []
    num_held = 0
    for text in texts:
        check_is_text(text)
        held.append(text)
        num_held += len(text)
        if num_held >= JOINED_CHARACTERS:
            yield held[0] if len(held) == 1 else "\n".join(held)
            held, num_held = [], 0
    if held:
        yield "\n".join(held)


def train_bpe_from_counts(
    word_counts: Mapping[str, int],
    num_merges: int,
    *,
    splitting: str = "words",
    lowercase: bool = True,
    min_frequency: int = 2,
    byte_fallback: bool = True,
    progress: bool = False,
) -> BPEModel:
    """Learn merges from words with their counts, as `count_words` gives them; see `train_bpe`."""
    rule = rule_of(splitting)
    # Sorted, so that positions (and with them nothing at all) depend on the corpus' order.
    words = sorted(word_counts)
    counts = np.array([word_counts[word] for word in words], dtype=np.int64)
    spelled = [byte_characters(word.encode()) for word in words] if rule.is_lossless else words
    lengths = np.fromiter(map(len, spelled), dtype=np.int64, count=len(words))
    symbols: npt.NDArray[Any]
    code_points = np.frombuffer("".join(spelled).encode("utf-32-le"), dtype=np.uint32)
    if rule.is_lossless:
        alphabet = sorted(BYTE_CHARACTERS)
        symbols = np.searchsorted(np.array([*map(ord, alphabet)], dtype=np.uint32), code_points).astype(np.int32)
        word_starts = np.concatenate([[0], np.cumsum(lengths)])
    else:
        is_used = np.zeros(0x110000, dtype=bool)
        is_used[code_points] = True
        (characters,) = np.nonzero(is_used)
        alphabet = [*map(chr, characters.tolist()), END_OF_WORD]
        number_of = np.cumsum(is_used, dtype=np.int32) - np.int32(1)
        symbols = np.insert(number_of[code_points], np.cumsum(lengths), len(characters))  # every word ends in </w>
        word_starts = np.concatenate([[0], np.cumsum(lengths + 1)])
    if symbols.size >= 2**31:
        raise ValueError(f"the distinct words hold {symbols.size:,} characters; the most is {2**31 - 1:,}")
    merges, applications = _learn(
        symbols, word_starts, counts, len(alphabet), num_merges, min(min_frequency, MAX_COUNT), progress
    )

    tokens = list(alphabet)
    pairs = []
    for left, right in merges.tolist():
        pairs.append((tokens[left], tokens[right]))
        tokens.append(tokens[left] + tokens[right])
    return BPEModel(
        alphabet,
        pairs,
        splitting=rule.name,
        lowercase=lowercase and not rule.is_lossless,
        byte_fallback=byte_fallback,
        applications=applications.tolist(),
        num_words=int(counts.sum()),
        num_characters=int(counts @ lengths),
        reaches_all=True,
    )


class Learner(Protocol):
    """Words whose symbols are merged step by step: `PairLearner` in Python, `native.objects.Learner` in C."""

    def learn(self, until: int) -> int: ...
    def merges(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]: ...


class PairLearner:
    """The incremental learner: pair counts, the words that hold each pair, and a heap of what to merge next.

    A merge that makes symbol X creates only pairs that hold X. So the count of any other pair can only fall, and the heap may
    be lazy: its counts are upper bounds, looked up again when they come to the top.

    Parameters
    ----------
    symbols : array (N,) of int32
        All words' symbols; word i is `symbols[starts[i]:starts[i + 1]]`, and occurs `counts[i]` times.
    starts, counts : arrays (W + 1,) and (W,) of int64
    alphabet_size : int
        The first merge makes this symbol.
    max_merges, min_frequency : int
    """

    def __init__(
        self,
        symbols: npt.NDArray[np.int32],
        starts: npt.NDArray[np.int64],
        counts: npt.NDArray[np.int64],
        alphabet_size: int,
        max_merges: int,
        min_frequency: int,
    ) -> None:
        flat = symbols.tolist()
        self._words: list[list[int]] = [flat[start:end] for start, end in itertools.pairwise(starts.tolist())]
        self._frequencies: list[int] = counts.tolist()
        self._alphabet_size, self._max_merges, self._min_frequency = alphabet_size, max_merges, min_frequency
        self._pair_counts: Counter[tuple[int, int]] = Counter()
        self._words_with: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        for index, word in enumerate(self._words):
            for pair in itertools.pairwise(word):
                self._pair_counts[pair] += self._frequencies[index]
                self._words_with[pair].add(index)
        # Ties go to the smallest (left id, right id), as tuples compare.
        self._heap = [(-count, pair) for pair, count in self._pair_counts.items()]
        heapq.heapify(self._heap)
        self._merges: list[tuple[int, int]] = []
        self._applications: list[int] = []

    def learn(self, until: int) -> int:
        """Go on to `until` merges in all; return how many there are: fewer if no pair is left."""
        while self._heap and len(self._merges) < min(until, self._max_merges):
            bound, pair = heapq.heappop(self._heap)
            count = self._pair_counts[pair]
            if count < self._min_frequency:
                continue
            if count < -bound:  # it fell since it was pushed
                heapq.heappush(self._heap, (-count, pair))
                continue
            self._merge(pair)
        return len(self._merges)

    def _merge(self, pair: tuple[int, int]) -> None:
        symbol = self._alphabet_size + len(self._merges)
        changes: Counter[tuple[int, int]] = Counter()
        applied = 0
        for index in self._words_with.pop(pair):
            word, frequency = self._words[index], self._frequencies[index]
            merged = _replaced(word, pair, symbol)
            applied += frequency * (len(word) - len(merged))
            for old in itertools.pairwise(word):
                changes[old] -= frequency
            for new in itertools.pairwise(merged):
                changes[new] += frequency
                if symbol in new:
                    self._words_with[new].add(index)
            self._words[index] = merged
        for changed, change in changes.items():
            self._pair_counts[changed] += change
            if symbol in changed:
                heapq.heappush(self._heap, (-change, changed))
        self._merges.append(pair)
        self._applications.append(applied)

    def merges(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return the merges as ids, (M, 2), and how often each one replaced its pair, (M,)."""
        return np.array(self._merges, dtype=np.int32).reshape(-1, 2), np.array(self._applications, dtype=np.int64)


def _replaced(word: list[int], pair: tuple[int, int], symbol: int) -> list[int]:
    """Return a word with every occurrence of `pair` replaced by `symbol`, from the left."""
    merged = []
    position = 0
    while position < len(word):
        if word[position] == pair[0] and position + 1 < len(word) and word[position + 1] == pair[1]:
            merged.append(symbol)
            position += 2
        else:
            merged.append(word[position])
            position += 1
    return merged


def _learn(
    symbols: npt.NDArray[np.int32],
    word_starts: npt.NDArray[np.int64],
    word_counts: npt.NDArray[np.int64],
    alphabet_size: int,
    num_merges: int,
    min_frequency: int,
    show_progress: bool,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Learn in steps, between which a bar moves and `Ctrl-C` is seen; return merges as ids, (M, 2), and applications."""
    from tqdm import tqdm

    make: Any = PairLearner
    if native.library() is not None:
        from tokembed.native import objects

        make = objects.Learner
    num_merges = min(num_merges, symbols.size)  # each merge uses up one position at least
    learner: Learner = make(symbols, word_starts, word_counts, alphabet_size, num_merges, min_frequency)
    with tqdm(total=num_merges, desc="merges", unit=" merges", disable=None if show_progress else True, leave=False) as bar:
        num_learned = until = 0
        while num_learned == until < num_merges:  # it stops short if no pair is left
            before, until = num_learned, min(until + MERGES_PER_CALL, num_merges)
            num_learned = learner.learn(until)
            bar.update(num_learned - before)
    return learner.merges()
