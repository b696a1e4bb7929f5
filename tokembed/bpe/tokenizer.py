"""Apply learned merges: text to token ids and back."""

from __future__ import annotations

import itertools
import operator
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from tokembed import files, native
from tokembed.bpe.model import BYTE_TOKENS, BPEModel
from tokembed.bpe.offsets import byte_spans, word_spans
from tokembed.bpe.splitting import END_OF_WORD, bytes_of, decode_octets, utf8
from tokembed.bpe.word_encoder import WordEncoder

if TYPE_CHECKING:
    from tokembed.bpe.whole_texts import BulkEncoder

MAX_CACHED_LENGTH = 1000  # a longer word is unlikely to come back, and would make the cache's memory unbounded

AllowedSpecial = Iterable[str] | Literal["all"]

_BYTE_OF_TOKEN = {token: byte for byte, token in enumerate(BYTE_TOKENS)}


class BPETokenizerLoader:
    """Encode text with learned merges, and decode ids.

    Parameters
    ----------
    path_or_model : path or BPEModel
        What `BPEModel.save` wrote, or the model itself.
    cache_size : int
        How many distinct words `tokenize_word` remembers.
    max_table_bytes : int
        How much memory each thread's table of pieces may take in `encode_array` and for batches. A text with more distinct
        pieces than it holds is encoded more slowly, for a full table is emptied.

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

    def __init__(
        self, path_or_model: str | os.PathLike[str] | BPEModel, cache_size: int = 100_000, max_table_bytes: int = 1 << 26
    ) -> None:
        for name, value in (("cache_size", cache_size), ("max_table_bytes", max_table_bytes)):
            if value < 0:
                raise ValueError(f"{name} must be 0 or more, not {value}")
        self.model = path_or_model if isinstance(path_or_model, BPEModel) else BPEModel.load(path_or_model)
        self.cache_size, self.max_table_bytes = cache_size, max_table_bytes
        self.merges = self.model.merges
        self.token_to_id = self.model.vocab
        self.id_to_token = self.model.tokens
        self.rule = self.model.rule
        self._word_encoder = WordEncoder(self.model)
        #: `tokenize_word(word)`: the tokens of one word (one piece of text), remembered for `cache_size` distinct words.
        # It must not refer to this object: in a cycle it, and its tables of pieces, would outlive its use.
        self.tokenize_word = lru_cache(maxsize=cache_size)(self._word_encoder)

    def __repr__(self) -> str:
        return f"BPETokenizerLoader({self.model!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.model, self.cache_size, self.max_table_bytes)

    @property
    def vocab_size(self) -> int:
        """The number of ids: alphabet, merges, and byte tokens (or `<unk>`)."""
        return len(self.id_to_token)

    @cached_property
    def merge_ranks(self) -> dict[tuple[str, str], int]:
        """(left, right) to rank."""
        return self._word_encoder.merge_ranks

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

    def export_huggingface(self, path: str | os.PathLike[str], special_tokens: Iterable[str] = ()) -> None:
        r"""Write a `tokenizer.json` that Hugging Face's `tokenizers` loads and that gives the same ids, offsets and text.

        Notes
        -----
        Further `special_tokens`, as "<pad>", get the ids behind the vocabulary: transformers needs one to pad a batch.
        Known differences: code points that two versions of Unicode classify or lower differently and, under the rule "words",
        text that holds the marker U+10FFFD, which stands for `</w>` there. Tokens of a rank file that merges do not reach
        are merged there in another order now and then, since no two merges can have one rank.
        """
        from tokembed.bpe.huggingface import tokenizer_json

        files.write_atomic(path, tokenizer_json(self.model, special_tokens))

    def export_tiktoken(self, path: str | os.PathLike[str]) -> None:
        """Write a rank file that tiktoken loads; with the pattern and the special tokens it gives the same ids.

        Those are not in the file. In tiktoken it becomes
        `Encoding(name, pat_str=tokenizer.pattern, mergeable_ranks=load_tiktoken_bpe(path), special_tokens=...)`.

        Raises
        ------
        ValueError
            The splitting rule is "words", which is not one of bytes, or ids do not follow the order of the merges.
        """
        from tokembed.bpe.tiktoken import rank_file

        files.write_atomic(path, rank_file(self.model))

    @classmethod
    def from_tiktoken(
        cls,
        path: str | os.PathLike[str],
        splitting: str | None = None,
        special_tokens: Mapping[str, int] | None = None,
        cache_size: int = 100_000,
    ) -> BPETokenizerLoader:
        """Load a vocabulary from a rank file of tiktoken's.

        Parameters
        ----------
        path : path or str
            The file, or the name of a published one: "r50k_base" (GPT-2), "cl100k_base" (GPT-4), "o200k_base" (GPT-4o). That is
            looked for where corpora are, else downloaded once, and checked by its SHA-256.
        splitting : str, optional
            How text is split: a rule's name or a pattern. A rank file does not say; published ones are known by their SHA-256.
        special_tokens : mapping, optional
            Special tokens and their ids; those of published files are known.

        Raises
        ------
        ModelFileError, VocabularyNotFoundError
            The file is no rank file (the message names the line), or there is neither such a file nor such a published one.
        ValueError
            It is none of the published ones and `splitting` is not given.

        Notes
        -----
        Ids are those of tiktoken's `encode_ordinary`, for code points that this `regex` package's version of Unicode and
        tiktoken's know alike; what a pattern of one's own leaves out has ids here and is dropped there.
        """
        from tokembed.bpe.tiktoken import load_ranks

        return cls(load_ranks(path, splitting, special_tokens), cache_size)

    @classmethod
    def from_huggingface(cls, path: str | os.PathLike[str], cache_size: int = 100_000) -> BPETokenizerLoader:
        """Load a `tokenizer.json` of byte-level BPE, as GPT-2's, Llama 3's and Qwen's are.

        Ids are those of `encode(text, add_special_tokens=False)` there, untruncated, special and other added tokens being text
        unless allowed.

        Raises
        ------
        ModelFileError
            The file is none, or asks for what can't be honoured; the message names it.
        """
        from tokembed.bpe.huggingface import load_tokenizer_json

        return cls(load_tokenizer_json(path), cache_size)

    @property
    def pattern(self) -> str:
        """The regular expression that finds pieces: for `re` under the rule "words", else for the `regex` package."""
        return self.rule.pattern

    @cached_property
    def _bulk(self) -> BulkEncoder | None:
        """The C library's encoder; None for a custom pattern, or without the library."""
        if not self.rule.family or native.library() is None:
            return None
        from tokembed.bpe.whole_texts import BulkEncoder

        return BulkEncoder(self.model, self.max_table_bytes)

    # ------------------------------------------------------------ encoding

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text."""
        text = self._prepared(text)
        tokenize = self._tokenize_for(text)
        return [token for piece in self.rule.pieces(text) for token in tokenize(piece)]

    def encode(self, text: str, *, allowed_special: AllowedSpecial = ()) -> list[int]:
        """Return the token ids of a text; O(characters), each distinct word merged once while the cache holds it.

        Parameters
        ----------
        text : str
        allowed_special : set of str or "all"
            Special tokens that get their ids where their texts stand. The others are text as any other.

        Raises
        ------
        ValueError
            The text holds a lone surrogate; the message names its position. Or a special token that is not one.
        """
        if allowed_special:
            return [*itertools.chain.from_iterable(self._encode_around(text, allowed_special, self.encode))]
        text = self._prepared(text)
        tokenize, token_to_id = self._tokenize_for(text), self.token_to_id
        return [token_to_id[token] for piece in self.rule.pieces(text) for token in tokenize(piece)]

    def encode_array(
        self, text: str, num_threads: int | None = None, *, allowed_special: AllowedSpecial = ()
    ) -> npt.NDArray[np.int32]:
        """Return the token ids of a text as an array, shape (number of tokens,), by the C library.

        The ids are those of `encode`; large texts are encoded on `num_threads` threads (default: one per core). Pieces seen in
        earlier calls are remembered, in `max_table_bytes` per thread. A pattern of one's own as splitting rule is not compiled:
        this then is `encode`.

        Raises
        ------
        ValueError
            The text holds a lone surrogate; the message names its position. Or a special token that is not one.
        """
        if allowed_special:
            return np.concatenate([*self._encode_around(text, allowed_special, self.encode_array)]).astype(np.int32)
        if self._bulk is None:
            return np.array(self.encode(text), dtype=np.int32)
        return self._bulk.encode(self._prepared(text) if self.model.normalization else text, num_threads)

    def encode_batch(self, texts: Iterable[str]) -> list[list[int]]:
        """Return the token ids of each text."""
        ids, offsets = self.encode_batch_array(texts)
        flat, bounds = ids.tolist(), offsets.tolist()
        return [flat[start:end] for start, end in itertools.pairwise(bounds)]

    def encode_batch_array(
        self, texts: Iterable[str], num_threads: int | None = None
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return the token ids of all texts in one array, and where each text's begin and the last one's end, shape (N + 1,).

        >>> from tokembed import train_bpe
        >>> tokenizer = BPETokenizerLoader(train_bpe("low low low lower lowest", num_merges=3))
        >>> ids, offsets = tokenizer.encode_batch_array(["low", "", "lower low"])
        >>> ids[offsets[2] : offsets[3]].tolist() == tokenizer.encode("lower low")
        True
        """
        if isinstance(texts, str):
            raise TypeError("texts must be several texts, not a str")
        if self._bulk is not None:
            return self._bulk.encode_batch(map(self._prepared, texts) if self.model.normalization else texts, num_threads)
        encoded = [self.encode(text) for text in texts]
        return np.array([*itertools.chain(*encoded)], dtype=np.int32), np.cumsum([0, *map(len, encoded)])

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the token ids and, for each, its span of characters (start, end) in `text`.

        A lone `</w>` has the span of the character before it; the byte tokens of one character share its span, and so do the
        tokens of a byte-level rule that hold a part of its bytes.

        >>> from tokembed import train_bpe
        >>> tokenizer = BPETokenizerLoader(train_bpe("low low low lower lowest", num_merges=3))
        >>> tokenizer.encode_with_offsets(" Low lo")[1]
        [(1, 4), (5, 7), (6, 7)]
        """
        if self._prepared(text) != text:
            raise ValueError(f"text is not in the form {self.model.normalization}, to which this vocabulary brings it first")
        tokenize, token_to_id = self._tokenize_for(text), self.token_to_id
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        for start, end in self.rule.find(text):
            tokens = tokenize(piece := text[start:end])
            ids += [token_to_id[token] for token in tokens]
            if self.rule.is_lossless:
                offsets += byte_spans(tokens, piece, start)
            else:
                offsets += word_spans(tokens, piece, start, self.model.lowercase)
        return ids, offsets

    def _prepared(self, text: str) -> str:
        """Return the text as it is to be split; refuse a surrogate."""
        utf8(text)
        return unicodedata.normalize(self.model.normalization, text) if self.model.normalization else text

    def _tokenize_for(self, text: str) -> Any:
        """Return the way to tokenize the pieces of `text`: the cached one, unless a piece may be too long for it."""
        if len(text) <= MAX_CACHED_LENGTH:
            return self.tokenize_word
        cached, uncached = self.tokenize_word, self._word_encoder
        return lambda piece: cached(piece) if len(piece) <= MAX_CACHED_LENGTH else uncached(piece)

    def _encode_around(self, text: str, allowed: AllowedSpecial, encode: Callable[[str], Any]) -> Iterator[Any]:
        """Cut a text around the special tokens that are allowed, the longest where several fit; yield the ids of each part."""
        utf8(text)  # refuses surrogates
        special = self.model.special_tokens
        names = special.keys() if allowed == "all" else set(allowed)
        if unknown := sorted(names - special.keys()):
            raise ValueError(
                f"allowed_special names {unknown[0]!r}, which is no special token of this vocabulary: "
                f"it has {', '.join(special) or 'none'}"
            )
        pattern = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
        for i, part in enumerate(re.split(f"({pattern})", text) if names else [text]):
            yield [special[part]] if i % 2 else encode(part)  # the texts between them are first, third, ...

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
        numbers = self._checked(ids)
        if self.rule.is_lossless:
            return b"".join([self._bytes_of_ids[number] for number in numbers]).decode("utf-8", errors="replace")
        parts: list[str] = []
        run = bytearray()  # of byte tokens
        for number in numbers:
            byte = _BYTE_OF_TOKEN.get(self.id_to_token[number])
            if byte is not None:
                run.append(byte)
                continue
            if run:
                parts.append(decode_octets(run))
                run = bytearray()
            parts.append(self._text_of_token[number])
        parts.append(decode_octets(run))
        return "".join(parts).removesuffix(" ")

    def decode_bytes(self, ids: Sequence[int] | npt.NDArray[np.integer[Any]]) -> bytes:
        """Return the bytes of token ids, which may end within a character; under the rule "words" the UTF-8 of their text.

        Raises as `decode` does.
        """
        if not self.rule.is_lossless:
            return self.decode(ids).encode()
        return b"".join([self._bytes_of_ids[number] for number in self._checked(ids)])

    def readable(self, token: str) -> str:
        """Return a token as people read it: its text, and by their numbers the bytes that are none; a final `</w>` stays.

        >>> from tokembed import train_bpe
        >>> tokenizer = BPETokenizerLoader(train_bpe(" the cat, the dog", num_merges=5, splitting="gpt2"))
        >>> [tokenizer.readable(token) for token in tokenizer.tokenize("the dog")]
        ['the', ' ', 'd', 'o', 'g']
        """
        if not self.rule.is_lossless or token in self.model.special_tokens:
            return token
        text = bytes_of(token).decode("utf-8", errors="surrogateescape")
        return re.sub("[\udc80-\udcff]", lambda lone: f"<0x{ord(lone[0]) - 0xDC00:02X}>", text)

    def _checked(self, ids: Sequence[int] | npt.NDArray[np.integer[Any]]) -> list[int]:
        numbers = [operator.index(number) for number in (ids.tolist() if isinstance(ids, np.ndarray) else ids)]
        for place, number in enumerate(numbers):
            if not 0 <= number < self.vocab_size:
                raise ValueError(f"id {number} at place {place} is outside the vocabulary of {self.vocab_size} tokens")
            if not self.id_to_token[number]:
                raise ValueError(f"id {number} at place {place} stands for no token of this vocabulary")
        return numbers

    @cached_property
    def _text_of_token(self) -> list[str]:
        return [token.removesuffix(END_OF_WORD) + " " * token.endswith(END_OF_WORD) for token in self.id_to_token]

    @cached_property
    def _bytes_of_ids(self) -> list[bytes]:
        special = self.model.special_tokens
        return [token.encode() if token in special else bytes_of(token) for token in self.id_to_token]
