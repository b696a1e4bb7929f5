"""Learn byte-pair merges from text.

The readable form of the algorithm is `reference.train_bpe`; this one gives the same merges and touches, at each, only the
places where the merged pair stands.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

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
    least = min(min_frequency, MAX_COUNT)
    merges, applications = _learn(symbols, word_starts, counts, len(alphabet), num_merges, least, progress)

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


def _learn(
    symbols: npt.NDArray[np.int32],
    word_starts: npt.NDArray[np.int64],
    word_counts: npt.NDArray[np.int64],
    alphabet_size: int,
    num_merges: int,
    min_frequency: int,
    show_progress: bool,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Run the merge kernel in slices; return the merges as ids, (M, 2), and their applications, (M,)."""
    from tqdm import tqdm

    from tokembed.bpe import _learning_kernels as kernels
    from tokembed.compilation import say_when_compiling

    num_positions = symbols.size
    if num_positions >= 2**31:
        raise ValueError(f"the distinct words hold {num_positions:,} characters; the most is {2**31 - 1:,}")
    num_merges = min(num_merges, num_positions)  # each merge uses up one position at least
    previous, following = np.empty((2, num_positions), dtype=np.int32)
    words = kernels.Words(symbols, previous, following, weights=np.empty(num_positions, dtype=np.int64))
    pool = np.empty(3 * num_positions, dtype=np.int32)  # a position's pair, and at most two new ones per merge
    # The alphabet's pairs are at most its square, or one per position; the table then grows as merges make more.
    capacity = max(1 << 16, 1 << min(alphabet_size**2, num_positions).bit_length())
    slots = np.full(2 * capacity, -1, dtype=np.int32)
    keys, counts, starts, heap_counts = np.zeros((4, capacity), dtype=np.int64)
    sizes, heap_pairs = np.zeros((2, capacity), dtype=np.int32)
    pairs, heap = kernels.Pairs(slots, keys, counts, starts, sizes), kernels.Heap(heap_counts, heap_pairs)

    with say_when_compiling(kernels.merge_some):
        kernels.link_words(word_starts, word_counts, words)
        num_pairs = kernels.count_first_pairs(words, pairs)
        starts[:num_pairs] = np.cumsum(sizes[:num_pairs]) - sizes[:num_pairs]
        progress = np.array([num_pairs, sizes.sum(), 0, 0], dtype=np.int64)
        sizes[:] = 0
        kernels.place_first_pairs(words, pairs, pool)
        kernels.push_pairs(0, num_pairs, min_frequency, pairs, heap, progress)

        by_partner = (2, alphabet_size + num_merges)
        sides = kernels.Sides(
            np.zeros(by_partner, dtype=np.int64),
            np.zeros(by_partner, dtype=np.int32),
            np.zeros(by_partner, dtype=np.int64),
            np.zeros(2 * by_partner[1], dtype=np.int32),
        )
        learned = kernels.Learned(np.zeros((num_merges, 2), dtype=np.int32), np.zeros(num_merges, dtype=np.int64))
        outcome = kernels.MORE
        with tqdm(total=num_merges, desc="merges", unit=" merges", disable=None if show_progress else True, leave=False) as bar:
            while outcome != kernels.DONE and progress[kernels.NUM_MERGED] < num_merges:
                until = min(progress[kernels.NUM_MERGED] + MERGES_PER_CALL, num_merges)
                outcome = kernels.merge_some(
                    words, pairs, pool, heap, sides, learned, progress, alphabet_size, min_frequency, until
                )
                if outcome == kernels.FULL:
                    heap = kernels.Heap(*map(_doubled, heap))
                    slots = np.full(2 * pairs.slots.size, -1, dtype=np.int32)
                    pairs = kernels.Pairs(slots, *map(_doubled, pairs[1:]))
                    kernels.rehash(progress[kernels.NUM_PAIRS], pairs)
                bar.update(int(progress[kernels.NUM_MERGED]) - bar.n)
    num_learned = int(progress[kernels.NUM_MERGED])
    return learned.merges[:num_learned], learned.applications[:num_learned]


def _doubled(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.concatenate([array, np.zeros_like(array)])
