"""A folder of parts: the ids of each shard of a corpus in a file of its own, with a manifest, to train from.

manifest.json     the shards in their order, each with its part's file, tokens and checksum
tokenizer.json    the merges that the ids are of
counts.npy        (2, V) int64: occurrences of each id, and those as a whole word
*.ids.npy         a part each; a machine needs those of its processes' shares alone
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tokembed import files
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.skipgram.stream import TokenStream
from tokembed.vectors.storage import StreamFacts
from tokembed.workspace import checksum_of

if TYPE_CHECKING:
    from tokembed.skipgram.distributed import ProcessGroup

FORMAT = 1
MANIFEST, TOKENIZER, COUNTS = "manifest.json", "tokenizer.json", "counts.npy"


class PartsError(ValueError):
    """A folder of parts that can't be used; the message says what to do."""


@dataclass(frozen=True)
class Part:
    """One shard's ids: the shard's name and its text's hash, the file, its number of tokens and their CRC-32."""

    shard: str
    sha256: str
    file: str
    tokens: int
    crc32: int


@dataclass(frozen=True)
class Manifest:
    """What a folder holds: the fingerprints of corpus and tokenizer, and the parts in the shards' order."""

    corpus: str
    tokenizer: str
    parts: tuple[Part, ...]

    @property
    def num_tokens(self) -> int:
        """The tokens of all parts."""
        return sum(part.tokens for part in self.parts)

    @property
    def fingerprint(self) -> str:
        """A hash of all that the ids depend on: it stands for the stream where no process has all of it."""
        return hashlib.sha256(json.dumps([self.tokenizer, [part.crc32 for part in self.parts]]).encode()).hexdigest()


def write_manifest(folder: Path, manifest: Manifest, tokenizer: BPETokenizerLoader, counts: npt.NDArray[np.int64]) -> None:
    """Complete a folder of parts; `counts` are those of ids and of whole words, (2, V)."""
    tokenizer.save(folder / TOKENIZER)
    with files.atomic_path(folder / COUNTS) as temporary, open(temporary, "wb") as file:
        np.save(file, counts)
    files.write_atomic(folder / MANIFEST, json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Return a folder's manifest; a `PartsError` says how to make it."""
    path = folder / MANIFEST
    if not path.is_file():
        raise PartsError(f"{files.display_path(path)} is not there: train_bpe.py --engine ray --parts {folder} makes it")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.pop("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        manifest = Manifest(**{**data, "parts": tuple(_checked_part(part) for part in data["parts"])})
        if not isinstance(manifest.corpus, str) or not isinstance(manifest.tokenizer, str):
            raise ValueError("corpus and tokenizer are not fingerprints")
        return manifest
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise PartsError(f"{files.display_path(path)} is damaged: {error!r}") from None


def _checked_part(entry: dict[str, Any]) -> Part:
    part = Part(**entry)
    numbers, texts = (part.tokens, part.crc32), (part.shard, part.sha256, part.file)
    if not all(type(number) is int and number >= 0 for number in numbers) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{part.shard!r:.80} has a number or a name that is none")
    return part


def read_tokenizer(folder: Path, manifest: Manifest) -> BPETokenizerLoader:
    """Return the tokenizer that the parts were encoded by."""
    tokenizer = BPETokenizerLoader(folder / TOKENIZER)
    if tokenizer.fingerprint != manifest.tokenizer:
        raise PartsError(f"{files.display_path(folder / TOKENIZER)} is not the tokenizer that the parts were encoded by")
    return tokenizer


def read_counts(folder: Path, vocab_size: int) -> npt.NDArray[np.int64]:
    """Return how often each id occurs, and how often as a whole word, (2, V)."""
    try:
        counts: npt.NDArray[np.int64] = np.load(folder / COUNTS, allow_pickle=False)
    except FileNotFoundError:
        raise
    except Exception as error:  # of a damaged header numpy raises whatever Python's tokenizer and parser do
        raise PartsError(f"{files.display_path(folder / COUNTS)} is damaged: {error}") from None
    if counts.shape != (2, vocab_size) or counts.dtype != np.int64 or (counts < 0).any():
        raise PartsError(f"{files.display_path(folder / COUNTS)} holds no counts of {vocab_size:,} tokens")
    return counts


@dataclass(frozen=True)
class Stretch:
    """Tokens `first` to `last` (exclusive) of a part."""

    part: Part
    first: int
    last: int


def share_of(parts: Sequence[Part], rank: int, size: int) -> list[Stretch]:
    """Return what one of `size` processes trains on: its equal share of all tokens, in the parts' order.

    >>> parts = [Part("a", "", "a.npy", 4, 0), Part("b", "", "b.npy", 8, 0)]
    >>> [(each.part.shard, each.first, each.last) for each in share_of(parts, 0, 2)]
    [('a', 0, 4), ('b', 0, 2)]
    """
    total = sum(part.tokens for part in parts)
    begin, end = rank * total // size, (rank + 1) * total // size
    stretches, start = [], 0
    for part in parts:
        first, last = max(begin - start, 0), min(end - start, part.tokens)
        if first < last:
            stretches.append(Stretch(part, first, last))
        start += part.tokens
    return stretches


def map_share(folder: Path, manifest: Manifest, rank: int, size: int) -> TokenStream:
    """Map a process' share of the parts, checked: the other parts need not be there.

    Raises
    ------
    PartsError
        A part of the share that is not in the folder, or damaged; the message names it.
    """
    stretches = share_of(manifest.parts, rank, size)
    missing = [each.part.file for each in stretches if not (folder / each.part.file).is_file()]
    if missing:
        raise PartsError(
            f"{len(missing)} of the {len(stretches)} parts that process {rank} of {size} trains on are not in {folder}: "
            f"copy {missing[0]}{' and the others' if len(missing) > 1 else ''} there"
        )
    arrays = [_mapped(folder / each.part.file, each.part)[each.first : each.last] for each in stretches]
    return TokenStream(arrays, rank * manifest.num_tokens // size)


@dataclass(frozen=True)
class TrainingShare:
    """What a process trains on: its stream, and of the whole one the counts of ids, (V,), and what a checkpoint says of it."""

    manifest: Manifest
    tokenizer: BPETokenizerLoader
    stream: TokenStream
    counts: npt.NDArray[np.int64]
    facts: StreamFacts


def training_share(folder: Path, group: ProcessGroup | None) -> TrainingShare:
    """Return what this process trains on; rank 0 alone reads the counts, and gives them to the others."""
    manifest = read_manifest(folder)
    tokenizer = read_tokenizer(folder, manifest)
    rank, size = (group.rank, group.size) if group else (0, 1)
    stream = map_share(folder, manifest, rank, size)
    counts = read_counts(folder, tokenizer.vocab_size) if rank == 0 else None
    counts = group.share(counts) if group else counts
    assert counts is not None
    return TrainingShare(manifest, tokenizer, stream, counts[0], StreamFacts(counts[1], manifest.fingerprint))


def _mapped(path: Path, part: Part) -> npt.NDArray[np.int32]:
    try:
        ids: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        if ids.dtype != np.int32 or ids.shape != (part.tokens,) or checksum_of(ids) != part.crc32:
            raise ValueError("it is not the part that the manifest lists")
        return ids
    except Exception as error:  # of a damaged header numpy raises whatever Python's tokenizer and parser do
        raise PartsError(f"{files.display_path(path)} is damaged ({error}): copy or encode it again") from None
