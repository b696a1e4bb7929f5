"""Our encoder and trainer of merges beside other libraries': the same text, checked first, in turn.

A peer that is not installed is left out; `missing_peers` names it.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

from tokembed.benchmarks.ladder import empty_tokenizer
from tokembed.benchmarks.timing import PEERS, Timing, time_alternating
from tokembed.bpe.learning import train_bpe
from tokembed.bpe.model import BPEModel
from tokembed.bpe.tokenizer import BPETokenizerLoader

GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
HAVE_OUR_RULES = ("tokembed", "tokenizers")

Encode = Callable[[str], Any]


def missing_peers() -> list[str]:
    """Return the names of the peers that are not installed."""
    return [name for name in PEERS if not _is_installed(name)]


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


@contextlib.contextmanager
def encoders(model: BPEModel, text: str) -> Iterator[dict[str, Callable[[], Encode]]]:
    """Yield ours and every installed peer's maker of an encoder that remembers nothing yet.

    The fast peers know byte-level BPE with GPT-2's splitting only, so they get as many merges as `model` has, learned by
    Hugging Face's trainer from the same lower-cased text; they are given lower-cased text, and lower nothing. Hugging Face's
    own library gets our exported rules, and must give our ids.
    """
    with tempfile.TemporaryDirectory() as folder:
        ours, byte_level = Path(folder) / "ours.json", Path(folder) / "byte_level.json"
        BPETokenizerLoader(model).export_huggingface(ours)
        makers: dict[str, Callable[[], Encode]] = {"tokembed": lambda: empty_tokenizer(model).encode_array}
        if _is_installed("tokenizers"):
            byte_level.write_text(_train_byte_level(text.lower(), len(model.merges)), encoding="utf-8")
            load, path = importlib.import_module, str(byte_level)
            makers |= {
                "gigatoken": lambda: load("gigatoken").Tokenizer(path).encode,
                "tokie": lambda: load("tokie").Tokenizer.from_json(path).encode,
                "snaptokens": lambda: load("snaptokens").Tokenizer.from_file(path).encode,
                "tiktoken": lambda: _tiktoken(byte_level),
                "tokenizers": lambda: _huggingface(ours),
            }
        yield {name: make for name, make in makers.items() if _is_installed(name)}


def _train_byte_level(text: str, num_merges: int) -> str:
    """Train Hugging Face's byte-level BPE; return its `tokenizer.json`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=len(alphabet) + num_merges, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)
    return str(tokenizer.to_str())


def _tiktoken(byte_level: Path) -> Encode:
    import tiktoken

    # GPT-2's byte alphabet: printable bytes are themselves, the others are shifted past 255.
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    byte_of = {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}
    vocab = json.loads(byte_level.read_text(encoding="utf-8"))["model"]["vocab"]
    ranks = {bytes(byte_of[character] for character in token): rank for token, rank in vocab.items()}
    encoding = tiktoken.Encoding("bench", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens={})
    return cast(Encode, encoding.encode_ordinary)


def _huggingface(ours: Path) -> Encode:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(ours))
    return lambda text: [number for each in tokenizer.encode_batch_fast(text.splitlines()) for number in each.ids]


def compare_encoders(model: BPEModel, text: str, rounds: int) -> Iterator[tuple[str, list[Timing]]]:
    """Yield (case, timings): cold (a new encoder's first text), warm with a fresh str each call, warm with the same objects.

    Two texts take turns, the second the first's lines in reverse, so that an encoder can remember words from one text to the
    next, but no longer passages.

    Raises
    ------
    ValueError
        An encoder that has our rules gave other ids than the plain one.
    """
    expected = BPETokenizerLoader(model).encode(text)
    texts, lowered = ((form, "\n".join(reversed(form.split("\n")))) for form in (text, text.lower()))
    with encoders(model, text) as peers:
        for name in peers:
            if name in HAVE_OUR_RULES and list(peers[name]()(text)) != expected:
                raise ValueError(f"{name} gives other ids than the plain encoder")
        turns = {name: texts if name in HAVE_OUR_RULES else lowered for name in peers}
        warm = {name: make() for name, make in peers.items()}
        for name, encode in warm.items():
            for one in turns[name]:
                encode(one)

        def same(name: str, turn: int) -> str:
            return turns[name][turn % 2]

        def fresh(name: str, turn: int) -> str:
            return _fresh(same(name, turn))

        def cold(name: str, turn: int) -> tuple[Encode, str]:
            return peers[name](), fresh(name, turn)

        newcomers = dict.fromkeys(peers, lambda given: given[0](given[1]))
        yield "cold", time_alternating(newcomers, {name: partial(cold, name) for name in peers}, rounds)
        for case, text_for in (("warm, a fresh str each call", fresh), ("warm, the same str objects", same)):
            yield case, time_alternating(warm, {name: partial(text_for, name) for name in warm}, rounds)


def compare_learners(text: str, num_merges: int, rounds: int) -> list[Timing]:
    """Time the learning of `num_merges` merges from one lower-cased text, splitting and counting included."""
    load, size = importlib.import_module, 256 + num_merges
    learners: dict[str, Callable[[str], object]] = {
        "tokembed": lambda text: train_bpe(text, num_merges),
        "gigatoken": lambda text: load("gigatoken").train_bpe(text.encode(), size, ["<|endoftext|>"]),
        "rustbpe": lambda text: load("rustbpe").Tokenizer().train_from_iterator(iter(text.splitlines(keepends=True)), size),
        "tokenizers": lambda text: _train_byte_level(text, num_merges),
    }
    learners = {name: learn for name, learn in learners.items() if _is_installed(name)}
    lowered = text.lower()
    for learn in learners.values():  # compilation is not timed
        learn(lowered)
    return time_alternating(learners, {name: lambda _: _fresh(lowered) for name in learners}, rounds)


def _fresh(text: str) -> str:
    """Return an equal str that no one has seen."""
    return (text + " ")[:-1]
