from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from tokembed import BPETokenizerLoader, Embeddings, TrainingConfig, train_bpe, train_skipgram
from tokembed.analysis.neighbours import OFTEN, describe_neighbours, nearest_words, query_words, with_fragments
from tokembed.bpe.splitting import byte_characters, is_unspaced, rule_of
from tokembed.vectors.embeddings import UnknownWordError
from tokembed.vectors.storage import VectorsFileError, count_whole_words, read_tensors


@pytest.fixture
def embeddings() -> Embeddings:
    """Tokens of `train_bpe("low low low lower lowest", 3)`; "s" was never trained."""
    tokenizer = BPETokenizerLoader(train_bpe("low low low lower lowest", 3))
    tokens = ["e", "t", "w", "</w>", "low", "low</w>"]
    vectors = [[1, 0, 0], [0, 1, 0], [3, 4, 0], [0, 0, 1], [1, 1, 0], [2, 0, 0]]
    return Embeddings(tokens, vectors, tokenizer, counts=[3, 1, 1, 2, 5, 3], word_counts=[0, 0, 0, 0, 0, 3])


def test_a_word_with_a_token_of_its_own_has_that_tokens_vector(embeddings: Embeddings) -> None:
    assert embeddings.vector("low").tolist() == embeddings.vector("Low").tolist() == [2, 0, 0]
    assert embeddings.vector("low</w>").tolist() == [2, 0, 0]


def test_a_word_of_several_tokens_is_the_mean_of_those_trained(embeddings: Embeddings) -> None:
    # low e s t </w>, without the s
    np.testing.assert_allclose(embeddings.vector("lowest"), np.mean([[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], axis=0))


def test_a_word_without_a_vector_is_a_key_error_that_says_why(embeddings: Embeddings) -> None:
    bare = Embeddings(["ice", "fire"], np.eye(2))
    with pytest.raises(KeyError, match="no vector for 'steam'"):
        bare.vector("steam")
    assert "steam" not in bare
    assert "ice" in bare
    with pytest.raises(UnknownWordError, match="none of its tokens"):
        embeddings.vector("")


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1.0, 1e25, 1e38])
def test_cosines_do_not_depend_on_the_vectors_lengths(scale: float) -> None:
    embeddings = Embeddings(["a", "b", "c"], np.array([[1.0, 2.0], [2.0, 1.0], [-1.0, 1.0]]) * scale)
    assert embeddings.similarity("a", "b") == pytest.approx(0.8, abs=1e-4)
    assert dict(embeddings.most_similar("a")) == pytest.approx({"b": 0.8, "c": 0.1**0.5}, abs=1e-4)


def test_similarity_is_the_cosine(embeddings: Embeddings) -> None:
    bare = Embeddings(["a", "b", "zero"], [[1.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    assert bare.similarity("a", "b") == pytest.approx(0.6)
    assert bare.similarity("a", "a") == pytest.approx(1.0)
    assert bare.similarity("a", "zero") == 0.0


@given(
    arrays(np.float32, st.tuples(st.integers(2, 12), st.integers(1, 5)), elements=st.integers(-3, 3).map(float)),
    st.integers(1, 20),
)
def test_most_similar_is_the_plain_sort_by_cosine(vectors: np.ndarray, topn: int) -> None:
    tokens = [f"t{row}" for row in range(len(vectors))]
    embeddings = Embeddings(tokens, vectors)
    found = embeddings.most_similar("t0", topn)
    others = [(token, embeddings.similarity("t0", token)) for token in tokens[1:]]
    expected = sorted(others, key=lambda other: -other[1])[:topn]
    np.testing.assert_allclose([score for _, score in found], [score for _, score in expected], atol=1e-6)
    assert len({token for token, _ in found}) == len(found)
    assert "t0" not in dict(found)


def test_fragments_can_be_left_out(embeddings: Embeddings) -> None:
    assert embeddings.is_word.tolist() == [False, False, False, False, False, True]
    assert [token for token, _ in embeddings.most_similar("lowest", words_only=True)] == ["low</w>"]
    assert embeddings.most_similar("low", words_only=True) == []
    with pytest.raises(ValueError, match="topn"):
        embeddings.most_similar("low", topn=0)


def test_whole_words_are_counted_apart_from_endings() -> None:
    #                 low</w>  low  er</w>  er</w>
    ids = np.array([0, 1, 2, 2])
    assert count_whole_words(ids, ["low</w>", "low", "er</w>"]).tolist() == [1, 0, 1]
    assert count_whole_words(ids[:0], ["low</w>"]).tolist() == [0]


@pytest.mark.parametrize(
    ("tokens", "vectors", "message"),
    [
        (["a"], np.zeros((2, 3)), "need vectors"),
        (["a"], np.zeros(3), "need vectors"),
        (["a", "a"], np.zeros((2, 3)), "twice"),
        (["a", "b"], [[0.0], [np.nan]], "'b' holds a number that is not finite"),
    ],
)
def test_what_does_not_fit_is_refused(tokens: list[str], vectors: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Embeddings(tokens, vectors)


def test_saving_and_loading_keeps_everything(tmp_path: Path, embeddings: Embeddings) -> None:
    embeddings.save(tmp_path / "vectors.safetensors")
    loaded = Embeddings.load(tmp_path / "vectors.safetensors")
    assert loaded.tokens == embeddings.tokens
    assert np.array_equal(loaded.vectors, embeddings.vectors)
    assert loaded.counts is not None
    assert loaded.counts.tolist() == [3, 1, 1, 2, 5, 3]
    assert loaded.most_similar("lowest") == embeddings.most_similar("lowest")
    Embeddings(["x"], [[1.0]]).save(tmp_path / "bare.safetensors")
    assert Embeddings.load(tmp_path / "bare.safetensors").tokenizer is None


def test_vectors_refuse_another_tokenizer(tmp_path: Path, embeddings: Embeddings) -> None:
    path = tmp_path / "vectors.safetensors"
    embeddings.save(path)
    assert embeddings.tokenizer is not None
    assert Embeddings.load(path, embeddings.tokenizer).tokens == embeddings.tokens
    with pytest.raises(VectorsFileError, match="another tokenizer"):
        Embeddings.load(path, train_bpe("other text altogether", 3))


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 100, b"\x02\x00\x00\x00\x00\x00\x00\x00{}"])
def test_a_file_that_holds_no_vectors_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(VectorsFileError, match="bad"):
        Embeddings.load(path)
    with pytest.raises(FileNotFoundError):
        Embeddings.load(tmp_path / "none.safetensors")


def test_a_cut_off_file_is_refused(tmp_path: Path, embeddings: Embeddings) -> None:
    path = tmp_path / "cut.safetensors"
    embeddings.save(path)
    whole = path.read_bytes()
    for size in range(0, len(whole), max(len(whole) // 40, 1)):
        path.write_bytes(whole[:size])
        with pytest.raises(VectorsFileError):
            Embeddings.load(path)


def test_training_gives_vectors_to_trained_tokens_only(tmp_path: Path) -> None:
    from tokembed.vectors.storage import Checkpointer

    tokenizer = BPETokenizerLoader(train_bpe("the cat saw the dog and the dog saw the cat " * 30, 40))
    ids = tokenizer.encode_array("the cat saw the dog and the dog saw the cat " * 30)
    result = train_skipgram(ids, tokenizer.vocab_size, TrainingConfig(embedding_dim=4, epochs=1, engine="hogwild"))
    embeddings = Embeddings.from_training(result, tokenizer, ids)
    assert set(embeddings.tokens) == {tokenizer.id_to_token[number] for number in ids}
    Checkpointer(tmp_path / "c.safetensors", tokenizer, ids)(result)
    loaded = Embeddings.load(tmp_path / "c.safetensors")
    assert loaded.tokens == embeddings.tokens
    assert np.array_equal(loaded.vectors, embeddings.vectors)
    tensors, metadata = read_tensors(tmp_path / "c.safetensors")
    assert np.array_equal(tensors["context_vectors"], result.context_vectors)
    assert '"seed": 1' in metadata["training"]
    with pytest.raises(ValueError, match="the tokenizer has"):
        Embeddings.from_training(result, BPETokenizerLoader(train_bpe("ab", 1)), ids)


def test_equal_cosines_come_in_the_tokens_order_however_many_are_asked_for() -> None:
    embeddings = Embeddings([f"t{row}" for row in range(2000)], np.ones((2000, 4)))
    assert [token for token, _ in embeddings.most_similar("t0", 5)] == ["t1", "t2", "t3", "t4", "t5"]
    assert embeddings.most_similar("t0", 3) == embeddings.most_similar("t0", 499)[:3]


def test_in_a_script_without_spaces_tokens_are_words_under_a_byte_level_rule() -> None:
    text = "我们未来世界。未来的世界,这未来的我们!世界 the words of it " * 30
    tokenizer = BPETokenizerLoader(train_bpe(text, 60, splitting="o200k"))
    ids = tokenizer.encode_array(text)
    result = train_skipgram(ids, tokenizer.vocab_size, TrainingConfig(epochs=1, embedding_dim=4, min_count=1, engine="hogwild"))
    embeddings = Embeddings.from_training(result, tokenizer, ids)
    words = {embeddings.word_of(token) for token, is_word in zip(embeddings.tokens, embeddings.is_word, strict=True) if is_word}
    assert any(is_unspaced(word) for word in words), words
    assert not any("\ufffd" in word for word in words), "a part of a character is no word"
    assert any(is_unspaced(word) for word in query_words(embeddings, 5)), "these are what figures ask for"


def test_words_of_characters_never_trained_are_unknown_not_all_the_same(embeddings: Embeddings) -> None:
    for word in ("未来", "😀", "s", "\ud800"):
        assert word not in embeddings
    with pytest.raises(UnknownWordError):
        embeddings.similarity("未来", "😀")
    assert "es" in embeddings


def test_vectors_are_copied_and_cannot_be_changed() -> None:
    given_vectors = np.eye(3, dtype=np.float32)
    embeddings = Embeddings(["a", "b", "c"], given_vectors)
    given_vectors[1] = given_vectors[0]
    assert embeddings.similarity("a", "b") == dict(embeddings.most_similar("a"))["b"] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        embeddings.vectors[0] = 1.0


def test_counts_that_64_bits_cannot_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="below 2\\^63"):
        Embeddings(["a"], [[1.0]], counts=np.array([2**63], dtype=np.uint64))


def test_a_rare_word_is_no_ones_neighbour_where_there_are_enough_others() -> None:
    vectors = np.random.default_rng(1).normal(size=(150, 8))
    vectors[1] = vectors[0]
    counts = np.array([50, OFTEN - 1] + [OFTEN] * 148)
    words = [f"word{letter}{other}</w>" for letter in "abcdefghijklmno" for other in "abcdefghij"]
    embeddings = Embeddings(words, vectors, counts=counts)
    assert embeddings.most_similar("wordaa", 1)[0][0] == "wordab</w>"
    found = describe_neighbours(embeddings, ["wordaa", "wordab"], topn=149)
    shown = [word for _, _, word, _ in found.rows]
    assert "wordab" not in shown
    assert "wordaa" in shown, "a rare word may be asked for"
    assert f"{OFTEN} times" in found.note
    few = Embeddings(words[:90], vectors[:90], counts=counts[:90])
    assert describe_neighbours(few, ["wordaa"]).data[0][1][0][0] == "wordab"


def test_a_word_with_and_without_a_space_is_one_neighbour_and_never_its_own() -> None:
    rule = rule_of("gpt2")
    tokens = [byte_characters(text.encode()) for text in (" ice", "ice", " snow", "snow", " fire")]
    tokenizer = BPETokenizerLoader(train_bpe("ice snow fire " * 9, 9, splitting="gpt2"))
    embeddings = Embeddings(tokens, [[1, 0], [0.9, 0.1], [0.8, 0.3], [0.7, 0.4], [0, 1]], tokenizer)
    found = [embeddings.word_of(token) for token, _ in nearest_words(embeddings, "ice", 5)]
    assert found == ["snow", "fire"]
    assert with_fragments(embeddings, "snow") == "snow"
    assert embeddings.rule == rule
