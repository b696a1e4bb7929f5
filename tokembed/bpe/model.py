"""What was learned, and its file: the alphabet, and the merges in rank order."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tokembed import files
from tokembed.bpe.splitting import BYTE_CHARACTERS, BYTE_OF_CHARACTER, END_OF_WORD, Splitting, bytes_of_all, rule_of

FORMAT = "tokembed-bpe"
WORDS_VERSION, FORMAT_VERSION = 1, 2  # files of the rule "words" are written as they always were
OF_VERSION_2 = ("splitting", "special_tokens", "token_ids", "ignore_merges", "merges_tie", "normalization")
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
UNKNOWN_TOKEN = "<unk>"
MAX_FILE_BYTES = 64 << 20  # a million merges fit; a file is read whole, so its size must have a limit
MAX_IDS = 1 << 21  # which the C library can tell apart


class ModelFileError(ValueError):
    """A file that is not a tokenizer of ours, or a damaged one; the message names the file and the flaw."""


@dataclass(frozen=True, repr=False)
class BPEModel:
    """What was learned: the alphabet, and the merges in rank order.

    Attributes
    ----------
    alphabet : list of str
        Every character seen, by code point, then `</w>`. Under a byte-level rule the 256 bytes, as characters.
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
    splitting : str
        The name of the splitting rule, or a pattern.
    special_tokens : dict
        Texts that stand for one id where they are allowed, and those ids.
    token_ids : dict
        The id of every token, of vocabularies that number theirs otherwise than by alphabet and merges; else empty.
    ignore_merges : bool
        Whether a piece that is a token gets its id even if no merges lead to it.
    merges_tie : bool
        Whether merges that make the same token have one rank, so that the leftmost comes first, as in tiktoken.
    normalization : str
        The Unicode normalization form that text is brought to first, "NFC"; "" for none, as all that is learned here.
    """

    alphabet: list[str]
    merges: list[tuple[str, str]]
    lowercase: bool = True
    byte_fallback: bool = True
    applications: list[int] = field(default_factory=list)
    num_words: int = 0
    num_characters: int = 0
    source: dict[str, Any] = field(default_factory=dict)
    splitting: str = "words"
    special_tokens: dict[str, int] = field(default_factory=dict)
    token_ids: dict[str, int] = field(default_factory=dict)
    ignore_merges: bool = False
    merges_tie: bool = False
    normalization: Literal["", "NFC"] = ""
    #: Whether it is known that merges make every token of its own bytes or characters, as they do where they were learned here.
    reaches_all: bool = field(default=False, compare=False)

    @cached_property
    def rule(self) -> Splitting:
        """The splitting rule."""
        return rule_of(self.splitting)

    def __repr__(self) -> str:
        return f"BPEModel({len(self.tokens):,} tokens, {len(self.merges):,} merges, splitting {self.splitting!r})"

    @property
    def lowers(self) -> bool:
        """Whether text is lowered: no byte-level rule does, whatever `lowercase` says."""
        return self.lowercase and not self.rule.is_lossless

    @cached_property
    def vocab(self) -> dict[str, int]:
        """Token to id, by id: the alphabet, the merges' tokens, then special tokens.

        Before those, under the rule "words", 256 byte tokens (or `<unk>` without byte fallback).
        """
        if self.token_ids:
            ids = dict(sorted(self.token_ids.items(), key=lambda item: item[1]))
        else:
            tokens = [*self.alphabet, *(left + right for left, right in self.merges)]
            if not self.rule.is_lossless:
                tokens += BYTE_TOKENS if self.byte_fallback else [UNKNOWN_TOKEN]
            ids = {token: index for index, token in enumerate(tokens)}
        return ids | dict(sorted(self.special_tokens.items(), key=lambda item: item[1]))

    @cached_property
    def tokens(self) -> list[str]:
        """The token of each id, "" where there is none."""
        tokens = [""] * (max(self.vocab.values(), default=-1) + 1)
        for token, index in self.vocab.items():
            tokens[index] = token
        return tokens

    @cached_property
    def merge_ids(self) -> npt.NDArray[np.int32]:
        """The ids of each merge's halves and of the token that it makes, shape (M, 3)."""
        ids = self.vocab
        return np.array([(ids[left], ids[right], ids[left + right]) for left, right in self.merges], dtype=np.int32).reshape(
            -1, 3
        )

    @cached_property
    def whole_pieces(self) -> dict[bytes, int]:
        """The tokens that can be whole pieces, as the pieces' bytes, and their ids."""
        if self.rule.is_lossless:
            ids = {token: index for token, index in self.vocab.items() if token not in self.special_tokens}
            return dict(zip(bytes_of_all(ids), ids.values(), strict=True))
        words = (token for token in map("".join, self.merges) if token.endswith(END_OF_WORD))
        return {token.removesuffix(END_OF_WORD).encode(): self.vocab[token] for token in words}

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all that decides which ids a text gets; vectors and token ids carry it."""
        deciding = [WORDS_VERSION, self.alphabet, self.merges, self.lowercase, self.byte_fallback]
        if self._version == FORMAT_VERSION:
            deciding += [getattr(self, name) for name in OF_VERSION_2]
        return hashlib.sha256(json.dumps(deciding).encode()).hexdigest()[:32]

    @property
    def _version(self) -> int:
        return FORMAT_VERSION if self.splitting != "words" or self.special_tokens else WORDS_VERSION

    def to_json(self) -> str:
        """Return the model as JSON text, one merge per line."""
        head = {
            "format": FORMAT,
            "version": self._version,
            "lowercase": self.lowercase,
            "byte_fallback": self.byte_fallback,
            "num_words": self.num_words,
            "num_characters": self.num_characters,
            "source": self.source,
            "alphabet": self.alphabet,
            "applications": self.applications,
        }
        if self._version == FORMAT_VERSION:
            head |= {name: getattr(self, name) for name in OF_VERSION_2}
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
            raise ModelFileError(f"{files.display_path(path)} is not a tokenizer file: {error}") from None

    @classmethod
    def from_json(cls, text: str) -> BPEModel:
        """Make a model from what `to_json` gave; raise `ValueError` naming what is wrong."""
        try:
            data = json.loads(text)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise ValueError(f'it does not say "format": "{FORMAT}"')
        version = data.get("version")
        if version not in (WORDS_VERSION, FORMAT_VERSION):
            raise ValueError(f"version {version!r}, but this program reads versions {WORDS_VERSION} to {FORMAT_VERSION}")
        if version == WORDS_VERSION:
            data |= {"splitting": "words", "special_tokens": {}, "token_ids": {}, "normalization": ""}
            data |= {"ignore_merges": False, "merges_tie": False}
        alphabet, merges = _checked_vocabulary(data)
        applications = data.get("applications")
        if not isinstance(applications, list) or not all(_is_count(count) for count in applications):
            raise ValueError("applications is not a list of counts")
        if len(applications) not in (len(merges), 0 if version == FORMAT_VERSION else len(merges)):
            raise ValueError(f"{len(applications)} applications for {len(merges)} merges")
        for name in ("lowercase", "byte_fallback", "ignore_merges", "merges_tie"):
            if not isinstance(data.get(name), bool):
                raise ValueError(f"{name} is {data.get(name)!r}, neither true nor false")
        for name in ("num_words", "num_characters"):
            if not _is_count(data.get(name)):
                raise ValueError(f"{name} is {data.get(name)!r}, no count")
        if not isinstance(data.get("source"), dict):
            raise ValueError("source is not an object")
        return cls(
            alphabet,
            merges,
            lowercase=data["lowercase"],
            byte_fallback=data["byte_fallback"],
            applications=applications,
            num_words=data["num_words"],
            num_characters=data["num_characters"],
            source=data["source"],
            **{name: data[name] for name in OF_VERSION_2},
        )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _checked_vocabulary(data: dict[str, Any]) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the alphabet and merges of a model file, or raise `ValueError` naming the first flaw."""
    alphabet, merges = data.get("alphabet"), data.get("merges")
    if not isinstance(data.get("splitting"), str):
        raise ValueError(f"splitting is {data.get('splitting')!r:.80}, no text")
    is_lossless = data["splitting"] != "words"
    rule_of(data["splitting"])
    if data.get("normalization") not in ("", "NFC"):
        raise ValueError(f"normalization is {data.get('normalization')!r:.80}, neither NFC nor none")
    if not isinstance(alphabet, list) or not all(isinstance(character, str) for character in alphabet):
        raise ValueError("alphabet is not a list of characters")
    if is_lossless:
        if sorted(alphabet) != sorted(BYTE_CHARACTERS):
            raise ValueError("alphabet is not that of the 256 bytes")
    elif not alphabet or alphabet[-1] != END_OF_WORD:
        raise ValueError(f"alphabet is not a list that ends in {END_OF_WORD}")
    for character in alphabet if is_lossless else alphabet[:-1]:
        if len(character) != 1 or "\ud800" <= character <= "\udfff":
            raise ValueError(f"alphabet holds {character!r}, no single character")
    if not isinstance(merges, list):
        raise ValueError("merges is not a list")
    if len({*alphabet}) < len(alphabet):
        raise ValueError("alphabet holds a character twice")
    token_ids = data.get("token_ids")
    known = {*alphabet, *(token_ids if isinstance(token_ids, dict) else ())}  # with ids of their own tokens come in any order
    reserved = set() if is_lossless else {*BYTE_TOKENS, UNKNOWN_TOKEN}
    pairs: list[tuple[str, str]] = []
    for rank, merge in enumerate(merges):
        if not isinstance(merge, list) or len(merge) != 2 or not all(isinstance(part, str) for part in merge):
            raise ValueError(f"merge {rank} is {merge!r:.80}, no pair of tokens")
        left, right = merge
        if left not in known or right not in known:
            raise ValueError(f"merge {rank} joins {left!r:.40} and {right!r:.40}, not both known by then")
        if (left + right in known and not token_ids) or left + right in reserved:
            raise ValueError(f"merge {rank} makes {left + right!r:.40}, which exists already")
        if left.endswith(END_OF_WORD) and not is_lossless:
            raise ValueError(f"merge {rank} continues after {END_OF_WORD}")
        known.add(left + right)
        pairs.append((left, right))
    if len({*pairs}) < len(pairs) or len(pairs) > MAX_IDS:
        raise ValueError(f"a merge is there twice, or more than {MAX_IDS:,} are")
    _check_ids(data, known)
    return alphabet, pairs


def _check_ids(data: dict[str, Any], tokens: set[str]) -> None:
    """Raise `ValueError` if ids that a model file gives are unusable."""
    for name in ("token_ids", "special_tokens"):
        ids = data.get(name)
        if not isinstance(ids, dict) or not all(_is_count(index) and index < MAX_IDS for index in ids.values()):
            raise ValueError(f"{name} is not an object of ids below {MAX_IDS:,}")
    token_ids, special_tokens = data["token_ids"], data["special_tokens"]
    if unwritable := [token for token in special_tokens if any("\ud800" <= character <= "\udfff" for character in token)]:
        raise ValueError(f"special_tokens holds {unwritable[0]!r:.40}, which is not valid Unicode")
    if token_ids:
        if not tokens <= token_ids.keys():
            raise ValueError(f"token_ids lacks {min(tokens - token_ids.keys())!r:.40}")
        if not all(BYTE_OF_CHARACTER.keys() >= {*token} for token in token_ids):
            raise ValueError("token_ids holds a token that is not made of bytes")
    taken = list(token_ids.values()) or list(range(len(tokens)))
    if len({*taken, *special_tokens.values()}) < len(taken) + len(special_tokens) or "" in special_tokens:
        raise ValueError("two tokens have one id, or a special token has no text")
    if doubled := special_tokens.keys() & (token_ids.keys() or tokens):
        raise ValueError(f"{min(doubled)!r:.40} is a token and a special one")
