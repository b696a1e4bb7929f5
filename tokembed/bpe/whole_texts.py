"""Encoding whole texts with the C library, on threads.

A long text is cut between pieces into parts, threads take them one by one, and what they write is joined in order. Each thread
borrows an encoder for its part, which remembers the pieces that it has seen and outlives the call: the next text finds its
words there.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from tokembed.bpe.finding import NUM_CODE_POINTS, compiled_rule, cuts, in_parts, part_size
from tokembed.bpe.model import BYTE_TOKENS, UNKNOWN_TOKEN, BPEModel
from tokembed.bpe.splitting import BYTE_CHARACTERS, END_OF_WORD, check_is_text, surrogate_error, utf8
from tokembed.native import SHORT_TEXT
from tokembed.native.objects import Encoder, Int32s, Int64s, SurrogateError, Vocab

MAX_IDLE_BUFFERS = 8

Output = tuple[Int32s, int]  # a buffer, and how many tokens it holds


class BulkEncoder:
    """Encode whole texts by the C library.

    Parameters
    ----------
    model : BPEModel
        One whose splitting rule the library knows; see `Splitting.family`.
    max_table_bytes : int
        How much memory each thread's table of pieces may take.
    """

    def __init__(self, model: BPEModel, max_table_bytes: int) -> None:
        self._vocab, self._max_table_bytes = vocab_of(model), max_table_bytes
        self._encoders = [Encoder(self._vocab, max_table_bytes)]  # insert and pop are atomic
        self._buffers: list[Int32s] = []

    def encode(self, text: str, num_threads: int | None = None) -> Int32s:
        """Return the token ids of a text; raise `ValueError` at a lone surrogate."""
        if isinstance(text, str) and len(text) <= SHORT_TEXT:  # each call counts here: a text of 60 characters takes 1 µs
            encoder = self._take_encoder(0)
            count = (encoder.encode_ascii if text.isascii() else encoder.encode_str)(encoder.handle, text)
            ids = encoder.ids[:count].copy()
            self._encoders.insert(0, encoder)
            if count >= 0:
                return ids
        check_is_text(text)
        try:
            return self._encode_parts(
                len(text), cuts(text, num_threads), num_threads, lambda *part: self._encode_part(text, *part)
            )
        except SurrogateError as error:
            raise surrogate_error(text, error.position) from None

    def _encode_part(self, text: str, worker: int, start: int, end: int) -> Output:
        encoder = self._take_encoder(worker)
        try:
            return encoder.encode_part(text, start, end, self._take_buffer())
        finally:
            self._put_back(encoder, worker)

    def encode_batch(self, texts: Iterable[str], num_threads: int | None = None) -> tuple[Int32s, Int64s]:
        """Return the token ids of all texts in one array, and where each text's begin, the last one's end too: (N + 1,)."""
        encoded = [utf8(text) for text in texts]
        byte_starts = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        octets, num_bytes = b"".join(encoded), int(byte_starts[-1])
        offsets = np.zeros(len(encoded) + 1, dtype=np.int64)

        def encode_part(worker: int, first: int, last: int) -> Output:
            encoder = self._take_encoder(worker)
            try:
                starts, ends = byte_starts[first : last + 1], offsets[first + 1 : last + 1]
                return encoder.encode_texts(octets, starts, ends, self._take_buffer())
            finally:
                self._put_back(encoder, worker)

        step = part_size(num_bytes, num_threads)
        bounds = np.unique([0, *np.searchsorted(byte_starts, np.arange(step, num_bytes, step)), len(encoded)]).tolist()
        ids = self._encode_parts(num_bytes, bounds, num_threads, encode_part)
        for first, last in itertools.pairwise(bounds):
            offsets[first + 1 : last + 1] += offsets[first]
        return ids, offsets

    def _take_encoder(self, worker: int) -> Encoder:
        # The first worker takes the first and puts it back there, the others the last: each finds the pieces that it has seen.
        try:
            return self._encoders.pop(-1 if worker else 0)
        except IndexError:
            return Encoder(self._vocab, self._max_table_bytes)

    def _put_back(self, encoder: Encoder, worker: int) -> None:
        self._encoders.insert(len(self._encoders) if worker else 0, encoder)

    def _take_buffer(self) -> Int32s | None:
        with contextlib.suppress(IndexError):
            return self._buffers.pop()
        return None

    def _encode_parts(
        self, size: int, bounds: list[int], num_threads: int | None, encode_part: Callable[[int, int, int], Output]
    ) -> Int32s:
        """Encode the parts between `bounds` on threads; return the tokens of all."""
        # Most text has three characters per token or more; where it has fewer, the array grows.
        tokens = np.empty(size // 3 + 64, dtype=np.int32)
        num_tokens = 0

        def append(output: Output) -> None:
            nonlocal num_tokens
            buffer, count = output
            if num_tokens + count > tokens.size:
                tokens.resize(3 * (num_tokens + count) // 2, refcheck=False)
            tokens[num_tokens : num_tokens + count] = buffer[:count]
            num_tokens += count
            if len(self._buffers) < MAX_IDLE_BUFFERS:  # fresh memory costs more than filling it
                self._buffers.append(buffer)

        in_parts(bounds, num_threads, encode_part, append)
        tokens.resize(num_tokens, refcheck=False)
        return tokens


def vocab_of(model: BPEModel) -> Vocab:
    """Return a model as the C library takes it."""
    ids, made = model.vocab, model.merge_ids[:, 2]
    if model.rule.is_lossless:
        symbol_ids = np.array([ids[character] for character in BYTE_CHARACTERS], dtype=np.int32)
        of_words: dict[str, Any] = {}
    else:
        # Zeros are not resident until they are touched: of 1.1 million entries only a few pages are.
        symbol_ids = np.zeros(NUM_CODE_POINTS, dtype=np.int32)
        for index, character in enumerate(model.alphabet[:-1]):
            symbol_ids[ord(character)] = index + 1
        byte_base, unknown = ids.get(BYTE_TOKENS[0], -1), ids.get(UNKNOWN_TOKEN, -1)
        of_words = {"end_of_word": ids[END_OF_WORD], "byte_base": byte_base, "unknown": unknown}
    return Vocab(
        compiled_rule(model.rule),
        symbol_ids,
        model.merge_ids,
        model.whole_pieces,
        ids_are_ranks=model.merges_tie or bool(np.all(made[1:] == made[:-1] + 1)),
        checks_pieces=not (model.ignore_merges or model.reaches_all),
        lower_steps=lower_steps() if model.lowers else None,
        **of_words,
    )


@lru_cache(maxsize=1)
def lower_steps() -> npt.NDArray[np.int32]:
    """Return by how much each code point moves when lowered by itself, shape (0x110000,); C knows U+0130 apart."""
    steps = np.zeros(NUM_CODE_POINTS, dtype=np.int32)
    # Surrogates have no case; U+0130 lowers to two characters; a sigma's lower case depends on its neighbours in a str.
    every = np.delete(np.arange(NUM_CODE_POINTS, dtype="<u4"), [0x130, 0x3A3, *range(0xD800, 0xE000)])
    lowered = np.frombuffer(every.tobytes().decode("utf-32-le").lower().encode("utf-32-le"), dtype="<u4")
    changed = every != lowered
    steps[every[changed]] = lowered[changed].astype(np.int32) - every[changed].astype(np.int32)
    steps[0x3A3] = ord("σ") - 0x3A3
    return steps
