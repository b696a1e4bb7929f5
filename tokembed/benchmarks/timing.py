"""Time our code beside its peers: the same work, checked first, alternating in one run, with its spread.

Used by the benchmark scripts. A peer that is not installed is left out and said so: `uv run --group bench ...` has them all.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.metadata
import importlib.util
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from tokembed.bpe.learning import train_bpe
from tokembed.bpe.model import BPEModel
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.device import available_cores

PEERS = ("gigatoken", "tokie", "snaptokens", "tiktoken", "tokenizers", "rustbpe", "gensim")
GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@dataclass(frozen=True)
class Timing:
    """Wall-clock seconds of repeated runs of one thing."""

    name: str
    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        return min(self.seconds)

    @property
    def spread(self) -> float:
        """Half the range of the middle half, as a share of the median."""
        ordered = sorted(self.seconds)
        quarter = len(ordered) // 4
        return (ordered[-1 - quarter] - ordered[quarter]) / 2 / self.median

    @property
    def summary(self) -> dict[str, float]:
        """What is quoted of the seconds."""
        return {"median": self.median, "best": self.best, "spread": self.spread}


def time_alternating(
    contenders: Mapping[str, Callable[[Any], object]], prepare: Mapping[str, Callable[[int], Any]], rounds: int
) -> list[Timing]:
    """Time each contender once a round, all of them in every round, the order turned by one each time.

    Parameters
    ----------
    contenders : dict
        Name to the thing timed; it takes what its `prepare` made.
    prepare : dict
        Name to what is made before the clock starts, given the round's number.
    rounds : int
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            given = prepare[name](number)
            gc.collect()
            start = time.perf_counter()
            result = contenders[name](given)
            seconds[name].append(time.perf_counter() - start)
            del result, given
    return [Timing(name, values) for name, values in seconds.items()]


def machine() -> dict[str, Any]:
    """Return what a figure depends on: processor, cores, versions, commit."""
    versions = {}
    for package in ("numpy", "numba", "torch", *PEERS):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": available_cores(),
        "python": platform.python_version(),
        "versions": versions,
        "commit": _commit(),
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


# ---------------------------------------------------------------- tokenizers


Encode = Callable[[str], Any]


@dataclass(frozen=True)
class EncoderPeer:
    """A way to encode one str; `make` returns it with nothing remembered yet."""

    name: str
    make: Callable[[], Encode]
    has_our_rules: bool


def missing_peers() -> list[str]:
    """Return the names of the peers that are not installed."""
    return [name for name in PEERS if not _is_installed(name)]


@contextlib.contextmanager
def encoders(model: BPEModel, text: str) -> Iterator[list[EncoderPeer]]:
    """Yield ours and every installed peer's encoder.

    The fast peers know byte-level BPE with GPT-2's splitting only, so they get as many merges as `model` has, learned by
    Hugging Face's trainer from the same lower-cased text; they are given lower-cased text, and lower nothing. Hugging Face's
    own library gets our exported rules, and must give our ids.
    """
    with tempfile.TemporaryDirectory() as folder:
        ours, byte_level = Path(folder) / "ours.json", Path(folder) / "byte_level.json"
        BPETokenizerLoader(model).export_huggingface(ours)
        makers: dict[str, Callable[[], Encode]] = {"tokembed": lambda: _ours(model)}
        if _is_installed("tokenizers"):
            byte_level.write_text(_train_byte_level(text.lower(), len(model.merges)), encoding="utf-8")
            makers |= {
                "gigatoken": lambda: importlib.import_module("gigatoken").Tokenizer(str(byte_level)).encode,
                "tokie": lambda: importlib.import_module("tokie").Tokenizer.from_json(str(byte_level)).encode,
                "snaptokens": lambda: importlib.import_module("snaptokens").Tokenizer.from_file(str(byte_level)).encode,
                "tiktoken": lambda: _tiktoken(byte_level),
                "tokenizers": lambda: _huggingface(ours),
            }
        yield [
            EncoderPeer(name, make, has_our_rules=name in ("tokembed", "tokenizers"))
            for name, make in makers.items()
            if _is_installed(name)
        ]


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _ours(model: BPEModel) -> Encode:
    tokenizer = BPETokenizerLoader(model)
    tokenizer.encode_array("")  # its tables are made; no word is in them
    return tokenizer.encode_array


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

    def encode(text: str) -> list[int]:
        return [number for encoding in tokenizer.encode_batch_fast(text.splitlines()) for number in encoding.ids]

    return encode


def compare_encoders(model: BPEModel, text: str, rounds: int) -> Iterator[tuple[str, list[Timing]]]:
    """Yield (case, timings): cold (a new encoder's first text), warm with a fresh str each call, warm with the same objects.

    Two texts take turns, the second the first's lines in reverse, so that nothing remembered of one but its words can help with
    the next.

    Raises
    ------
    ValueError
        An encoder that has our rules gave other ids than the plain one.
    """
    expected = BPETokenizerLoader(model).encode(text)
    texts, lowered = ((form, "\n".join(reversed(form.split("\n")))) for form in (text, text.lower()))
    with encoders(model, text) as peers:
        for peer in peers:
            if peer.has_our_rules and list(peer.make()(text)) != expected:
                raise ValueError(f"{peer.name} gives other ids than the plain encoder")
        turns = {peer.name: texts if peer.has_our_rules else lowered for peer in peers}
        warm = {peer.name: peer.make() for peer in peers}
        for name, encode in warm.items():
            for one in turns[name]:
                encode(one)

        def text_for(name: str, turn: int) -> str:
            return turns[name][turn % 2]

        yield (
            "cold",
            time_alternating(
                {peer.name: lambda given: given[0](given[1]) for peer in peers},
                {
                    peer.name: partial(lambda peer, turn: (peer.make(), _fresh(text_for(peer.name, turn))), peer)
                    for peer in peers
                },
                rounds,
            ),
        )
        fresh = {name: partial(lambda name, turn: _fresh(text_for(name, turn)), name) for name in warm}
        yield "warm, a fresh str each call", time_alternating(warm, fresh, rounds)
        yield "warm, the same str objects", time_alternating(warm, {name: partial(text_for, name) for name in warm}, rounds)


def compare_learners(text: str, num_merges: int, rounds: int) -> list[Timing]:
    """Time the learning of `num_merges` merges from one lower-cased text, splitting and counting included."""
    learners: dict[str, Callable[[str], Any]] = {"tokembed": lambda text: train_bpe(text, num_merges)}
    if _is_installed("gigatoken"):
        gigatoken = importlib.import_module("gigatoken")
        learners["gigatoken"] = lambda text: gigatoken.train_bpe(text.encode(), 256 + num_merges, ["<|endoftext|>"])
    if _is_installed("rustbpe"):
        rustbpe = importlib.import_module("rustbpe")
        learners["rustbpe"] = lambda text: rustbpe.Tokenizer().train_from_iterator(
            iter(text.splitlines(keepends=True)), 256 + num_merges
        )
    if _is_installed("tokenizers"):
        learners["tokenizers"] = lambda text: _train_byte_level(text, num_merges)
    lowered = text.lower()
    for learn in learners.values():  # compilation is not timed
        learn(lowered)
    return time_alternating(learners, {name: lambda _: _fresh(lowered) for name in learners}, rounds)


def measure_plain_encoder(model: BPEModel, text: str, num_sentences: int = 10_000, length: int = 60) -> dict[str, float]:
    """Return what `encode` costs on short texts whose words are cached, how often its cache hits, and what starting costs.

    Sentences are `length` characters from places spread over the text; hit rates are those of a first and a second pass over
    all of it.
    """
    tokenizer = BPETokenizerLoader(model)
    rates = []
    for _ in range(2):
        before = tokenizer.tokenize_word.cache_info()
        tokenizer.encode(text)
        after = tokenizer.tokenize_word.cache_info()
        hits, misses = after.hits - before.hits, after.misses - before.misses
        rates.append(hits / max(hits + misses, 1))
    step = max((len(text) - length) // num_sentences, 1)
    starts = range(0, max(len(text) - length, 1), step)[:num_sentences]
    sentences = [text[start : start + length] for start in starts]
    for sentence in sentences:  # words that the cut makes are new
        tokenizer.encode(sentence)
    start = time.perf_counter()
    for sentence in sentences:
        tokenizer.encode(sentence)
    seconds = (time.perf_counter() - start) / len(sentences)
    return {
        "microseconds_a_sentence": seconds * 1e6,
        "hit_rate_first_pass": rates[0],
        "hit_rate_second_pass": rates[1],
        **{f"seconds_to_first_ids_{method}": _seconds_to_first_ids(model, method) for method in ("encode", "encode_array")},
    }


def _seconds_to_first_ids(model: BPEModel, method: str) -> float:
    """Time a new Python that loads the tokenizer and encodes a few words: the median of five."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        model.save(path)
        code = f"from tokembed import BPETokenizerLoader; BPETokenizerLoader({str(path)!r}).{method}('the first ids')"
        times = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def _fresh(text: str) -> str:
    """Return an equal str that no one has seen."""
    return (text + " ")[:-1]
