"""What the scripts make of a corpus once and keep: its tokenizer, its token ids, its trained vectors.

Every kept file carries a fingerprint of what it was made from (text, settings, format), so a changed setting never meets a
stale file; a file that does not match, or is damaged, is rebuilt.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import json
import os
import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from tokembed import files
from tokembed.bpe.learning import train_bpe, train_bpe_from_counts
from tokembed.bpe.model import FORMAT_VERSION, WORDS_VERSION, BPEModel, ModelFileError
from tokembed.bpe.rare_tokens import RareTokenSplitter
from tokembed.bpe.splitting import SPLITTINGS, UNSPACED
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.cli import (
    DEFAULT_DATASET,
    FALLBACK_DATASET,
    LARGE_CORPUS_CHARACTERS,
    LARGE_CORPUS_MERGES,
    SMALL_CORPUS_MERGES,
    describe_row,
)
from tokembed.corpora.corpus import Corpus, CorpusError
from tokembed.corpora.shards import DEFAULT_FIELD, PART_CHARACTERS as PART_CHARACTERS, ShardedCorpus, shard_changes
from tokembed.corpora.sources import NAMES, load_corpus
from tokembed.skipgram import sampling
from tokembed.vectors import storage
from tokembed.vectors.embeddings import Embeddings
from tokembed.vectors.storage import LABEL_MARK, VectorsFileError, aside_of

BATCH_CHARACTERS = 1 << 20  # of short documents that are encoded together
UNSPACED_SHARE = 0.2
MAX_MARK_BYTES = 4096  # of the line behind kept token ids


def choose_corpus(name: str | None, text_field: str = DEFAULT_FIELD) -> Corpus:
    """Load the corpus asked for; with none asked for Frankenstein, else, loudly, the one that needs no network."""
    if name is not None:
        return load_corpus(name, text_field=text_field)
    try:
        return load_corpus(DEFAULT_DATASET)
    except CorpusError as error:
        print(f"WARNING: NO FRANKENSTEIN, SO USING {FALLBACK_DATASET.upper()}, PYTHON'S OWN HELP TEXTS", file=sys.stderr)
        print(error, file=sys.stderr)
        return load_corpus(FALLBACK_DATASET)


def checkpoint_path(name: str, splitting: str = "words", label: str = "") -> Path:
    """Return where the vectors of a corpus are kept, by its files' name; a label tells trainings with other settings apart."""
    rule = "" if splitting == "words" else f"_{splitting}"
    return files.checkpoints_dir() / f"{name}{rule}{LABEL_MARK * bool(label)}{label}.safetensors"


def checkpoints_of(name: str, splitting: str = "words") -> list[Path]:
    """Return the files of a corpus' trainings, whatever their settings, the latest first."""
    plain = checkpoint_path(name, splitting)
    found = [plain, *plain.parent.glob(f"{glob.escape(plain.stem)}{LABEL_MARK}*{plain.suffix}")]
    return sorted((path for path in found if path.is_file()), key=lambda path: path.stat().st_mtime_ns, reverse=True)


def make_way(path: Path, label: str, *, resume: bool) -> None:
    """Keep what lies where a training writes, under its own label, if it is of other settings or another text; print a line.

    To resume, bring back the training of this label that was moved so. If there is none, the file stays: what compares it with
    the settings of now will name the difference.
    """
    aside, own = aside_of(path, label), None
    is_kept_aside = resume and aside.is_file()
    if path.is_file():
        with contextlib.suppress(VectorsFileError):  # a damaged file holds nothing to keep
            own = storage.label_of(path)
        if not resume and own in (label, None):
            describe_row(
                "replacing", files.display_path(path), "an earlier training of the same settings" if own else "damaged"
            )
        if own not in (label, None) and (is_kept_aside or not resume):
            moved = path.replace(aside_of(path, own))
            describe_row("kept", f"the earlier training, of other settings or another text, as {files.display_path(moved)}")
    if is_kept_aside and own != label:
        aside.replace(path)


def corpus_name_of(checkpoint: Path, splitting: str = "words") -> str:
    """Return the name of the corpus that a checkpoint's file is called by.

    >>> corpus_name_of(Path("models/pydocs_gpt2--2a5d84.safetensors"), "gpt2")
    'pydocs'
    """
    return checkpoint.stem.partition(LABEL_MARK)[0].removesuffix(f"_{splitting}")


def artifact_name(corpus: Corpus) -> str:
    """Return the name that a corpus' files begin with: its own, or its file's without the suffix.

    A file of the user's that is called like a corpus, `pydocs.txt`, keeps the suffix: the two are not the same.
    """
    if corpus.name in NAMES:
        return corpus.name
    if isinstance(corpus, ShardedCorpus):
        name = re.sub(r"[^\w.-]+", "_", corpus.path.resolve().name if corpus.path else corpus.name)
        return name if corpus.path and corpus.path.is_file() else f"{name}_shards"
    if corpus.path is None:
        return corpus.name
    name = corpus.path.name.removesuffix(".gz").removesuffix(".txt")
    return corpus.path.name if name in NAMES else name


def source_of(name: str, fingerprint: str, splitting: str = "words") -> str:
    """Return what a figure says it was made from: a corpus by its files' name, its text's fingerprint, the splitting rule."""
    return f"{name.replace(' ', '_')} {fingerprint} {splitting}"


def unspaced_share(text: str) -> float:
    """Return which share of a text's letters are of scripts that put no spaces between words.

    >>> unspaced_share("未来 ab")
    0.5
    """
    return len(UNSPACED.findall(text)) / max(sum(map(str.isalpha, text)), 1)


def default_num_merges(corpus: Corpus) -> int:
    """Return the merges learned unless told otherwise: more text can use more of them."""
    return SMALL_CORPUS_MERGES if is_small(corpus) else LARGE_CORPUS_MERGES


def is_small(corpus: Corpus) -> bool:
    """Tell whether a corpus is a book rather than a library."""
    return corpus.num_characters <= LARGE_CORPUS_CHARACTERS


def describe_shards(corpus: ShardedCorpus, now: dict[str, str]) -> None:
    """Say on stderr which shards have changed since they were last listed, and keep the listing, {name: hash}."""
    path = files.processed_dir() / f"{artifact_name(corpus)}.list.json"
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or damaged: it serves this message alone
        before = {}
    for line in shard_changes(before if isinstance(before, dict) else {}, now):
        print(files.as_line(f"{corpus.name}: {line}"), file=sys.stderr)
    if before != now:
        files.write_atomic(path, json.dumps(now, indent=1) + "\n")


def tokenizer_for(
    corpus: Corpus,
    num_merges: int,
    *,
    splitting: str = "words",
    lowercase: bool = True,
    min_frequency: int = 2,
    progress: bool = False,
    word_counts: Mapping[str, int] | None = None,
) -> tuple[BPETokenizerLoader, Path, bool]:
    """Return the corpus' tokenizer, its file, and whether it was there already; without `word_counts` the corpus is read."""
    share = unspaced_share(next(corpus.chunks(), "")) if splitting == "words" else 0.0
    if share > UNSPACED_SHARE:
        print(
            f"NOTE: {share:.0%} of the letters are of scripts without spaces between words (Chinese, Japanese, Thai, ...), "
            "whose clauses are one word each under the rule words: --splitting o200k, cl100k or gpt2 learns from bytes instead",
            file=sys.stderr,
        )
    settings: dict[str, Any] = {"num_merges": num_merges, "min_frequency": min_frequency, "lowercase": lowercase}
    if isinstance(corpus, ShardedCorpus):
        describe_shards(corpus, {name: digest.sha256 for name, digest in corpus.digests.items()})
    source = {"corpus": corpus.fingerprint, **settings, "format": WORDS_VERSION}
    name = f"{artifact_name(corpus)}_bpe_{num_merges}"
    if splitting != "words":  # what is kept of that rule keeps its name
        settings["splitting"] = splitting
        source |= {"splitting": splitting, "format": FORMAT_VERSION}
        name = f"{artifact_name(corpus)}_{splitting}_{num_merges}"
    name += "" if lowercase else "_cased"
    name += "" if min_frequency == 2 else f"_min_{min_frequency}"
    path = files.processed_dir() / f"{name}.json"
    if path.is_file():
        try:
            model = BPEModel.load(path)
            if model.source == source:
                return BPETokenizerLoader(model), path, True
            print(f"replacing {files.display_path(path)}, which was learned from another text of this name", file=sys.stderr)
        except ModelFileError as error:
            print(f"the kept tokenizer is damaged and rebuilt: {error}", file=sys.stderr)
    if word_counts is None:
        model = train_bpe(corpus.chunks(PART_CHARACTERS), **settings, progress=progress)
    else:
        model = train_bpe_from_counts(word_counts, **settings, progress=progress)
    model = replace(model, source=source)
    model.save(path)
    return BPETokenizerLoader(model), path, False


def prepare_tokens(
    corpus: Corpus,
    num_merges: int | None,
    vocabulary_threshold: int = 0,
    splitting: str = "words",
    *,
    lowercase: bool = True,
    min_frequency: int = 2,
) -> tuple[BPETokenizerLoader, npt.NDArray[np.int32]]:
    """Return a corpus' tokenizer and token ids, kept or made, and print a line about each."""
    if vocabulary_threshold < 0:
        raise ValueError(f"--vocabulary-threshold must be 0 (none) or more, not {vocabulary_threshold}")
    where = files.display_path(corpus.path or "built in")
    describe_row("corpus", corpus.name, f"{corpus.num_characters:,} characters", where)
    num_merges = num_merges or default_num_merges(corpus)
    tokenizer, path, was_kept = tokenizer_for(
        corpus, num_merges, splitting=splitting, lowercase=lowercase, min_frequency=min_frequency, progress=True
    )
    model = tokenizer.model
    is_short = len(model.merges) < num_merges
    describe_row(
        "tokenizer",
        f"{len(model.merges):,} merges"
        + (
            f" (of {num_merges:,}: no other pair occurs {'twice' if min_frequency == 2 else f'{min_frequency} times'})"
            if is_short
            else ""
        ),
        f"vocabulary {tokenizer.vocab_size:,}",
        ("cached in " if was_kept else "saved as ") + files.display_path(path),
    )
    ids, path, was_kept = token_ids_for(corpus, tokenizer, path, vocabulary_threshold)
    describe_row(
        "tokens",
        f"{ids.size:,}",
        f"{ids.size / max(model.num_words, 1):.2f} per {'piece' if tokenizer.rule.is_lossless else 'word'}",
        f"none merged that occurs less than {vocabulary_threshold} times" if vocabulary_threshold else "",
        ("cached in " if was_kept else "saved as ") + files.display_path(path),
    )
    return tokenizer, ids


def token_ids_for(
    corpus: Corpus, tokenizer: BPETokenizerLoader, tokenizer_path: Path, vocabulary_threshold: int = 0
) -> tuple[npt.NDArray[np.int32], Path, bool]:
    """Return the corpus' token ids, memory-mapped, their file, and whether it was there already.

    The corpus is encoded part by part, so that it may be larger than memory. With a `vocabulary_threshold`, tokens that occur
    less often are split (see `rare_tokens`). The file is an ordinary `.npy`, which `np.load` reads, with a JSON line behind the
    array: the fingerprints of what it was made from, and a checksum.
    """
    source: dict[str, object] = {"corpus": corpus.fingerprint, "tokenizer": tokenizer.fingerprint}
    path = tokenizer_path.with_suffix(".ids.npy")
    parts = encoded(tokenizer, corpus.chunks(PART_CHARACTERS))
    ids, was_kept = kept_ids(path, source, parts)
    if vocabulary_threshold:
        path = tokenizer_path.with_suffix(f".threshold_{vocabulary_threshold}.ids.npy")
        source["vocabulary_threshold"] = vocabulary_threshold
        ids, was_kept = kept_ids(path, source, _split_parts(ids, tokenizer, vocabulary_threshold))
    return ids, path, was_kept


def encoded(
    tokenizer: BPETokenizerLoader, texts: Iterable[str], num_threads: int | None = None
) -> Iterator[npt.NDArray[np.int32]]:
    """Yield the ids of independent texts, of many short ones together: they may be rows of a few words."""
    held: list[str] = []
    num_held = 0
    for text in texts:
        if len(text) >= BATCH_CHARACTERS:
            yield from [tokenizer.encode_batch_array(held, num_threads)[0]] if held else []
            yield tokenizer.encode_array(text, num_threads)
            held, num_held = [], 0
            continue
        held.append(text)
        num_held += len(text)
        if num_held >= BATCH_CHARACTERS:
            yield tokenizer.encode_batch_array(held, num_threads)[0]
            held, num_held = [], 0
    if held:
        yield tokenizer.encode_batch_array(held, num_threads)[0]


def _split_parts(ids: npt.NDArray[np.int32], tokenizer: BPETokenizerLoader, threshold: int) -> Iterator[npt.NDArray[np.int32]]:
    splitter = RareTokenSplitter(tokenizer, sampling.count_tokens(ids, tokenizer.vocab_size), threshold)
    yield from (splitter.split(part) for part in sampling.parts(ids, 1 << 20))


def kept_ids(
    path: Path, source: dict[str, object], parts: Iterator[npt.NDArray[np.int32]]
) -> tuple[npt.NDArray[np.int32], bool]:
    """Map the ids of a file that was made from `source`, or make it of `parts`; tell whether it was there already."""
    ids = read_ids(path, source) if path.is_file() else None
    if ids is not None:
        return ids, True
    with files.atomic_path(path) as temporary, open(temporary, "wb") as file:
        checksum = _write_array(file, parts)
        file.write(b"\n" + json.dumps({**source, "crc32": checksum}).encode() + b"\n")
    ids = read_ids(path, source)
    if ids is None:
        raise OSError(
            f"another run, of another text of the same name, has just replaced {files.display_path(path)}: run this one again"
        )
    return ids, False


def _write_array(file: BinaryIO, parts: Iterable[npt.NDArray[np.int32]]) -> int:
    """Write one `.npy` array, its parts one after the other (its length goes into the header last); return its checksum."""
    header = {"descr": "<i4", "fortran_order": False, "shape": (2**62,)}  # room for any length
    np.lib.format.write_array_header_1_0(file, header)
    start, length, checksum = file.tell(), 0, 0
    for part in parts:
        data = np.ascontiguousarray(part, dtype="<i4").data
        file.write(data)
        checksum = zlib.crc32(data, checksum)
        length += part.size
    file.seek(0)
    np.lib.format.write_array_header_1_0(file, {**header, "shape": (length,)})
    # The shorter length is padded to the same 64-byte boundary.
    assert file.tell() == start, "the header's length changed"
    file.seek(0, os.SEEK_END)
    return checksum


def checksum_of(ids: npt.NDArray[np.int32]) -> int:
    """Return the CRC-32 of a stream of ids, read in parts."""
    return functools.reduce(lambda found, part: zlib.crc32(part.data, found), sampling.parts(ids), 0)


def read_ids(path: Path, source: dict[str, object]) -> npt.NDArray[np.int32] | None:
    """Map the ids of a file that ends with the mark of its `source`; None for a stale file or, with a line, a damaged one."""
    with open(path, "rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - MAX_MARK_BYTES, 0))
        last_line = file.read().rstrip(b"\n").rpartition(b"\n")[2]
    try:
        mark = json.loads(last_line)
        checksum = mark.pop("crc32")
        if mark != source:
            return None
        ids: npt.NDArray[np.int32] = np.load(path, mmap_mode="r", allow_pickle=False)
        if ids.dtype != np.int32 or ids.ndim != 1:
            raise ValueError(f"an array of {ids.dtype} of shape {ids.shape}")
        if checksum_of(ids) != checksum:
            raise ValueError("their checksum differs")
        return ids
    except Exception as error:  # of a damaged header numpy raises whatever Python's tokenizer and parser do
        print(f"the kept token ids are damaged and rebuilt: {files.display_path(path)}: {error}", file=sys.stderr)
        return None


def trained_embeddings(
    dataset: str | None, checkpoint: Path | None = None, splitting: str = "words", text_field: str = DEFAULT_FIELD
) -> tuple[Path, Embeddings]:
    """Return the file and the vectors that the latest training of a corpus left, or those of a file.

    No such file (the message says which command makes it), a damaged one and one of another text are a `VectorsFileError`,
    an unknown corpus is a `CorpusError`.
    """
    command = "uv run python phase3_embeddings/train_embeddings.py" + (f" --dataset {dataset}" if dataset else "")
    command += "" if splitting == "words" else f" --splitting {splitting}"
    own = None if dataset is None or dataset in NAMES or checkpoint else load_corpus(dataset, text_field=text_field)
    name = artifact_name(own) if own else dataset or DEFAULT_DATASET
    kept = [checkpoint] if checkpoint else checkpoints_of(name, splitting)
    if dataset is None and not kept:  # training may have fallen back
        kept = checkpoints_of(FALLBACK_DATASET, splitting)
    path = next(iter(kept), checkpoint_path(name, splitting))
    if own and len(kept) > 1:  # texts of one file name
        path = next((each for each in kept if _text_of(each) == own.fingerprint), path)
    if not path.is_file():
        others = [] if checkpoint else [rule for rule in SPLITTINGS if checkpoints_of(name, rule)]
        hint = f"; there are some by another rule: --splitting {others[0]}" if others else ""
        raise VectorsFileError(f"there are no trained vectors in {files.display_path(path)}: {command} makes them{hint}")
    embeddings = Embeddings.load(path)
    if own and embeddings.tokenizer and _text_of(embeddings) != own.fingerprint:
        raise VectorsFileError(
            f"{files.display_path(path)} was trained on another text than {dataset} is now: {command} trains again"
        )
    return path, embeddings


def is_learned_so(embeddings: Embeddings, *, lowercase: bool, min_frequency: int) -> bool:
    """Tell whether the tokenizer of vectors was learned with these settings; of one that does not say, only its case counts."""
    if embeddings.tokenizer is None:
        return False
    model = embeddings.tokenizer.model
    has_case = model.rule.is_lossless or model.lowercase == lowercase  # a byte-level rule keeps capitals in any case
    return has_case and model.source.get("min_frequency") in (None, min_frequency)


def _text_of(vectors: Path | Embeddings) -> str | None:
    """Return the fingerprint of the text that vectors were trained on."""
    embeddings = Embeddings.load(vectors) if isinstance(vectors, Path) else vectors
    return str(embeddings.tokenizer.model.source.get("corpus")) if embeddings.tokenizer else None
