"""Our encoder and trainer of merges beside other libraries': the same text and the same ids, checked first, in turn.

A peer that is not installed is left out; `missing_peers` names it.
"""

from __future__ import annotations

import base64
import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

from tokembed.benchmarks.ladder import empty_tokenizer
from tokembed.benchmarks.timing import PEERS, Timing, fresh, time_alternating
from tokembed.bpe.learning import train_bpe
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.corpora.vocabularies import find_vocabulary

# Peers that give a few other ids by byte-level rules: Hugging Face's library, which is given single lines, where white space
# follows a line end; tokie 0.1.4 within such white space, where its chunks of a long text meet.
INEXACT = ("tokenizers", "tokie")

Encode = Callable[[str], Any]


def missing_peers() -> list[str]:
    """Return the names of the peers that are not installed."""
    return [name for name in PEERS if not _is_installed(name)]


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def encoders(tokenizer: BPETokenizerLoader, folder: Path) -> dict[str, Callable[[], Encode]]:
    """Return ours and every installed peer's maker of an encoder of the same vocabulary, that remembers nothing yet.

    The peers load what is exported from here into the folder. Under the rule "words" that is Hugging Face's library alone: the
    others split by rules of their own.
    """
    model, load = tokenizer.model, importlib.import_module
    exported, ranks = folder / "tokenizer.json", folder / "ranks.tiktoken"
    tokenizer.export_huggingface(exported)
    makers: dict[str, Callable[[], Encode]] = {"tokembed": lambda: empty_tokenizer(model).encode_array}
    if model.rule.is_lossless:
        tokenizer.export_tiktoken(ranks)
        makers |= {
            "gigatoken": lambda: load("gigatoken").Tokenizer(str(exported)).encode,
            "tokie": lambda: load("tokie").Tokenizer.from_json(str(exported)).encode,
            "snaptokens": lambda: load("snaptokens").Tokenizer.from_file(str(exported)).encode,
            "tiktoken": lambda: _tiktoken(ranks, tokenizer.pattern),
        }
    makers["tokenizers"] = lambda: _huggingface(exported)
    return {name: make for name, make in makers.items() if _is_installed(name)}


def published_encoders(name: str) -> dict[str, Callable[[], Encode]]:
    """Return the makers of ours, gigatoken's and tiktoken's encoder of a published vocabulary, those installed."""
    path = find_vocabulary(name)
    tokenizer = BPETokenizerLoader.from_tiktoken(path)
    makers: dict[str, Callable[[], Encode]] = {
        "tokembed": lambda: empty_tokenizer(tokenizer.model).encode_array,
        "gigatoken": lambda: importlib.import_module("gigatoken").Tokenizer.from_tiktoken(str(path)).encode,
        "tiktoken": lambda: _tiktoken(path, tokenizer.pattern),
    }
    return {peer: make for peer, make in makers.items() if _is_installed(peer)}


def _tiktoken(ranks: Path, pattern: str) -> Encode:
    import tiktoken

    encoding = tiktoken.Encoding("bench", pat_str=pattern, mergeable_ranks=_ranks(ranks), special_tokens={})
    return cast(Encode, encoding.encode_ordinary)


@cache
def _ranks(path: Path) -> dict[bytes, int]:
    return {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, path.read_bytes().splitlines())}


def _huggingface(exported: Path) -> Encode:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(exported))
    # One text of ten megabytes takes it five times as long as its lines do.
    return lambda text: [index for each in tokenizer.encode_batch_fast(text.splitlines(keepends=True)) for index in each.ids]


def compare_encoders(
    makers: Mapping[str, Callable[[], Encode]], text: str, rounds: int, inexact: Sequence[str] = ()
) -> Iterator[tuple[str, list[Timing]]]:
    """Yield (case, timings): cold (a new encoder's first text), warm with a fresh str each call, warm with the same objects.

    Two texts take turns, the second the first's lines in reverse, so that an encoder can remember words from one text to the
    next, but no longer passages.

    Raises
    ------
    ValueError
        An encoder that is not one of the `inexact` gave other ids than the first.
    """
    texts = (text, "".join(reversed(text.splitlines(keepends=True))))
    warm = {name: make() for name, make in makers.items()}
    expected = None
    for name, encode in warm.items():
        found = [list(getattr(given, "ids", given)) for given in map(encode, texts)]  # some give an object with ids
        expected = expected or found
        if found != expected and name not in inexact:
            raise ValueError(f"{name} gives other ids than {next(iter(warm))}")

    def same(turn: int) -> str:
        return texts[turn % 2]

    def equal(turn: int) -> str:
        return fresh(same(turn))

    def cold(name: str, turn: int) -> tuple[Encode, str]:
        return makers[name](), equal(turn)

    newcomers = dict.fromkeys(makers, lambda given: given[0](given[1]))
    yield "cold", time_alternating(newcomers, {name: partial(cold, name) for name in makers}, rounds)
    for case, text_for in (("warm, a fresh str each call", equal), ("warm, the same str objects", same)):
        yield case, time_alternating(warm, dict.fromkeys(warm, text_for), rounds)


def compare_learners(
    text: str, num_merges: int, rounds: int, *, lowercase: bool = True, min_frequency: int = 2
) -> list[Timing]:
    """Time the learning of `num_merges` merges from one text, splitting and counting included.

    The text is lower-cased before, if at all. gigatoken and rustbpe have no least count.
    """
    load, size = importlib.import_module, 256 + num_merges
    learners: dict[str, Callable[[str], object]] = {
        "tokembed": lambda text: train_bpe(text, num_merges, lowercase=lowercase, min_frequency=min_frequency),
        "gigatoken": lambda text: load("gigatoken").train_bpe(text.encode(), size, ["<|endoftext|>"]),
        "rustbpe": lambda text: load("rustbpe").Tokenizer().train_from_iterator(iter(text.splitlines(keepends=True)), size),
        "tokenizers": lambda text: _train_byte_level(text, size, min_frequency),
    }
    learners = {name: learn for name, learn in learners.items() if _is_installed(name)}
    given = text.lower() if lowercase else text
    for learn in learners.values():  # a first call is not timed
        learn(given)
    return time_alternating(learners, {name: lambda _: fresh(given) for name in learners}, rounds)


def _train_byte_level(text: str, size: int, min_frequency: int) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, min_frequency=min_frequency, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)
