from __future__ import annotations

import json
import math
import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tokembed import BPETokenizerLoader, Embeddings, TrainingConfig, train_bpe, train_skipgram
from tokembed.vectors.composition import RIDGE, Composition, ngrams_of
from tokembed.vectors.embeddings import UnknownWordError
from tokembed.vectors.storage import Checkpointer, VectorsFileError, read_tensors, write_tensors

TEXT = "the happy king walked and the happily married queen talked of walking and of talking to the kings and queens . " * 30
CONFIG = TrainingConfig(embedding_dim=8, epochs=2, workers=1, min_count=1, composition="ngrams")


def trained(tmp_path: Path, config: TrainingConfig = CONFIG, splitting: str = "words") -> tuple[Embeddings, Path]:
    tokenizer = BPETokenizerLoader(train_bpe(TEXT, 300, splitting=splitting))
    ids = tokenizer.encode_array(TEXT)
    path = tmp_path / f"{splitting}_{config.composition}.safetensors"
    result = train_skipgram(ids, tokenizer.vocab_size, config, on_checkpoint=Checkpointer(path, tokenizer, ids))
    return Embeddings.from_training(result, tokenizer, ids), path


def test_an_unseen_word_is_like_the_words_it_shares_parts_with() -> None:
    words = ["walked", "walking", "walks", "sings", "singer", "sang"]
    vectors = np.repeat([[1.0, 0.0], [0.0, 1.0]], 3, axis=0)
    composition = Composition.fitted(words, vectors, np.array([9, 5, 5, 9, 5, 5]))
    walker, singing = composition.vector("walker"), composition.vector("singing")
    assert walker is not None
    assert singing is not None
    assert walker[0] > walker[1]
    assert singing[1] > singing[0]
    assert composition.vector("未来") is None


def test_fitted_ngrams_solve_the_ridge_regression() -> None:
    words = ["walked", "walking", "talked", "talking", "talks", "walks"]
    random = np.random.default_rng(1)
    vectors = random.normal(size=(6, 3))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = Composition.fitted(words, vectors)
    known = [[ngram for ngram in ngrams_of(word) if ngram in found.ngrams] for word in words]
    sums = [sum(map(len, each)) for each in known]
    a = np.array(
        [[each.count(ngram) * len(ngram) / total for ngram in found.ngrams] for each, total in zip(known, sums, strict=True)]
    )
    centred = unit - unit.mean(axis=0)
    expected = np.linalg.solve(a.T @ a + RIDGE * np.eye(len(found.ngrams)), a.T @ centred)
    scale = np.linalg.norm(vectors, axis=1).mean()
    np.testing.assert_allclose(found.vectors.astype(float), scale * expected, atol=2e-3)
    np.testing.assert_allclose(found.residuals.astype(float), scale * (centred - a @ expected), atol=2e-3)


def test_an_unseen_word_gets_the_residuals_of_the_words_spelled_like_it() -> None:
    words = ["walked", "walks", "banana"]
    composition = Composition(["<w"], np.zeros((1, 3)), np.zeros(3), words=words, residuals=np.eye(3))

    def spelled(word: str) -> Counter[str]:
        return Counter({ngram: len(ngram) * number for ngram, number in Counter(ngrams_of(word)).items() if len(ngram) >= 4})

    asked, known = spelled("walker"), [spelled(word) for word in words]
    products = np.array([sum(asked[ngram] * other[ngram] for ngram in other) for other in known])
    lengths = [math.sqrt(sum(value**2 for value in each.values())) for each in (asked, *known)]
    cosines = products / lengths[0] / np.array(lengths[1:])
    assert cosines[0] > cosines[1] > cosines[2] == 0
    np.testing.assert_allclose(composition.vector("walker"), cosines**5 / (cosines**4).sum(), rtol=1e-5)
    stranger = composition.vector("wry")
    assert stranger is not None
    assert not stranger.any(), "no word shares a longer n-gram with it"


def test_off_gives_the_trained_rows_bit_for_bit(tmp_path: Path) -> None:
    off, path = trained(tmp_path, replace(CONFIG, composition="off"))
    tables, _ = read_tensors(path)
    on, composed_path = trained(tmp_path)
    assert np.array_equal(off.vectors, tables["target_vectors"][tables["counts"] > 0])
    assert np.array_equal(tables["target_vectors"], read_tensors(composed_path)[0]["target_vectors"]), "training is the same"
    assert off.composition is None
    assert not np.array_equal(on.vectors, off.vectors)
    np.testing.assert_allclose(
        np.linalg.norm(on.vectors, axis=1), np.linalg.norm(off.vectors, axis=1), rtol=1e-5, err_msg="lengths are kept"
    )


@pytest.mark.parametrize("splitting", ["words", "gpt2"])
def test_composed_words_survive_saving_checkpoints_and_pickling(tmp_path: Path, splitting: str) -> None:
    embeddings, checkpoint = trained(tmp_path, splitting=splitting)
    embeddings.save(tmp_path / "vectors.safetensors")
    copies = Embeddings.load(tmp_path / "vectors.safetensors"), Embeddings.load(checkpoint)
    for copy in (*copies, pickle.loads(pickle.dumps(embeddings))):
        assert np.array_equal(copy.vectors, embeddings.vectors)
        for word in ("walker", "unhappiness", "king", "happy walker"):
            assert word in copy
            assert np.array_equal(copy.vector(word), embeddings.vector(word))
        assert copy.most_similar("walker") == embeddings.most_similar("walker")


@pytest.mark.parametrize("splitting", ["words", "gpt2"])
def test_any_word_has_a_vector_but_empty_text(tmp_path: Path, splitting: str) -> None:
    embeddings, _ = trained(tmp_path, splitting=splitting)
    row = embeddings.token_to_index[embeddings.rule.token_of("king")]
    assert np.array_equal(embeddings.vector("king"), embeddings.vectors[row])
    assert np.isfinite(embeddings.vector("walker")).all()
    assert "" not in embeddings
    assert "\ud800" not in embeddings
    with pytest.raises(UnknownWordError):
        embeddings.vector("")


def test_a_word_is_composed_as_the_tokenizer_lowers_it(tmp_path: Path) -> None:
    embeddings, _ = trained(tmp_path)
    assert np.array_equal(embeddings.vector("WALKER"), embeddings.vector("walker"))


def test_what_is_damaged_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="twice"):
        Composition(["ab", "ab"], np.zeros((2, 3)), np.zeros(3))
    with pytest.raises(ValueError, match="finite"):
        Composition(["ab"], [[np.inf, 0]], np.zeros(2))
    with pytest.raises(ValueError, match="dimensions"):
        Embeddings(["a"], [[1.0]], composition=Composition(["ab"], np.zeros((1, 2)), np.zeros(2)))
    with pytest.raises(ValueError, match="composition must be one of off, ngrams"):
        TrainingConfig(composition="parts")
    embeddings, _ = trained(tmp_path)
    embeddings.save(tmp_path / "vectors.safetensors")
    tensors, metadata = read_tensors(tmp_path / "vectors.safetensors")
    for damage in ({"ngrams": "[1]"}, {"ngrams": '["ab"]'}, {"ngram_words": "[1]"}, {"ngram_words": '["ab"]'}):
        damaged = {**metadata, **damage}
        write_tensors(tmp_path / "damaged.safetensors", tensors, damaged)
        with pytest.raises(VectorsFileError):
            Embeddings.load(tmp_path / "damaged.safetensors")
    del tensors["ngram_mean"]
    write_tensors(tmp_path / "damaged.safetensors", tensors, metadata)
    with pytest.raises(VectorsFileError, match="n-grams"):
        Embeddings.load(tmp_path / "damaged.safetensors")


def test_few_words_and_no_words_are_fitted_too() -> None:
    assert Composition.fitted([], np.zeros((0, 3))).vector("word") is None
    assert np.array_equal(
        Composition.fitted(["a"], np.ones((1, 2))).blended(["a"], np.ones((1, 2), np.float32)), np.ones((1, 2))
    )
    zeros = np.zeros((2, 2), np.float32)
    assert np.array_equal(Composition.fitted(["aa", "ab"], zeros).blended(["aa", "ab"], zeros), zeros)


def test_a_finished_checkpoint_keeps_its_ngrams_and_one_without_them_has_them_fitted(tmp_path: Path) -> None:
    tokenizer = BPETokenizerLoader(train_bpe(TEXT, 300))
    ids = tokenizer.encode_array(TEXT)
    keep = Checkpointer(tmp_path / "kept.safetensors", tokenizer, ids)
    result = train_skipgram(ids, tokenizer.vocab_size, CONFIG, on_checkpoint=keep)
    fitted = Embeddings.load(keep.path)
    assert "ngrams" not in read_tensors(keep.path)[1]
    keep.add_composition(fitted.composition)
    kept = Embeddings.load(keep.path)
    assert "ngrams" in read_tensors(keep.path)[1]
    assert np.array_equal(kept.vectors, fitted.vectors)
    assert np.array_equal(kept.vector("walker"), Embeddings.from_training(result, tokenizer, ids).vector("walker"))


def test_two_trainings_of_different_settings_on_one_file_are_both_kept(tmp_path: Path) -> None:
    tokenizer = BPETokenizerLoader(train_bpe(TEXT, 300))
    ids = tokenizer.encode_array(TEXT)
    path = tmp_path / "kept.safetensors"
    first, second = (Checkpointer(path, tokenizer, ids) for _ in range(2))
    wide = train_skipgram(ids, tokenizer.vocab_size, CONFIG, on_checkpoint=first)
    fitted = Embeddings.load(path)
    narrow = train_skipgram(ids, tokenizer.vocab_size, replace(CONFIG, window_size=1, epochs=1), on_checkpoint=second)
    (aside,) = second.kept_aside
    first.add_composition(fitted.composition)  # too late: the file is another training's by now
    for kept, result in ((aside, wide), (path, narrow)):
        tensors, metadata = read_tensors(kept)
        assert np.array_equal(tensors["target_vectors"], result.target_vectors)
        assert "ngrams" not in metadata
    assert not first.kept_aside


def test_a_checkpoint_of_a_version_without_composition_gives_its_rows(tmp_path: Path) -> None:
    off, path = trained(tmp_path, replace(CONFIG, composition="off"))
    tensors, metadata = read_tensors(path)
    training = json.loads(metadata["training"])
    del training["config"]["composition"]
    write_tensors(tmp_path / "old.safetensors", tensors, {**metadata, "training": json.dumps(training)})
    old = Embeddings.load(tmp_path / "old.safetensors")
    assert old.composition is None
    assert np.array_equal(old.vectors, tensors["target_vectors"][tensors["counts"] > 0])
    assert np.array_equal(old.vector("king"), off.vector("king"))


def test_ngrams_of_a_file_without_relatives_or_exponents_are_averaged(tmp_path: Path) -> None:
    composition = Composition(["<i", "ic", "ice"], np.eye(3), np.zeros(3))
    embeddings = Embeddings(["icy</w>"], [[1.0, 0.0, 0.0]], composition=composition)
    embeddings.save(tmp_path / "vectors.safetensors")
    tensors, metadata = read_tensors(tmp_path / "vectors.safetensors")
    del metadata["ngram_exponents"], metadata["ngram_words"], tensors["ngram_residuals"]
    write_tensors(tmp_path / "earlier.safetensors", tensors, metadata)
    np.testing.assert_allclose(Embeddings.load(tmp_path / "earlier.safetensors").vector("ice"), [1 / 3] * 3, rtol=1e-5)
    write_tensors(tmp_path / "damaged.safetensors", tensors, {**metadata, "ngram_exponents": "[1, null]"})
    with pytest.raises(VectorsFileError, match="exponents"):
        Embeddings.load(tmp_path / "damaged.safetensors")
