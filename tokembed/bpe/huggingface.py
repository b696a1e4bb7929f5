r"""Tokenizers as Hugging Face's `tokenizer.json`, written and, where they are byte-level, read.

In what is written for the rule "words", words are found by regular expressions instead of a rule of our own:

1. Normalizer: at the end of each run of word characters, and after each mark, insert a marker in place of `</w>`, then
   lower-case.
2. Pre-tokenizer: drop white space; split after each marker.
3. Model: the merges, with the marker where ours have `</w>`.
4. Decoder: bytes to characters, marker to space, and no space at the end.

`\w` and `\s` are spelled out, since Python's, Oniguruma's and Rust's differ. Byte-level rules are parts that `tokenizers` has.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from tokembed import files
from tokembed.bpe.model import MAX_FILE_BYTES, UNKNOWN_TOKEN, BPEModel, ModelFileError
from tokembed.bpe.splitting import BYTE_CHARACTERS, END_OF_WORD, SPLITTINGS, rule_of

MARKER = "\U0010fffd"  # a private-use code point, one from the last, which no font or text uses
_WORD = r"\p{L}\p{N}_"
_SPACE = r"\x09-\x0d\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"


# Oniguruma's `$` is the end of a line, and its `{1,3}+` is not possessive.
_SPELLED_FOR_ONIGURUMA = {
    "cl100k": SPLITTINGS["llama3"].pattern.replace(r"|\s*[\r\n]+", r"|\s+\z|\s*[\r\n]+"),
}


_SPECIAL_FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}


def tokenizer_json(model: BPEModel, special_tokens: Iterable[str] = ()) -> str:
    """Return the text of a `tokenizer.json`; see `BPETokenizerLoader.export_huggingface`."""
    vocab = dict(model.vocab)
    first = max(vocab.values(), default=-1) + 1
    added = dict(model.special_tokens)
    for index, token in enumerate(dict.fromkeys(special_tokens), start=first):
        if not token or token in vocab:
            raise ValueError(f"special_tokens has {token!r}, which is empty or a token already")
        added[token] = index
    vocab |= added
    added_tokens = [{"id": index, "content": token, **_SPECIAL_FLAGS} for token, index in added.items()]
    if model.rule.is_lossless:
        return json.dumps(_byte_level(model, vocab, added_tokens), ensure_ascii=False)

    def spelled(token: str) -> str:
        return token.removesuffix(END_OF_WORD) + MARKER if token.endswith(END_OF_WORD) else token

    end_of_piece = rf"(?<=[{_WORD}])(?![{_WORD}])|(?<=[^{_WORD}{_SPACE}])"
    normalizers: list[dict[str, Any]] = [_replace(end_of_piece, MARKER)]
    if model.lowercase:
        normalizers.append({"type": "Lowercase"})
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": added_tokens,
            "normalizer": {"type": "Sequence", "normalizers": normalizers},
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [
                    {"type": "Split", "pattern": {"Regex": f"[{_SPACE}]+"}, "behavior": "Removed", "invert": False},
                    {"type": "Split", "pattern": {"String": MARKER}, "behavior": "MergedWithPrevious", "invert": False},
                ],
            },
            "post_processor": None,
            "decoder": {
                "type": "Sequence",
                "decoders": [
                    {"type": "ByteFallback"},
                    {"type": "Fuse"},
                    {"type": "Replace", "pattern": {"String": MARKER}, "content": " "},
                    _replace(r" \z", ""),
                ],
            },
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None if model.byte_fallback else UNKNOWN_TOKEN,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": model.byte_fallback,
                "ignore_merges": False,
                "vocab": {spelled(token): index for token, index in vocab.items()},
                "merges": [[left, spelled(right)] for left, right in model.merges],
            },
        },
        ensure_ascii=False,
    )


def _replace(pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}


def _byte_level(model: BPEModel, vocab: dict[str, int], added_tokens: list[dict[str, Any]]) -> dict[str, Any]:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": model.splitting == "gpt2"}
    pre_tokenizer = byte_level
    if model.splitting != "gpt2":
        pattern = _SPELLED_FOR_ONIGURUMA.get(model.splitting, model.rule.pattern)
        split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        pre_tokenizer = {"type": "Sequence", "pretokenizers": [split, byte_level]}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added_tokens,
        "normalizer": {"type": model.normalization} if model.normalization else None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": model.ignore_merges,
            "vocab": vocab,  # with special tokens: one that is not in it gets the next id there, whatever its own
            "merges": [list(pair) for pair in model.merges],
        },
    }


# ------------------------------------------------------------ reading


def load_tokenizer_json(path: str | os.PathLike[str]) -> BPEModel:
    """Read a `tokenizer.json` of byte-level BPE; see `BPETokenizerLoader.from_huggingface`."""
    with open(path, "rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    try:
        if len(data) > MAX_FILE_BYTES:
            raise ValueError(f"it is larger than {MAX_FILE_BYTES >> 20} MiB")
        return _from_json(json.loads(data))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__} {error}" if not isinstance(error, ValueError) else error
        raise ModelFileError(f"{files.display_path(path)} is not a tokenizer.json that can be honoured: {reason}") from None


def _from_json(data: dict[str, Any]) -> BPEModel:
    if not isinstance(data, dict) or not isinstance(data.get("model"), dict):
        raise ValueError('it has no "model"')
    model = data["model"]
    if model.get("type", "BPE") != "BPE":
        raise ValueError(f"its model is {model['type']}, not BPE")
    for name in ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(name):
            raise ValueError(f"its model has {name}: {model[name]!r}, which byte-level BPE does without")
    splitting = _splitting(data.get("pre_tokenizer"))
    normalizer = (data.get("normalizer") or {}).get("type", "")
    if normalizer not in ("", "NFC"):
        raise ValueError(f"its normalizer is {normalizer}; only NFC can be honoured")
    if (decoder := (data.get("decoder") or {}).get("type")) != "ByteLevel":
        raise ValueError(f"its decoder is {decoder}, not ByteLevel")
    special_tokens = {}
    for token in data.get("added_tokens") or []:
        for flag in ("single_word", "lstrip", "rstrip"):
            if token.get(flag):
                raise ValueError(f"its added token {token['content']!r} has {flag}")
        if not isinstance(token["content"], str):
            raise ValueError(f"its added token {token['content']!r:.40} is no text")
        special_tokens[token["content"]] = token["id"]
    vocab = {token: index for token, index in model["vocab"].items() if special_tokens.get(token) != index}
    if not isinstance(model["merges"], list):
        raise ValueError("its merges are not a list")
    merges = [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in model["merges"]]
    if missing := [byte for byte in range(256) if BYTE_CHARACTERS[byte] not in vocab]:
        raise ValueError(f"its vocabulary lacks byte 0x{missing[0]:02X}")
    alphabet = sorted(BYTE_CHARACTERS, key=vocab.__getitem__)
    implied = {token: index for index, token in enumerate([*alphabet, *(left + right for left, right in merges)])}
    found = BPEModel(
        alphabet,
        merges,
        lowercase=False,
        splitting=splitting,
        special_tokens=special_tokens,
        token_ids={} if vocab == implied and len(implied) == len(merges) + 256 else vocab,
        ignore_merges=bool(model.get("ignore_merges")),
        normalization=normalizer,
    )
    return BPEModel.from_json(found.to_json())  # checks everything


def _splitting(pre_tokenizer: Any) -> str:
    """Return the splitting rule of a pre-tokenizer, or raise `ValueError` naming what is not one."""
    parts = pre_tokenizer.get("pretokenizers", [pre_tokenizer]) if isinstance(pre_tokenizer, dict) else []
    *splits, byte_level = parts or [{}]
    if byte_level.get("type") != "ByteLevel":
        raise ValueError(f"its pre-tokenizer ends in {byte_level.get('type')}, not ByteLevel")
    if byte_level.get("add_prefix_space", True):
        raise ValueError("its ByteLevel has add_prefix_space: a text would begin with a space that it does not have")
    has_own_regex = byte_level.get("use_regex", True)
    if not splits and has_own_regex:
        return "gpt2"
    if len(splits) != 1 or has_own_regex or splits[0].get("type") != "Split":
        raise ValueError(
            f"its pre-tokenizer is {[part.get('type') for part in parts]}, not a Split and a ByteLevel without a pattern"
        )
    (split,) = splits
    if split.get("behavior") != "Isolated" or split.get("invert") or "Regex" not in split["pattern"]:
        raise ValueError("its Split is not one by a regular expression that isolates what it finds")
    pattern = split["pattern"]["Regex"]
    for name, spelled in _SPELLED_FOR_ONIGURUMA.items():
        if pattern == spelled:
            return name
    return rule_of(pattern).name
