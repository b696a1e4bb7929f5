from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import RAW, raw_file
from hypothesis import given, strategies as st

from tokembed import files, load_corpus, workspace
from tokembed.corpora import sources as corpora
from tokembed.corpora.corpus import Corpus, CorpusError, CorpusNotFoundError
from tokembed.corpora.sources import clean_frankenstein, clean_wikitext

BOOK = "Letter 1\n\nYou will rejoice.\n\nChapter 24\n\nFrankenstein was lost in darkness.\n"
EDITIONS = {
    "as it is today": "*** START OF THE PROJECT GUTENBERG EBOOK FRANKENSTEIN ***\n CONTENTS\n\n Letter 1\n Chapter 24\n\n"
    + BOOK
    + "\n*** END OF THE PROJECT GUTENBERG EBOOK FRANKENSTEIN ***\nlicence",
    "as it was in 2008": "Project Gutenberg's Frankenstein\n\n"
    + BOOK
    + "\nEnd of the Project Gutenberg EBook of Frankenstein\n*** END OF THIS PROJECT GUTENBERG EBOOK ***\n",
    "older still": "header\nLETTER 1\n" + BOOK + "End of Project Gutenberg's Frankenstein\nmore",
    "without a footer": BOOK,
}


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_header_and_footer_go_whatever_their_wording_line_ends_or_byte_order_mark(
    edition: str, line_end: str, mark: str
) -> None:
    assert clean_frankenstein(mark + EDITIONS[edition].replace("\n", line_end)) == BOOK


def test_cleaning_a_clean_book_changes_nothing() -> None:
    assert clean_frankenstein(clean_frankenstein(EDITIONS["older still"])) == BOOK


@pytest.mark.parametrize("text", ["", "Letter 1\nSense and Sensibility\nChapter 24\n", "<html>Frankenstein</html>"])
def test_another_text_is_not_frankenstein(text: str) -> None:
    with pytest.raises(CorpusError, match="not the text of Frankenstein"):
        clean_frankenstein(text)


def test_the_real_book_has_the_known_counts(project: Path) -> None:
    raw_file("pg84.txt")
    corpus = load_corpus("frankenstein", raw_dir=RAW)
    pieces = re.findall(r"\w+|[^\w\s]", corpus.text.lower())
    assert (len(corpus.text.split()), len(pieces), len(set(pieces))) == (74_975, 85_908, 7_048)
    assert (files.raw_dir() / "frankenstein.txt").read_text(encoding="utf-8") == corpus.text


def test_wikitext_joins_are_mended_and_unknown_words_go() -> None:
    assert clean_wikitext("a 17 @-@ match run of 1 @,@ 000 <unk> at 2 @.@ 5 .") == "a 17-match run of 1,000  at 2.5 ."


def test_the_real_wikitext_has_no_marks_left() -> None:
    raw_file("wikitext2/validation.txt")
    text = load_corpus("wikitext2", split="validation", raw_dir=RAW).text
    assert "<unk>" not in text
    assert not re.search(r" @.@ ", text)
    assert len(text.split()) > 190_000


def test_wikitext_is_downloaded_once_and_kept_as_text(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def load_dataset(*arguments: str) -> dict[str, dict[str, list[str]]]:
        calls.append(arguments)
        return {split: {"text": [" = A = \n", "", f" the {split} @-@ text \n"]} for split in corpora.SPLITS}

    monkeypatch.setattr(corpora, "_import_datasets", lambda: SimpleNamespace(load_dataset=load_dataset))
    assert load_corpus("wikitext2", split="test").text == " = A = \n the test-text \n"
    assert load_corpus("wikitext2").text == " = A = \n the train-text \n"
    assert calls == [("Salesforce/wikitext", "wikitext-2-raw-v1")]


def test_without_network_wikitext_says_where_to_put_the_files(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*_: str) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(corpora, "_import_datasets", lambda: SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(CorpusNotFoundError, match=r"wikitext2/train\.txt.*TOKEMBED_RAW_DIR"):
        load_corpus("wikitext2")
    assert not files.raw_dir().exists()


def test_pydocs_needs_no_file() -> None:
    corpus = load_corpus("pydocs")
    assert corpus.path is None
    assert len(corpus.text.split()) > 50_000


@pytest.mark.parametrize("content", ["plain text", "\ufeffwith a mark", "crlf\r\nlines\r\n", "未来世界"])
def test_a_users_file_is_read_plain_or_packed(tmp_path: Path, content: str) -> None:
    plain, packed = tmp_path / "my text é.txt", tmp_path / "my.txt.gz"
    plain.write_bytes(content.encode())
    packed.write_bytes(gzip.compress(content.encode()))
    expected = content.removeprefix("\ufeff")
    assert load_corpus(plain).text == load_corpus(str(packed)).text == expected
    assert load_corpus(plain).path == plain


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b" \n\t", "empty"),
        (b"text\x00more", "NUL byte at byte 4"),
        ("café".encode("latin-1"), "not UTF-8: invalid at byte 3"),
        (b"a" * (1 << 20) + b"\xc3" + b"\xff", "invalid at byte 1048576"),
        (b"ends in half a character \xe6\x9c", "invalid at byte 25"),
    ],
)
def test_a_file_that_is_no_text_is_refused_with_the_reason(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        load_corpus(path)


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "half.txt.gz"
    path.write_bytes(gzip.compress(os.urandom(4000).hex().encode())[:-100])
    with pytest.raises(CorpusError, match="not a complete gzip"):
        load_corpus(path)


def test_a_packed_file_far_larger_than_it_looks_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.txt.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(400):
            file.write(b"x" * (1 << 20))
    assert path.stat().st_size < 4 << 20
    corpus = load_corpus(path)
    assert "text" not in corpus.__dict__, "it is streamed"
    with pytest.raises(CorpusError, match="characters without white space are not text"):
        list(corpus.chunks())


def test_a_missing_file_and_an_unknown_name_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(CorpusNotFoundError, match="no such file"):
        load_corpus(tmp_path / "nothing.txt")
    with pytest.raises(CorpusError, match="did you mean frankenstein"):
        load_corpus("frankestein")
    with pytest.raises(CorpusError, match="folder"):
        load_corpus(tmp_path)
    with pytest.raises(CorpusError, match="unknown split"):
        load_corpus("wikitext2", split="dev")


def test_an_empty_name_is_refused_instead_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "note.txt").write_text("some text")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CorpusError, match="the dataset's name is empty"):
        load_corpus("")


@pytest.mark.parametrize(
    ("name", "remedy"), [("a.json", "name it .jsonl"), ("a.PDF", "extract its text first"), ("a.zip", "unpack it first")]
)
def test_a_file_named_as_no_text_is_refused_with_what_to_do(name: str, remedy: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("%PDF-1.4 or {}, as text")
    with pytest.raises(CorpusError, match=remedy):
        load_corpus(tmp_path / name)


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.py", "a.log", "a.csv", "a"])
def test_a_file_of_any_other_name_is_read_as_text(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("some text")
    assert load_corpus(tmp_path / name).text == "some text"


@given(st.lists(st.text(), min_size=1), st.integers(1, 30))
def test_chunks_join_to_the_text_and_cut_no_word(parts: list[str], size: int) -> None:
    text = "".join(parts)
    chunks = list(Corpus("t", None, lambda: iter(parts)).chunks(size))
    assert "".join(chunks) == text
    assert [word for chunk in chunks for word in chunk.split()] == text.split()


def test_a_file_over_the_eager_limit_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "EAGER_CHARACTERS", 10)
    monkeypatch.setattr("tokembed.corpora.corpus.READ_BYTES", 7)
    path = tmp_path / "large.txt"
    path.write_text("naïve words, 未来 of any kind " * 10, encoding="utf-8")
    corpus = load_corpus(path)
    assert "text" not in corpus.__dict__
    assert "".join(corpus.chunks(5)) == path.read_text(encoding="utf-8")


def test_datasets_is_not_imported_for_a_corpus_at_hand() -> None:
    code = "import sys, tokembed; tokembed.load_corpus('pydocs'); sys.exit('datasets' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_streamed_file_that_changes_while_it_is_read_is_told_and_not_kept(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("the first text " * 500)
    monkeypatch.setattr(corpora, "EAGER_CHARACTERS", 1000)
    corpus = load_corpus(path)
    assert corpus.num_characters == 7500
    path.write_text("another text " * 500)
    with pytest.raises(CorpusError, match="has changed"):
        workspace.tokenizer_for(corpus, 10)
    assert not list(project.rglob("*.json"))


@pytest.mark.parametrize("name", ["~no_such_user/text.txt", "x" * 5000, "nul\x00.txt"])
def test_a_name_that_no_file_can_have_is_no_such_file(name: str) -> None:
    with pytest.raises(CorpusNotFoundError, match="no such file"):
        load_corpus(name)


def test_files_of_the_users_never_share_a_name_with_a_corpus(tmp_path: Path) -> None:
    for name, artifact in (("pydocs.txt", "pydocs.txt"), ("wikitext2.txt.gz", "wikitext2.txt.gz"), ("mine.txt.gz", "mine")):
        assert workspace.artifact_name(Corpus(str(tmp_path / name), tmp_path / name, lambda: iter(["text"]))) == artifact
    assert workspace.artifact_name(load_corpus("pydocs")) == "pydocs"
