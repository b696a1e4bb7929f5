"""Vocabularies as tiktoken's rank files: each line a token's bytes, in base64, and its rank, which is its id.

The merges are not in the file. They can be found: what the tokens of lower rank make of a token's bytes are the two halves that
it was merged from. Where they are more than two, the list is not the result of byte-pair encoding alone; then any two tokens
that make a third merge, at the rank of the third, and a piece that is a token is one, which is what tiktoken does.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import gc
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tokembed import files, native
from tokembed.bpe.model import MAX_FILE_BYTES, MAX_IDS, BPEModel, ModelFileError
from tokembed.bpe.splitting import byte_characters, byte_characters_of_all, bytes_of, rule_of
from tokembed.bpe.word_encoder import merge
from tokembed.corpora.vocabularies import PUBLISHED, find_vocabulary

WELL_FORMED = re.compile(rb"(?:(?:[A-Za-z0-9+/]{4})*+(?:[A-Za-z0-9+/]{2,3}={1,2})? [0-9]{1,9}\n)*+")


def load_ranks(
    path: str | os.PathLike[str], splitting: str | None = None, special_tokens: Mapping[str, int] | None = None
) -> BPEModel:
    """Read a rank file; see `BPETokenizerLoader.from_tiktoken`."""
    if not Path(path).exists():
        path = find_vocabulary(str(path))
    with open(path, "rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    shown = files.display_path(path)
    digest = hashlib.sha256(data).hexdigest()
    for published in PUBLISHED.values():
        if published.sha256 == digest:
            splitting = splitting or published.splitting
            special_tokens = published.special_tokens if special_tokens is None else special_tokens
    if splitting is None:
        raise ValueError(
            f"{shown} is none of the published files ({', '.join(PUBLISHED)}): say how it splits text, splitting=..., "
            "since a rank file does not"
        )
    rule = rule_of(splitting)
    if not rule.is_lossless:
        raise ValueError(f"splitting {splitting!r} has no bytes: a rank file needs a byte-level rule")
    try:
        with _without_collector():
            return _model(_parse(data), rule.name, dict(special_tokens or {}))
    except ValueError as error:
        raise ModelFileError(f"{shown} is not a usable rank file: {error}") from None


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Make some hundred thousand objects without looking for circles among them, again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def rank_file(model: BPEModel) -> bytes:
    """Return the bytes of a rank file; see `BPETokenizerLoader.export_tiktoken`."""
    if not model.rule.is_lossless:
        raise ValueError(
            'the rule "words" has characters and </w>, where tiktoken has bytes alone: '
            'learn with splitting="gpt2", "cl100k" or "o200k"'
        )
    made = model.merge_ids[:, 2]
    num_ordinary = len(model.vocab) - len(model.special_tokens)
    is_in_order = bool(np.all(made[1:] > made[:-1])) and num_ordinary == len(model.alphabet) + made.size
    if not (is_in_order or model.merges_tie):
        raise ValueError("the ids of this vocabulary are not the order of its merges, as ranks must be")
    ordinary = ((bytes_of(token), index) for token, index in model.vocab.items() if token not in model.special_tokens)
    return b"".join(base64.b64encode(octets) + b" %d\n" % index for octets, index in ordinary)


def _parse(data: bytes) -> dict[bytes, int]:
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"it is larger than {MAX_FILE_BYTES >> 20} MiB")
    ranks: dict[bytes, int] = {}
    if WELL_FORMED.fullmatch(data):  # as nearly all are: read whole, in a third of the time
        fields = data.split()
        with contextlib.suppress(binascii.Error):
            ranks = dict(zip(map(binascii.a2b_base64, fields[::2]), map(int, fields[1::2]), strict=True))
    return _checked(ranks if 2 * len(ranks) == len(data.split()) else _parse_lines(data))


def _parse_lines(data: bytes) -> dict[bytes, int]:
    """Read line by line, and name the first that is wrong."""
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line:
            continue
        try:
            written, rank = line.split()
            token = base64.b64decode(written, validate=True)
            if token in ranks:
                raise ValueError
            ranks[token] = int(rank)
        except (ValueError, binascii.Error):
            raise ValueError(
                f"line {number} is {line[:40]!r}, no token in base64 and its rank, or one that was there before"
            ) from None
    return ranks


def _checked(ranks: dict[bytes, int]) -> dict[bytes, int]:
    if len(set(ranks.values())) < len(ranks) or b"" in ranks:
        raise ValueError("two tokens have one rank, or one is empty")
    if any(not 0 <= rank < MAX_IDS for rank in ranks.values()):
        raise ValueError(f"a rank is not between 0 and {MAX_IDS:,}")
    if missing := [byte for byte in range(256) if bytes([byte]) not in ranks]:
        raise ValueError(f"byte 0x{missing[0]:02X} has no rank ({256 - len(missing)} of 256 have)")
    return ranks


def _model(ranks: dict[bytes, int], splitting: str, special_tokens: dict[str, int]) -> BPEModel:
    in_order = sorted(ranks, key=ranks.__getitem__)
    single = [token for token in in_order if len(token) == 1]
    longer = [token for token in in_order if len(token) > 1]
    pairs = _derived_merges(single, longer)
    tokens = [*single, *longer]
    names = byte_characters_of_all(tokens)
    is_reached = bool(np.all(pairs >= 0))
    if is_reached:
        merges = [(names[left], names[right]) for left, right in pairs.tolist()]
    else:
        merges = [
            (byte_characters(token[:cut]), byte_characters(token[cut:]))
            for token in longer
            for cut in sorted(
                (cut for cut in range(1, len(token)) if token[:cut] in ranks and token[cut:] in ranks),
                key=lambda cut, token=token: (ranks[token[:cut]], ranks[token[cut:]]),  # type: ignore[misc]
            )
        ]
    ids = [ranks[token] for token in tokens]
    is_implied = is_reached and ids == list(range(len(ids)))
    if taken := {*ids} & {*special_tokens.values()}:
        raise ValueError(f"id {min(taken)} is a token's and a special token's")
    model = BPEModel(
        names[:256],
        merges,
        lowercase=False,
        splitting=splitting,
        special_tokens=special_tokens,
        token_ids={} if is_implied else dict(zip(names, ids, strict=True)),
        ignore_merges=not is_reached,
        reaches_all=is_reached,
        merges_tie=not is_reached,
    )
    if is_implied:  # known already, and long to look up
        made = np.arange(256, len(tokens), dtype=np.int32)
        vars(model)["merge_ids"] = np.column_stack([pairs, made])
        vars(model)["whole_pieces"] = dict(zip(tokens, ids, strict=True))
    return model


def _derived_merges(single: list[bytes], longer: list[bytes]) -> npt.NDArray[np.int32]:
    """Return the places of the halves of each longer token among all, shape (T, 2); -1 where it has no two."""
    if native.library() is None:
        return _derived_in_python(single, longer)
    from tokembed.native.objects import derive_merges

    byte_ids = np.empty(256, dtype=np.int32)
    byte_ids[[token[0] for token in single]] = np.arange(256)
    return derive_merges(longer, byte_ids, len(single))


def _derived_in_python(single: list[bytes], longer: list[bytes]) -> npt.NDArray[np.int32]:
    ids = {byte_characters(token): index for index, token in enumerate([*single, *longer])}
    ranks: dict[tuple[str, str], int] = {}
    pairs = np.full((len(longer), 2), -1, dtype=np.int32)
    for row, token in enumerate(map(byte_characters, longer)):
        halves = merge([*token], ranks)
        if len(halves) == 2:
            pairs[row] = ids[halves[0]], ids[halves[1]]
            ranks[halves[0], halves[1]] = len(ranks)
    return pairs
