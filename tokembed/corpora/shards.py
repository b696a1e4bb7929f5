"""A corpus in shards: files of a folder or a glob, or those of a dataset on the Hugging Face hub.

Shards are read in the order of their names, and each holds one document (text) or many (a row each). Documents are
independent: no piece of text crosses from one into the next. Text is read by `corpus.stream_text`, which keeps line ends and
names the byte that is wrong; all else is streamed by `datasets`.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import itertools
import json
import os
import socket
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tokembed.corpora.corpus import (
    READ_BYTES,
    Corpus,
    CorpusError,
    CorpusNotFoundError,
    State,
    UnreachableCorpusError,
    state_of,
    stream_text,
)

TEXT_KINDS = (".txt", ".txt.gz", ".txt.zst")
ROW_KINDS = {".jsonl": "json", ".parquet": "parquet"}  # and what `datasets` calls them
KINDS = (*TEXT_KINDS, *ROW_KINDS)
KINDS_IN_WORDS = f"{', '.join(KINDS[:-1])} or {KINDS[-1]}"
DEFAULT_FIELD = "text"
ROWS_AT_A_TIME = 1000
PART_CHARACTERS = 16 << 20  # of text that is counted, encoded and hashed at a time
_END_OF_CHUNK = b"\xff"  # in no UTF-8


@dataclass(frozen=True)
class FileShard:
    """A file of a corpus: `name` is its path below the corpus' folder, `text_field` the text's in a row."""

    name: str
    path: Path
    text_field: str

    @property
    def num_bytes(self) -> int:
        """The file's size, packed as it is."""
        return self.path.stat().st_size

    @cached_property
    def state(self) -> State:
        """What changes when the shard does (see `state_of`), as it was when first asked for."""
        return state_of(self.path)

    def chunks(self, size: int = READ_BYTES) -> Iterator[str]:
        """Yield each document, or parts of about `size` characters of it (see `Corpus.chunks`).

        What can't be read is a `CorpusError` that names the file, and the line of a row.
        """
        if self.path.suffix not in ROW_KINDS:
            yield from Corpus(str(self.path), self.path, lambda: stream_text(self.path), self.state).chunks(size)
            return
        state = self.state
        yield from _chunks_of_rows(self._rows(), size)
        if state != state_of(self.path):
            raise CorpusError(f"{self.path} has changed while it was read: run this again")

    def _rows(self) -> Iterator[str]:
        if not self.num_bytes:
            return
        datasets, kind = import_datasets(), ROW_KINDS[self.path.suffix]
        options = {"columns": [self.text_field]} if kind == "parquet" else {}
        try:
            files = [glob.escape(str(self.path))]
            rows = datasets.load_dataset(kind, data_files=files, split="train", streaming=True, **options)
            yield from _texts(rows, self.text_field)
        except Exception as error:  # whatever pyarrow, pandas and `datasets` raise: their errors share no base class
            wrong = (_wrong_line if kind == "json" else _missing_field)(self.path, self.text_field)
            raise CorpusError(f"{self.path}{wrong or f': {_first_line(error)}'}") from error


@dataclass(frozen=True)
class HubShard:
    """One of the `num_shards` parts of a dataset on the hub; `source` are `load_dataset`'s arguments."""

    source: tuple[str, ...]
    split: str
    text_field: str
    index: int = 0
    num_shards: int = 1
    num_bytes: int = 0  # not known
    state: State = (0, 0, 0)  # nor this: the hub's datasets stay as they are

    @property
    def name(self) -> str:
        """The dataset's, and the shard's number."""
        return f"{'/'.join(self.source)}-{self.split}-{self.index:05}"

    def chunks(self, size: int = READ_BYTES) -> Iterator[str]:
        """Yield each document, or parts of about `size` characters of it."""
        with _translate_hub_errors(self.name):
            rows = import_datasets().load_dataset(*self.source, split=self.split, streaming=True)
            if self.num_shards > 1:
                rows = rows.shard(self.num_shards, self.index)
            yield from _chunks_of_rows(_texts(rows, self.text_field), size)


Shard = FileShard | HubShard


@dataclass(frozen=True)
class ShardDigest:
    """What a pass over a shard's text finds: a hash, and its length."""

    sha256: str
    num_characters: int


@dataclass(frozen=True)
class ShardedCorpus(Corpus):
    """A corpus of many documents, in shards.

    Attributes
    ----------
    shards : tuple of Shard
        In the order in which they are read.
    """

    shards: tuple[Shard, ...] = field(default=(), repr=False)

    @cached_property
    def text(self) -> str:
        """All documents, a line end between them."""
        return "\n".join(self.chunks(1 << 62))

    @cached_property
    def digests(self) -> dict[str, ShardDigest]:
        """Each shard's name and digest, found in one pass."""
        return {shard.name: digest_of(chunks) for shard, chunks in self._each_shard(PART_CHARACTERS)}

    def know(self, digests: dict[str, ShardDigest]) -> None:
        """Take digests that others have found, so that the text need not be read for them."""
        vars(self)["digests"] = digests

    @cached_property
    def _digest(self) -> tuple[str, int]:
        return corpus_digest(self.digests)

    def chunks(self, size: int = READ_BYTES) -> Iterator[str]:
        """Yield each document, or parts of about `size` characters of it, cut at white space."""
        for _, chunks in self._each_shard(size):
            yield from chunks

    def _each_shard(self, size: int = READ_BYTES) -> Iterator[tuple[Shard, Iterator[str]]]:
        """Yield the shards and their texts, behind a bar of bytes."""
        sizes = [shard.num_bytes for shard in self.shards]
        total, unit = (sum(sizes), "B") if any(sizes) else (len(sizes), " shards")
        with tqdm(total=total, unit=unit, unit_scale=True, desc="reading", disable=None, leave=False) as bar:
            for shard, num_bytes in zip(self.shards, sizes, strict=True):
                bar.set_postfix_str(shard.name, refresh=False)
                yield shard, shard.chunks(size)
                bar.update(num_bytes or int(unit != "B"))


class RunningDigest:
    """The digest of a shard whose text goes by, in chunks of `PART_CHARACTERS`."""

    def __init__(self) -> None:
        self._hash, self._num_characters = hashlib.sha256(), 0

    def passing(self, chunks: Iterable[str]) -> Iterator[str]:
        """Yield the chunks, as they are."""
        for chunk in chunks:
            self._hash.update(chunk.encode("utf-8", "surrogatepass") + _END_OF_CHUNK)
            self._num_characters += len(chunk)
            yield chunk

    @property
    def result(self) -> ShardDigest:
        """Of what has gone by."""
        return ShardDigest(self._hash.hexdigest()[:32], self._num_characters)


def digest_of(chunks: Iterable[str]) -> ShardDigest:
    """Return the digest of a shard's text, in chunks of `PART_CHARACTERS`."""
    digest = RunningDigest()
    for _ in digest.passing(chunks):
        pass
    return digest.result


def corpus_digest(digests: dict[str, ShardDigest]) -> tuple[str, int]:
    """Return the hash of a whole corpus, and its length: another for every change to a shard's name, place or text."""
    listing = json.dumps([[name, digest.sha256] for name, digest in digests.items()])
    return hashlib.sha256(listing.encode()).hexdigest()[:32], sum(digest.num_characters for digest in digests.values())


def shard_changes(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Return a line for each shard that changed between two listings, {name: hash}, and for each that holds another's text.

    >>> shard_changes({"a.txt": "1", "b.txt": "2"}, {"a.txt": "3", "c.txt": "2", "d.txt": "3"})
    ['a.txt has changed', 'b.txt is called c.txt now', 'd.txt is new', 'd.txt holds the same text as a.txt: it counts twice']
    """
    gone = {name: sha256 for name, sha256 in before.items() if name not in now}
    new = {sha256: name for name, sha256 in now.items() if name not in before}
    renamed = {name: new[sha256] for name, sha256 in gone.items() if sha256 in new}
    lines = [f"{name} has changed" for name, sha256 in now.items() if before.get(name, sha256) != sha256]
    lines += [f"{name} is called {renamed[name]} now" if name in renamed else f"{name} is gone" for name in gone]
    if before:
        lines += [f"{name} is new" for name in now if name not in before and name not in renamed.values()]
    first: dict[str, str] = {}
    for name, sha256 in now.items():
        if first.setdefault(sha256, name) != name:
            lines.append(f"{name} holds the same text as {first[sha256]}: it counts twice")
    return lines


def find_shards(name: str, text_field: str = DEFAULT_FIELD) -> tuple[Path, tuple[FileShard, ...]] | None:
    """Return the folder and the shards of a folder or a glob, or a file of rows and its one shard; None for any other name."""
    path = Path(name).expanduser()
    if path.is_dir():
        folder, found = path, [each for each in path.rglob("*") if not any(p[0] == "." for p in each.relative_to(path).parts)]
    elif path.is_file() and path.name.endswith(KINDS[2:]):
        return path, (FileShard(path.name, path, text_field),)
    elif glob.has_magic(str(path)) and not path.exists():
        parts = itertools.takewhile(lambda part: not glob.has_magic(part), path.parts)
        folder, found = Path(*parts), [Path(each) for each in glob.glob(str(path), recursive=True)]  # noqa: PTH207
    else:
        return None
    found = _once_each(found)
    files = {each.relative_to(folder).as_posix(): each for each in found if each.name.endswith(KINDS) and each.is_file()}
    if not files:
        what = "the folder" if path.is_dir() else "the glob"
        raise CorpusNotFoundError(f"no shards in {what} {name}: {KINDS_IN_WORDS} files are read")
    return folder, tuple(FileShard(name, files[name], text_field) for name in sorted(files))


def _once_each(paths: Iterable[Path]) -> list[Path]:
    """Leave out what a link to a folder shows again, without end if it leads to a folder above: the shortest path stays."""
    real = cache(Path.resolve)
    first: dict[tuple[Path, str], Path] = {}
    for path in sorted(paths, key=lambda path: (len(path.parts), path)):
        first.setdefault((real(path.parent), path.name), path)
    return list(first.values())


def load_shards(name: str, path: Path, shards: tuple[Shard, ...]) -> ShardedCorpus:
    """Return the corpus of shards that were found."""
    corpus = ShardedCorpus(name, path, lambda: iter(()), None, shards)
    if not any(chunk.strip() for chunk in corpus.chunks()):
        raise CorpusError(f"{name}: the corpus is empty")
    return corpus


def load_hub(name: str, split: str, text_field: str = DEFAULT_FIELD) -> ShardedCorpus:
    """Return the corpus `hf:NAME[/CONFIG][:FIELD]`; NAME is OWNER/DATASET, or one word."""
    where, _, given_field = name.removeprefix("hf:").partition(":")
    owner_and_name, rest = where.split("/")[:2], where.split("/")[2:]
    if not where or not all((*owner_and_name, *rest)):
        raise CorpusError(f"{name} names no dataset: hf:NAME[/CONFIG][:FIELD], as in hf:Salesforce/wikitext/wikitext-2-raw-v1")
    source = ("/".join(owner_and_name), *(["/".join(rest)] if rest else []))
    with _translate_hub_errors(source[0]):
        rows = import_datasets().load_dataset(*source, split=split, streaming=True)
    num_shards = max(int(getattr(rows, "num_shards", 1)), 1)
    shards = [HubShard(source, split, given_field or text_field, index, num_shards) for index in range(num_shards)]
    return ShardedCorpus(name, None, lambda: iter(()), None, tuple(shards))


@contextlib.contextmanager
def _translate_hub_errors(name: str) -> Iterator[None]:
    """Turn what `datasets` raises, whose errors share no base class, into one line."""
    try:
        yield
    except Exception as error:
        raise UnreachableCorpusError(f"could not stream {name} from the hub ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _texts(rows: Any, text_field: str) -> Iterator[str]:
    """Yield the field of each row of a `datasets` stream, a table at a time: rows as dicts take ten times as long."""
    num_rows = 0
    for table in rows.with_format("arrow").iter(batch_size=ROWS_AT_A_TIME):
        if text_field not in table.column_names:
            raise ValueError(f"there is no field {text_field!r}, but {', '.join(table.column_names)}")
        for text in table[text_field].to_pylist():
            num_rows += 1
            if not isinstance(text, str):
                raise ValueError(f"row {num_rows} has no text in {text_field!r}")
            yield text


def _chunks_of_rows(rows: Iterable[str], size: int) -> Iterator[str]:
    for text in rows:
        if len(text) <= size:
            yield text
        else:
            yield from Corpus("a document", None, lambda text=text: iter([text])).chunks(size)  # type: ignore[misc]


def _wrong_line(path: Path, text_field: str) -> str | None:
    """Return the number of the first line that is not a row with a text, and why: `datasets` counts from the last block."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:  # UnicodeDecodeError is one
                return f", line {number} is not JSON: {error}"
            if not isinstance(row, dict) or not isinstance(row.get(text_field), str):
                fields = f" (it has {', '.join(row)})" if isinstance(row, dict) else ""
                return f", line {number} has no text in {text_field!r}{fields}"
    return None


def _missing_field(path: Path, text_field: str) -> str | None:
    """Return what fields a Parquet file has, if not the one that is wanted."""
    import pyarrow.parquet

    try:
        names = pyarrow.parquet.read_schema(path).names
    except Exception:  # it is damaged, as the first error has said
        return None
    return None if text_field in names else f": there is no field {text_field!r}, but {', '.join(names)}"


def import_datasets() -> Any:
    """Import `datasets` (seconds, and needed here alone); offline, have it look into its cache without minutes of retries."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    is_offline = False
    if "datasets" not in sys.modules and not urllib.request.getproxies() and "HF_HUB_OFFLINE" not in os.environ:
        try:
            socket.getaddrinfo(urllib.parse.urlsplit(endpoint).hostname, None)
        except OSError:
            is_offline = True
            os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when the hub's client is imported
    try:
        import datasets
    finally:
        if is_offline:
            del os.environ["HF_HUB_OFFLINE"]
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # it logs errors that it raises too
    return datasets
