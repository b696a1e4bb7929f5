"""Learn byte-pair merges from text.

The readable form of the algorithm is `reference.train_bpe`; this one gives the same merges and touches, at each, only the
places where the merged pair stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from tokembed.bpe.model import BPEModel
from tokembed.bpe.splitting import END_OF_WORD, check_is_text, lower

MERGES_PER_CALL = 256  # between two looks at `Ctrl-C` and the progress bar


def train_bpe(
    text_or_iterable: str | Iterable[str],
    num_merges: int = 2000,
    *,
    lowercase: bool = True,
    min_frequency: int = 2,
    byte_fallback: bool = True,
    progress: bool = False,
) -> BPEModel:
    """Learn byte-pair merges from text, the most frequent pair first.

    Parameters
    ----------
    text_or_iterable : str or iterable of str
        The corpus. The texts of an iterable are independent, and together may be longer than memory: only the words'
        counts are kept.
    num_merges : int
        Merges to learn; fewer come back when no pair is left that occurs `min_frequency` times.
    lowercase : bool
        Lower each character before counting, and in every text encoded later.
    min_frequency : int
        The least count of a pair worth merging.
    byte_fallback : bool
        Encode characters outside the alphabet as UTF-8 bytes (256 more tokens) instead of one `<unk>`.
    progress : bool
        Show a bar when stderr is a terminal.

    Raises
    ------
    ValueError
        A `num_merges` or `min_frequency` that is no whole number or too small, or a lone surrogate in the text.
    TypeError
        A text that is no str.

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
            raise ValueError(f"{name} must be a whole number, {least} or more, not {number!r}")
    if isinstance(text_or_iterable, (bytes, bytearray)):
        check_is_text(text_or_iterable)
    texts = [text_or_iterable] if isinstance(text_or_iterable, str) else text_or_iterable
    words = count_words(texts, lowercase, progress)
    return train_bpe_from_counts(
        words, num_merges, lowercase=lowercase, min_frequency=min_frequency, byte_fallback=byte_fallback, progress=progress
    )


def count_words(texts: Iterable[str], lowercase: bool = True, progress: bool = False) -> dict[str, int]:
    """Count the distinct pieces of all texts, one text in memory at a time.

    >>> count_words(["Low, low", "lower"])
    {'low': 2, ',': 1, 'lower': 1}
    """
    from tqdm import tqdm

    from tokembed.bpe.whole_texts import count_pieces

    total: dict[str, int] = {}
    with tqdm(unit="char", unit_scale=True, desc="counting", disable=None if progress else True, leave=False) as bar:
        for text in texts:
            for piece, count in count_pieces(text).items():
                word = lower(piece) if lowercase else piece
                total[word] = total.get(word, 0) + count
            bar.set_postfix(words=len(total), refresh=False)
            bar.update(len(text))
    return total


def train_bpe_from_counts(
    word_counts: Mapping[str, int],
    num_merges: int,
    *,
    lowercase: bool = True,
    min_frequency: int = 2,
    byte_fallback: bool = True,
    progress: bool = False,
) -> BPEModel:
    """Learn merges from words with their counts, as `count_words` gives them; see `train_bpe`."""
    # Sorted, so that positions (and with them nothing at all) depend on the corpus' order.
    words = sorted(word_counts)
    counts = np.array([word_counts[word] for word in words], dtype=np.int64)
    lengths = np.fromiter(map(len, words), dtype=np.int64, count=len(words))
    code_points = np.frombuffer("".join(words).encode("utf-32-le"), dtype=np.uint32)
    characters, symbols = np.unique(code_points, return_inverse=True)
    alphabet = [*map(chr, characters.tolist()), END_OF_WORD]

    word_starts = np.concatenate([[0], np.cumsum(lengths + 1)])  # every word ends in </w>
    with_ends = np.insert(symbols, np.cumsum(lengths), len(characters)).astype(np.int32)
    merges, applications = _learn(with_ends, word_starts, counts, len(alphabet), num_merges, min_frequency, progress)

    tokens = list(alphabet)
    pairs = []
    for left, right in merges.tolist():
        pairs.append((tokens[left], tokens[right]))
        tokens.append(tokens[left] + tokens[right])
    return BPEModel(
        alphabet,
        pairs,
        lowercase=lowercase,
        byte_fallback=byte_fallback,
        applications=applications.tolist(),
        num_words=int(counts.sum()),
        num_characters=int(counts @ lengths),
    )


def _learn(
    symbols: npt.NDArray[np.int32],
    word_starts: npt.NDArray[np.int64],
    word_counts: npt.NDArray[np.int64],
    alphabet_size: int,
    num_merges: int,
    min_frequency: int,
    progress: bool,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Run the merge kernel in slices; return the merges as ids, (M, 2), and their applications, (M,)."""
    from tqdm import tqdm

    from tokembed.bpe import _learning_kernels as kernels
    from tokembed.compilation import say_when_compiling

    num_positions = symbols.size
    if num_positions >= 2**31:
        raise ValueError(f"the distinct words hold {num_positions:,} characters; the most is {2**31 - 1:,}")
    num_merges = min(num_merges, num_positions)  # each merge uses up one position at least
    weights = np.empty(num_positions, dtype=np.int64)
    previous = np.empty(num_positions, dtype=np.int32)
    following = np.empty(num_positions, dtype=np.int32)
    pool = np.empty(3 * num_positions, dtype=np.int32)  # a position's pair, and at most two new ones a merge
    # The alphabet's pairs are at most its square, or one a position; the table then grows as merges make more.
    capacity = max(1 << 16, 1 << min(alphabet_size**2, num_positions).bit_length())
    slots = np.full(2 * capacity, -1, dtype=np.int32)
    pair_keys, pair_counts, pair_starts, heap_counts = np.zeros((4, capacity), dtype=np.int64)
    pair_sizes, heap_pairs = np.zeros((2, capacity), dtype=np.int32)

    with say_when_compiling(kernels.merge_some):
        kernels.link_words(word_starts, word_counts, weights, previous, following)
        num_pairs = kernels.count_first_pairs(symbols, following, weights, slots, pair_keys, pair_counts, pair_sizes)
        pair_starts[:num_pairs] = np.cumsum(pair_sizes[:num_pairs]) - pair_sizes[:num_pairs]
        state = np.array([num_pairs, pair_sizes.sum(), 0, 0], dtype=np.int64)
        pair_sizes[:] = 0
        kernels.place_first_pairs(symbols, following, slots, pair_keys, pair_starts, pair_sizes, pool)
        kernels.push_pairs(0, num_pairs, min_frequency, pair_keys, pair_counts, heap_counts, heap_pairs, state)

        vocabulary_size = alphabet_size + num_merges
        side_counts = np.zeros((2, vocabulary_size), dtype=np.int64)
        side_sizes = np.zeros((2, vocabulary_size), dtype=np.int32)
        side_next = np.zeros((2, vocabulary_size), dtype=np.int64)
        partners = np.zeros(2 * vocabulary_size, dtype=np.int32)
        merges = np.zeros((num_merges, 2), dtype=np.int32)
        applications = np.zeros(num_merges, dtype=np.int64)
        outcome = kernels.MORE
        with tqdm(total=num_merges, desc="merges", unit=" merges", disable=None if progress else True, leave=False) as bar:
            while outcome != kernels.DONE and state[kernels.NUM_MERGED] < num_merges:
                outcome = kernels.merge_some(
                    symbols, previous, following, weights,
                    slots, pair_keys, pair_counts, pair_starts, pair_sizes,
                    pool, heap_counts, heap_pairs,
                    side_counts, side_sizes, side_next, partners,
                    merges, applications, state,
                    alphabet_size, min_frequency, min(state[kernels.NUM_MERGED] + MERGES_PER_CALL, num_merges),
                )  # fmt: skip
                if outcome == kernels.FULL:
                    grown = [_doubled(array) for array in (pair_keys, pair_counts, pair_starts, heap_counts)]
                    pair_keys, pair_counts, pair_starts, heap_counts = grown
                    pair_sizes, heap_pairs = _doubled(pair_sizes), _doubled(heap_pairs)
                    slots = np.full(2 * slots.size, -1, dtype=np.int32)
                    kernels.rehash(state[kernels.NUM_PAIRS], slots, pair_keys)
                bar.update(int(state[kernels.NUM_MERGED]) - bar.n)
    num_learned = int(state[kernels.NUM_MERGED])
    return merges[:num_learned], applications[:num_learned]


def _doubled(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.concatenate([array, np.zeros_like(array)])
