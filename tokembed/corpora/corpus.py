"""A text with a name: read whole or in parts, with a fingerprint; and what makes bytes a text."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import itertools
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO, cast

READ_BYTES = 1 << 20
_SPACE = re.compile(r"\s")
MAX_PIECE_CHARACTERS = 1 << 28  # without white space: what is cut there must fit into memory


class CorpusError(ValueError):
    """A corpus that can't be had or is not text; the message says what to do."""


class CorpusNotFoundError(CorpusError, FileNotFoundError):
    """A corpus whose file is not there."""


class UnreachableCorpusError(CorpusNotFoundError):
    """A corpus that had to be downloaded, and could not be."""


class TokenizerFileError(CorpusError):
    """A file of merges where a text was to be."""


@dataclass(frozen=True)
class Corpus:
    """A text with its name and where it came from.

    Attributes
    ----------
    name : str
        The name or path that `load_corpus` was given.
    path : Path or None
        The file behind the text; None for `pydocs`.
    text : str
        The whole cleaned text, read at first use and kept.
    """

    name: str
    path: Path | None
    _read: Callable[[], Iterator[str]] = field(repr=False)
    _state: State | None = field(default=None, repr=False)  # of a file that is read again each time: see `state_of`

    @cached_property
    def text(self) -> str:
        return "".join(self._read())

    @cached_property
    def _digest(self) -> tuple[str, int]:
        digest, num_characters = hashlib.sha256(), 0
        for part in self.chunks():
            digest.update(part.encode("utf-8", "surrogatepass"))
            num_characters += len(part)
        return digest.hexdigest()[:32], num_characters

    @property
    def fingerprint(self) -> str:
        """A hash of the text, computed in one pass over its parts."""
        return self._digest[0]

    @property
    def num_characters(self) -> int:
        """The text's length, counted in the same pass."""
        return self._digest[1]

    def chunks(self, size: int = READ_BYTES) -> Iterator[str]:
        """Yield the text in parts of about `size` characters, cut at white space, so that no piece is cut.

        A file larger than memory is streamed: one part at a time is held. If it has changed since `load_corpus`, the end is a
        `CorpusError`.
        """
        if size < 1:
            raise ValueError(f"size must be at least 1 character, not {size}")
        held: list[str] = []
        num_held = 0
        for part in self._read() if "text" not in self.__dict__ else iter([self.text]):
            start = 0
            while num_held + len(part) - start >= size:
                # The cut lies at the first white space from `size` on, so a long word stays whole.
                space = _SPACE.search(part, start + max(size - num_held, 0))
                if space is None:
                    break
                yield "".join([*held, part[start : space.start()]])
                held, num_held, start = [], 0, space.start()
            held.append(part[start:])
            num_held += len(part) - start
            if num_held > size + MAX_PIECE_CHARACTERS:
                raise CorpusError(f"{self.name}: {num_held:,} characters without white space are not text to learn from")
        if num_held:
            yield "".join(held)
        if self.path and self._state not in (None, state_of(self.path)):
            raise CorpusError(f"{self.name} has changed while it was read: run this again")


State = tuple[int, int, int]


def state_of(path: Path) -> State:
    """Return what changes when a file does: its size, when it was last written, and when anything of it changed (nanoseconds).

    The last one is what a program that sets the time of writing back, as `cp -p` does, cannot set.
    """
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def stream_text(path: Path) -> Iterator[str]:
    """Yield a file's text in parts, without byte order mark; one part at a time is in memory."""
    with _open_unpacked(path) as file:
        try:
            yield from _decoded(iter(partial(_read_block, file), b""), str(path))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise CorpusError(f"{path} is not a complete gzip file: {error}") from error
        except OSError as error:  # pyarrow's, which have no number
            if path.suffix != ".zst" or error.errno:
                raise
            raise CorpusError(f"{path} is not a complete zstd file: {error}") from error


def _read_block(file: Any) -> bytes:
    if hasattr(file, "read_buffer"):  # pyarrow's own `read` keeps the memory of a block that it fails to unpack
        return bytes(file.read_buffer(READ_BYTES).to_pybytes())
    return bytes(file.read(READ_BYTES))


def _open_unpacked(path: Path) -> BinaryIO:
    if path.suffix == ".zst":
        import pyarrow

        return cast(BinaryIO, pyarrow.input_stream(str(path), compression="zstd"))
    return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else open(path, "rb")


def decode_text(data: bytes, source: str) -> str:
    """Decode UTF-8, with or without a byte order mark; raise `CorpusError` naming `source` and the byte that is wrong."""
    return "".join(_decoded([data], source))


def _decoded(blocks: Iterable[bytes], source: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    num_bytes = 0
    for data in itertools.chain(blocks, [b""]):
        nul = data.find(0)
        if nul >= 0:
            raise CorpusError(f"{source} is not text: a NUL byte at byte {num_bytes + nul} (a binary file, or UTF-16?)")
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            wrong = num_bytes - pending + error.start
            raise CorpusError(
                f"{source} is not UTF-8: invalid at byte {wrong}. Convert it, e.g. `iconv -f latin1 -t UTF-8`"
            ) from None
        yield text.removeprefix("\ufeff") if num_bytes == 0 else text
        num_bytes += len(data)
