from __future__ import annotations

import gc
import pickle
import re
import weakref
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tokembed import BPEModel, BPETokenizerLoader, train_bpe
from tokembed.bpe import reference, word_encoder
from tokembed.bpe.splitting import pieces
from tokembed.bpe.word_encoder import WordEncoder

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
WORDY = st.text(alphabet="the creature's éİΣ未9_.\n\x00ab", max_size=80)


@pytest.fixture(scope="module", params=[True, False], ids=["lowered", "cased"])
def any_tokenizer(request: pytest.FixtureRequest, frankenstein: str) -> BPETokenizerLoader:
    return BPETokenizerLoader(train_bpe(frankenstein, 800, lowercase=request.param))


@given(text=TEXT | WORDY)
@settings(max_examples=300)
def test_decoding_gives_the_pieces_back(any_tokenizer: BPETokenizerLoader, text: str) -> None:
    assert any_tokenizer.decode(any_tokenizer.encode(text)) == " ".join(pieces(text, any_tokenizer.model.lowercase))


@given(text=TEXT | WORDY)
@settings(max_examples=100)
def test_every_way_to_encode_agrees_with_the_reference(any_tokenizer: BPETokenizerLoader, text: str) -> None:
    model = any_tokenizer.model
    tokens = reference.tokenize(text, model.merges, model.alphabet, lowercase=model.lowercase)
    ids = [any_tokenizer.token_to_id[token] for token in tokens]
    assert any_tokenizer.tokenize(text) == tokens
    assert any_tokenizer.encode(text) == ids
    assert any_tokenizer.encode_array(text).tolist() == ids
    assert any_tokenizer.encode_batch([text, ""]) == [ids, []]
    assert any_tokenizer.encode_with_offsets(text)[0] == ids


@given(text=TEXT | WORDY)
@settings(max_examples=200)
def test_offsets_cover_the_pieces_in_order(any_tokenizer: BPETokenizerLoader, text: str) -> None:
    ids, offsets = any_tokenizer.encode_with_offsets(text)
    assert len(ids) == len(offsets)
    covered = {place for start, end in offsets for place in range(start, end)}
    assert covered == {place for match in re.finditer(r"\w+|[^\w\s]", text) for place in range(*match.span())}
    assert offsets == sorted(offsets)
    for number, (start, end) in zip(ids, offsets, strict=True):
        token = any_tokenizer.id_to_token[number].removesuffix("</w>")
        if token and token in any_tokenizer.model.alphabet and any_tokenizer.model.lowercase:
            assert token in text[start:end].lower()


@given(st.text(alphabet="aabbcd", min_size=30, max_size=200))
def test_the_heap_for_long_words_merges_as_the_plain_search_does(tokenizer: BPETokenizerLoader, word: str) -> None:
    symbols, ranks = [*word, "</w>"], WordEncoder(tokenizer.model).merge_ranks
    assert word_encoder._merge_long(list(symbols), ranks) == word_encoder._merge_short(list(symbols), ranks)


def test_a_long_word_comes_back_and_takes_no_cache(tokenizer: BPETokenizerLoader) -> None:
    tokenizer.encode("warm up")
    before = tokenizer.tokenize_word.cache_info().currsize
    ids = tokenizer.encode("ab" * 200_000)
    assert tokenizer.decode(ids) == "ab" * 200_000
    assert tokenizer.tokenize_word.cache_info().currsize == before


def test_unknown_characters_become_bytes_or_unk() -> None:
    text = "low low"
    with_bytes = BPETokenizerLoader(train_bpe(text, 3))
    assert with_bytes.tokenize("low é") == ["low</w>", "<0xC3>", "<0xA9>", "</w>"]
    without = BPETokenizerLoader(train_bpe(text, 3, byte_fallback=False))
    assert without.tokenize("low é") == ["low</w>", "<unk>", "</w>"]
    assert without.decode(without.encode("low é")) == "low <unk>"
    assert without.encode_with_offsets("low é")[1] == [(0, 3), (4, 5), (4, 5)]


def test_invalid_runs_of_bytes_decode_to_one_replacement_each() -> None:
    tokenizer = BPETokenizerLoader(train_bpe("low low", 3))
    ids = [tokenizer.token_to_id[token] for token in ("<0xC3>", "<0x28>", "low</w>", "<0xC3>", "<0xA9>")]
    assert tokenizer.decode(ids) == "\ufffd\ufffdlow é"
    assert tokenizer.decode(np.array(ids)) == tokenizer.decode(ids)
    assert tokenizer.decode([]) == ""


def test_a_token_is_found_both_ways(tokenizer: BPETokenizerLoader) -> None:
    assert tokenizer.vocab_size == len(tokenizer.token_to_id) == len(tokenizer.id_to_token)
    assert all(tokenizer.token_to_id[token] == index for index, token in enumerate(tokenizer.id_to_token))
    assert tokenizer.merge_ranks[tokenizer.merges[17]] == 17


def test_the_word_cache_counts_hits_and_is_bounded(model: BPEModel) -> None:
    tokenizer = BPETokenizerLoader(model, cache_size=2)
    tokenizer.encode("a b a b c")
    info = tokenizer.tokenize_word.cache_info()
    assert (info.hits, info.misses, info.currsize, info.maxsize) == (2, 3, 2, 2)
    tokenizer.tokenize_word.cache_clear()
    assert tokenizer.tokenize_word.cache_info().currsize == 0


def test_a_tokenizer_is_freed_with_its_last_use(model: BPEModel) -> None:
    """Each has some 16 MB of word tables per thread: they must not wait for the collector of cycles."""
    gc.disable()
    try:
        tokenizer = BPETokenizerLoader(model)
        tokenizer.encode_array("the creature")
        tokenizer.encode("the creature" * 200)
        gone = [weakref.ref(tokenizer), weakref.ref(tokenizer._bulk)]
        del tokenizer
        assert [reference() for reference in gone] == [None, None]
    finally:
        gc.enable()


def test_a_word_is_lowered_if_the_model_lowers(tokenizer: BPETokenizerLoader) -> None:
    assert tokenizer.tokenize_word("The") == tokenizer.tokenize_word("the") == ("the</w>",)


@pytest.mark.parametrize("word", ["", "two words", "it's", "a.", " a", "\n", ".."])
def test_what_is_not_one_word_is_refused(tokenizer: BPETokenizerLoader, word: str) -> None:
    with pytest.raises(ValueError, match="not one word"):
        tokenizer.tokenize_word(word)


def test_a_lone_surrogate_is_refused_with_its_position(tokenizer: BPETokenizerLoader) -> None:
    for encode in (tokenizer.encode, tokenizer.tokenize, tokenizer.encode_array, tokenizer.encode_with_offsets):
        with pytest.raises(ValueError, match="position 4"):
            encode("the \ud800")
    with pytest.raises(ValueError, match="surrogate"):
        tokenizer.tokenize_word("\ud800")


@pytest.mark.parametrize("number", [-1, 10**9])
def test_an_id_outside_the_vocabulary_is_refused(tokenizer: BPETokenizerLoader, number: int) -> None:
    with pytest.raises(ValueError, match="at place 1"):
        tokenizer.decode([0, number])


@pytest.mark.parametrize("setting", ["cache_size", "max_table_bytes"])
def test_a_negative_size_is_refused(model: BPEModel, setting: str) -> None:
    with pytest.raises(ValueError, match=setting):
        BPETokenizerLoader(model, **{setting: -1})


def test_saving_and_loading_keeps_the_ids(tmp_path: Path, tokenizer: BPETokenizerLoader) -> None:
    tokenizer.save(tmp_path / "t.json")
    loaded = BPETokenizerLoader(str(tmp_path / "t.json"))
    assert loaded.encode("The creature's eyes") == tokenizer.encode("The creature's eyes")
    assert loaded.fingerprint == tokenizer.fingerprint


def _encode(tokenizer: BPETokenizerLoader) -> list[int]:
    return tokenizer.encode("The creature's eyes, 未来")


def test_it_pickles_and_survives_processes_and_threads(tokenizer: BPETokenizerLoader) -> None:
    expected = _encode(tokenizer)
    assert _encode(pickle.loads(pickle.dumps(tokenizer))) == expected
    with get_context("spawn").Pool(1) as pool:
        assert pool.apply(_encode, (tokenizer,)) == expected
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(_encode, [tokenizer] * 20)) == [expected] * 20


@pytest.mark.parametrize("method", ["encode", "encode_array", "tokenize", "encode_with_offsets"])
@pytest.mark.parametrize("thing", [None, b"bytes", 7, ["list"]])
def test_what_is_no_str_is_a_type_error(any_tokenizer: BPETokenizerLoader, method: str, thing: object) -> None:
    with pytest.raises(TypeError, match="text must be a str, not"):
        getattr(any_tokenizer, method)(thing)


@pytest.mark.parametrize("ids", ["12", [1.9], np.array([1.0])])
def test_ids_that_are_no_whole_numbers_are_a_type_error(any_tokenizer: BPETokenizerLoader, ids: object) -> None:
    with pytest.raises(TypeError):
        any_tokenizer.decode(ids)  # type: ignore[arg-type]
