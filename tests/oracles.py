"""The real peers, asked the same question: what they answer is what our code must answer."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import pytest
from conftest import raw_file
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from tokembed.bpe.splitting import END_OF_WORD

MARKER = "\U0010fffd"  # one high code point in place of `</w>`


def huggingface_merges(word_counts: Mapping[str, int], num_merges: int, min_frequency: int) -> list[tuple[str, str]]:
    """Learn merges by Hugging Face's trainer from words that are already split."""
    alphabet = {character for word in word_counts for character in word} | {MARKER}
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + num_merges, min_frequency=min_frequency, show_progress=False, special_tokens=[]
    )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", behavior="removed")
    lines = (" ".join([word + MARKER] * count) for word, count in word_counts.items())
    tokenizer.train_from_iterator(lines, trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [tuple(part.replace(MARKER, END_OF_WORD) for part in merge) for merge in merges]  # type: ignore[misc]


# As Oniguruma has to be told: there `$` is the end of a line, and `{1,3}+` is not possessive.
_CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s+\z|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_level_splitter(splitting: str, pattern: str) -> Any:
    """Return Hugging Face's pre-tokenizer for a byte-level rule."""
    if splitting == "gpt2":
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    split = pre_tokenizers.Split(Regex(_CL100K if splitting == "cl100k" else pattern), "isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def huggingface_byte_merges(texts: Iterable[str], num_merges: int, splitter: Any) -> list[tuple[str, str]]:
    """Learn merges of bytes by Hugging Face's trainer, whole texts given to it."""
    trainer = trainers.BpeTrainer(
        vocab_size=256 + num_merges, min_frequency=2, show_progress=False, special_tokens=[],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = splitter
    tokenizer.train_from_iterator(texts, trainer)
    return [tuple(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]


@cache
def tiktoken_encoding(name: str) -> Any:
    """Return tiktoken's own encoding of that name, made from the file in the raw folder; skip where one is missing."""
    tiktoken = pytest.importorskip("tiktoken")
    from tiktoken_ext import openai_public

    ranks = read_ranks(raw_file(f"vocabularies/{name}.tiktoken").read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openai_public, "load_tiktoken_bpe", lambda *_, **__: ranks)
        return tiktoken.Encoding(**openai_public.ENCODING_CONSTRUCTORS[name]())


def read_ranks(data: bytes) -> dict[bytes, int]:
    """Return what a rank file says."""
    return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in data.splitlines())}
