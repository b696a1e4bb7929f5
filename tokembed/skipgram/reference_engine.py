"""The engine without C: the textbook step, position by position, in NumPy.

It draws what the C library draws, so both train on the same pairs and negatives, in the same order. The novel takes minutes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tokembed.skipgram import sampling
from tokembed.skipgram.hogwild import HogwildEngine, TrainBlock
from tokembed.skipgram.reference import skipgram_step

Bits = npt.NDArray[np.uint64]


class ReferenceEngine(HogwildEngine):
    """Skip-gram with negative sampling by `reference.skipgram_step`, on one thread."""

    def _block_trainer(self) -> TrainBlock:
        self._kept: tuple[int, Bits, Bits] = (-1, np.empty(0, np.uint64), np.empty(0, np.uint64))
        return self._step_through

    def _step_through(
        self, ids: npt.NDArray[np.int32], first: int, last: int, key: int, seed: int, first_rate: float, last_rate: float
    ) -> tuple[int, float]:
        """Train on positions `first` to `last` of a stream; see `native.objects.Trainer.train`."""
        if self._kept[0] != key:  # blocks of one array and epoch share it
            self._kept = (key, *self._kept_positions(ids, key))
        _, positions, windows = self._kept
        tokens = ids[positions]
        begin, end = np.searchsorted(positions, [first, last])
        negatives = self._negatives(seed, int(end - begin))
        dim = self.config.embedding_dim
        num_pairs, loss = 0, 0.0
        for i in range(begin, end):
            window = int(windows[i])
            around = np.concatenate([tokens[max(i - window, 0) : i], tokens[i + 1 : i + 1 + window]])
            if not len(around):
                continue
            rate = first_rate + (last_rate - first_rate) * (i - begin) / (end - begin)
            loss += skipgram_step(
                self._targets[:, :dim], self._contexts[:, :dim], around.tolist(), int(tokens[i]), negatives[i - begin].tolist(),
                rate,
            )  # fmt: skip
            num_pairs += len(around)
        return num_pairs, loss

    def _kept_positions(self, ids: npt.NDArray[np.int32], key: int) -> tuple[Bits, Bits]:
        """Return the positions whose tokens are kept, and the widths of their windows, by 64 random bits of each position."""
        bits = sampling.mix_counters(key, np.arange(ids.size, dtype=np.uint64))
        (positions,) = np.nonzero((bits >> np.uint64(32)) < self._keep_below[ids])
        low = bits[positions] & np.uint64(0xFFFFFFFF)
        return positions.astype(np.uint64), np.uint64(1) + (low * np.uint64(self.config.window_size) >> np.uint64(32))

    def _negatives(self, seed: int, count: int) -> npt.NDArray[np.int64]:
        """Draw the negatives of `count` positions, (count, K), by the alias table."""
        thresholds, aliases = self._alias_table
        shape = (count, self.config.num_negative_samples)
        bits = sampling.mix_counters(seed, np.arange(1, 1 + shape[0] * shape[1], dtype=np.uint64)).reshape(shape)
        columns = ((bits >> np.uint64(32)) * np.uint64(len(aliases)) >> np.uint64(32)).astype(np.int64)
        is_own = (bits & np.uint64(0xFFFFFFFF)) < thresholds[columns]
        return np.where(is_own, columns, aliases[columns])
