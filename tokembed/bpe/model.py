"""What was learned, and its file: the alphabet, and the merges in rank order."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tokembed import files
from tokembed.bpe.splitting import END_OF_WORD

FORMAT, FORMAT_VERSION = "tokembed-bpe", 1
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
UNKNOWN_TOKEN = "<unk>"
MAX_FILE_BYTES = 64 << 20  # a million merges fit; a file is read whole, so its size must have a limit


class ModelFileError(ValueError):
    """A file that is not a tokenizer of ours, or a damaged one; the message names the file and the flaw."""


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
        """Return the model as JSON text, one merge per line."""
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
        if data.get("version") != FORMAT_VERSION:
            raise ValueError(f"version {data.get('version')!r}, but this program reads version {FORMAT_VERSION}")
        alphabet, merges = _checked_vocabulary(data)
        applications = data.get("applications")
        if not isinstance(applications, list) or not all(_is_count(count) for count in applications):
            raise ValueError("applications is not a list of counts")
        if len(applications) != len(merges):
            raise ValueError(f"{len(applications)} applications for {len(merges)} merges")
        for name in ("lowercase", "byte_fallback"):
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
        )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _checked_vocabulary(data: dict[str, Any]) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the alphabet and merges of a model file, or raise `ValueError` naming the first flaw."""
    alphabet, merges = data.get("alphabet"), data.get("merges")
    if not isinstance(alphabet, list) or not alphabet or alphabet[-1] != END_OF_WORD:
        raise ValueError(f"alphabet is not a list that ends in {END_OF_WORD}")
    for character in alphabet[:-1]:
        if not isinstance(character, str) or len(character) != 1 or "\ud800" <= character <= "\udfff":
            raise ValueError(f"alphabet holds {character!r}, no single character")
    if not isinstance(merges, list):
        raise ValueError("merges is not a list")
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
            raise ValueError(f"merge {rank} makes {left + right!r:.40}, which exists already")
        if left.endswith(END_OF_WORD):
            raise ValueError(f"merge {rank} continues after {END_OF_WORD}")
        known.add(left + right)
        pairs.append((left, right))
    return alphabet, pairs
