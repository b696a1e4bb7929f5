"""Count and encode all shards of a corpus by Ray Data, on this machine or on the cluster that `RAY_ADDRESS` names.

Ray starts the workers, gives each a shard at a time, and gives the shard to another when a worker dies. Counts and ids are
what one machine makes, bit for bit: counts are sums, and a shard's ids depend on nothing but its text and the merges.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from tokembed import files, workspace
from tokembed.bpe.splitting import rule_of
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.cli import describe_row
from tokembed.corpora.corpus import Corpus, CorpusError
from tokembed.corpora.shards import Shard, ShardDigest, ShardedCorpus
from tokembed.device import available_cores
from tokembed.scale import parts
from tokembed.scale.shard_jobs import CountJob, EncodeJob

OBJECT_STORE_BYTES = 256 << 20  # counts and entries travel, not texts


@dataclass(frozen=True)
class Counts:
    """What all shards hold: words with their counts; and how many shards an earlier run had counted."""

    words: dict[str, int]
    num_kept: int


@contextmanager
def cluster() -> Iterator[None]:
    """Be connected to a cluster: `RAY_ADDRESS`, or one of this machine's cores that ends with the block."""
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # workers find the packages where this process does
    import ray
    import ray.data

    own: dict[str, Any] = {}
    if not os.environ.get("RAY_ADDRESS"):
        own = {"num_cpus": available_cores(), "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    ray.init(logging_level=logging.ERROR, log_to_driver=False, **own)
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield
    finally:
        ray.shutdown()


def count_shards(corpus: ShardedCorpus, folder: Path, splitting: str = "words", lowercase: bool = True) -> Counts:
    """Count the words of all shards on the workers; what each has counted is kept in `folder`, and not counted again.

    The corpus then knows its digests, and with them its fingerprint and length, without having been read here.
    """
    job = CountJob(folder, splitting, lowercase and not rule_of(splitting).is_lossless)
    digests: dict[str, ShardDigest] = {}
    words: dict[str, int] = {}
    num_kept = 0
    for shard, data in _on_workers(corpus.shards, job, "counting"):
        counted = job.unpack(data)
        digests[shard.name] = counted.digest
        num_kept += counted.was_kept
        for word, count in counted.word_counts.items():
            words[word] = words.get(word, 0) + count
    if not words:
        raise CorpusError(f"{corpus.name}: the corpus is empty")
    corpus.know({shard.name: digests[shard.name] for shard in corpus.shards})
    return Counts(words, num_kept)


def encode_shards(corpus: ShardedCorpus, tokenizer: BPETokenizerLoader, folder: Path) -> tuple[parts.Manifest, int]:
    """Encode all shards on the workers to parts in `folder`; return its manifest, and how many parts were there already."""
    hashes = {name: digest.sha256 for name, digest in corpus.digests.items()}
    job = EncodeJob(folder, tokenizer.model, tokenizer.fingerprint, hashes)
    made: dict[str, parts.Part] = {}
    counts, num_kept = np.zeros((2, tokenizer.vocab_size), dtype=np.int64), 0
    for shard, data in _on_workers(corpus.shards, job, "encoding"):
        encoded = job.unpack(data)
        made[shard.name] = encoded.part
        counts += encoded.counts
        num_kept += encoded.was_kept
    in_order = tuple(made[shard.name] for shard in corpus.shards)
    manifest = parts.Manifest(corpus.fingerprint, tokenizer.fingerprint, in_order)
    parts.write_manifest(folder, manifest, tokenizer, counts)
    files.remove_outrun(folder)  # of workers that were killed, whose shards others have done
    return manifest, num_kept


def learn_and_encode(
    corpus: Corpus, num_merges: int | None, folder: Path | None, *, splitting: str, lowercase: bool, min_frequency: int
) -> tuple[BPETokenizerLoader, Path, bool]:
    """Count on the workers, learn merges here, encode on the workers, and print a line about each.

    Returns what `workspace.tokenizer_for` does. The parts are in `folder`, or beside the tokenizer.
    """
    if not isinstance(corpus, ShardedCorpus):
        raise ValueError(f"{corpus.name} is one text: --engine ray takes a folder or a glob of shards, or hf:NAME")
    folder = (folder or files.processed_dir() / f"{workspace.artifact_name(corpus)}_parts").absolute()
    files.check_writable(folder)
    with cluster():
        counts = count_shards(corpus, folder, splitting, lowercase)
        num_shards = f"{len(corpus.shards):,} shards"
        describe_row(
            "corpus", corpus.name, num_shards, f"{corpus.num_characters:,} characters", _kept(counts.num_kept, "counts")
        )
        tokenizer, path, was_kept = workspace.tokenizer_for(
            corpus,
            num_merges or workspace.default_num_merges(corpus),
            splitting=splitting,
            lowercase=lowercase,
            min_frequency=min_frequency,
            progress=True,
            word_counts=counts.words,
        )
        manifest, num_kept = encode_shards(corpus, tokenizer, folder)
    where = f"in {files.display_path(folder)}"
    describe_row("parts", f"{len(manifest.parts):,}", f"{manifest.num_tokens:,} tokens", _kept(num_kept, "parts"), where)
    return tokenizer, path, was_kept


def _kept(number: int, what: str) -> str:
    return f"{number:,} {what} kept from an earlier run" if number else ""


def _on_workers(shards: Sequence[Shard], job: Callable[[Shard], bytes], label: str) -> Iterator[tuple[Shard, bytes]]:
    """Do a job for each shard; yield them as they come. A `CorpusError` of a worker is raised here."""
    import ray.data

    rows = ray.data.from_items([{"index": index} for index in range(len(shards))], override_num_blocks=len(shards))
    results = rows.map(_Task(job, tuple(shards)))
    total = sum(shard.num_bytes for shard in shards)
    unit = {"total": total, "unit": "B"} if total else {"total": len(shards), "unit": " shards"}
    with tqdm(**unit, unit_scale=True, desc=label, disable=None, leave=False) as bar:
        for row in results.iter_rows():
            if row["error"]:
                raise CorpusError(row["error"])
            shard = shards[row["index"]]
            bar.set_postfix_str(shard.name, refresh=False)
            yield shard, row["data"]
            bar.update(shard.num_bytes if total else 1)


@dataclass(frozen=True)
class _Task:
    """A job as Ray Data calls it: a row has a shard's number, and what comes back are bytes, or what is wrong."""

    job: Callable[[Shard], bytes]
    shards: tuple[Shard, ...]

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        data, error = b"", ""
        try:
            data = self.job(self.shards[row["index"]])
        except (ValueError, OSError) as reason:  # the user's to mend: Ray would make a page of it
            error = str(reason) or type(reason).__name__
        return {"index": row["index"], "data": data, "error": error}
