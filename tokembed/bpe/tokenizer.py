"""Apply learned merges: text to token ids and back."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tokembed import files
from tokembed.bpe.model import BYTE_TOKENS, UNKNOWN_TOKEN, BPEModel
from tokembed.bpe.splitting import END_OF_WORD, PIECE_PATTERN, check_no_surrogate, lower
from tokembed.bpe.word_encoder import WordEncoder

if TYPE_CHECKING:
    from tokembed.bpe.whole_texts import BulkEncoder

MAX_CACHED_LENGTH = 1000  # a longer word is unlikely to come back, and would make the cache's memory unbounded

_BYTE_OF_TOKEN = {token: byte for byte, token in enumerate(BYTE_TOKENS)}


class BPETokenizerLoader:
    """Encode text with learned merges, and decode ids.

    Parameters
    ----------
    path_or_model : path or BPEModel
        What `BPEModel.save` wrote, or the model itself.
    cache_size : int
        How many distinct words `tokenize_word` remembers.

    Attributes
    ----------
    merges : list of (str, str)
        In rank order.
    merge_ranks : dict
        (left, right) to rank.
    token_to_id, id_to_token : dict, list
        The vocabulary, both ways.

    Examples
    --------
    >>> from tokembed import train_bpe
    >>> tokenizer = BPETokenizerLoader(train_bpe("low low low lower lowest", num_merges=3))
    >>> tokenizer.tokenize("Lowest low")
    ['low', 'e', 's', 't', '</w>', 'low</w>']
    >>> tokenizer.decode(tokenizer.encode("Lowest, low é"))
    'lowest , low é'
    """

    def __init__(self, path_or_model: str | os.PathLike[str] | BPEModel, cache_size: int = 100_000) -> None:
        if cache_size < 0:
            raise ValueError(f"cache_size must be 0 or more words, not {cache_size}")
        self.model = path_or_model if isinstance(path_or_model, BPEModel) else BPEModel.load(path_or_model)
        self.cache_size = cache_size
        self.merges = self.model.merges
        self.merge_ranks = {pair: rank for rank, pair in enumerate(self.merges)}
        self.token_to_id = self.model.vocab
        self.id_to_token = list(self.token_to_id)
        self._text_of_token = [_text_of(token) for token in self.id_to_token]
        self._word_encoder = WordEncoder(self.model, self.merge_ranks)
        #: `tokenize_word(word)`: the tokens of one word (one piece of text), remembered for `cache_size` distinct words.
        # It must not refer to this object: in a cycle it, and 16 MB of word tables per thread, would outlive its use.
        self.tokenize_word = lru_cache(maxsize=cache_size)(self._word_encoder)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.model, self.cache_size)

    @property
    def vocab_size(self) -> int:
        """The number of ids: alphabet, merges, and byte tokens (or `<unk>`)."""
        return len(self.id_to_token)

    @cached_property
    def parts(self) -> dict[str, tuple[str, str]]:
        """The pair of tokens that each merged token was made from."""
        return {left + right: (left, right) for left, right in self.merges}

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides which ids a text gets."""
        return self.model.fingerprint

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model as JSON, in one step."""
        self.model.save(path)

    def export_huggingface(self, path: str | os.PathLike[str]) -> None:
        r"""Write a `tokenizer.json` that Hugging Face's `tokenizers` loads and that gives the same ids, offsets and text.

        Notes
        -----
        Known differences: code points that this Python's Unicode version and theirs classify or lower differently, and
        text that holds the marker U+10FFFD, which stands for `</w>` there.
        """
        from tokembed.bpe.huggingface import tokenizer_json

        files.write_atomic(path, tokenizer_json(self.model))

    @cached_property
    def _bulk(self) -> BulkEncoder:
        from tokembed.bpe.whole_texts import BulkEncoder

        model, ids = self.model, self.token_to_id
        merges = np.array([(ids[left], ids[right]) for left, right in model.merges], dtype=np.int32).reshape(-1, 2)
        return BulkEncoder(
            model.alphabet,
            merges,
            lowercase=model.lowercase,
            byte_base=ids[BYTE_TOKENS[0]] if model.byte_fallback else -1,
            unknown=-1 if model.byte_fallback else ids[UNKNOWN_TOKEN],
        )

    # ------------------------------------------------------------ encoding

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text."""
        check_no_surrogate(text)
        tokenize = self._tokenize_for(text)
        return [token for piece in PIECE_PATTERN.findall(text) for token in tokenize(piece)]

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text; O(characters), each distinct word merged once while the cache holds it.

        Raises
        ------
        ValueError
            The text holds a lone surrogate; the message names its position.
        """
        check_no_surrogate(text)
        tokenize, token_to_id = self._tokenize_for(text), self.token_to_id
        return [token_to_id[token] for piece in PIECE_PATTERN.findall(text) for token in tokenize(piece)]

    def encode_array(self, text: str, num_threads: int | None = None) -> npt.NDArray[np.int32]:
        """Return the token ids of a text as an array, shape (number of tokens,), by the compiled encoder.

        The ids are those of `encode`; large texts are encoded on `num_threads` threads (default: one per core). Words seen in
        earlier calls are remembered, in at most about 16 MB per thread.

        Raises
        ------
        ValueError
            The text holds a lone surrogate; the message names its position.
        """
        return self._bulk.encode(text, num_threads)

    def encode_batch(self, texts: Iterable[str]) -> list[list[int]]:
        """Return the token ids of each text."""
        return [self.encode(text) for text in texts]

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the token ids and, for each, its span of characters (start, end) in `text`.

        A lone `</w>` has the span of the character before it; the byte tokens of one character share its span.

        >>> from tokembed import train_bpe
        >>> tokenizer = BPETokenizerLoader(train_bpe("low low low lower lowest", num_merges=3))
        >>> tokenizer.encode_with_offsets(" Low lo")[1]
        [(1, 4), (5, 7), (6, 7)]
        """
        check_no_surrogate(text)
        tokenize, token_to_id = self._tokenize_for(text), self.token_to_id
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        for match in PIECE_PATTERN.finditer(text):
            tokens = tokenize(match[0])
            ids += [token_to_id[token] for token in tokens]
            offsets += _spans(tokens, match[0], match.start(), self.model.lowercase)
        return ids, offsets

    def _tokenize_for(self, text: str) -> Any:
        """Return the way to tokenize the pieces of `text`: the cached one, unless a piece may be too long for it."""
        if len(text) <= MAX_CACHED_LENGTH:
            return self.tokenize_word
        cached, uncached = self.tokenize_word, self._word_encoder
        return lambda piece: cached(piece) if len(piece) <= MAX_CACHED_LENGTH else uncached(piece)

    # ------------------------------------------------------------ decoding

    def decode(self, ids: Sequence[int] | npt.NDArray[np.integer[Any]]) -> str:
        """Return the text of token ids: pieces joined by single spaces, lower-cased if the model lowers.

        A run of byte tokens that is not valid UTF-8 gives one U+FFFD for each byte.

        Raises
        ------
        ValueError
            An id outside the vocabulary; the message names its place.
        TypeError
            An id that is not an integer.
        """
        numbers = [operator.index(number) for number in (ids.tolist() if isinstance(ids, np.ndarray) else ids)]
        for place, number in enumerate(numbers):
            if not 0 <= number < self.vocab_size:
                raise ValueError(f"id {number} at place {place} is outside the vocabulary of {self.vocab_size} tokens")
        parts: list[str] = []
        run = bytearray()  # of byte tokens
        for number in numbers:
            byte = _BYTE_OF_TOKEN.get(self.id_to_token[number])
            if byte is not None:
                run.append(byte)
                continue
            if run:
                parts.append(_decode_run(run))
                run = bytearray()
            parts.append(self._text_of_token[number])
        parts.append(_decode_run(run))
        return "".join(parts).removesuffix(" ")


def _text_of(token: str) -> str:
    return token.removesuffix(END_OF_WORD) + " " if token.endswith(END_OF_WORD) else token


def _decode_run(run: bytearray) -> str:
    try:
        return run.decode("utf-8")
    except UnicodeDecodeError:
        return "\ufffd" * len(run)


def _spans(tokens: tuple[str, ...], piece: str, start: int, lowercase: bool) -> list[tuple[int, int]]:
    """Return the span of each token of one piece that begins at `start`."""
    # A character may lower to several (U+0130 does): each of those stands for the one it came from.
    origin = [place for place, character in enumerate(piece) for _ in (character.lower() if lowercase else character)]
    characters = lower(piece) if lowercase else piece
    spans = []
    position = bytes_left = 0
    for token in tokens:
        if token in _BYTE_OF_TOKEN:
            if bytes_left == 0:
                bytes_left = len(characters[position].encode("utf-8"))
                position += 1
            bytes_left -= 1
            length, end = 1, position
        elif token == UNKNOWN_TOKEN:
            length, position = 1, position + 1
            end = position
        else:
            length = len(token.removesuffix(END_OF_WORD))
            position += length
            end = position
        first, last = end - max(length, 1), end - 1
        spans.append((start + origin[first], start + origin[last] + 1))
    return spans
