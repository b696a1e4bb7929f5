"""What the sanitizers watch: hostile input to every function of the C library. `test_native.py` runs it.

python tests/sanitized.py libtokembed.so
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import random
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tokembed import BPEModel, BPETokenizerLoader, TrainingConfig, native, train_bpe, train_skipgram
from tokembed.bpe import counting, finding, learning
from tokembed.bpe.splitting import SPLITTINGS
from tokembed.native import objects
from tokembed.skipgram.settings import TrainingDivergedError

FRAGMENTS = [
    "the", "creature", "'s", "'LL", "'\u017f", " ", "  ", "\n", "\r\n", "\t", "\x00", "\x1f", "_", "x" * 15, "y" * 16, "z" * 70,
    "1", "1234",
    "naïve", "É", "İ", "ΟΔΟΣ", "未来世界", "–", "\u3000", "🤷🏽‍♀️", "ǅ", "e\u0301", "\u0e01\u0e33", "!?", "//", "\U0010ffff",
    "ª", "Ⅷ",
]  # fmt: skip


def texts(dice: random.Random, count: int) -> list[str]:
    """Return random texts of fragments and of any code points, of lengths around the windows' and tables' limits."""
    sizes = [*range(0, 20), 62, 63, 64, 65, 66, 127, 128, 129, 300]
    found = []
    for _ in range(count):
        text = "".join(dice.choice(FRAGMENTS) for _ in range(dice.randrange(60)))
        ranges = (range(0x80), range(0xD800), range(0xE000, 0x110000))
        text += "".join(chr(dice.choice(dice.choice(ranges))) for _ in range(8))
        found.append(text[: dice.choice(sizes)])
    return found


def check_tokenizer(tokenizer: BPETokenizerLoader, some: list[str]) -> None:
    """Compare the C library's ids with the plain encoder's."""
    for text in some:
        assert tokenizer.encode_array(text).tolist() == tokenizer.encode(text), ascii(text)
    ids, offsets = tokenizer.encode_batch_array(some)
    found = [ids[start:end].tolist() for start, end in itertools.pairwise(offsets)]
    assert found == [tokenizer.encode(text) for text in some]


def main(path: str) -> None:
    """Run everything; end with a line that says what was covered."""
    library, locked = native._load(path), native._with_signatures(ctypes.PyDLL(path), native.LOCKED_SIGNATURES)
    native.library, native.locked_library = lambda: library, lambda: locked
    finding.PART, finding.MIN_PART = 300, 1
    dice = random.Random(1)
    corpus = " ".join(texts(dice, 400))
    num_texts = 0
    for name in SPLITTINGS:
        tokenizer = BPETokenizerLoader(
            train_bpe(corpus, 300, splitting=name), max_table_bytes=dice.choice([0, 1 << 16, 1 << 26])
        )
        some = texts(dice, 250)
        check_tokenizer(tokenizer, some)
        for unit in ("a", "é", "未", "🤷", " ", "\n", "'s", "1"):  # every length around the internal limits
            lengths = [*range(1, 70), 255, 256, 257, 998, 999, 1000, 1001, 1002, 2000]
            check_tokenizer(tokenizer, [unit * length for length in lengths])
            num_texts += len(lengths)
        for text in some:
            assert counting.count_pieces(text, SPLITTINGS[name]) == Counter(SPLITTINGS[name].pieces(text))
        long = "".join(dice.choice(["word", " ", "未来", "\n", "é"]) for _ in range(80_000))
        for text in (long, long[:100_000]):  # in parts, and in one call of many blocks of pieces
            assert tokenizer.encode_array(text).tolist() == tokenizer.encode(text)
        with ThreadPoolExecutor(16) as threads:
            assert len({tuple(ids.tolist()) for ids in threads.map(tokenizer.encode_array, [long[:5000]] * 64)}) == 1
        num_texts += 2 * len(some) + 65
    # Vocabularies that no training gives: merges of unreachable tokens, ids in any order, tokens of any bytes.
    for seed in range(30):
        dice.seed(seed)
        tokens = {bytes([byte]) for byte in range(256)}
        while len(tokens) < 400:
            tokens.add(b"".join(dice.sample(sorted(tokens), 2))[:40] + bytes(dice.choices(range(256), k=dice.randrange(3))))
        order = sorted(tokens, key=lambda token: (len(token) > 1, dice.random()))
        objects.derive_merges(order[256:], np.arange(256, dtype=np.int32), 256)
        rule = finding.compiled_rule(SPLITTINGS[dice.choice(["gpt2", "cl100k", "o200k"])])
        merges = np.array([dice.choices(range(400), k=3) for _ in range(dice.randrange(600))], dtype=np.int32)
        vocab = objects.Vocab(
            rule, np.arange(256, dtype=np.int32), merges.reshape(-1, 3), {token: id_ for id_, token in enumerate(order)},
            ids_are_ranks=bool(seed % 2), checks_pieces=bool(seed % 3),
        )  # fmt: skip
        encoder = objects.Encoder(vocab, 1 << 12)
        for text in [*texts(dice, 40), "a" * 5000, "未" * 3000]:
            assert encoder.encode_part(text, 0, len(text), None)[1] >= 0
            num_texts += 1
    BPETokenizerLoader(BPEModel(["</w>"], [])).encode_array("nothing is known here")
    for bad in ("\ud800", "x" * 70 + "\udfff", "未" * 1000 + "\ud800"):
        try:
            tokenizer.encode_array(bad)
        except ValueError:
            continue
        raise AssertionError("a surrogate went through")
    for words in ({}, {"a": 2**62}, {"a" * 5000: 3}, {"ab" * 40: 1, "ba": 7}, {chr(0x100 + i): 1 for i in range(3000)}):
        learning.train_bpe_from_counts(words, 5000, min_frequency=1)
    num_shapes = 0
    for dim in (1, 3, 15, 16, 17, 31, 100, 127, 128, 129, 300):
        for window_size, negatives in ((1, 1), (2, 3), (5, 10), (40, 33), (3, 200), (1000, 1000)):
            config = TrainingConfig(
                embedding_dim=dim, window_size=window_size, num_negative_samples=negatives, epochs=1, min_count=1,
                engine="hogwild", workers=3,
            )  # fmt: skip
            with contextlib.suppress(TrainingDivergedError):  # as the widest window does, in Python too
                train_skipgram(np.random.default_rng(dim).integers(0, 40, 300), 40, config)
            num_shapes += 1
    print(f"clean: {num_texts:,} texts, 30 hostile vocabularies, {num_shapes} shapes of vectors, 16 threads on one tokenizer")


if __name__ == "__main__":
    main(sys.argv[1])
