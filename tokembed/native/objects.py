"""What the C library offers, as classes that take arrays: they check what is given, and nobody else passes addresses.

Arrays that an object borrows are kept alive by it. V tokens, D dimensions, N pieces or positions, M merges.
"""

from __future__ import annotations

import ctypes
import itertools
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tokembed import native

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
CACHE_LINE = 64
NUM_CODE_POINTS = 0x110000

_python = ctypes.pythonapi
_as_utf8, _as_ucs4 = _python.PyUnicode_AsUTF8AndSize, _python.PyUnicode_AsUCS4
_as_utf8.restype, _as_utf8.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_void_p]
_as_ucs4.restype = ctypes.c_void_p
_as_ucs4.argtypes = [ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int]
_FUNCTIONS = [ctypes.cast(function, ctypes.c_void_p) for function in (_as_utf8, _as_ucs4, _python.PyUnicode_GetLength)]


class SurrogateError(ValueError):
    """A text holds a lone surrogate, at `position`."""

    def __init__(self, position: int) -> None:
        super().__init__(f"lone surrogate at position {position}")
        self.position = position


def max_tokens(num_bytes: int) -> int:
    """Return the most tokens that a text of `num_bytes` can have."""
    return 2 * num_bytes + 4


def aligned_zeros(rows: int, columns: int) -> npt.NDArray[np.float32]:
    """Return a float32 table whose rows start at cache lines: (rows, columns rounded up to 16)."""
    line = CACHE_LINE // 4
    padded = -(-columns // line) * line
    flat = np.zeros(rows * padded + line, dtype=np.float32)
    skip = -(flat.ctypes.data // 4) % line
    return flat[skip : skip + rows * padded].reshape(rows, padded)


def _address(array: npt.NDArray[Any], dtype: type) -> int:
    assert array.dtype == dtype, array.dtype
    assert array.flags.c_contiguous
    return array.ctypes.data


def _with_room(ids: Int32s | None, size: int) -> Int32s:
    """Return an array of `size` or more: the given one, or a new one that other parts of a text fit in, too."""
    return ids if ids is not None and ids.size >= size else np.empty(1 << size.bit_length(), dtype=np.int32)


def checked(count: int) -> int:
    """Return a count; raise what a code of the library's stands for."""
    if count >= 0:
        return count
    if count == native.NO_MEMORY:
        raise MemoryError
    if count == native.TOO_LONG:
        raise ValueError("a text of 4 GiB or more without a boundary between words can't be encoded")
    raise SurrogateError(native.SURROGATE - count)


class _Object:
    """A handle of the library's, freed with this object."""

    def _own(self, name: str, *arguments: Any) -> None:
        self._library: Any = native.library()
        self.handle = getattr(self._library, f"tk_{name}_new")(*arguments)
        if not self.handle:
            raise MemoryError
        weakref.finalize(self, getattr(self._library, f"tk_{name}_free"), self.handle).atexit = False


class Rule:
    """A splitting rule: what each code point may be, (0x110000,) uint8, and the family that tells what follows from it."""

    def __init__(self, kinds: npt.NDArray[np.uint8], family: str, max_digits: int, keeps_last_spaces: bool) -> None:
        assert kinds.size == NUM_CODE_POINTS
        self.kinds = kinds
        self.settings = native.Rule(
            _address(kinds, np.uint8), native.FAMILIES.index(family), keeps_last_spaces, min(max_digits, 2**62)
        )


class Vocab(_Object):
    """What encoders share: a rule, merges, and the pieces that are a token each.

    Parameters
    ----------
    rule : Rule
    symbol_ids : array of int32
        Under "words" (0x110000,): a character's id plus 1, 0 if it is unknown. Else (256,): a byte's id.
    merges : array (M, 3) of int32
        The ids of both halves and of what they make.
    pieces : mapping of bytes to id
    ids_are_ranks : bool
        Whether made ids follow the merges' order, and merges that make the same token have one rank.
    checks_pieces : bool
        Whether `pieces` may hold some that merges make something else of.
    numbers_pieces : bool
        Whether a piece's token is its number instead, by first occurrence.
    lower_steps : array (0x110000,) of int32, optional
        By how much each code point moves when lowered.
    end_of_word, byte_base, unknown : int
        The ids of `</w>`, of byte 0 and of `<unk>`; -1 for none.
    """

    def __init__(
        self, rule: Rule, symbol_ids: Int32s, merges: Int32s, pieces: dict[bytes, int], *, ids_are_ranks: bool = False,
        checks_pieces: bool = False, numbers_pieces: bool = False, lower_steps: Int32s | None = None, end_of_word: int = -1,
        byte_base: int = -1, unknown: int = -1,
    ) -> None:  # fmt: skip
        assert symbol_ids.size == (NUM_CODE_POINTS if rule.settings.family == 0 else 256)
        self._borrowed = rule, symbol_ids, lower_steps
        octets = np.frombuffer(b"".join(pieces), dtype=np.uint8)
        starts = np.cumsum([0, *map(len, pieces)], dtype=np.int64)
        ids = np.fromiter(pieces.values(), dtype=np.int32, count=len(pieces))
        merges = np.ascontiguousarray(merges)
        self._own("vocab", native.VocabSettings(
            rule.settings, _address(symbol_ids, np.int32), None if lower_steps is None else _address(lower_steps, np.int32),
            end_of_word, byte_base, unknown, ids_are_ranks, numbers_pieces, checks_pieces, _address(merges, np.int32),
            _address(octets, np.uint8), _address(starts, np.int64), _address(ids, np.int32), len(merges), len(pieces),
        ))  # fmt: skip


def derive_merges(tokens: Sequence[bytes], symbol_ids: Int32s, first_id: int) -> Int32s:
    """Return the halves that each token was merged from, (T, 2), by the merges before it; -1 if it was not.

    `symbol_ids`, (256,), are the bytes' ids and `first_id` is that of the first token.
    """
    library: Any = native.library()
    octets = np.frombuffer(b"".join(tokens), dtype=np.uint8)
    starts = np.cumsum([0, *map(len, tokens)], dtype=np.int64)
    pairs = np.empty((len(tokens), 2), dtype=np.int32)
    if not library.tk_derive_merges(
        _address(octets, np.uint8), _address(starts, np.int64), len(tokens), _address(symbol_ids, np.int32), first_id,
        _address(pairs, np.int32),
    ):  # fmt: skip
        raise MemoryError
    return pairs


class TextReader:
    """Gives parts of a str as UTF-8, in a buffer of its own unless the text is ASCII, whose buffer is UTF-8 already."""

    def __init__(self) -> None:
        self._characters = np.empty(0, dtype=np.uint32)
        self._octets = np.empty(0, dtype=np.uint8)

    def read(self, text: str, start: int, end: int) -> tuple[int, int]:
        """Return the address and the size of a part's UTF-8, valid until the next call; raise `SurrogateError`."""
        if text.isascii():
            return _as_utf8(text, None) + start, end - start
        count = end - start
        if count > self._characters.size:
            self._characters = np.empty(1 << count.bit_length(), dtype=np.uint32)
            self._octets = np.empty(4 * self._characters.size + native.UTF8_SLACK, dtype=np.uint8)
        library: Any = native.library()
        part, characters = text[start:end], self._characters.ctypes.data
        _as_ucs4(part, characters, self._characters.size, 0)
        octets = self._octets.ctypes.data
        try:
            return octets, checked(library.tk_utf8(characters, count, octets))
        except SurrogateError as error:
            raise SurrogateError(start + error.position) from None


class Encoder(_Object):
    """One thread's encoder, which remembers the pieces that it has seen in about `max_bytes`."""

    def __init__(self, vocab: Vocab, max_bytes: int) -> None:
        self._vocab = vocab
        #: The ids of a short text are written here. Pages become resident when they are used.
        self.ids = np.empty(max_tokens(4 * native.SHORT_TEXT), dtype=np.int32)
        self._own("encoder", vocab.handle, max_bytes, native.PythonFunctions(*_FUNCTIONS, self.ids.ctypes.data))
        #: `encode_ascii(handle, text)`, `encode_str(handle, text)`: write a short text's ids; return their number or a code.
        self.encode_ascii, self.encode_str = native.locked_library().tk_encode_ascii, native.locked_library().tk_encode_str
        self._reader = TextReader()

    @property
    def num_bytes(self) -> int:
        """The memory that the pieces seen take."""
        return int(self._library.tk_encoder_bytes(self.handle))

    def numbered_pieces(self) -> dict[str, int]:
        """Return the pieces that were numbered, in that order, with how often each one occurred."""
        read = self._library.tk_encoder_read
        ends, counts = np.zeros((2, read(self.handle, None, None, None)), dtype=np.int64)
        read(self.handle, None, ends.ctypes.data, counts.ctypes.data)
        octets = np.empty(int(ends[-1]) if ends.size else 0, dtype=np.uint8)
        read(self.handle, octets.ctypes.data, ends.ctypes.data, counts.ctypes.data)
        whole = octets.tobytes()
        pieces = [whole[start:end].decode() for start, end in itertools.pairwise([0, *ends.tolist()])]
        return dict(zip(pieces, counts.tolist(), strict=True))

    def encode_part(self, text: str, start: int, end: int, ids: Int32s | None) -> tuple[Int32s, int]:
        """Encode a part of a text into `ids`, or a new array if that is too small; return the array and the number of ids."""
        address, size = self._reader.read(text, start, end)
        ids = _with_room(ids, max_tokens(size))
        return ids, checked(self._library.tk_encode(self.handle, address, size, _address(ids, np.int32)))

    def encode_texts(self, texts: bytes, starts: Int64s, ends: Int64s, ids: Int32s | None) -> tuple[Int32s, int]:
        """Encode texts that follow one another, starts[i] to starts[i + 1]; ends[i] becomes where the ids of text i end."""
        assert len(starts) == len(ends) + 1
        assert starts[0] >= 0
        assert starts[-1] <= len(texts)
        ids = _with_room(ids, max_tokens(int(starts[-1] - starts[0])) + 4 * len(ends))
        octets = np.frombuffer(texts, dtype=np.uint8)
        count = self._library.tk_encode_texts(
            self.handle, _address(octets, np.uint8), _address(starts, np.int64), len(ends), _address(ids, np.int32),
            _address(ends, np.int64),
        )  # fmt: skip
        return ids, checked(count)


class Counter:
    """Counts the distinct pieces of texts, of fewer than 2^32 characters in all."""

    def __init__(self, rule: Rule) -> None:
        no_symbols = np.zeros(NUM_CODE_POINTS if rule.settings.family == 0 else 256, dtype=np.int32)
        no_merges = np.empty((0, 3), dtype=np.int32)
        self._encoder = Encoder(Vocab(rule, no_symbols, no_merges, {}, numbers_pieces=True), 0)
        self._ids: Int32s | None = None

    def count(self, text: str, start: int, end: int) -> None:
        """Count the pieces of a part of a text."""
        self._ids, _ = self._encoder.encode_part(text, start, end, self._ids)

    def counts(self) -> dict[str, int]:
        """Return each piece, by first occurrence, with how often it occurs."""
        return self._encoder.numbered_pieces()


class Learner(_Object):
    """Learns merges from distinct words.

    Parameters
    ----------
    symbols : array (N,) of int32
        All words' symbols, ids below `alphabet_size`; word i, `symbols[starts[i]:starts[i + 1]]`, occurs `counts[i]` times.
    starts, counts : arrays (W + 1,) and (W,) of int64
    """

    def __init__(
        self, symbols: Int32s, starts: Int64s, counts: Int64s, alphabet_size: int, max_merges: int, min_frequency: int
    ) -> None:
        assert len(starts) == len(counts) + 1
        assert starts[-1] == symbols.size < 2**31
        words = native.Words(_address(symbols, np.int32), _address(starts, np.int64), _address(counts, np.int64), len(counts))
        self._own("learner", words, alphabet_size, max_merges, min_frequency)
        self._num_merged = 0

    def learn(self, until: int) -> int:
        """Go on to `until` merges in all; return how many there are: fewer if no pair is left."""
        self._num_merged = checked(self._library.tk_learn(self.handle, until))
        return self._num_merged

    def merges(self) -> tuple[Int32s, Int64s]:
        """Return the merges as ids, (M, 2), and how often each one replaced its pair, (M,)."""
        merges = np.empty((self._num_merged, 2), dtype=np.int32)
        applications = np.empty(self._num_merged, dtype=np.int64)
        self._library.tk_learner_read(self.handle, merges.ctypes.data, applications.ctypes.data)
        return merges, applications


class Trainer:
    """Trains skip-gram on blocks of a stream; threads may share it, and the tables.

    Parameters
    ----------
    targets, contexts : array (V, D) of float32
        From `aligned_zeros`.
    keep_below : array (V,) of uint64
        An occurrence is kept if its 32 random bits are below.
    thresholds, aliases : array (V,) of uint32, array (V,) of int32
        The negatives' alias table.
    """

    def __init__(
        self, targets: npt.NDArray[np.float32], contexts: npt.NDArray[np.float32], keep_below: npt.NDArray[np.uint64],
        thresholds: npt.NDArray[np.uint32], aliases: Int32s, window_size: int, num_negatives: int,
    ) -> None:  # fmt: skip
        self._borrowed = targets, contexts, keep_below, thresholds, aliases
        vocab_size, dim = targets.shape
        assert contexts.shape == targets.shape
        assert dim * targets.itemsize % CACHE_LINE == 0
        assert {len(array) for array in self._borrowed} == {vocab_size}
        self._library: Any = native.library()
        self._settings = native.SkipGram(
            _address(targets, np.float32), _address(contexts, np.float32), _address(keep_below, np.uint64),
            _address(thresholds, np.uint32), _address(aliases, np.int32), vocab_size, dim, window_size, num_negatives,
        )  # fmt: skip

    def train(
        self, ids: Int32s, first: int, last: int, key: int, seed: int, first_rate: float, last_rate: float
    ) -> tuple[int, float]:
        """Train on positions `first` to `last` (exclusive) of a stream, (N,); return the pairs' number and their summed loss.

        `key` decides which tokens are kept, and the width of their windows; `seed` decides the negatives. 64 bits each.
        """
        loss = ctypes.c_double()
        block = native.Block(_address(ids, np.int32), ids.size, first, last, key, seed, first_rate, last_rate)
        return checked(self._library.tk_train(self._settings, block, loss)), loss.value
