"""Byte-level splitting rules: learning, encoding and exports against the readable twin and the peers."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import RAW, raw_file
from hypothesis import given, settings, strategies as st
from nasty import ASSIGNED, FRAGMENTS, NASTY_TEXT, THOROUGHNESS, in_contexts, keeping, python_sources
from oracles import byte_level_splitter, huggingface_byte_merges, read_ranks
from tokenizers import Tokenizer

from tokembed import BPEModel, BPETokenizerLoader, load_corpus, train_bpe
from tokembed.bpe import counting, finding, reference
from tokembed.bpe.model import ModelFileError
from tokembed.bpe.splitting import BYTE_CHARACTERS, SPLITTINGS, byte_characters, bytes_of, rule_of

RULES = ["gpt2", "cl100k", "o200k", "llama3", "qwen2"]
OWN_PATTERN = r"\p{L}+(?=\d)|\p{L}+|\d*"  # which leaves text out, looks at neighbours and matches nothing at all
NUM_MERGES = 150  # few, since the twin tries each of them at each piece


def training_text(pydocs: str) -> str:
    return pydocs[:20_000] + " ".join(FRAGMENTS) * 3 + "未来世界 Привет'LL 12345\r\n" * 20


@pytest.fixture(
    scope="module",
    params=["gpt2", "cl100k", "o200k", pytest.param("llama3", marks=pytest.mark.endurance), "qwen2", OWN_PATTERN],
)
def trained(request: pytest.FixtureRequest, pydocs: str) -> BPETokenizerLoader:
    return BPETokenizerLoader(train_bpe(training_text(pydocs), NUM_MERGES, splitting=request.param))


@pytest.fixture(scope="module")
def exported(trained: BPETokenizerLoader, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("export") / "tokenizer.json"
    trained.export_huggingface(path)
    return Tokenizer.from_file(str(path))


@pytest.fixture(scope="module")
def classed_alike(trained: BPETokenizerLoader, exported: Tokenizer) -> Callable[[str], str]:
    """Drop from a text the characters that the regular expressions of `tokenizers`, of an older Unicode, class otherwise."""

    def is_alike(character: str) -> bool:
        texts = [f"a{character}1", f"1{character}.", f"A{character}A", f"{character}a"]
        return all(exported.encode(text).ids == trained.encode(text) for text in texts)

    return keeping(is_alike)


def assert_all_ways_agree(tokenizer: BPETokenizerLoader, text: str) -> None:
    model = tokenizer.model
    tokens = reference.tokenize(text, model.merges, model.alphabet, splitting=model.splitting)
    ids = [tokenizer.token_to_id[token] for token in tokens]
    assert tokenizer.tokenize(text) == tokens
    assert tokenizer.encode(text) == ids
    assert tokenizer.encode_array(text).tolist() == ids
    assert tokenizer.encode_with_offsets(text)[0] == ids
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(ids) == text.encode()


# ------------------------------------------------------------ splitting


@given(text=NASTY_TEXT)
@settings(max_examples=60)
def test_c_counts_the_pieces_that_the_pattern_finds(trained: BPETokenizerLoader, text: str) -> None:
    rule = trained.model.rule
    pieces = rule.pieces(text)
    assert counting.count_pieces(text, rule) == Counter(pieces)
    assert [text[start:end] for start, end in rule.find(text)] == pieces
    assert "".join(pieces) == text
    assert "" not in pieces


@pytest.mark.parametrize("splitting", ["", "gpt3", "(", "[a", "word", r"(?r)\p{L}+"])
def test_what_is_neither_a_rule_nor_a_pattern_is_refused(splitting: str) -> None:
    with pytest.raises(ValueError, match="neither one of words, gpt2, cl100k, o200k"):
        train_bpe("text", 1, splitting=splitting)


def test_a_rules_own_pattern_is_that_rule() -> None:
    for name in RULES:
        assert rule_of(SPLITTINGS[name].pattern).name == name
    assert rule_of(OWN_PATTERN).name == OWN_PATTERN


def test_bytes_are_written_as_gpt2_writes_them() -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    assert sorted(BYTE_CHARACTERS) == sorted(ByteLevel.alphabet())
    text = "".join(FRAGMENTS) + "\x00\x7f\xad"
    expected = "".join(token for token, _ in ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text))
    assert byte_characters(text.encode()) == expected
    assert bytes_of(byte_characters(bytes(range(256)))) == bytes(range(256))


# ------------------------------------------------------------ learning


@given(text=NASTY_TEXT, num_merges=st.integers(0, 40), min_frequency=st.integers(1, 3), splitting=st.sampled_from(RULES))
@settings(max_examples=150)
def test_merges_equal_the_readable_reference(text: str, num_merges: int, min_frequency: int, splitting: str) -> None:
    options: dict[str, Any] = {"splitting": splitting, "min_frequency": min_frequency}
    assert train_bpe(text, num_merges, **options).merges == reference.train_bpe(text, num_merges, **options)


def test_merges_equal_the_reference_on_real_text(trained: BPETokenizerLoader, pydocs: str) -> None:
    assert trained.merges[:20] == reference.train_bpe(training_text(pydocs), 20, splitting=trained.model.splitting)


def in_chunks(text: str, lines: int = 2000) -> list[str]:
    """Cut a text at line ends: the peer takes minutes for a text of megabytes, and seconds for its parts."""
    whole = text.splitlines(keepends=True)
    return ["".join(whole[start : start + lines]) for start in range(0, len(whole), lines)]


@pytest.mark.parametrize("splitting", RULES)
def test_merges_equal_hugging_faces_one_by_one(splitting: str, pydocs: str) -> None:
    texts = in_chunks(pydocs)
    expected = huggingface_byte_merges(texts, 1000, byte_level_splitter(splitting, SPLITTINGS[splitting].pattern))
    assert train_bpe(texts, 1000, splitting=splitting).merges == expected
    assert len(expected) == 1000


@pytest.mark.endurance
@pytest.mark.parametrize("corpus", ["frankenstein", "ru", "zh", "ja", "de", "sources"])
@pytest.mark.parametrize("splitting", ["gpt2", "cl100k", "o200k"])
def test_two_thousand_merges_of_corpora_equal_hugging_faces(splitting: str, corpus: str) -> None:
    if corpus == "frankenstein":
        raw_file("pg84.txt")
        text = load_corpus("frankenstein", raw_dir=RAW).text
    elif corpus == "sources":
        text = python_sources()
    else:
        text = raw_file(f"languages/{corpus}.txt").read_text(encoding="utf-8")
    texts = in_chunks(text[: 1_500_000 * THOROUGHNESS])
    expected = huggingface_byte_merges(texts, 2000, byte_level_splitter(splitting, SPLITTINGS[splitting].pattern))
    assert train_bpe(texts, 2000, splitting=splitting).merges == expected


def test_the_model_holds_the_bytes_and_what_was_counted() -> None:
    model = train_bpe("Low low LOW\n", 3, splitting="gpt2", min_frequency=1)
    assert model.alphabet == sorted(BYTE_CHARACTERS)
    assert list(model.vocab.values()) == list(range(256 + 3))
    assert not model.lowercase
    assert (model.num_words, model.num_characters) == (4, 12)
    assert train_bpe("", 5, splitting="gpt2").merges == []
    assert len(train_bpe("", 5, splitting="gpt2").vocab) == 256


# ------------------------------------------------------------ encoding


@given(text=NASTY_TEXT)
@settings(max_examples=25)
def test_every_way_to_encode_agrees_with_the_reference(trained: BPETokenizerLoader, text: str) -> None:
    assert_all_ways_agree(trained, text)


@given(text=NASTY_TEXT)
@settings(max_examples=60)
def test_the_export_gives_the_same_ids_and_text(
    trained: BPETokenizerLoader, exported: Tokenizer, classed_alike: Callable[[str], str], text: str
) -> None:
    assert_export_agrees(trained, exported, classed_alike(text))


def assert_export_agrees(tokenizer: BPETokenizerLoader, exported: Tokenizer, text: str) -> None:
    ids, offsets = tokenizer.encode_with_offsets(text)
    encoding = exported.encode(text)
    assert encoding.ids == ids
    assert exported.decode(ids, skip_special_tokens=False) == text
    assert encoding.offsets == offsets


@pytest.mark.endurance
@given(text=NASTY_TEXT)
@settings(max_examples=1_700 * THOROUGHNESS)
def test_ten_thousand_nasty_texts_are_encoded_alike_in_all_ways(
    trained: BPETokenizerLoader, exported: Tokenizer, classed_alike: Callable[[str], str], text: str
) -> None:
    assert_all_ways_agree(trained, text)
    assert_export_agrees(trained, exported, classed_alike(text))


@pytest.mark.parametrize(
    "step", [97, pytest.param(max(10 // THOROUGHNESS, 1), marks=pytest.mark.endurance)], ids=["a few", "many"]
)
def test_every_character_in_every_context_is_encoded_as_by_the_plain_encoder(trained: BPETokenizerLoader, step: int) -> None:
    for text in in_contexts(ASSIGNED[::step]):
        ids = trained.encode(text)
        assert trained.encode_array(text).tolist() == ids
        assert trained.decode(ids) == text


@pytest.mark.parametrize(
    "character",
    ["a", "é", "未", "🤷", " ", "7", *(pytest.param(other, marks=pytest.mark.endurance) for other in "A\u0301\n٣!")],
)
@pytest.mark.parametrize("splitting", ["gpt2", "cl100k", "o200k"])
def test_pieces_of_every_length_at_every_place(splitting: str, character: str, pydocs: str) -> None:
    """Around what a slot holds (15 bytes), a window's step and length (40 and 64) and what the tables take (1,000)."""
    tokenizer = BPETokenizerLoader(train_bpe(pydocs[:2000] + (character * 80 + "x ") * 3, 60, splitting=splitting))
    width = len(character.encode())
    for num_bytes in (1, 14, 15, 16, 17, 39, 40, 41, 47, 48, 49, 63, 64, 65, 79, 80, 81, 127, 128, 129, 999, 1000, 1001, 1002):
        run = character * max(num_bytes // width, 1)
        places = range(0, 66) if num_bytes in (15, 16, 40, 63, 64, 65) else range(0, 66, 9)
        for before in places:
            text = "x" * (before % 7) + " " * (before - before % 7) + run + ",B'll" + run[:20] + " \n end"
            assert tokenizer.encode_array(text).tolist() == tokenizer.encode(text), (num_bytes, before)


@given(texts=st.lists(NASTY_TEXT, max_size=8), part_bytes=st.integers(1, 200), num_threads=st.integers(1, 3))
@settings(max_examples=30)
def test_parts_and_threads_change_nothing(
    trained: BPETokenizerLoader, texts: list[str], part_bytes: int, num_threads: int
) -> None:
    text, rule = "".join(texts), trained.model.rule
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finding, "PART", part_bytes)
        patch.setattr(finding, "MIN_PART", 1)
        assert trained.encode_array(text, num_threads).tolist() == trained.encode(text)
        assert counting.count_pieces(text, rule, num_threads) == Counter(rule.pieces(text))


@pytest.mark.parametrize("sample", ["the end, ", "12 345\n", "x = 7;", "未来，", "— naïve "])
def test_a_long_text_is_cut_for_threads(sample: str) -> None:
    """Whatever it is of; a text that can't be cut is encoded by one thread."""
    assert len(finding.cuts(sample * 200_000, 2)) > 4
    assert finding.cuts("x" * 1_000_000, 2) == [0, 1_000_000]


@given(texts=st.lists(NASTY_TEXT | st.just(""), max_size=12), part_bytes=st.integers(1, 200), num_threads=st.integers(1, 3))
@settings(max_examples=30)
def test_a_batch_is_its_texts_one_by_one(
    trained: BPETokenizerLoader, texts: list[str], part_bytes: int, num_threads: int
) -> None:
    expected = [trained.encode(text) for text in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finding, "PART", part_bytes)
        patch.setattr(finding, "MIN_PART", 1)
        ids, offsets = trained.encode_batch_array(texts, num_threads)
        assert trained.encode_batch(iter(texts)) == expected
    assert (ids.dtype, offsets.dtype, offsets.shape) == (np.int32, np.int64, (len(texts) + 1,))
    assert [ids[start:end].tolist() for start, end in itertools.pairwise(offsets.tolist())] == expected


def test_a_large_batch_is_its_texts_one_by_one(trained: BPETokenizerLoader, pydocs: str) -> None:
    """Many short texts of all widths, none, long ones among them, more than a block of pieces, on threads."""
    texts = ["", *FRAGMENTS, pydocs[:40_000], "", "", "未来 " * 9000, *pydocs[70_000:100_000].split(" "), "x" * 5000, ""]
    expected = [trained.encode(text) for text in texts]
    for num_threads in (None, 1, 3):
        ids, offsets = trained.encode_batch_array(texts, num_threads)
        np.testing.assert_array_equal(np.diff(offsets), [*map(len, expected)])
        np.testing.assert_array_equal(ids, np.concatenate(expected))
    for empty in ([], ["", ""]):
        ids, offsets = trained.encode_batch_array(empty)
        assert ids.size == 0
        assert offsets.tolist() == [0] * (len(empty) + 1)
    for wrong in ("text", [b"x"], [None]):
        with pytest.raises(TypeError):
            trained.encode_batch_array(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="position 1:"):
        trained.encode_batch_array(["good", "a\ud800"])
    assert trained.encode_batch(["good"]) == [trained.encode("good")]


def test_full_tables_are_emptied_and_nothing_is_lost(trained: BPETokenizerLoader) -> None:
    random = np.random.default_rng(0)
    text = " ".join("".join(random.choice(list("abcdéß未Q'1"), size=random.integers(1, 30))) for _ in range(9000)) + "q" * 1500
    small = BPETokenizerLoader(trained.model, max_table_bytes=0)
    for _ in range(2):
        assert small.encode_array(text).tolist() == small.encode(text)


RUNS = ["a", "未", *(pytest.param(run, marks=pytest.mark.endurance) for run in ("🤷", " ", "\n", "!", "\u0301", "aB", "'s"))]


@pytest.mark.parametrize("length", [100_000, pytest.param(1_000_000, marks=pytest.mark.endurance)])
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("splitting", ["gpt2", "cl100k", "o200k"])
def test_a_piece_of_a_million_characters_comes_back(splitting: str, run: str, length: int) -> None:
    """In quadratic time one would not, within a day."""
    text = run * (length // len(run))
    tokenizer = BPETokenizerLoader(train_bpe(text, 12, splitting=splitting))
    for whole in (text, " " + text + "x"):
        assert tokenizer.decode(tokenizer.encode_array(whole)) == whole
        assert counting.count_pieces(whole, rule_of(splitting)) == Counter(rule_of(splitting).pieces(whole))
        assert tokenizer.encode(whole[:20_000]) == tokenizer.encode_array(whole[:20_000]).tolist()


def test_a_lone_surrogate_is_refused_with_its_position(trained: BPETokenizerLoader) -> None:
    work: list[Callable[[str], Any]] = [trained.encode, trained.tokenize, trained.encode_array, trained.encode_with_offsets]
    work += [lambda text: counting.count_pieces(text, trained.model.rule), lambda text: trained.encode_batch([text])]
    work += [lambda text: train_bpe(text, 1, splitting=trained.model.splitting)]
    for position in (0, 4, 64, 20_000):
        for function in work:
            with pytest.raises(ValueError, match=f"position {position}:"):
                function("未" * position + "\ud800 and on")


def test_a_word_is_one_piece(trained: BPETokenizerLoader) -> None:
    assert "".join(trained.tokenize_word("The")) == "The"
    with pytest.raises(ValueError, match="not one word"):
        trained.tokenize_word("")
    if trained.model.rule.family:
        for text in ("two words", "a\n\nb", "word!", "12word12"):
            with pytest.raises(ValueError, match="not one word: give one piece, as its splitting rule cuts text"):
                trained.tokenize_word(text)


# ------------------------------------------------------------ offsets and decoding


@given(text=NASTY_TEXT)
@settings(max_examples=50)
def test_spans_cover_the_text_and_hold_their_tokens_bytes(trained: BPETokenizerLoader, text: str) -> None:
    ids, offsets = trained.encode_with_offsets(text)
    assert len(ids) == len(offsets)
    assert {place for start, end in offsets for place in range(start, end)} == set(range(len(text)))
    assert offsets == sorted(offsets)
    starts = np.cumsum([0, *(len(character.encode()) for character in text)])
    done = 0
    for number, (start, end) in zip(ids, offsets, strict=True):
        octets = trained.decode_bytes([number])
        assert octets in text[start:end].encode()
        assert starts[start] <= done < starts[start + 1]
        done += len(octets)
        assert starts[end - 1] < done <= starts[end]


@given(octets=st.binary(max_size=20))
@settings(max_examples=60)
def test_any_bytes_decode_as_pythons_replace_does(trained: BPETokenizerLoader, octets: bytes) -> None:
    ids = [trained.token_to_id[BYTE_CHARACTERS[byte]] for byte in octets]
    assert trained.decode(ids) == octets.decode("utf-8", errors="replace")
    assert trained.decode_bytes(np.array(ids, dtype=np.int32)) == octets


def test_decode_bytes_of_the_rule_of_words_is_its_texts_utf8(tokenizer: BPETokenizerLoader) -> None:
    ids = tokenizer.encode("The creature, naïve 未")
    assert tokenizer.decode_bytes(ids) == tokenizer.decode(ids).encode()


def test_tokens_are_readable() -> None:
    tokenizer = BPETokenizerLoader(train_bpe(" naïve café\n" * 3, 30, splitting="gpt2"))
    assert [tokenizer.readable(token) for token in tokenizer.tokenize(" naïve\n")] == [" naïve", "\n"]
    assert tokenizer.readable(byte_characters(b"\xc3")) == "<0xC3>"
    assert tokenizer.readable(byte_characters("未".encode()[:2])) == "<0xE6><0x9C>"


# ------------------------------------------------------------ files


def test_tiktoken_gives_the_ids_of_an_exported_vocabulary(trained: BPETokenizerLoader, tmp_path: Path) -> None:
    tiktoken = pytest.importorskip("tiktoken")
    trained.export_tiktoken(tmp_path / "ranks.tiktoken")
    ranks = read_ranks((tmp_path / "ranks.tiktoken").read_bytes())
    pattern = trained.pattern if trained.pattern != OWN_PATTERN else OWN_PATTERN + r"|[^\p{L}\d]"  # it drops what has no match
    theirs = tiktoken.Encoding("ours", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    again = BPETokenizerLoader.from_tiktoken(tmp_path / "ranks.tiktoken", splitting=trained.model.splitting)
    assert again.fingerprint == trained.fingerprint
    assert again.model.merges == trained.model.merges
    if pattern == trained.pattern:
        for text in (*FRAGMENTS, "".join(FRAGMENTS), " ".join(FRAGMENTS), *in_contexts(ASSIGNED[::501])):
            assert theirs.encode_ordinary(text) == trained.encode(text)


def test_the_rule_of_words_has_no_rank_file(tokenizer: BPETokenizerLoader, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='"words" has characters'):
        tokenizer.export_tiktoken(tmp_path / "ranks.tiktoken")
    assert not list(tmp_path.glob("*.tiktoken"))


def test_an_exported_tokenizer_json_is_read_as_the_same_tokenizer(trained: BPETokenizerLoader, tmp_path: Path) -> None:
    trained.export_huggingface(tmp_path / "tokenizer.json")
    again = BPETokenizerLoader.from_huggingface(tmp_path / "tokenizer.json")
    assert again.fingerprint == trained.fingerprint
    assert again.model.splitting == trained.model.splitting


def test_a_saved_model_loads_equal(trained: BPETokenizerLoader, tmp_path: Path) -> None:
    trained.save(tmp_path / "model.json")
    loaded = BPEModel.load(tmp_path / "model.json")
    assert json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))["version"] == 2
    assert loaded == trained.model
    assert loaded.vocab == trained.model.vocab
    assert loaded.fingerprint == trained.fingerprint


def test_models_of_different_rules_have_different_fingerprints() -> None:
    models = [train_bpe("", 0, splitting=rule) for rule in (*RULES, "words", OWN_PATTERN)]
    assert len({model.fingerprint for model in models}) == len(models)


def test_files_of_the_rule_of_words_are_as_they_always_were() -> None:
    model = train_bpe("low low lower", 3)
    assert json.loads(model.to_json()) == {
        "format": "tokembed-bpe", "version": 1, "lowercase": True, "byte_fallback": True, "num_words": 3,
        "num_characters": 11, "source": {}, "alphabet": ["e", "l", "o", "r", "w", "</w>"], "applications": [3, 3, 2],
        "merges": [["l", "o"], ["lo", "w"], ["low", "</w>"]],
    }  # fmt: skip
    assert model.fingerprint == "757134e286bc80c03596edca9deed661"
    assert BPEModel.from_json(model.to_json()) == model


FLAWS: dict[str, Any] = {
    "a later version": {"version": 3},
    "no splitting": {"splitting": None},
    "a rule that is none": {"splitting": "gpt7"},
    "a pattern that is none": {"splitting": "("},
    "another form": {"normalization": "NFKD"},
    "an alphabet without a byte": {"alphabet": sorted(BYTE_CHARACTERS)[:-1]},
    "an alphabet with a letter too many": {"alphabet": [*sorted(BYTE_CHARACTERS), "未"]},
    "special tokens a list": {"special_tokens": []},
    "a special token without text": {"special_tokens": {"": 900}},
    "a special token that is no text": {"special_tokens": {"\ud800": 900}},
    "a special token of a token's id": {"special_tokens": {"<x>": 3}},
    "a special token of a token's text": {"special_tokens": {"a": 900}},
    "two special tokens of one id": {"special_tokens": {"<x>": 900, "<y>": 900}},
    "an id of half": {"special_tokens": {"<x>": 900.5}},
    "an id below zero": {"special_tokens": {"<x>": -1}},
    "an id beyond all": {"special_tokens": {"<x>": 2**40}},
    "ids a list": {"token_ids": [1]},
    "ids of some": {"token_ids": {"a": 1}},
    "ids of what is no bytes": {"token_ids": {**{c: i for i, c in enumerate(BYTE_CHARACTERS)}, "Ġl": 256, "未": 257}},
    "two of one id": {"token_ids": {**{c: i for i, c in enumerate(BYTE_CHARACTERS)}, "Ġl": 255}},
    "whether a number": {"ignore_merges": 1},
    "whether none": {"merges_tie": None},
    "a merge twice": {"merges": [["Ġ", "l"]] * 2, "applications": []},
    "a merge of a stranger": {"merges": [["Ġ", "lo"]]},
    "applications of others": {"applications": [1, 2, 3]},
}  # fmt: skip


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_damaged_model_file_is_refused(tmp_path: Path, flaw: str) -> None:
    good = json.loads(train_bpe(" l l", 1, splitting="gpt2").to_json())
    (tmp_path / "model.json").write_text(json.dumps({**good, **FLAWS[flaw]}), encoding="utf-8")
    with pytest.raises(ModelFileError, match=r"model\.json is not a tokenizer file: "):
        BPEModel.load(tmp_path / "model.json")


@pytest.mark.parametrize("name", ["splitting", "special_tokens", "token_ids", "ignore_merges", "merges_tie", "normalization"])
def test_a_model_file_that_lacks_a_part_is_refused(tmp_path: Path, name: str) -> None:
    good = json.loads(train_bpe(" l l", 1, splitting="gpt2").to_json())
    del good[name]
    (tmp_path / "model.json").write_text(json.dumps(good), encoding="utf-8")
    with pytest.raises(ModelFileError, match=r"model\.json is not a tokenizer file: "):
        BPEModel.load(tmp_path / "model.json")


# ------------------------------------------------------------ special tokens


@pytest.mark.parametrize("splitting", ["words", "gpt2"])
def test_special_tokens_are_text_unless_allowed(splitting: str, tmp_path: Path) -> None:
    model = train_bpe("low lower lowest", 3, splitting=splitting, min_frequency=1)
    special = {"<|end|>": len(model.vocab) + 5, "<|end|>>": len(model.vocab) + 2}
    tokenizer = BPETokenizerLoader(BPEModel.from_json(dataclasses.replace(model, special_tokens=special).to_json()))
    plain = BPETokenizerLoader(model)
    text = "low<|end|>low<|end|>> low"
    assert tokenizer.encode(text) == tokenizer.encode_array(text).tolist() == plain.encode(text)
    low, end, longer = plain.encode("low"), special["<|end|>"], special["<|end|>>"]
    for allowed in ("all", special, set(special)):
        expected = [*low, end, *low, longer, *plain.encode(" low")]
        assert tokenizer.encode(text, allowed_special=allowed) == expected
        assert tokenizer.encode_array(text, allowed_special=allowed).tolist() == expected
    assert tokenizer.encode(text, allowed_special=["<|end|>"]).count(end) == 2
    assert tokenizer.encode("", allowed_special="all") == tokenizer.encode_array("", allowed_special="all").tolist() == []
    if splitting == "gpt2":
        assert tokenizer.decode(tokenizer.encode(text, allowed_special="all")) == text
        assert tokenizer.readable("<|end|>") == "<|end|>"
    assert "<|end|>" in tokenizer.decode([end])
    with pytest.raises(ValueError, match=r"'<\|start\|>', which is no special token .* it has <\|end\|>"):
        tokenizer.encode(text, allowed_special={"<|start|>"})
    with pytest.raises(ValueError, match="it has none"):
        plain.encode(text, allowed_special={"<|end|>"})
    with pytest.raises(ValueError, match=f"id {len(model.vocab)} at place 0 stands for no token"):
        tokenizer.decode([len(model.vocab)])
    with pytest.raises(ValueError, match="position 0"):
        tokenizer.encode("\ud800", allowed_special="all")
    tokenizer.export_huggingface(tmp_path / "tokenizer.json")  # the ids have gaps, which it would fill
    if splitting == "gpt2":
        exported = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
        assert exported.encode(text).ids == tokenizer.encode(text, allowed_special="all")
        assert BPETokenizerLoader.from_huggingface(tmp_path / "tokenizer.json").fingerprint == tokenizer.fingerprint
    assert tokenizer.fingerprint != plain.fingerprint
    tokenizer.save(tmp_path / "model.json")
    assert BPETokenizerLoader(tmp_path / "model.json").fingerprint == tokenizer.fingerprint
