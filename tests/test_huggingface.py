from __future__ import annotations

import re
import sys
import unicodedata
from pathlib import Path

import pytest
from conftest import raw_file
from hypothesis import given, settings, strategies as st
from tokenizers import Tokenizer

from tokembed import BPETokenizerLoader, train_bpe
from tokembed.bpe.huggingface import MARKER

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cn", "Co"], max_codepoint=0x2FFFF), max_size=80)
WORDY = st.text(alphabet="the creature's éİΣ未9_.\n\x00\x1cab", max_size=80)


@pytest.fixture(scope="module", params=["lowered", "cased", "unk"])
def pair(
    request: pytest.FixtureRequest, frankenstein: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[BPETokenizerLoader, Tokenizer]:
    options = {"lowercase": request.param != "cased", "byte_fallback": request.param != "unk"}
    ours = BPETokenizerLoader(train_bpe(frankenstein + " é未 ", 800, **options))
    path = tmp_path_factory.mktemp("export") / "tokenizer.json"
    ours.export_huggingface(path)
    return ours, Tokenizer.from_file(str(path))


def differ(characters: list[str], pair: tuple[BPETokenizerLoader, Tokenizer]) -> set[str]:
    """Return the characters that one side's Unicode version classifies or lowers otherwise."""
    ours, theirs = pair
    texts = [f"a{character}b" for character in characters]
    encodings = theirs.encode_batch(texts)
    return {c for c, text, encoding in zip(characters, texts, encodings, strict=True) if encoding.ids != ours.encode(text)}


def test_every_assigned_code_point_is_treated_alike(pair: tuple[BPETokenizerLoader, Tokenizer]) -> None:
    """All 150,000 characters of this Python's Unicode version, but for a few whose case or class changed since."""
    assigned = [chr(n) for n in range(sys.maxunicode + 1) if unicodedata.category(chr(n)) not in ("Cs", "Cn", "Co")]
    different = differ(assigned, pair)
    assert len(assigned) > 140_000
    assert len(different) < 50, sorted(map(hex, map(ord, different)))
    assert differ([MARKER], pair) == {MARKER}


@given(text=TEXT | WORDY)
@settings(max_examples=400)
def test_ids_offsets_and_decoded_text_are_hugging_faces(pair: tuple[BPETokenizerLoader, Tokenizer], text: str) -> None:
    ours, theirs = pair
    different = differ(sorted(set(text)), pair)
    text = "".join(character for character in text if character not in different)
    encoding = theirs.encode(text)
    ids, offsets = ours.encode_with_offsets(text)
    assert ids == encoding.ids
    assert offsets == encoding.offsets
    assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=False)


def test_the_whole_wikipedia_text_gets_the_same_ids(tmp_path: Path, pydocs: str) -> None:
    text = raw_file("wikitext2/validation.txt").read_text(encoding="utf-8")
    ours = BPETokenizerLoader(train_bpe(text, 3000))
    ours.export_huggingface(tmp_path / "tokenizer.json")
    theirs = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    lines = text.splitlines()
    assert [encoding.ids for encoding in theirs.encode_batch(lines)] == ours.encode_batch(lines)


def test_transformers_loads_it(tmp_path: Path, tokenizer: BPETokenizerLoader) -> None:
    from transformers import PreTrainedTokenizerFast

    tokenizer.export_huggingface(tmp_path / "tokenizer.json")
    fast = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    text = "The creature's eyes, 未来!"
    assert fast(text)["input_ids"] == tokenizer.encode(text)
    assert re.sub(r"\s", "", fast.decode(tokenizer.encode(text))) == "thecreature'seyes,未来!"


@pytest.mark.parametrize("splitting", ["words", "gpt2", "o200k"])
def test_transformers_pads_a_batch_with_an_exported_special_token(tmp_path: Path, splitting: str) -> None:
    from transformers import PreTrainedTokenizerFast

    tokenizer = BPETokenizerLoader(train_bpe("low lower lowest, low!", 8, splitting=splitting))
    tokenizer.export_huggingface(tmp_path / "tokenizer.json", special_tokens=["<pad>", "<s>"])
    fast = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"), pad_token="<pad>", bos_token="<s>")
    texts = ["low", "lowest lower, low!"]
    batch = fast(texts, padding=True)
    short, long = (tokenizer.encode(text) for text in texts)
    num_missing = len(long) - len(short)
    assert fast.pad_token_id == tokenizer.vocab_size
    assert batch["input_ids"] == [short + [tokenizer.vocab_size] * num_missing, long]
    assert batch["attention_mask"] == [[1] * len(short) + [0] * num_missing, [1] * len(long)]
    assert fast.decode(batch["input_ids"][0], skip_special_tokens=True) == "low"
    assert fast("<s>low")["input_ids"] == [tokenizer.vocab_size + 1, *short]


def test_datasets_maps_with_it_in_two_processes(tokenizer: BPETokenizerLoader) -> None:
    from datasets import Dataset

    texts = ["The creature", "opened its eyes", "未来", ""]
    dataset = Dataset.from_dict({"text": texts}).map(lambda row: {"ids": tokenizer.encode(row["text"])}, num_proc=2)
    assert dataset["ids"][:] == tokenizer.encode_batch(texts)
