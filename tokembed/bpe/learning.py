"""Learn byte-pair merges from text: `train_bpe` and the model it gives.

The readable form of the algorithm is `reference.train_bpe`; this one gives the same merges and touches, at each, only the
places where the merged pair stands.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from tokembed import files
from tokembed.bpe.splitting import END_OF_WORD, check_is_text, lower

FORMAT, FORMAT_VERSION = "tokembed-bpe", 1
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
UNKNOWN_TOKEN = "<unk>"
MERGES_PER_CALL = 256  # between two looks at `Ctrl-C` and the progress bar
MAX_FILE_BYTES = 64 << 20  # a million merges fit; a file is read whole, so its size must have a limit


class ModelFileError(ValueError):
    """A file that is no tokenizer of ours, or a damaged one; the message names the file and the flaw."""


@dataclass(frozen=True)
class BPEModel:
    """What was learned: the alphabet, and the merges in rank order.

    Attributes
    ----------
    alphabet : list of str
        Every character seen, by code point, then `</w>`.
    merges : list of (str, str)
        Pairs of tokens; the one of rank r makes the token with id `len(alphabet) + r`.
    lowercase, byte_fallback : bool
        How text is split, and what becomes of a character outside the alphabet.
    applications : list of int
        How often each merge replaced its pair in the training text.
    num_words : int
        Words of the training text: its pieces, with repetition.
    num_characters : int
        Characters of those words, `</w>` not counted: before any merge the text is `num_words + num_characters` tokens.
    source : dict
        Where it came from, for those who keep it in a cache; plain JSON values.
    """

    alphabet: list[str]
    merges: list[tuple[str, str]]
    lowercase: bool = True
    byte_fallback: bool = True
    applications: list[int] = field(default_factory=list)
    num_words: int = 0
    num_characters: int = 0
    source: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def vocab(self) -> dict[str, int]:
        """Token to id: the alphabet, the merges' tokens, then 256 byte tokens (or `<unk>` without byte fallback)."""
        tokens = [*self.alphabet, *(left + right for left, right in self.merges)]
        tokens += BYTE_TOKENS if self.byte_fallback else [UNKNOWN_TOKEN]
        return {token: index for index, token in enumerate(tokens)}

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all that decides which ids a text gets; vectors and token ids carry it."""
        deciding = [FORMAT_VERSION, self.alphabet, self.merges, self.lowercase, self.byte_fallback]
        return hashlib.sha256(json.dumps(deciding).encode()).hexdigest()[:32]

    def to_json(self) -> str:
        """Return the model as JSON text, one merge a line."""
        head = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "lowercase": self.lowercase,
            "byte_fallback": self.byte_fallback,
            "num_words": self.num_words,
            "num_characters": self.num_characters,
            "source": self.source,
            "alphabet": self.alphabet,
            "applications": self.applications,
        }
        lines = [f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()]
        merges = ",\n".join(json.dumps(merge, ensure_ascii=False) for merge in self.merges)
        return "{\n" + ",\n".join(lines) + ',\n"merges": [\n' + merges + "\n]\n}\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model as JSON, in one step."""
        files.write_atomic(path, self.to_json())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> BPEModel:
        """Read a model that `save` wrote, checking everything in it.

        Raises
        ------
        ModelFileError
            The file is none of ours, of another version, or inconsistent.
        """
        try:
            with open(path, "rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
            if len(data) > MAX_FILE_BYTES:
                raise ValueError(f"it is larger than {MAX_FILE_BYTES >> 20} MiB")
            return cls.from_json(data.decode("utf-8"))
        except ValueError as error:  # JSON and UTF-8 errors are ValueErrors too
            raise ModelFileError(f"{files.display_path(path)} is no tokenizer file: {error}") from None

    @classmethod
    def from_json(cls, text: str) -> BPEModel:
        """Make a model from what `to_json` gave; raise `ValueError` naming what is wrong."""
        try:
            data = json.loads(text)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise ValueError(f'it does not say "format": "{FORMAT}"')
        if data.get("version") != FORMAT_VERSION:
            raise ValueError(f"version {data.get('version')!r}, but this program reads version {FORMAT_VERSION}")
        alphabet, merges = _checked_vocabulary(data)
        applications = data.get("applications")
        if not isinstance(applications, list) or not all(_is_count(count) for count in applications):
            raise ValueError("applications is no list of counts")
        if len(applications) != len(merges):
            raise ValueError(f"{len(applications)} applications for {len(merges)} merges")
        for name in ("lowercase", "byte_fallback"):
            if not isinstance(data.get(name), bool):
                raise ValueError(f"{name} is {data.get(name)!r}, neither true nor false")
        for name in ("num_words", "num_characters"):
            if not _is_count(data.get(name)):
                raise ValueError(f"{name} is {data.get(name)!r}, no count")
        if not isinstance(data.get("source"), dict):
            raise ValueError("source is no object")
        return cls(
            alphabet,
            merges,
            lowercase=data["lowercase"],
            byte_fallback=data["byte_fallback"],
            applications=applications,
            num_words=data["num_words"],
            num_characters=data["num_characters"],
            source=data["source"],
        )


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


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _checked_vocabulary(data: dict[str, Any]) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the alphabet and merges of a model file, or raise `ValueError` naming the first flaw."""
    alphabet, merges = data.get("alphabet"), data.get("merges")
    if not isinstance(alphabet, list) or not alphabet or alphabet[-1] != END_OF_WORD:
        raise ValueError(f"alphabet is no list that ends in {END_OF_WORD}")
    for character in alphabet[:-1]:
        if not isinstance(character, str) or len(character) != 1 or "\ud800" <= character <= "\udfff":
            raise ValueError(f"alphabet holds {character!r}, no single character")
    if not isinstance(merges, list):
        raise ValueError("merges is no list")
    known = set(alphabet)
    if len(known) < len(alphabet):
        raise ValueError("alphabet holds a character twice")
    reserved = {*BYTE_TOKENS, UNKNOWN_TOKEN}
    pairs: list[tuple[str, str]] = []
    for rank, merge in enumerate(merges):
        if not isinstance(merge, list) or len(merge) != 2 or not all(isinstance(part, str) for part in merge):
            raise ValueError(f"merge {rank} is {merge!r:.80}, no pair of tokens")
        left, right = merge
        if left not in known or right not in known:
            raise ValueError(f"merge {rank} joins {left!r:.40} and {right!r:.40}, not both known by then")
        if left + right in known or left + right in reserved:
            raise ValueError(f"merge {rank} makes {left + right!r:.40}, which is there already")
        if left.endswith(END_OF_WORD):
            raise ValueError(f"merge {rank} goes on after {END_OF_WORD}")
        known.add(left + right)
        pairs.append((left, right))
    return alphabet, pairs
