"""The C library against the plain Python encoder, wherever its windows, tables and parts end."""

from __future__ import annotations

import copy
import ctypes
import os
import pickle
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_all_start_methods, get_context
from random import Random

import numpy as np
import pytest
from conftest import RAW, raw_file
from hypothesis import given, settings, strategies as st

from tokembed import BPETokenizerLoader, train_bpe
from tokembed.bpe import counting, finding, whole_texts
from tokembed.bpe.splitting import PIECE_PATTERN, SPLITTINGS, pieces
from tokembed.native.objects import TextReader

# Long enough for windows of 64 units, of all three widths of str, with words that the windows' ends cut.
PIECES = st.one_of(
    st.sampled_from(["the", "creature", "a", "I", "'", ",", "  ", "\n", "\x00", "\x1f", "_", "x" * 15, "y" * 16, "z" * 70]),
    st.sampled_from(["naïve", "é", "İstanbul", "ΟΔΟΣ", "未来世界", "–", "\u3000", "🤷🏽‍♀️", "ǅ", "ß", "ab未"]),
    st.text(st.characters(max_codepoint=0x7F), max_size=6),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)
LONG_TEXT = st.lists(PIECES, max_size=120).flatmap(
    lambda parts: st.sampled_from(["", " "]).map(lambda space: space.join(parts))
)


@pytest.fixture(scope="module", params=["lowered", "cased", "unk"])
def any_tokenizer(request: pytest.FixtureRequest, frankenstein: str) -> BPETokenizerLoader:
    options = {"lowercase": request.param != "cased", "byte_fallback": request.param != "unk"}
    return BPETokenizerLoader(train_bpe(frankenstein[:200_000] + " naïve 未来 İstanbul " * 9, 1500, **options))


@given(text=LONG_TEXT)
@settings(max_examples=400)
def test_c_gives_the_ids_of_the_plain_encoder(any_tokenizer: BPETokenizerLoader, text: str) -> None:
    assert any_tokenizer.encode_array(text).tolist() == any_tokenizer.encode(text)


@given(text=LONG_TEXT)
@settings(max_examples=200)
def test_c_counts_the_pieces_that_re_finds(text: str) -> None:
    assert counting.count_pieces(text) == Counter(PIECE_PATTERN.findall(text))


@given(text=LONG_TEXT, part_bytes=st.integers(1, 200), num_threads=st.integers(1, 3))
@settings(max_examples=150)
def test_parts_and_threads_change_nothing(
    any_tokenizer: BPETokenizerLoader, text: str, part_bytes: int, num_threads: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finding, "PART", part_bytes)
        patch.setattr(finding, "MIN_PART", 1)
        assert any_tokenizer.encode_array(text, num_threads).tolist() == any_tokenizer.encode(text)
        assert counting.count_pieces(text, SPLITTINGS["words"], num_threads) == Counter(PIECE_PATTERN.findall(text))


def test_full_tables_are_emptied_and_nothing_is_lost(tokenizer: BPETokenizerLoader) -> None:
    """Ever-new words, short and long, ASCII and not, in tables that may not grow."""
    random = np.random.default_rng(0)
    words = ["".join(random.choice(list("abcdéß未 "), size=random.integers(1, 30))) for _ in range(20_000)]
    text = " ".join(words) + " " + "q" * 1500
    small = BPETokenizerLoader(tokenizer.model, max_table_bytes=0)
    for _ in range(2):
        assert small.encode_array(text).tolist() == small.encode(text)
    assert counting.count_pieces(text) == Counter(PIECE_PATTERN.findall(text))


def test_tables_grow_to_their_bound_and_no_further(tokenizer: BPETokenizerLoader) -> None:
    mine = BPETokenizerLoader(tokenizer.model, max_table_bytes=3_000_000)
    mine.encode_array("a" * 100)
    (encoder,) = mine._bulk._encoders
    sizes = [encoder.num_bytes]
    random = np.random.default_rng(1)
    for _ in range(3):
        letters = random.integers(ord("a"), ord("z") + 1, size=(100_000, 10), dtype=np.uint8)
        letters[:, -1] = ord(" ")
        text = letters.tobytes().decode()
        assert np.array_equal(mine.encode_array(text, num_threads=1)[:1000], mine.encode(text[:10_000])[:1000])
        sizes.append(encoder.num_bytes)
    assert mine._bulk._encoders == [encoder]
    assert sizes[0] < sizes[1] == sizes[2] == sizes[3] <= 3_000_000
    assert pickle.loads(pickle.dumps(mine)).max_table_bytes == 3_000_000


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.endurance)], ids=["a fifth", "all"])
def test_every_code_point_is_encoded_as_the_plain_encoder_does(tokenizer: BPETokenizerLoader, step: int) -> None:
    """A plain run takes each that is a letter or below U+3000, and every fifth of the others."""
    numbers = [number for number in range(sys.maxunicode + 1) if not 0xD800 <= number < 0xE000]
    everything = [chr(number) for number in numbers if number < 0x3000 or number % step == 0 or chr(number).isalnum()]
    for separator in (" ", "a", ""):
        sample = separator.join(everything if separator == " " else everything[::11])
        assert np.array_equal(tokenizer.encode_array(sample), tokenizer.encode(sample))


def test_lowering_agrees_with_str_lower_at_every_code_point() -> None:
    steps = whole_texts.lower_steps()
    for number in range(sys.maxunicode + 1):
        lowered = chr(number).lower()
        assert lowered == chr(number + steps[number]) or (number, lowered) == (0x130, "i̇")


@pytest.mark.parametrize("width", ["a", "é", "未", "🤷"])
@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 63, 64, 65, 79, 80, 81, 200, 1000, 1001])
def test_words_of_every_length_at_every_place(tokenizer: BPETokenizerLoader, width: str, length: int) -> None:
    for before in range(0, 70, 3):
        text = " " * before + "w" * length + "," + width + " the end"
        assert tokenizer.encode_array(text).tolist() == tokenizer.encode(text)
        assert counting.count_pieces(text) == Counter(PIECE_PATTERN.findall(text))


@pytest.mark.parametrize("position", [0, 1, 63, 64, 100, 1000, 600_000])
def test_a_lone_surrogate_is_named_wherever_it_stands(tokenizer: BPETokenizerLoader, position: int) -> None:
    text = "word " * (position // 5) + "w" * (position % 5) + "\udc80 and more " + "x " * 40
    for work in (tokenizer.encode_array, counting.count_pieces):
        with pytest.raises(ValueError, match=rf"position {position}:"):
            work(text)
    assert tokenizer.encode_array("and on it goes") is not None


@pytest.mark.parametrize("tens", [100_000, pytest.param(1_000_000, marks=pytest.mark.endurance)])
def test_a_word_of_millions_of_letters_comes_back(tokenizer: BPETokenizerLoader, tens: int) -> None:
    """In quadratic time one of ten million would not, within years, nor one of a million within a day."""
    word = "abcdefghij" * tens
    ids = tokenizer.encode_array(word)
    assert tokenizer.decode(ids) == word
    assert counting.count_pieces(word + " " + word) == {word: 2}
    assert BPETokenizerLoader(train_bpe(word, 9)).encode_array(word).size == tens + 1  # and `</w>`


def test_a_text_of_ten_million_characters_is_its_parts_one_after_the_other(tokenizer: BPETokenizerLoader, pydocs: str) -> None:
    part = pydocs[:100_000] + " déjà 未来 \r\n\ufeff"
    ids = tokenizer.encode_array(part * 100)
    assert np.array_equal(ids, np.tile(tokenizer.encode(part), 100))
    for text in ("", " ", "\n", "x", "\x00", "é", "🤷"):
        assert tokenizer.encode_array(text).tolist() == tokenizer.encode(text)


@pytest.mark.parametrize("number_of_words", [200_000, pytest.param(1_000_000, marks=pytest.mark.endurance)])
def test_a_text_of_a_million_different_words_is_encoded_and_counted(
    tokenizer: BPETokenizerLoader, number_of_words: int
) -> None:
    """200,000 in a plain run: more than the tables have places for."""
    words = [f"w{number:x}" for number in range(number_of_words)]
    text = " ".join(words)
    ids = tokenizer.encode_array(text)
    assert tokenizer.decode(ids) == text
    assert np.array_equal(ids[-3000:], tokenizer.encode(text[-20_000:])[-3000:])
    assert counting.count_pieces(text) == dict.fromkeys(words, 1)


def test_text_that_outgrows_the_expected_output_is_encoded_whole() -> None:
    tokenizer = BPETokenizerLoader(train_bpe("low low", 3))
    for text in ("🤷" * 5000, "é , " * 3000, "!" * 9000):
        ids = tokenizer.encode_array(text)
        assert len(ids) > len(text)
        assert tokenizer.decode(ids) == " ".join(pieces(text))


def _encode_array(given: tuple[BPETokenizerLoader, str]) -> list[int]:
    return given[0].encode_array(given[1], num_threads=2).tolist()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_it_works_in_other_processes_and_in_many_threads_at_once(
    tokenizer: BPETokenizerLoader, pydocs: str, method: str
) -> None:
    if method not in get_all_start_methods():
        pytest.skip(f"no {method} here")
    given = (tokenizer, pydocs[:200_000])
    expected = tokenizer.encode(given[1])
    assert _encode_array(given) == expected  # on threads, before the fork
    with get_context(method).Pool(1) as pool:
        assert pool.apply_async(_encode_array, (given,)).get(timeout=120) == expected
    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(_encode_array, [given] * 12)) == [expected] * 12


@pytest.mark.endurance
@pytest.mark.skipif("fork" not in get_all_start_methods(), reason="no fork here")
@pytest.mark.parametrize("splitting", ["words", "o200k"])
def test_one_tokenizer_serves_16_threads_while_others_copy_clear_and_fork(pydocs: str, splitting: str) -> None:
    model = train_bpe(pydocs[:300_000], 1500, splitting=splitting)
    one = BPETokenizerLoader(model)
    texts = [pydocs[start : start + size] for start in range(0, 200_000, 40_000) for size in (5, 60, 4000, 150_000, 400_000)]
    short = [text[:300] for text in texts]
    expected = [BPETokenizerLoader(model).encode(text) for text in texts]
    expected_short = [BPETokenizerLoader(model).encode(text) for text in short]
    end = time.monotonic() + 10

    def encode(seed: int) -> int:
        dice, number = Random(seed), 0
        while time.monotonic() < end:
            number += 1
            index = dice.randrange(len(texts))
            assert one.encode_array(texts[index], dice.choice([None, 1, 2, 7])).tolist() == expected[index]
            assert one.encode(short[index]) == expected_short[index]
            assert one.encode_batch(short) == expected_short
        return number

    def disturb(_: int) -> int:
        number = 0
        while time.monotonic() < end:
            number += 1
            assert pickle.loads(pickle.dumps(one)).encode(short[0]) == expected_short[0]
            assert copy.deepcopy(one).encode_array(texts[2]).tolist() == expected[2]
            one.tokenize_word.cache_clear()
        return number

    def fork(_: int) -> int:
        number = 0
        while time.monotonic() < end:
            number += 1
            child = os.fork()
            if child == 0:
                os._exit(0 if one.encode_array(texts[4], 3).tolist() == expected[4] else 1)
            assert os.waitpid(child, 0)[1] == 0
        return number

    with ThreadPoolExecutor(19) as threads:
        begun = [
            threads.submit(*job) for job in [*((encode, seed) for seed in range(16)), (disturb, 0), (disturb, 1), (fork, 0)]
        ]
        assert min(job.result() for job in begun) > 0


@pytest.mark.parametrize("dataset", ["pg84.txt", "wikitext2/test.txt"])
def test_real_text_gets_the_same_ids_on_any_number_of_threads(tokenizer: BPETokenizerLoader, dataset: str) -> None:
    raw_file(dataset)
    text = (RAW / dataset).read_text(encoding="utf-8")
    expected = tokenizer.encode(text)
    for num_threads in (None, 1, 2, 5):
        assert np.array_equal(tokenizer.encode_array(text, num_threads), expected)


@pytest.mark.parametrize("character", ["", "\xe9", "\u2013", "\u0416", "\u672a", "\U0001f600"])
@pytest.mark.parametrize("gap", [1, 5, 15, 16, 17, 40, 5000])
def test_utf8_is_pythons_however_much_of_it_is_ascii(character: str, gap: int) -> None:
    reader = TextReader()
    for length in (4096, 4096 + 13):
        text = (("x" * gap + character) * length)[:length]
        for start, end in ((0, length), (7, length - 3)):
            assert ctypes.string_at(*reader.read(text, start, end)) == text[start:end].encode()


def test_an_error_leaves_the_encoder_as_it_was(tokenizer: BPETokenizerLoader) -> None:
    text = "\u2013 a dash, and words that are ASCII " * 200
    expected = tokenizer.encode_array(text)
    encoders = [*tokenizer._bulk._encoders]
    with pytest.raises(ValueError, match="surrogate"):
        tokenizer.encode_array(text + "\ud800")
    assert tokenizer._bulk._encoders[0] is encoders[0]
    assert np.array_equal(tokenizer.encode_array(text), expected)


@given(text=LONG_TEXT)
@settings(max_examples=200)
def test_any_cut_is_a_boundary_in_every_rule(text: str) -> None:
    for match in finding.BOUNDARY.finditer(text):
        for rule in SPLITTINGS.values():
            cut = match.start()
            assert rule.pieces(text[:cut]) + rule.pieces(text[cut:]) == rule.pieces(text), (rule.name, cut)
