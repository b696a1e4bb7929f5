"""Feed damaged and hostile files to everything that reads files: each must be read or refused, within bounded time and memory.

uv run python tests/fuzz.py --minutes 10

Good files are damaged in every way there is a rule for (bytes flipped, cut out, repeated, joined; numbers, lengths, types and
nesting changed inside of them). A reader may accept the result or raise its own kind of error; what it accepts must work.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tokembed import (
    BPEModel,
    BPETokenizerLoader,
    Corpus,
    Embeddings,
    TrainingConfig,
    files,
    load_corpus,
    train_bpe,
    train_skipgram,
    workspace,
)
from tokembed.bpe.model import ModelFileError
from tokembed.corpora.corpus import CorpusError
from tokembed.scale import parts
from tokembed.vectors import evaluation
from tokembed.vectors.storage import Checkpointer, VectorsFileError, load_checkpoint, read_history, read_neighbours

TEXT = "the cat saw the dog, and the dog saw the cat: über 未来! " * 20
SECONDS, MEMORY = 5, 1 << 30  # a file of a few kilobytes has no right to more
ODD_VALUES: list[Any] = [
    None, True, -1, 0, 1, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf"),
    "", "a", "</w>", "\ud800", "x" * 9999, [], {}, [[]], [1], ["a", "b"], {"a": 1}, [["a", "a"]] * 50,
]  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """A way to read a file, what it may raise, and a good file to begin with."""

    name: str
    suffix: str
    good: bytes
    read: Callable[[Path], object]
    refusals: type[Exception] | tuple[type[Exception], ...]


def make_readers(folder: Path, *, with_rows: bool) -> list[Reader]:
    """Make a good file of each kind, and say how each is read and used; shards of rows take a twentieth of a second each."""
    model = train_bpe(TEXT, 30)
    tokenizer = BPETokenizerLoader(model)
    ids = tokenizer.encode_array(TEXT)
    result = train_skipgram(ids, tokenizer.vocab_size, TrainingConfig(epochs=1, embedding_dim=4, min_count=1, engine="hogwild"))
    Checkpointer(folder / "c.safetensors", tokenizer, ids)(result)
    Embeddings.from_training(result, tokenizer, ids).save(folder / "v.safetensors")
    checkpoint, vectors = ((folder / name).read_bytes() for name in ("c.safetensors", "v.safetensors"))
    corpus = Corpus("text", None, lambda: iter([TEXT]))
    kept_tokenizer = folder / "text_bpe_30.json"
    workspace.token_ids_for(corpus, tokenizer, kept_tokenizer)
    kept_ids = kept_tokenizer.with_suffix(".ids.npy")

    def use_tokenizer(path: Path) -> None:
        loaded = BPETokenizerLoader(BPEModel.load(path))
        for text in (TEXT, "aa ab", "ÄÖ\u2028x"):
            assert loaded.encode(text) == loaded.encode_array(text).tolist()
            loaded.decode(loaded.encode(text))

    def use_vectors(path: Path) -> None:
        embeddings = Embeddings.load(path)
        assert np.isfinite(embeddings.vectors).all()
        assert len(embeddings.is_word) == len(embeddings)
        for word in ("cat", "zzz"):
            if word in embeddings:
                assert all(np.isfinite(cosine) for _, cosine in embeddings.most_similar(word))

    def use_checkpoint(path: Path) -> None:
        loaded = load_checkpoint(path, tokenizer, ids)
        assert np.isfinite(loaded.vectors).all()
        train_skipgram(ids, tokenizer.vocab_size, loaded.config, resume=loaded)

    def use_kept_ids(path: Path) -> None:
        path.replace(kept_ids)
        found, _, _ = workspace.token_ids_for(corpus, tokenizer, kept_tokenizer)
        assert found.tolist() == ids.tolist(), "a damaged cache was believed"

    def use_corpus(path: Path) -> None:
        text = load_corpus(path).text
        text.encode()
        train_bpe(text, 5)

    bytewise = BPETokenizerLoader(train_bpe(TEXT, 30, splitting="gpt2"))
    bytewise.export_tiktoken(folder / "ranks.tiktoken")
    bytewise.export_huggingface(folder / "export.json", special_tokens=["<pad>"])

    def use_bytewise(loaded: BPETokenizerLoader) -> None:
        for text in (TEXT, "aa ab", "ÄÖ\u2028x <pad>"):
            assert loaded.encode(text) == loaded.encode_array(text).tolist() == loaded.encode_batch([text])[0]
            assert loaded.decode(loaded.encode(text)) == text or loaded.model.normalization

    def use_ranks(path: Path) -> None:
        use_bytewise(BPETokenizerLoader.from_tiktoken(path, splitting="gpt2"))

    def use_export(path: Path) -> None:
        use_bytewise(BPETokenizerLoader.from_huggingface(path))

    manifest = parts.Manifest("c" * 32, "t" * 32, tuple(parts.Part(f"{n}.txt", "s" * 32, f"{n}.npy", 9, 7) for n in range(3)))
    (folder / "parts").mkdir()
    parts.write_manifest(folder / "parts", manifest, tokenizer, np.ones((2, tokenizer.vocab_size), dtype=np.int64))

    def use_manifest(path: Path) -> None:
        path.replace(folder / "parts" / parts.MANIFEST)
        found = parts.read_manifest(folder / "parts")
        assert found.num_tokens >= 0
        assert len(found.fingerprint) == 64
        parts.share_of(found.parts, 1, 2)

    def use_counts(path: Path) -> None:
        path.replace(folder / "parts" / parts.COUNTS)
        assert parts.read_counts(folder / "parts", tokenizer.vocab_size).min() >= 0

    rows = []
    if with_rows:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"text": [TEXT[:100]] * 20, "id": list(range(20))}), folder / "rows.parquet", row_group_size=7)
        with pa.output_stream(str(folder / "packed.txt.zst"), compression="zstd") as stream:
            stream.write(TEXT.encode())
        lines = b"".join(json.dumps({"text": TEXT[:100], "id": n}).encode() + b"\n" for n in range(20))
        rows = [
            Reader("rows", ".jsonl", lines, use_corpus, CorpusError),
            Reader("table", ".parquet", (folder / "rows.parquet").read_bytes(), use_corpus, CorpusError),
            Reader("packed text, zst", ".txt.zst", (folder / "packed.txt.zst").read_bytes(), use_corpus, CorpusError),
        ]
    text_file, pairs = TEXT.encode(), b"tiger\tcat\t7.35\nbook\tpaper\t7.46\n# a note\n" * 5
    analogies = b": family\nboy girl man woman\nking queen man woman\n" * 5
    return [
        Reader("tokenizer", ".json", model.to_json().encode(), use_tokenizer, ModelFileError),
        Reader("vectors", ".safetensors", vectors, use_vectors, VectorsFileError),
        Reader("checkpoint, looked at", ".safetensors", checkpoint, use_vectors, VectorsFileError),
        Reader("checkpoint, gone on from", ".safetensors", checkpoint, use_checkpoint, ValueError),
        Reader("history", ".safetensors", checkpoint, read_history, VectorsFileError),
        Reader("neighbours by epoch", ".safetensors", checkpoint, read_neighbours, VectorsFileError),
        Reader("kept token ids", ".npy", kept_ids.read_bytes(), use_kept_ids, ()),
        Reader("text", ".txt", text_file, use_corpus, CorpusError),
        Reader("packed text", ".txt.gz", gzip.compress(text_file, mtime=0), use_corpus, CorpusError),
        Reader("word pairs", ".tsv", pairs, evaluation.read_word_pairs, ValueError),
        Reader("synonyms", ".tsv", b"big\tlarge\nsmall\tlittle\n" * 5, evaluation.read_synonyms, ValueError),
        Reader("ranks", ".tiktoken", (folder / "ranks.tiktoken").read_bytes(), use_ranks, ModelFileError),
        Reader("tokenizer.json", ".json", (folder / "export.json").read_bytes(), use_export, ModelFileError),
        Reader("manifest", ".json", (folder / "parts" / parts.MANIFEST).read_bytes(), use_manifest, parts.PartsError),
        Reader("counts", ".npy", (folder / "parts" / parts.COUNTS).read_bytes(), use_counts, parts.PartsError),
        *rows,
        Reader("analogies", ".txt", analogies, evaluation.read_analogies, ValueError),
    ]


# ---------------------------------------------------------------- damage


def damaged(chance: random.Random, good: bytes, suffix: str) -> bytes:
    """Return a good file's bytes, damaged: inside of its format where there is a rule for it, else anywhere."""
    inside = {".json": damaged_json, ".safetensors": damaged_safetensors}.get(suffix)
    data = inside(chance, good) if inside and chance.random() < 0.6 else good
    for _ in range(chance.choice([0, 1, 1, 2, 8]) if data != good else chance.choice([1, 1, 2, 8])):
        data = damaged_bytes(chance, data)
    return data


def damaged_bytes(chance: random.Random, data: bytes) -> bytes:
    """Flip, cut, insert, repeat or blank some bytes."""
    start = chance.randrange(len(data) + 1)
    end = min(start + chance.choice([1, 1, 4, 8, 100, len(data)]), len(data))
    noise = chance.randbytes(chance.choice([1, 2, 8, 64]))
    part = data[start:end]
    middle = chance.choice([b"", noise, part * 2, bytes(len(part)), b"\xff" * len(part), part[::-1], part[: len(part) // 2]])
    return data[:start] + middle + data[end:]


def damaged_json(chance: random.Random, data: bytes) -> bytes:
    """Replace, repeat or remove a value somewhere in a JSON document."""
    document = json.loads(data)
    place, parent = document, None
    while isinstance(place, list | dict) and place and (parent is None or chance.random() < 0.7):
        parent, key = place, chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
        place = parent[key]
    action = chance.randrange(4)
    if action == 0:
        del parent[key]
    elif action == 1 and isinstance(parent, list):
        parent.insert(key, chance.choice(parent))
    elif action == 2 and isinstance(parent, list):
        parent[key], parent[0] = parent[0], parent[key]
    else:
        parent[key] = chance.choice(ODD_VALUES)
    text = json.dumps(document)
    if chance.random() < 0.02:
        text = text.replace('"source": {', '"source": ' + "[" * 100_000, 1)
    return text.encode("utf-8", "surrogatepass")


def damaged_safetensors(chance: random.Random, data: bytes) -> bytes:
    """Change the header (names, types, shapes, offsets, metadata) or the numbers of a safetensors file."""
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
    action = chance.randrange(4)
    if action == 0:  # a number that is none
        place = chance.randrange(len(body) // 4) * 4
        body[place : place + 4] = struct.pack("<f", chance.choice([float("nan"), float("inf"), -float("inf"), 3e38]))
    elif action == 1:  # other metadata: strings that hold JSON, or should
        name = chance.choice(list(header["__metadata__"]))
        value = header["__metadata__"][name]
        if chance.random() < 0.7 and value[:1] in "[{":
            header["__metadata__"][name] = damaged_json(chance, value.encode()).decode("utf-8", "replace")
        else:
            header["__metadata__"][name] = chance.choice(
                ["", "null", "[]", "{}", "[" * 100_000, "1e999", '"a"', "[1]", '["a"]']
            )
    elif action == 2:  # another type or shape
        name = chance.choice([name for name in header if name != "__metadata__"])
        header[name]["dtype"] = chance.choice(["F64", "F16", "BF16", "I64", "I32", "U8", "BOOL", "F8_E4M3", "X", "F32"])
        header[name]["shape"] = chance.choice(
            [header[name]["shape"][::-1], [2**62, 4], [0], [], [-1], header[name]["shape"] + [1]]
        )
    else:  # two arrays under each other's names, or one missing
        names = [name for name in header if name != "__metadata__"]
        first, second = chance.choice(names), chance.choice(names)
        header[first], header[second] = header[second], header[first]
        if chance.random() < 0.3:
            del header[first]
    encoded = json.dumps(header).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", chance.choice([len(encoded)] * 9 + [2**63])) + encoded + bytes(body)


# ---------------------------------------------------------------- running


class TookTooLongError(BaseException):  # what takes any `Exception` for a damaged file must not take this one
    """A reader did not end in time."""


def _on_alarm(*_: object) -> None:
    raise TookTooLongError("it takes too long")


def outcome(reader: Reader, path: Path, seconds: int = SECONDS) -> str:
    """Read a file and return "read" or "refused"; any other error is raised."""
    signal.alarm(seconds)
    try:
        reader.read(path)
        return "read"
    except reader.refusals as error:
        if not str(error):
            raise AssertionError("a refusal that says nothing") from error
        return "refused"
    finally:
        signal.alarm(0)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long (default: 1)")
    parser.add_argument("--files", type=int, default=10**9, help="or how many files")
    parser.add_argument("--seed", type=int, default=0, help="of the damage (default: 0)")
    args = parser.parse_args(argv)
    signal.signal(signal.SIGALRM, _on_alarm)
    chance = random.Random(args.seed)
    tally: dict[str, Counter[str]] = {}
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files.project_root = lambda: folder  # type: ignore[assignment]
        readers = make_readers(folder, with_rows=args.files > 1000)
        for reader in readers:  # also imports and compiles what they use
            (folder / f"good{reader.suffix}").write_bytes(reader.good)
            assert outcome(reader, folder / f"good{reader.suffix}", 300) == "read", reader.name
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        end = time.monotonic() + 60 * args.minutes
        for turn in range(args.files):
            if time.monotonic() > end:
                break
            reader = readers[turn % len(readers)]
            data = damaged(chance, reader.good, reader.suffix)
            path = folder / f"bad{reader.suffix}"
            path.write_bytes(data)
            try:
                with contextlib.redirect_stderr(io.StringIO()):  # what is said of a damaged cache
                    verdict = outcome(reader, path)
            except (Exception, TookTooLongError):
                verdict = "FAULT"
                keep = Path(tempfile.gettempdir()) / f"fault_{len(faults)}{reader.suffix}"
                keep.write_bytes(data)
                faults.append(f"{reader.name}: {keep}\n{traceback.format_exc(limit=-3)}")
            tally.setdefault(reader.name, Counter())[verdict] += 1
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used
    for name, counts in tally.items():
        print(f"{name:<26}{counts['read']:>9,} read {counts['refused']:>9,} refused {counts['FAULT']:>5} faults")
    num_files = sum(counts.total() for counts in tally.values())
    print(f"{num_files:,} files, {len(faults)} faults; memory grew by {grown >> 10} MiB")
    for fault in faults[:5]:
        print(fault, file=sys.stderr)
    return 1 if faults or grown << 10 > MEMORY else 0


if __name__ == "__main__":
    sys.exit(main())
