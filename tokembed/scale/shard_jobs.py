"""What a worker does with one shard: count its words, or encode it. What it makes is kept, and found by the next run.

A kept file says what it was made from: the shard's name, size and time, and the settings. Runs that come after take it if
all of this is the same, so a run that was stopped goes on where it stood.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tokembed import files, workspace
from tokembed.bpe.learning import count_words
from tokembed.bpe.model import BPEModel
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.corpora.corpus import CorpusError
from tokembed.corpora.shards import PART_CHARACTERS, RunningDigest, Shard, ShardDigest
from tokembed.scale.parts import Part
from tokembed.skipgram import sampling
from tokembed.vectors.storage import count_whole_words

FORMAT = 2
MAX_NAME_CHARACTERS = 50  # of a file: a system takes 255 bytes
_MARK = b"tokembed"


@dataclass(frozen=True)
class Counted:
    """A shard's words with their counts, a hash of its text, and whether an earlier run had counted them."""

    digest: ShardDigest
    word_counts: dict[str, int]
    was_kept: bool


@dataclass(frozen=True)
class Encoded:
    """A shard's part, how often each id occurs in it and as a whole word, (2, V), and whether an earlier run had encoded it."""

    part: Part
    counts: Any
    was_kept: bool


@dataclass(frozen=True)
class CountJob:
    """Count a shard's words on one thread, by a splitting rule; counts are kept in `folder`/counts."""

    folder: Path
    splitting: str
    lowercase: bool

    def __call__(self, shard: Shard) -> bytes:
        """Return the counts as a Parquet file, for `unpack`."""
        source = {**_source(shard), "splitting": self.splitting, "lowercase": self.lowercase}
        path = self.folder / "counts" / f"{file_name(shard)}.parquet"
        kept = _read_kept(path, source)
        if kept is not None:
            return _packed(kept, was_kept=True)
        digest = RunningDigest()
        words = count_words(
            digest.passing(shard.chunks(PART_CHARACTERS)), self.lowercase, splitting=self.splitting, num_threads=1
        )
        table = pa.table({"word": pa.array(words, pa.string()), "count": pa.array(words.values(), pa.int64())})
        mark = _sealed({"source": source, **asdict(digest.result)})
        table = table.replace_schema_metadata({_MARK: json.dumps(mark).encode()})
        files.write_atomic(path, _packed(table))
        return _packed(table, was_kept=False)

    @staticmethod
    def unpack(data: bytes) -> Counted:
        """Return what a worker has counted."""
        table = pq.read_table(io.BytesIO(data))
        mark = json.loads(table.schema.metadata[_MARK])
        words = dict(zip(table["word"].to_pylist(), table["count"].to_pylist(), strict=True))
        return Counted(ShardDigest(mark["sha256"], mark["num_characters"]), words, mark["was_kept"])


@dataclass(frozen=True)
class EncodeJob:
    """Encode a shard on one thread to a part in `folder`.

    `fingerprint` is that of the model's tokenizer. A shard's text must have the hash, by its name, that it was counted with.
    """

    folder: Path
    model: BPEModel
    fingerprint: str
    sha256: Mapping[str, str]

    def __call__(self, shard: Shard) -> bytes:
        """Return the part's entry and its counts as an `.npy` file with a JSON line behind it, for `unpack`."""
        tokenizer = _tokenizer(self.model, self.fingerprint)
        expected = self.sha256[shard.name]
        path = self.folder / f"{file_name(shard)}.ids.npy"
        digest = RunningDigest()
        texts = digest.passing(shard.chunks(PART_CHARACTERS))
        source = {**_source(shard), "sha256": expected, "tokenizer": self.fingerprint}
        ids, was_kept = workspace.kept_ids(path, source, workspace.encoded(tokenizer, texts, num_threads=1))
        if not was_kept and digest.result.sha256 != expected:
            path.unlink()
            raise CorpusError(f"{shard.name} has changed since its words were counted: run this again")
        part = Part(shard.name, expected, path.name, ids.size, workspace.checksum_of(ids))
        counts = np.stack(
            [
                sampling.count_tokens(ids, tokenizer.vocab_size),
                count_whole_words(ids, tokenizer.id_to_token, tokenizer.rule),
            ]
        )
        buffer = io.BytesIO()
        np.save(buffer, counts)
        return buffer.getvalue() + json.dumps({**asdict(part), "was_kept": was_kept}).encode()

    @staticmethod
    def unpack(data: bytes) -> Encoded:
        """Return what a worker has encoded."""
        buffer = io.BytesIO(data)
        counts = np.load(buffer)
        entry = json.loads(buffer.read())
        was_kept = entry.pop("was_kept")
        return Encoded(Part(**entry), counts, was_kept)


def file_name(shard: Shard) -> str:
    """Return what the files made of a shard are called: its name, and a hash of it, since no two may meet."""
    plain = re.sub(r"[^\w.-]+", "_", shard.name)[-MAX_NAME_CHARACTERS:]
    digest = hashlib.sha256(shard.name.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{plain}-{digest[:8]}"


def _source(shard: Shard) -> dict[str, Any]:
    return {"shard": shard.name, "state": list(shard.state), "text_field": shard.text_field, "format": FORMAT}


def _sealed(mark: dict[str, Any]) -> dict[str, Any]:
    """Return a mark with a checksum of the rest of it: those that Parquet keeps are of its pages alone."""
    rest = {key: value for key, value in mark.items() if key != "crc32"}
    return {**rest, "crc32": zlib.crc32(json.dumps(rest, sort_keys=True).encode())}


def _packed(table: pa.Table, **more: bool) -> bytes:
    if more:
        mark = {**json.loads(table.schema.metadata[_MARK]), **more}
        table = table.replace_schema_metadata({_MARK: json.dumps(mark).encode()})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, write_page_checksum=True)
    return buffer.getvalue()


def _read_kept(path: Path, source: dict[str, Any]) -> pa.Table | None:
    """Return a kept file's table if it was made from `source`; None for another one, a damaged one, or none."""
    try:
        table = pq.read_table(io.BytesIO(path.read_bytes()), page_checksum_verification=True)
        mark = json.loads(table.schema.metadata[_MARK])
        is_whole = table.column_names == ["word", "count"] and mark == _sealed(mark)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # pyarrow's errors are these
        return None
    return table if is_whole and mark["source"] == source else None


_TOKENIZERS: dict[str, BPETokenizerLoader] = {}  # of this process, one: to make it takes longer than to encode a small shard


def _tokenizer(model: BPEModel, fingerprint: str) -> BPETokenizerLoader:
    if fingerprint not in _TOKENIZERS:
        _TOKENIZERS.clear()
        _TOKENIZERS[fingerprint] = BPETokenizerLoader(model)
    return _TOKENIZERS[fingerprint]
