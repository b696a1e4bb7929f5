from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokembed import BPETokenizerLoader, Embeddings, TrainingConfig, train_bpe, train_skipgram, workspace
from tokembed.bpe.rare_tokens import RareTokenSplitter


@pytest.mark.parametrize("threshold", [2, 5, 50])
def test_no_merged_token_is_rarer_than_the_threshold_and_the_text_is_the_same(
    tokenizer: BPETokenizerLoader, novel_ids: np.ndarray, threshold: int
) -> None:
    counts = np.bincount(novel_ids, minlength=tokenizer.vocab_size)
    split = RareTokenSplitter(tokenizer, counts, threshold).split(novel_ids)
    assert tokenizer.decode(split.tolist()) == tokenizer.decode(novel_ids.tolist())
    after = np.bincount(split, minlength=tokenizer.vocab_size)
    merged = np.array([len(token.replace("</w>", "_")) > 1 and not token.startswith("<0x") for token in tokenizer.id_to_token])
    assert not np.any(merged & (after > 0) & (after < threshold))
    # A token that is frequent as it is stays whole.
    assert np.all(after[counts >= threshold] >= counts[counts >= threshold])


@pytest.fixture(scope="module")
def novel_ids(frankenstein: str, tokenizer: BPETokenizerLoader) -> np.ndarray:
    return tokenizer.encode_array(frankenstein)


@given(st.lists(st.sampled_from(["low", "lower", "lowest", "new", "newer", "wide"]), max_size=30), st.integers(0, 6))
def test_splitting_splits_each_rare_token_until_no_merged_one_is_rare(words: list[str], threshold: int) -> None:
    tokenizer = BPETokenizerLoader(train_bpe("low low lower lowest new newer newest wide wider", num_merges=25))
    ids = tokenizer.encode_array(" ".join(words))
    counts = np.bincount(ids, minlength=tokenizer.vocab_size)
    # The plain way: split the newest rare token there is, until there is none.
    plain = [tokenizer.id_to_token[index] for index in ids]
    for left, right in reversed(tokenizer.merges):
        if plain.count(left + right) < threshold:
            plain = [part for token in plain for part in ((left, right) if token == left + right else (token,))]
    split = RareTokenSplitter(tokenizer, counts, threshold).split(ids)
    assert [tokenizer.id_to_token[index] for index in split] == plain


def test_with_the_threshold_at_min_count_every_word_of_the_corpus_has_a_vector(frankenstein: str) -> None:
    tokenizer = BPETokenizerLoader(train_bpe(frankenstein, 4000))
    ids = tokenizer.encode_array(frankenstein)
    split = RareTokenSplitter(tokenizer, np.bincount(ids, minlength=tokenizer.vocab_size), 5).split(ids)
    config = TrainingConfig(epochs=1, embedding_dim=8, min_count=5)
    embeddings = Embeddings.from_training(train_skipgram(split, tokenizer.vocab_size, config), tokenizer, split)
    words = sorted(set(frankenstein.split()))
    missing = [word for word in words if word not in embeddings]
    assert len(missing) < 0.005 * len(words)  # those of characters that hardly occur
    # A token that was split is looked up as the tokens that training saw in its place.
    token = next(left + right for left, right in reversed(tokenizer.merges) if left + right not in embeddings.token_to_index)
    counts = np.bincount(ids, minlength=tokenizer.vocab_size)
    parts = RareTokenSplitter(tokenizer, counts, 5).split(np.array([tokenizer.token_to_id[token]]))
    assert embeddings.rows_of_token(token) == [embeddings.token_to_index[tokenizer.id_to_token[part]] for part in parts]


def test_split_ids_are_kept_beside_the_whole_ones_and_not_mistaken_for_them(frankenstein: str) -> None:
    corpus = workspace.choose_corpus("pydocs")
    tokenizer, path, _ = workspace.tokenizer_for(corpus, 1000)
    whole, whole_path, _ = workspace.token_ids_for(corpus, tokenizer, path)
    split, split_path, was_kept = workspace.token_ids_for(corpus, tokenizer, path, vocabulary_threshold=100)
    assert not was_kept
    assert whole_path != split_path
    assert split.size > whole.size
    again, _, was_kept = workspace.token_ids_for(corpus, tokenizer, path, vocabulary_threshold=100)
    assert was_kept
    assert np.array_equal(split, again)
