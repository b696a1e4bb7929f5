"""Exported folders: model2vec and sentence-transformers load them, and give texts our vectors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model2vec import StaticModel

from tokembed import BPETokenizerLoader, Embeddings, train_bpe
from tokembed.analysis.search import text_vectors
from tokembed.vectors import storage
from tokembed.vectors.composition import Composition
from tokembed.vectors.formats import SIF, static_rows

ODD = [
    "未来 of the World",
    "zzzq",
    "",
    " ",
    "É naïve Σς ŁÓDŹ",
    "a" * 600,
    "😀",
    "hello\n\tworld",
    "don't 3.14 a_b",
    "the " * 2000,
]


@pytest.fixture(scope="module")
def embeddings(tokenizer: BPETokenizerLoader) -> Embeddings:
    """Vectors of the tokens with an even id; the others were never trained."""
    random = np.random.default_rng(0)
    tokens = tokenizer.id_to_token[::2]
    vectors = random.normal(size=(len(tokens), 20)) + 1  # with a direction in common
    return Embeddings(tokens, vectors, tokenizer, random.integers(1, 5000, len(tokens)))


@pytest.fixture(scope="module")
def sentences(frankenstein: str) -> list[str]:
    found = [sentence for sentence in re.split(r"(?<=[.!?])\s+", frankenstein) if len(sentence.split()) > 3]
    assert len(found) >= 990
    return [*found[:990], *ODD]


def cosines(first: Any, second: Any) -> Any:
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.einsum("ij,ij->i", first, second)[lengths > 0] / lengths[lengths > 0]


def mean_by_hand(embeddings: Embeddings, text: str, sif: float | None) -> Any:
    """Return the mean over a text's tokens, one after the other."""
    tokenizer, total = embeddings.tokenizer, np.zeros(embeddings.embedding_dim)
    assert tokenizer is not None
    assert embeddings.counts is not None
    tokens = tokenizer.tokenize(text)
    for token in tokens:
        if token in embeddings.token_to_index:
            row = embeddings.token_to_index[token]
            share = embeddings.counts[row] / embeddings.counts.sum()
            total += embeddings.vectors[row] * (sif / (sif + share) if sif else 1)
        elif parts := embeddings.rows_of_token(token):
            total += np.mean([embeddings.vectors[part] for part in parts], axis=0)
    return total / max(len(tokens), 1)


@pytest.mark.parametrize(("sif", "remove_common"), [(SIF, True), (1e-2, False), (None, False)])
def test_model2vec_gives_a_thousand_sentences_our_vectors(
    embeddings: Embeddings, sentences: list[str], tmp_path: Path, sif: float | None, remove_common: bool
) -> None:
    embeddings.export_static_model(tmp_path / "new" / "folder", sif, remove_common=remove_common)
    theirs = StaticModel.from_pretrained(tmp_path / "new" / "folder").encode(sentences)
    ours = text_vectors(static_rows(embeddings, sif, remove_common=remove_common), embeddings, sentences)
    assert len(ours) == 1000
    assert cosines(ours, theirs).min() > 0.9999
    np.testing.assert_allclose(theirs, ours, atol=1e-4)
    if not remove_common:
        by_hand = np.stack([mean_by_hand(embeddings, text, sif) for text in sentences[-110:]])
        np.testing.assert_allclose(ours[-110:], by_hand, atol=1e-5)


def test_what_texts_have_in_common_is_taken_away(embeddings: Embeddings, sentences: list[str]) -> None:
    before, after = (
        text_vectors(static_rows(embeddings, remove_common=remove_common), embeddings, sentences[:200])
        for remove_common in (False, True)
    )
    common = np.linalg.svd(before, full_matrices=False)[2][0]
    assert np.abs(before @ common).mean() > 0.5 * np.linalg.norm(before, axis=1).mean()
    assert np.abs(after @ common).mean() < 0.1 * np.abs(before @ common).mean()
    assert np.linalg.matrix_rank(static_rows(embeddings), tol=1e-2) == embeddings.embedding_dim - 1


def test_a_word_with_a_token_of_its_own_has_its_vector_however_rare(tokenizer: BPETokenizerLoader) -> None:
    tokens = [token for token in tokenizer.id_to_token if token.endswith("</w>") and token[0].isalpha()]
    trained, rare = tokens[:-50], tokens[-50:]
    vectors = np.random.default_rng(1).normal(size=(len(trained), 8))
    composition = Composition.fitted([token.removesuffix("</w>") for token in trained], vectors)
    embeddings = Embeddings(trained, vectors, tokenizer, composition=composition)
    rows = static_rows(embeddings, None, remove_common=False)
    for token in [*trained[:50], *rare]:
        word = embeddings.word_of(token)
        expected = embeddings.vector(word) if word in embeddings else np.zeros(8)
        np.testing.assert_allclose(rows[tokenizer.token_to_id[token]], expected, rtol=1e-6)
    assert sum(embeddings.word_of(token) in embeddings for token in rare) > 40


def test_ids_with_gaps_and_special_tokens_are_closed_up(tmp_path: Path, pydocs: str) -> None:
    BPETokenizerLoader(train_bpe(pydocs[:20_000], 200, splitting="gpt2")).export_tiktoken(tmp_path / "ranks.tiktoken")
    tokenizer = BPETokenizerLoader.from_tiktoken(
        tmp_path / "ranks.tiktoken", splitting="gpt2", special_tokens={"<|end|>": 900, "<|pad|>": 800}
    )
    tokens = [token for token in tokenizer.id_to_token if token]
    assert len(tokens) < tokenizer.vocab_size == 901
    embeddings = Embeddings(tokens[:400], np.random.default_rng(0).normal(size=(400, 5)), tokenizer)
    embeddings.export_static_model(tmp_path / "model", None)
    model = StaticModel.from_pretrained(tmp_path / "model")
    assert [*model.tokens] == tokens
    texts = [line for line in pydocs[20_000:30_000].splitlines() if line]
    ours = text_vectors(static_rows(embeddings, None), embeddings, texts)
    assert cosines(ours, model.encode(texts)).min() > 0.9999


def test_what_cannot_be_exported_is_refused(tokenizer: BPETokenizerLoader, tmp_path: Path) -> None:
    token = tokenizer.id_to_token[-300]
    with pytest.raises(ValueError, match="have none: Embeddings"):
        Embeddings([token], [[1.0]]).export_static_model(tmp_path)
    with pytest.raises(ValueError, match="give sif=None"):
        Embeddings([token], [[1.0]], tokenizer).export_static_model(tmp_path)
    with pytest.raises(ValueError, match="sif must be a positive number"):
        Embeddings([token], [[1.0]], tokenizer, [1]).export_static_model(tmp_path, 0.0)
    assert [*tmp_path.iterdir()] == [tmp_path / "project"]
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(NotADirectoryError):
        Embeddings([token], [[1.0]], tokenizer, [1]).export_static_model(tmp_path / "file")


def test_an_interrupted_export_leaves_no_folder_that_loads(
    embeddings: Embeddings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    embeddings.export_static_model(folder)
    assert {path.name for path in folder.iterdir()} == {"tokenizer.json", "model.safetensors", "modules.json", "config.json"}
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["hidden_dim"] == 20

    def full_disk(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(storage, "write_tensors", full_disk)
    with pytest.raises(OSError, match="no space"):
        embeddings.export_static_model(folder, None)
    assert {path.name for path in folder.iterdir()} == {"tokenizer.json", "model.safetensors"}


@pytest.mark.endurance
@pytest.mark.filterwarnings("ignore")
def test_sentence_transformers_gives_them_too(embeddings: Embeddings, sentences: list[str], tmp_path: Path) -> None:
    """Its import alone takes many seconds."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import StaticEmbedding

    embeddings.export_static_model(tmp_path / "model")
    ours = text_vectors(static_rows(embeddings), embeddings, sentences)
    module = StaticEmbedding.from_model2vec(str(tmp_path / "model"))
    for model in (
        SentenceTransformer(modules=[module], device="cpu"),
        SentenceTransformer(str(tmp_path / "model"), device="cpu"),
    ):
        assert cosines(ours, model.encode(sentences)).min() > 0.9999
