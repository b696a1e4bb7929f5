r"""The same tokenizer as a Hugging Face `tokenizer.json`.

There, words are found by regular expressions instead of a rule of our own:

1. Normalizer: at the end of each run of word characters, and after each mark, insert a marker in place of `</w>`, then
   lower-case.
2. Pre-tokenizer: drop white space; split after each marker.
3. Model: the merges, with the marker where ours have `</w>`.
4. Decoder: bytes to characters, marker to space, and no space at the end.

`\w` and `\s` are spelled out, since Python's, Oniguruma's and Rust's differ.
"""

from __future__ import annotations

import json
from typing import Any

from tokembed.bpe.model import UNKNOWN_TOKEN, BPEModel
from tokembed.bpe.splitting import END_OF_WORD

MARKER = "\U0010fffd"  # a private-use code point, one from the last, which no font or text uses
_WORD = r"\p{L}\p{N}_"
_SPACE = r"\x09-\x0d\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"


def tokenizer_json(model: BPEModel) -> str:
    """Return the text of a `tokenizer.json`; see `BPETokenizerLoader.export_huggingface`."""

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
            "added_tokens": [],
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
                "vocab": {spelled(token): index for token, index in model.vocab.items()},
                "merges": [[left, spelled(right)] for left, right in model.merges],
            },
        },
        ensure_ascii=False,
    )


def _replace(pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}
