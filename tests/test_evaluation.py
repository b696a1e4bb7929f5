from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gensim.models import KeyedVectors
from gensim.test.utils import datapath

from tokembed import BPETokenizerLoader, Embeddings, TrainingConfig, train_bpe, train_skipgram
from tokembed.vectors import evaluation
from tokembed.vectors.evaluation import (
    evaluate_analogies,
    evaluate_synonyms,
    evaluate_word_pairs,
    read_analogies,
    read_synonyms,
    read_word_pairs,
)


def test_word_pair_files_are_read_with_tabs_or_commas_heading_or_not(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    for separator, line_end, mark in (("\t", "\n", ""), (",", "\n", ""), (",", "\r\n", "\ufeff")):
        lines = ["# a comment", f"Word 1{separator}Word 2{separator}Score", f"love{separator}sex{separator}6.77", ""]
        path.write_bytes((mark + line_end.join(lines)).encode())
        assert read_word_pairs(path) == [("love", "sex", 6.77)]
    assert len(read_word_pairs(datapath("wordsim353.tsv"))) == 353
    assert len(read_word_pairs(datapath("simlex999.txt"))) == 999


@pytest.mark.parametrize(
    ("content", "message"), [("", "no word pairs"), ("a,b,1\na b c\n", "line 2"), ("a,b\n", "no word pairs")]
)
def test_a_file_without_word_pairs_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_word_pairs(path)


def test_the_correlation_is_gensims(tmp_path: Path) -> None:
    path = tmp_path / "lowered.tsv"  # gensim lowers the words itself
    path.write_text(Path(datapath("wordsim353.tsv")).read_text(encoding="utf-8").lower(), encoding="utf-8")
    words = sorted({word for pair in read_word_pairs(path) for word in pair[:2]})[:300]
    vectors = np.random.default_rng(0).normal(size=(len(words), 20)).astype(np.float32)
    theirs = KeyedVectors(20)
    theirs.add_vectors(words, vectors)
    _, spearman, percent_unknown = theirs.evaluate_word_pairs(str(path))
    ours = evaluate_word_pairs(Embeddings([word + "</w>" for word in words], vectors), path)
    assert ours.num_covered / ours.num_pairs == pytest.approx(1 - percent_unknown / 100)
    assert ours.spearman == pytest.approx(spearman.statistic, abs=1e-6)


WORDS = ("ice", "snow", "fire", "flame", "king", "queen", "man", "woman")
VECTORS = np.array([[1, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [0.1, 0.9, 0], [1, 1, 1], [1, -1, 1], [0, 1.1, 0.2], [0, -1, 0.2]])


def words_only() -> Embeddings:
    return Embeddings([word + "</w>" for word in WORDS], VECTORS)


def test_synonyms_are_scored_by_the_share_of_pairs_that_they_beat() -> None:
    vectors = np.random.default_rng(3).normal(size=(len(WORDS), 3))
    embeddings = Embeddings([word + "</w>" for word in WORDS], vectors)
    score = evaluate_synonyms(embeddings, [("ice", "snow"), ("fire", "flame"), ("ice", "unheard")])
    pairs = [(a, b) for place, a in enumerate(WORDS) for b in WORDS[place + 1 :]]
    cosines = [embeddings.similarity(a, b) for a, b in pairs]
    beaten = [
        np.mean([(other < own) + (other == own) / 2 for other in cosines])
        for own in (embeddings.similarity("ice", "snow"), embeddings.similarity("fire", "flame"))
    ]
    # Cosines of all pairs are computed in float32, a synonym's in float64: its tie with itself may fall either way.
    assert score.auc == pytest.approx(np.mean(beaten), abs=0.51 / len(pairs))
    assert (score.num_covered, score.num_pairs, score.num_known) == (2, 3, 2)
    assert score.random_cosine == pytest.approx(np.mean(cosines), abs=1e-6)
    assert np.isnan([evaluate_synonyms(embeddings, pairs).auc for pairs in ([("un", "heard")], [])]).all()


def test_words_made_of_parts_alone_get_no_score(pydocs: str) -> None:
    """Composed vectors are alike: synonyms that a text lacks would beat all its words."""
    tokenizer = BPETokenizerLoader(train_bpe(pydocs, 3000))
    token_ids = tokenizer.encode_array(pydocs)
    result = train_skipgram(token_ids, tokenizer.vocab_size, TrainingConfig(epochs=1, composition="ngrams"))
    embeddings = Embeddings.from_training(result, tokenizer, token_ids)
    score = evaluate_synonyms(embeddings, read_synonyms("test"))
    assert (score.num_covered, score.num_known < 11) == (44, True)
    assert np.isnan([score.auc, score.synonym_cosine]).all()


def test_the_two_lists_of_synonyms_share_no_pair_and_both_are_long_enough() -> None:
    development, test = (read_synonyms(name) for name in ("development", "test"))
    assert not {frozenset(pair) for pair in development} & {frozenset(pair) for pair in test}
    assert min(len({frozenset(pair) for pair in pairs}) for pairs in (development, test)) >= 40


@pytest.mark.parametrize("content", ["", "a\n", "a,b,c\n", "a,\n"])
def test_a_file_without_synonyms_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"pairs\.txt"):
        read_synonyms(path)


def test_analogies_are_answered_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "questions.txt"
    path.write_text(": royal\nman king woman queen\nMan Woman king queen\n: other\nice snow fire flame\nice snow un heard\n")
    score = evaluate_analogies(words_only(), path)
    assert score.sections == {"royal": (2, 2), "other": (1, 1)}
    assert (score.accuracy, score.num_covered, score.num_questions) == (1.0, 3, 4)
    path.write_text("one two three\n")
    with pytest.raises(ValueError, match="line 1"):
        evaluate_analogies(words_only(), path)


def test_analogies_are_answered_as_gensim_answers_them(tmp_path: Path) -> None:
    questions = read_analogies(datapath("questions-words.txt"))["capital-common-countries"]
    path = tmp_path / "lowered.txt"
    path.write_text(": capitals\n" + "\n".join(" ".join(four).lower() for four in questions) + "\n")
    words = sorted({word.lower() for four in questions for word in four})
    random = np.random.default_rng(1)
    vectors = random.normal(size=(len(words), 10)).astype(np.float32)
    # Give capitals and countries something in common, so that some answers are right.
    shift = random.normal(size=10)
    for country, capital in sorted({(b.lower(), a.lower()) for a, b, *_ in questions}):
        vectors[words.index(country)] = vectors[words.index(capital)] + shift + 0.5 * random.normal(size=10)
    theirs = KeyedVectors(10)
    theirs.add_vectors(words, vectors)
    accuracy, _ = theirs.evaluate_word_analogies(str(path))
    ours = evaluate_analogies(Embeddings([word + "</w>" for word in words], vectors), path)
    assert ours.num_covered == len(questions)
    assert 0 < ours.accuracy == pytest.approx(accuracy)


def test_a_list_that_is_no_text_or_far_too_long_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "list.tsv"
    path.write_bytes(b"a\tb\t1\ncaf\xe9\tb\t2\n")
    with pytest.raises(ValueError, match=r"list\.tsv is not UTF-8"):
        read_word_pairs(path)
    path.write_text("a\tb\t1\na\tc\tnan\n")
    with pytest.raises(ValueError, match="line 2"):
        read_word_pairs(path)
    monkeypatch.setattr(evaluation, "MAX_LIST_BYTES", 5)
    with pytest.raises(ValueError, match="larger than"):
        read_word_pairs(path)


def test_analogies_are_lowered_as_the_tokenizer_lowers(tmp_path: Path) -> None:
    words = ["οδοσ", "b", "c", "d"]  # lower() of the whole word would end it in another sigma
    path = tmp_path / "questions.txt"
    path.write_text("ΟΔΟΣ b c d\n", encoding="utf-8")
    assert evaluate_analogies(Embeddings([word + "</w>" for word in words], np.eye(4)), path).num_covered == 1
