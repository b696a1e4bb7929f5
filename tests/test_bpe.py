from __future__ import annotations

import bz2
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import RAW, raw_file
from gensim.test.utils import datapath
from hypothesis import given, settings, strategies as st
from oracles import huggingface_merges

from tokembed import BPEModel, load_corpus, train_bpe
from tokembed.bpe import learning, reference
from tokembed.bpe.learning import count_words
from tokembed.bpe.model import ModelFileError

SMALL_TEXT = st.lists(st.text(alphabet="aabbcdé .İ", max_size=30), max_size=8).map(" ".join)


def test_the_textbook_example() -> None:
    """Sennrich et al.'s four words: es, then est</w>, then lo and low."""
    text = " ".join(["low"] * 5 + ["lower"] * 2 + ["newest"] * 6 + ["widest"] * 3)
    model = train_bpe(text, 5)
    assert model.merges == [("e", "s"), ("t", "</w>"), ("es", "t</w>"), ("l", "o"), ("lo", "w")]
    assert model.applications == [9, 9, 9, 7, 7]


@given(text=SMALL_TEXT, num_merges=st.integers(0, 40), min_frequency=st.integers(1, 3), lowercase=st.booleans())
@settings(max_examples=300)
def test_merges_equal_the_readable_reference(text: str, num_merges: int, min_frequency: int, lowercase: bool) -> None:
    options: dict[str, Any] = {"lowercase": lowercase, "min_frequency": min_frequency}
    assert train_bpe(text, num_merges, **options).merges == reference.train_bpe(text, num_merges, **options)


def test_merges_equal_the_reference_on_a_book(frankenstein: str, model: BPEModel) -> None:
    assert model.merges[:60] == reference.train_bpe(frankenstein, 60)


@pytest.mark.parametrize("num_merges", [10_000])
@pytest.mark.parametrize("dataset", ["pydocs", "frankenstein", "wikitext2"])
def test_merges_equal_hugging_faces_one_by_one(dataset: str, num_merges: int) -> None:
    if dataset != "pydocs":
        raw_file({"frankenstein": "pg84.txt", "wikitext2": "wikitext2/train.txt"}[dataset])
    text = load_corpus(dataset, raw_dir=RAW).text
    model = train_bpe(text, num_merges)
    assert model.merges == huggingface_merges(count_words([text]), num_merges, min_frequency=2)
    assert len(model.merges) > 2000


def test_merges_equal_hugging_faces_on_many_languages() -> None:
    """A Bulgarian Wikipedia dump, a page of Russian, some English, and runs of every script's letters."""
    dump = Path(datapath("bgwiki-latest-pages-articles-shortened.xml.bz2")).read_bytes()
    texts = [bz2.decompress(dump).decode("utf-16")[:600_000]]
    texts += [Path(datapath(name)).read_text(encoding="utf-8") for name in ("crime-and-punishment.txt", "para2para_text2.txt")]
    letters = [chr(n) for n in range(0x80, 0x30000) if chr(n).isalnum()]
    texts.append(" ".join("".join(letters[i : i + 1 + i % 7]) for i in range(0, len(letters), 3)) * 2)
    text = "\n".join(texts)
    assert train_bpe(text, 4000).merges == huggingface_merges(count_words([text]), 4000, min_frequency=2)


@given(SMALL_TEXT)
def test_applications_tell_the_number_of_tokens_left(text: str) -> None:
    model = train_bpe(text, 30, min_frequency=1)
    words = reference.count_words(text)
    num_tokens = sum(len(word) * count for word, count in words.items())
    for merge, applied in zip(model.merges, model.applications, strict=True):
        words = {reference.merge_word(word, merge): count for word, count in words.items()}
        left = sum(len(word) * count for word, count in words.items())
        assert num_tokens - left == applied
        num_tokens = left
    assert model.num_words + model.num_characters - sum(model.applications) == num_tokens


def test_the_result_does_not_depend_on_order_or_grouping(pydocs: str) -> None:
    words = pydocs.split()[:20_000]
    expected = train_bpe(" ".join(words), 500)
    assert train_bpe(" ".join(reversed(words)), 500) == expected
    assert train_bpe((" ".join(words[i : i + 7]) for i in range(0, len(words), 7)), 500) == expected


@pytest.mark.parametrize("seed", ["1", *(pytest.param(seed, marks=pytest.mark.endurance) for seed in ("0", "2"))])
def test_the_result_does_not_depend_on_the_hash_seed(pydocs: str, seed: str) -> None:
    """This process has a seed of its own, another one each time."""
    code = "from tokembed import load_corpus, train_bpe; print(train_bpe(load_corpus('pydocs').text, 300).fingerprint)"
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == train_bpe(pydocs, 300).fingerprint


def test_the_texts_of_an_iterable_are_independent() -> None:
    assert train_bpe(["ab", "ab"], 5).merges == train_bpe("ab ab", 5).merges
    assert train_bpe(["ab", "ab"], 5).merges != train_bpe("abab", 5, min_frequency=1).merges


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path, pydocs: str) -> None:
    text = "\n".join(pydocs[:50_000].splitlines())
    (tmp_path / "unix.txt").write_bytes(text.encode())
    (tmp_path / "windows.txt").write_bytes(("\ufeff" + text.replace("\n", "\r\n")).encode())
    first, second = (train_bpe(load_corpus(tmp_path / f"{name}.txt").text, 300) for name in ("unix", "windows"))
    assert first == second


def test_learning_stops_when_pairs_run_out() -> None:
    assert train_bpe("", 10).merges == []
    assert train_bpe("", 10).alphabet == ["</w>"]
    assert train_bpe("a b c", 10).merges == []
    assert len(train_bpe("abc", 10, min_frequency=1).merges) == 3


def test_the_pair_table_grows_past_its_first_size(frankenstein: str) -> None:
    few = train_bpe(frankenstein, 10_000, min_frequency=1)
    assert len(few.merges) == len(set(few.merges))
    assert few.num_words + few.num_characters - sum(few.applications) < 1.2 * few.num_words


def test_counts_beyond_32_bits_are_kept() -> None:
    counts = {"ab": 2**40, "bc": 2**40 + 1, "x": 2**33}
    model = learning.train_bpe_from_counts(counts, 2)
    assert model.merges[0] == ("b", "c")
    assert model.applications[0] == 2**40 + 1
    assert model.num_words == 2**41 + 1 + 2**33


def test_ties_go_to_the_smallest_ids() -> None:
    assert train_bpe("cd ab cd ab", 1).merges == [("a", "b")]


@pytest.mark.parametrize("num_merges", [-1, 2.5, True])
def test_an_impossible_number_of_merges_is_refused(num_merges: Any) -> None:
    with pytest.raises(ValueError, match="num_merges"):
        train_bpe("text", num_merges)


def test_numbers_larger_than_any_corpus_are_taken() -> None:
    assert train_bpe("low low lower", 10**30, min_frequency=2).merges == train_bpe("low low lower", 100).merges
    assert train_bpe("low low lower", 5, min_frequency=10**30).merges == []


def test_other_bad_arguments_are_refused() -> None:
    for number in (0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="min_frequency"):
            train_bpe("low", 2, min_frequency=number)  # type: ignore[arg-type]
    for thing in (b"low", [b"low"], [1], None):
        with pytest.raises(TypeError):
            train_bpe(thing, 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="min_frequency"):
        train_bpe("text", 1, min_frequency=0)
    with pytest.raises(ValueError, match="position 2"):
        train_bpe("ab\udc80", 1)


def test_a_saved_model_loads_equal(tmp_path: Path, model: BPEModel) -> None:
    model.save(tmp_path / "folder" / "model.json")
    loaded = BPEModel.load(tmp_path / "folder" / "model.json")
    assert loaded == model
    assert loaded.vocab == model.vocab
    assert loaded.fingerprint == model.fingerprint
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["model.json"]


def test_ids_are_alphabet_then_merges_then_bytes() -> None:
    model = train_bpe("low low", 2)
    assert model.alphabet == ["l", "o", "w", "</w>"]
    assert list(model.vocab)[:6] == ["l", "o", "w", "</w>", "lo", "w</w>"]
    assert list(model.vocab.values()) == list(range(6 + 256))
    assert list(train_bpe("low low", 2, byte_fallback=False).vocab)[6:] == ["<unk>"]


FLAWS: dict[str, Any] = {
    "not JSON": "{",
    "a list": [],
    "another format": {"format": "other"},
    "another version": {"version": 2},
    "no alphabet": {"alphabet": None},
    "alphabet without end of word": {"alphabet": ["a", "b"]},
    "alphabet with a word": {"alphabet": ["ab", "</w>"]},
    "alphabet with a double": {"alphabet": ["a", "a", "b", "</w>"]},
    "merges no list": {"merges": {}},
    "merge of three": {"merges": [["a", "b", "c"]]},
    "merge of a stranger": {"merges": [["a", "z"]]},
    "merge of numbers": {"merges": [[1, 2]]},
    "merge twice": {"merges": [["a", "b"], ["a", "b"]]},
    "merge after the end": {"merges": [["a", "</w>"], ["a</w>", "b"]]},
    "applications too short": {"applications": []},
    "applications negative": {"applications": [-1]},
    "lowercase a number": {"lowercase": 1},
    "source a list": {"source": []},
    "count a float": {"num_words": 1.5},
    "count beyond 64 bits": {"num_words": 2**63},
    "a lone surrogate": {"alphabet": ["\ud800", "</w>"], "merges": [], "applications": []},
    "a byte token of its own": {"alphabet": ["<0x0A>", "</w>"]},
    "nested without end": '{"format": "tokembed-bpe", "source": ' + "[" * 100_000,
    "a number of a million digits": '{"format": ' + "1" * 1_000_000 + "}",
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_damaged_model_file_is_refused(tmp_path: Path, flaw: str) -> None:
    path = tmp_path / "model.json"
    good = json.loads(train_bpe("ab ab", 1).to_json())
    content = FLAWS[flaw]
    path.write_text(
        content if isinstance(content, str) else json.dumps({**good, **content} if isinstance(content, dict) else content)
    )
    with pytest.raises(ModelFileError, match=r"model\.json is not a tokenizer file: "):
        BPEModel.load(path)


def test_a_file_too_large_for_a_tokenizer_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokembed.bpe.model.MAX_FILE_BYTES", 1 << 20)
    path = tmp_path / "model.json"
    with open(path, "wb") as file:
        file.truncate(1 << 40)  # a hole: it takes no room on the disk, and would take a terabyte of memory
    with pytest.raises(ModelFileError, match="larger than 1 MiB"):
        BPEModel.load(path)


def test_merges_are_learned_from_a_path_or_a_corpus_and_the_name_of_a_file_is_not_taken_for_a_text(tmp_path: Path) -> None:
    path = tmp_path / "low.txt"
    path.write_text("low low lower lowest", encoding="utf-8")
    learned = train_bpe("low low lower lowest", 3)
    assert train_bpe(path, 3) == train_bpe(load_corpus(path), 3) == learned
    with pytest.raises(ValueError, match="is the name of a file, not a text: give Path"):
        train_bpe(str(path), 3)
