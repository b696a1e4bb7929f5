"""A corpus in many files is the same text, and what is wrong with one of them is one line."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import RAW, raw_file
from scripts import TRAIN_BPE, run

from tokembed import load_corpus, train_bpe, workspace
from tokembed.corpora import shards
from tokembed.corpora.corpus import Corpus, CorpusError, CorpusNotFoundError


def write_shard(path: Path, texts: list[str], field: str = "text") -> None:
    """Write documents to a shard of any kind; one of text holds them all as one document."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({field: text, "id": 1}) + "\n" for text in texts), encoding="utf-8")
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({field: texts, "id": list(range(len(texts)))}), path, row_group_size=3)
    elif path.suffix == ".zst":
        with pa.output_stream(str(path), compression="zstd") as file:
            file.write("".join(texts).encode())
    else:
        data = "".join(texts).encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_shards(folder: Path, text: str, number: int) -> None:
    """Cut a text at white space into shards of all kinds, in its order."""
    folder.mkdir()
    chunks = list(Corpus("t", None, lambda: iter([text])).chunks(len(text) // number // 4))
    for index in range(number):
        part = chunks[index * len(chunks) // number : (index + 1) * len(chunks) // number]
        write_shard(folder / f"{index:02}{shards.KINDS[index % len(shards.KINDS)]}", part)


@pytest.fixture
def folder(tmp_path: Path, pydocs: str) -> Path:
    """A corpus in ten shards, two of each kind."""
    write_shards(tmp_path / "corpus", pydocs[:60_000], 10)
    return tmp_path / "corpus"


@pytest.mark.parametrize("splitting", ["words", "gpt2"])
def test_shards_of_mixed_kinds_give_the_merges_and_ids_of_the_single_text(folder: Path, pydocs: str, splitting: str) -> None:
    corpus = load_corpus(folder)
    tokenizer, path, _ = workspace.tokenizer_for(corpus, 300, splitting=splitting)
    # A piece that begins with white space may not be cut in two, or a byte-level rule sees another text.
    whole = train_bpe(pydocs[:60_000] if splitting == "words" else list(corpus.chunks(1 << 30)), 300, splitting=splitting)
    assert tokenizer.merges == whole.merges
    ids, _, _ = workspace.token_ids_for(corpus, tokenizer, path)
    if splitting == "words":
        assert np.array_equal(ids, tokenizer.encode_array(pydocs[:60_000]))
    else:
        assert ids.tolist() == [each for text in corpus.chunks(1 << 30) for each in tokenizer.encode(text)]
    assert len(load_corpus(str(folder / "*.parquet")).shards) == 2  # type: ignore[attr-defined]


@pytest.mark.endurance
def test_wikitext2_in_forty_shards_gives_the_merges_and_ids_of_the_single_text(tmp_path: Path) -> None:
    raw_file("wikitext2/train.txt")
    text = load_corpus("wikitext2", raw_dir=RAW).text
    write_shards(tmp_path / "corpus", text, 40)
    corpus = load_corpus(tmp_path / "corpus")
    tokenizer, path, _ = workspace.tokenizer_for(corpus, 10_000)
    assert tokenizer.merges == train_bpe(text, 10_000).merges
    assert np.array_equal(workspace.token_ids_for(corpus, tokenizer, path)[0], tokenizer.encode_array(text))


def test_documents_are_independent(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.jsonl", ["one lo", "w two"])
    write_shard(tmp_path / "b.txt", ["low"])
    assert list(load_corpus(tmp_path).chunks()) == ["one lo", "w two", "low"]
    assert load_corpus(tmp_path).text == "one lo\nw two\nlow"
    assert list(load_corpus(tmp_path / "a.jsonl").chunks(3)) == ["one", " lo", "w two"]


@pytest.mark.parametrize("kind", [".jsonl", ".parquet"])
def test_the_text_field_can_be_named(tmp_path: Path, kind: str) -> None:
    write_shard(tmp_path / f"a{kind}", ["some text"], "body")
    assert load_corpus(tmp_path, text_field="body").text == "some text"
    with pytest.raises(CorpusError, match=f"a{kind}.*no .*'text'.*body"):
        load_corpus(tmp_path)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("01.txt.gz", lambda data: data[:-9], r"01\.txt\.gz is not a complete gzip file"),
        ("02.txt.zst", lambda data: data[:-9], r"02\.txt\.zst is not a complete zstd file"),
        ("03.jsonl", lambda data: data[:-9], r"03\.jsonl, line \d+ is not JSON"),
        ("03.jsonl", lambda data: data + b'{"id": 4}\n', r"03\.jsonl, line \d+ has no text in 'text' \(it has id\)"),
        ("04.parquet", lambda data: data[:-9], r"04\.parquet: "),
        ("05.txt", lambda data: data + b"\xff", r"05\.txt is not UTF-8: invalid at byte \d+"),
    ],
)
def test_a_bad_shard_is_named_with_its_line(folder: Path, name: str, damage: Any, message: str) -> None:
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    with pytest.raises(CorpusError, match=message):
        load_corpus(folder).fingerprint  # noqa: B018


def test_what_changed_since_the_last_run_is_said_shard_by_shard(
    folder: Path, tmp_path: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def changes() -> list[str]:
        workspace.tokenizer_for(load_corpus(folder), 50)
        lines = capsys.readouterr().err.splitlines()
        return [line.removeprefix(f"{folder}: ") for line in lines if not line.startswith("replacing ")]

    assert changes() == []
    before = load_corpus(folder).fingerprint
    (folder / "00.txt").write_text("cut short")
    (folder / "03.jsonl").rename(folder / "13.jsonl")
    (folder / "11.txt.gz").write_bytes((folder / "01.txt.gz").read_bytes())
    (folder / "04.parquet").unlink()
    assert changes() == [
        "00.txt has changed",
        "03.jsonl is called 13.jsonl now",
        "04.parquet is gone",
        "11.txt.gz is new",
        "11.txt.gz holds the same text as 01.txt.gz: it counts twice",
    ]
    assert load_corpus(folder).fingerprint != before
    (folder / "11.txt.gz").unlink()
    assert changes() == ["11.txt.gz is gone"]


def test_a_link_to_a_folder_above_counts_no_text_twice(tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    write_shard(tmp_path / "deeper" / "a.txt", ["low lower"])
    (tmp_path / "deeper" / "up").symlink_to(tmp_path)
    (tmp_path / "deeper" / "itself").symlink_to(tmp_path / "deeper" / "itself")
    (tmp_path / "nowhere.txt").symlink_to(tmp_path / "gone.txt")
    for name in (tmp_path, tmp_path / "**" / "*.txt"):
        corpus = load_corpus(name)
        assert corpus.text == "low lower"


@pytest.mark.parametrize("name", ["00.txt", "02.txt.zst", "03.jsonl"])
def test_a_shard_that_changes_between_two_passes_is_an_error_though_its_size_and_time_stay(folder: Path, name: str) -> None:
    corpus = load_corpus(folder)
    assert corpus.fingerprint
    before = (folder / name).stat()
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data.replace(b"the", b"eth") if name != "02.txt.zst" else data)
    os.utime(folder / name, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(CorpusError, match=rf"{name} has changed while it was read"):
        list(corpus.chunks())


@pytest.mark.parametrize(
    "name", ["a\nb.txt", "\x1b[31m.txt", "caf\udce9.txt", "x" * 240 + ".txt", "'*' [a].txt", "<script>.txt"]
)
def test_shards_of_odd_names_are_read(tmp_path: Path, project: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    from tokembed.scale.shard_jobs import file_name

    (tmp_path / "corpus").mkdir()
    try:
        write_shard(tmp_path / "corpus" / name, ["low lower lowest " * 20])
    except OSError as error:
        pytest.skip(f"no such names here: {error}")
    corpus = load_corpus(tmp_path / "corpus")
    assert isinstance(corpus, shards.ShardedCorpus)
    tokenizer, path, _ = workspace.tokenizer_for(corpus, 3)
    assert workspace.token_ids_for(corpus, tokenizer, path)[0].size > 0
    write_shard(tmp_path / "corpus" / name, ["low " * 50])
    workspace.tokenizer_for(load_corpus(tmp_path / "corpus"), 3)
    told = [line for line in capsys.readouterr().err.splitlines() if "has changed" in line]
    assert len(told) == 1
    assert told[0].isprintable()
    (tmp_path / file_name(corpus.shards[0])).write_text("a name that a file can have")


def test_a_folder_or_glob_without_shards_and_an_empty_corpus_are_refused(tmp_path: Path) -> None:
    (tmp_path / "readme.md").write_text("not a shard")
    (tmp_path / ".hidden.txt").write_text("nor this")
    with pytest.raises(CorpusNotFoundError, match=r"no shards in the folder .*\.parquet files"):
        load_corpus(tmp_path)
    with pytest.raises(CorpusNotFoundError, match="no shards in the glob"):
        load_corpus(tmp_path / "*.jsonl")
    write_shard(tmp_path / "a.jsonl", [])
    write_shard(tmp_path / "b.txt", [" \n"])
    with pytest.raises(CorpusError, match="the corpus is empty"):
        load_corpus(tmp_path)


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path: Path) -> None:
    write_shard(tmp_path / "part[1].jsonl", ["some text"])
    write_shard(tmp_path / "b[1].txt", ["more"])
    assert load_corpus(tmp_path / "part[1].jsonl").text == "some text"
    assert load_corpus(tmp_path / "b[1].txt").text == "more"


class Stream:
    """What `load_dataset(..., streaming=True)` returns, as far as it is used."""

    num_shards = 2

    def __init__(self, tables: list[pa.Table]) -> None:
        self.tables = tables

    def with_format(self, _: str) -> Stream:
        return self

    def shard(self, num_shards: int, index: int) -> Stream:
        return Stream(self.tables[index::num_shards])

    def iter(self, batch_size: int) -> Iterator[pa.Table]:
        return iter(self.tables)


def test_a_dataset_of_the_hub_is_streamed_by_its_name_configuration_and_field(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def load_dataset(*names: str, split: str, streaming: bool) -> Stream:
        calls.append((*names, split))
        return Stream([pa.table({"body": [text, "end"]}) for text in ("first", "second")])

    monkeypatch.setattr(shards, "import_datasets", lambda: SimpleNamespace(load_dataset=load_dataset))
    corpus = load_corpus("hf:owner/name/config:body", split="test")
    assert corpus.text == "first\nend\nsecond\nend"
    assert set(calls) == {("owner/name", "config", "test")}
    assert workspace.artifact_name(corpus) == "hf_owner_name_config_body_shards"
    assert load_corpus("hf:name", text_field="body").num_characters == 17
    with pytest.raises(CorpusNotFoundError, match=r"could not stream owner/name-train-00000.*no field 'text', but body"):
        load_corpus("hf:owner/name").fingerprint  # noqa: B018
    with pytest.raises(CorpusError, match="names no dataset"):
        load_corpus("hf:")


def test_one_shard_by_itself_has_its_own_name_and_its_own_record(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("02.txt.zst", "03.jsonl", "03.jsonl"):
        corpus = load_corpus(folder / name)
        assert workspace.artifact_name(corpus) == name
        workspace.tokenizer_for(corpus, 10)
    assert "is gone" not in capsys.readouterr().err


def test_a_script_takes_shards(folder: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "--dataset", f"{folder}/*.jsonl", "--num-merges", "50", script=TRAIN_BPE)
    assert (done.returncode, "corpus_shards_bpe_50.json" in done.stdout) == (0, True), done.stderr
    done = run(tmp_path, "--dataset", folder, "--text-field", "body", script=TRAIN_BPE)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "03.jsonl, line 1 has no text in 'body'" in done.stderr
