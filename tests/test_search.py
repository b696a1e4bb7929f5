"""Passages: how a text is cut into them, which of them are found, and what the script says."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scripts import SCRIPT, run

from tokembed import BPETokenizerLoader, Embeddings, train_bpe
from tokembed.analysis.search import HEADING_WORDS, MAX_WORDS, PassageIndex, passages_of, text_vectors
from tokembed.benchmarks import retrieval
from tokembed.vectors.formats import static_rows

SEARCH = SCRIPT.with_name("search_text.py")
COLD, HOT = "ice snow frost winter cold", "fire flame ember summer heat"


@pytest.fixture(scope="module")
def two_themes() -> Embeddings:
    """Words of two themes, each a token of its own; "the" is frequent and between them."""
    words = f"{COLD} {HOT} the".split()
    tokenizer = BPETokenizerLoader(train_bpe(" ".join(words * 3), 200))
    tokens = [word + "</w>" for word in words]
    assert {*tokens} <= tokenizer.token_to_id.keys()
    vectors = np.array([[1.0, 0.2 + place / 20, 0] for place in range(5)] + [[1.0, -0.2 - place / 20, 0] for place in range(5)])
    return Embeddings(tokens, [*vectors, [1.0, 0, 1.0]], tokenizer, counts=[10] * 10 + [1000])


# ---------------------------------------------------------------- passages


@given(st.lists(st.sampled_from(["a", "b b", "c " * HEADING_WORDS, "\n", "\n", " \n", " ", "\t"])).map("".join))
def test_passages_hold_every_word_and_name_their_lines(text: str) -> None:
    passages = passages_of(text)
    assert {word for passage in passages for word in passage.text.split()} == {*text.split()}
    for passage in passages:
        assert "\n".join(text.split("\n")[passage.line - 1 :]).lstrip(" \t").startswith(passage.text)
    assert len({passage.text for passage in passages}) == len(passages)


def test_a_heading_goes_with_its_paragraph_and_a_long_paragraph_is_cut() -> None:
    words = [f"w{number}" for number in range(3 * MAX_WORDS - 1)]
    heading, first, second, third = passages_of("One\n\n\nTwo words here and more\n\n" + " ".join(words))
    assert (heading.text.split("\n")[0], heading.line, first.line) == ("One", 1, 6)
    assert [*first.text.split(), *second.text.split(), *third.text.split()] == words
    assert {len(part.text.split()) for part in (first, second, third)} == {MAX_WORDS, MAX_WORDS - 1}


# ---------------------------------------------------------------- finding


def test_words_find_what_has_them_and_vectors_also_what_has_none_of_them(two_themes: Embeddings) -> None:
    passages = ["the ice the snow the", "the fire the flame the", "the winter the"]
    index = PassageIndex(two_themes, passages)
    assert [hit.place for hit in index.nearest("frost snow", 5, "tfidf")] == [0]
    by_vectors = index.nearest("frost cold", 5, "vectors")
    assert {hit.place for hit in by_vectors[:2]} == {0, 2}
    assert by_vectors[0].vectors > 0 > by_vectors[2].vectors
    assert all(hit.both == pytest.approx(hit.vectors + hit.tfidf) for hit in index.nearest("snow", 5))
    assert len(index.nearest("snow", 10**9)) == 3
    with pytest.raises(ValueError, match="no word of 'frost cold' is in any passage"):
        index.nearest("frost cold", 5, "tfidf")


def test_unknown_words_are_left_out_and_nothing_else_is_found_for_them(two_themes: Embeddings) -> None:
    index = PassageIndex(two_themes, ["the ice the snow", "the fire"])
    assert index.unknown_words("Snow, iccce? 未来 FIRE") == [",", "iccce", "?", "未来"]
    assert index.nearest("iccce snow", 1) == index.nearest("snow", 1)
    for by in ("vectors", "tfidf", "both"):
        with pytest.raises(ValueError, match="nothing is found"):
            index.nearest("iccce 未来", 1, by)
    with pytest.raises(ValueError, match="not one of vectors, tfidf, both"):
        index.nearest("snow", 1, "luck")
    with pytest.raises(ValueError, match="nothing to search"):
        PassageIndex(two_themes, [])


def test_a_text_without_tokens_has_a_vector_of_zeros(two_themes: Embeddings) -> None:
    rows = static_rows(two_themes, None, remove_common=False)
    found = text_vectors(rows, two_themes, ["ice snow", "", " "])
    np.testing.assert_allclose(found[0], (two_themes["ice"] + two_themes["snow"]) / 2, rtol=1e-6)
    assert not found[1:].any()


# ---------------------------------------------------------------- which way finds more

ARTICLES = "\n\n".join(
    f" = {title} = \n\n = = A heading = = \n" + "\n".join(" ".join(words.split()[place:] * 6) for place in range(3))
    for title, words in (("Cold", COLD), ("Hot", HOT))
)


def test_queries_of_own_words_are_right_by_meaning_alone(two_themes: Embeddings) -> None:
    paragraphs = retrieval.articles_of(ARTICLES)
    assert [len(article) for article in paragraphs] == [2, 2], "shorter paragraphs and headings are no queries"
    assert [*retrieval.own_words(["the ice", "the snow ice frost"])] == ["", "snow frost"]
    report = retrieval.measure_retrieval(two_themes, ARTICLES)
    by_name = {row.name: row for row in report.rows}
    assert len(by_name) == 5
    assert by_name["TF-IDF"].whole == by_name["weighted, less what all have in common"].whole == 1.0
    assert by_name["TF-IDF"].own_words == 0.0
    assert by_name["weighted, less what all have in common"].own_words == by_name["both, cosines added"].own_words == 1.0
    assert (report.num_articles, report.num_whole, report.num_own_words) == (2, 4, 2)
    assert report.chance == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="two paragraphs or more"):
        retrieval.measure_retrieval(two_themes, "no article")


# ---------------------------------------------------------------- the script


@pytest.fixture(scope="module")
def searchable(short_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search") / "project"
    shutil.copytree(short_project, folder)
    return folder


def test_the_script_shows_passages_as_a_table_and_as_json(searchable: Path) -> None:
    done = run(searchable, "a list of strings zzqzz", "--dataset", "pydocs", "--top", "3", script=SEARCH)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(re.findall(r"^ +-?\d\.\d\d +\d\.\d\d +-?\d\.\d\d +\d+  \S", done.stdout, re.MULTILINE)) == 3
    assert "left out   zzqzz" in done.stdout
    done = run(
        searchable, "a list of strings", "--dataset", "pydocs", "--by", "tfidf", "--top", "999999", "--json", script=SEARCH
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) > 100
    assert {*found[0]} == {"vectors", "tfidf", "both", "line", "text"}
    assert [hit["tfidf"] for hit in found] == sorted((hit["tfidf"] for hit in found), reverse=True)
    assert found[-1]["tfidf"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give a query"),
        (("  ", "--dataset", "pydocs"), "give a query"),
        (("query", "--measure"), "--measure takes no query"),
        (("未来 zzqzz", "--dataset", "pydocs"), "nothing is found"),
        (("query", "--dataset", "wikitext2"), "train_embeddings.py --dataset wikitext2 makes them"),
        (("query", "--dataset", "missing.txt"), "no such file: missing.txt"),
        (("query", "--dataset", "pydocs", "--checkpoint", "missing"), "no trained vectors in missing"),
        (("query", "--checkpoint", "missing"), "give both"),
        (("query", "--top", "0"), "at least 1"),
        (("query", "--by", "luck"), "invalid choice"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(searchable: Path, arguments: tuple[str, ...], message: str) -> None:
    done = run(searchable, *arguments, script=SEARCH)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_text_without_spaces_is_searched_by_its_characters() -> None:
    words = ["创建", "文件", "删除", "目录", "打印", "名字", "这个", "一个", "的"]
    tokenizer = BPETokenizerLoader(train_bpe("\n".join(words * 20), 60, splitting="o200k"))
    random = np.random.default_rng(0).normal(size=(tokenizer.vocab_size, 8))
    embeddings = Embeddings(tokenizer.id_to_token, random, tokenizer, np.ones(tokenizer.vocab_size, dtype=np.int64))
    index = PassageIndex(embeddings, ["创建一个文件。", "删除这个目录。", "打印文件的名字。"])
    assert not index.unknown_words("删除目录")
    (best, *_) = index.nearest("删除目录", 3, by="tfidf")
    assert best.place == 1
